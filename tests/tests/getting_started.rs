//! The first steps of the book, typed as they stand there, with paths and a port of this test's own.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::fs;
use std::process::{Command, Output};
use std::time::Duration;

use keywheel_tests::documentation::{Block, Document};
use keywheel_tests::{Process, Signal, Tmpfs, built, ports, wait};

#[test]
fn an_application_team_sees_a_change_arrive() {
    let stage = Stage::new();
    let mut agent = None;
    for line in stage.block("## An application team", 1).lines() {
        let (command, says) = line.split_once("  #").unwrap_or((line, ""));
        if let Some(command) = command.trim().strip_suffix('&') {
            agent = Some(stage.start(command));
        } else if let Some(expected) = says.trim().strip_prefix("PASSWORD=") {
            let expected = format!("PASSWORD={}", expected.split(',').next().unwrap());
            wait::until(BOUND, &expected, || stage.run(command).ok().filter(|said| said.trim() == expected));
        } else {
            stage.output(command);
        }
    }
    let told = stage.volume.path().join("orders-changed");
    wait::until(BOUND, "the hook", || Some(()).filter(|()| told.exists()));
    assert_eq!(stage.output(stage.block("## An application team", 2).trim()).trim(), "second");
    let agent = agent.unwrap();
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait_for_end(BOUND).code(), Some(0));
}

#[test]
fn a_platform_team_sees_a_secret_replaced() {
    let stage = Stage::new();
    let block = stage.block("## A platform team", 1);
    let lines: Vec<&str> = block.lines().filter_map(|line| line.split("  #").next()).map(str::trim).collect();
    let [due, rotate, read, status, serve] = lines[..] else { panic!("other commands: {lines:?}") };
    assert!(stage.output(due).contains("due"));
    assert!(stage.output(rotate).contains("rotated, version "));
    assert_eq!(stage.output(read).len(), 40);
    assert!(stage.output(status).contains("in 29d"));
    assert!(serve.starts_with("keywheel rotate serve "));
}

/// The book's files, in places of this test's own.
struct Stage {
    folder: tempfile::TempDir,
    volume: Tmpfs,
    port: u16,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stage = Self { folder, volume: Tmpfs::mount(4 << 20), port: ports::free() };
        let file =
            |name: &str, heading| fs::write(stage.folder.path().join(name), stage.block(heading, 0)).unwrap();
        file("keywheel.yaml", "## An application team");
        file("rotations.yaml", "## A platform team");
        stage
    }

    /// Returns a block of the section with that heading.
    fn block(&self, heading: &str, index: usize) -> String {
        let page = Document::read("docs/src/getting-started.md");
        let section = page.text.split(&format!("\n{heading}")).nth(1).unwrap();
        let text = section.split("\n## ").next().unwrap().to_owned();
        let blocks: Vec<Block> = Document { text, ..page }.blocks();
        let places = [
            ("/tmp", self.folder.path().display().to_string()),
            ("/dev/shm", self.volume.path().display().to_string()),
            ("9464", self.port.to_string()),
            ("keywheel status", format!("keywheel status --admin http://127.0.0.1:{}", self.port)),
        ];
        places.iter().fold(blocks[index].text.clone(), |text, (theirs, own)| text.replace(theirs, own))
    }

    fn shell(&self, line: &str) -> Command {
        let folder = built::program("keywheel").parent().unwrap().display().to_string();
        let mut shell = Command::new("/bin/sh");
        shell.args(["-euc", line]).current_dir(self.folder.path()).env_clear();
        shell.env("HOME", self.folder.path()).env("PATH", format!("{folder}:/usr/bin:/bin"));
        shell
    }

    /// Starts a command that lasts.
    fn start(&self, line: &str) -> Process {
        Process::start("keywheel", self.shell(&format!("exec {line}")), self.folder.path())
    }

    /// Runs a command, which has to succeed; returns what it printed.
    fn output(&self, line: &str) -> String {
        self.run(line).unwrap_or_else(|failed| panic!("{line}: {failed}"))
    }

    /// Runs a command; returns what it printed, or what it complained of.
    fn run(&self, line: &str) -> Result<String, String> {
        let Output { status, stdout, stderr } = self.shell(line).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        if status.success() { Ok(text(stdout)) } else { Err(text(stderr)) }
    }
}

const BOUND: Duration = Duration::from_secs(20);
