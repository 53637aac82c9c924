//! Reads delivered certificates with their keys over and over, as servers do, and sees whether they fit.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// Threads that read pairs until they are finished. A pair is a folder with `tls.crt` (leaf first) and `tls.key`.
#[derive(Debug)]
pub struct PairReaders {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<PairTally>>,
}

/// What the readers saw.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct PairTally {
    /// How many pairs were read and fit.
    pub read: u64,
    /// How many different leaves were seen.
    pub leaves: BTreeSet<Vec<u8>>,
    /// The passes whose generation was removed while they read it, after `..data` had gone on.
    pub overtaken: u64,
    /// Keys that do not fit, broken chains and missing files, in words; empty when all is well.
    pub faults: Vec<String>,
}

impl PairReaders {
    /// Starts `count` readers of the folders `pairs` below `directory`; each resolves `..data` once per pass.
    pub fn start(directory: &Path, pairs: &[String], count: usize) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let threads = (0..count)
            .map(|_| {
                let (directory, pairs, over) = (directory.to_owned(), pairs.to_vec(), Arc::clone(&over));
                thread::spawn(move || read_until(&directory, &pairs, &over))
            })
            .collect();
        Self { over, threads }
    }

    /// Ends the readers and returns what they saw together.
    pub fn finish(mut self) -> PairTally {
        self.over.store(true, Ordering::Relaxed);
        let mut all = PairTally::default();
        for thread in self.threads.drain(..) {
            let tally = thread.join().expect("a reader's tally");
            all.read += tally.read;
            all.overtaken += tally.overtaken;
            all.leaves.extend(tally.leaves);
            all.faults.extend(tally.faults);
        }
        all
    }
}

impl Drop for PairReaders {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn read_until(directory: &Path, pairs: &[String], over: &AtomicBool) -> PairTally {
    let mut tally = PairTally::default();
    while !over.load(Ordering::Relaxed) {
        let data = resolve(directory);
        for pair in pairs {
            match fitting_leaf(&data.join(pair)) {
                Ok(leaf) => {
                    tally.read += 1;
                    tally.leaves.insert(leaf);
                }
                Err(_) if resolve(directory) != data => {
                    tally.overtaken += 1;
                    break;
                }
                Err(fault) => tally.faults.push(format!("{pair}: {fault}")),
            }
        }
        // Leaves room for the program under test on a machine with fewer cores than readers.
        thread::sleep(BREATH);
    }
    tally
}

fn resolve(directory: &Path) -> PathBuf {
    directory.join(fs::read_link(directory.join("..data")).expect("a generation"))
}

/// Returns the leaf of a pair whose key fits and whose chain ends with another certificate.
fn fitting_leaf(pair: &Path) -> io::Result<Vec<u8>> {
    let (certificates, key) = (fs::read(pair.join("tls.crt"))?, fs::read(pair.join("tls.key"))?);
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(&certificates).collect::<Result<_, _>>().map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(io::Error::other)?;
    if chain.len() < 2 {
        return Err(io::Error::other("no chain behind the leaf"));
    }
    let leaf = chain[0].to_vec();
    let pair =
        CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(io::Error::other)?;
    pair.keys_match().map_err(io::Error::other)?;
    Ok(leaf)
}

const BREATH: Duration = Duration::from_millis(1);
