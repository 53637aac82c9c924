//! Asks an application for the same page over and over, as its users do, and notes every answer that is not 200.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::{http, wait};

/// Threads that ask until they are finished.
#[derive(Debug)]
pub struct Load {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Answers>>,
}

/// What was answered.
#[derive(Debug, Default, Clone)]
pub struct Answers {
    /// How many requests were answered with 200.
    pub good: usize,
    /// When each other request began, on [`wait::monotonic`]'s clock, and with what.
    pub failed: Vec<(Duration, String)>,
    /// The different pages.
    pub pages: BTreeSet<String>,
}

impl Load {
    /// Starts `count` threads that ask for `url`, each on a connection of its own for every request.
    pub fn start(url: &str, count: usize) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let ask = |_| {
            let (url, over) = (url.to_owned(), Arc::clone(&over));
            thread::spawn(move || ask_until(&url, &over))
        };
        Self { threads: (0..count).map(ask).collect(), over }
    }

    /// Ends the load and returns what all threads saw.
    pub fn finish(mut self) -> Answers {
        self.over.store(true, Ordering::Relaxed);
        let mut all = Answers::default();
        for thread in self.threads.drain(..) {
            let answers = thread.join().expect("what was answered");
            all.good += answers.good;
            all.failed.extend(answers.failed);
            all.pages.extend(answers.pages);
        }
        all
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn ask_until(url: &str, over: &AtomicBool) -> Answers {
    let mut answers = Answers::default();
    while !over.load(Ordering::Relaxed) {
        let begun = wait::monotonic();
        match http::get(url) {
            Ok(answer) if answer.status == 200 => {
                answers.good += 1;
                answers.pages.insert(answer.text());
            }
            Ok(answer) => answers.failed.push((begun, format!("{}: {}", answer.status, answer.text()))),
            Err(error) => answers.failed.push((begun, error.to_string())),
        }
        thread::sleep(BREATH);
    }
    answers
}

/// Leaves the cores to the programs under test.
const BREATH: Duration = Duration::from_millis(5);
