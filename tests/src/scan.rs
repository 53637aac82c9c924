//! Looks for copies of a value in the memory of a process, through `/proc/PID/maps` and `/proc/PID/mem`.
//!
//! Found is the value as it is and as it travels (base64, hexadecimal, JSON, URL), and any 16 bytes of one of them: freed memory is often
//! overwritten at its beginning alone. What nobody can read is no copy, and what is mapped from a file and cannot be written holds the file alone.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::wait;

/// Bytes of a value in a process's memory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Copy {
    /// Of which value, counted from zero.
    pub value: usize,
    /// In which form.
    pub form: &'static str,
    /// Where.
    pub address: u64,
    /// How many bytes of the form.
    pub len: usize,
    /// What is mapped there.
    pub region: String,
}

/// How much of a value counts as a copy of it.
pub const PART: usize = 16;

/// Tells whether the memory of the process can be looked into, and there is memory that cannot: what is missing here is no fault of the program.
#[allow(clippy::print_stderr, reason = "whoever reads the test's output has to know what was not looked at")]
pub fn is_possible(pid: u32) -> bool {
    let may_look = File::open(format!("/proc/{pid}/mem")).is_ok();
    // memfd_secret(2), by its number; there is no safe call for it.
    let probe = "import ctypes, sys; sys.exit(ctypes.CDLL(None).syscall(447, 0) < 0)";
    let has_secret =
        Command::new("python3").args(["-c", probe]).status().is_ok_and(|status| status.success());
    if !may_look || !has_secret {
        eprintln!(
            "SKIPPED: may look into a closed process: {may_look}; the kernel has secret memory: {has_secret}"
        );
    }
    may_look && has_secret
}

/// Returns what is left of `values` a second from now: nothing as soon as a search finds nothing, else what one finds that began after that second.
///
/// # Panics
/// As for [`copies`].
pub fn left_after_a_second<V: AsRef<[u8]>>(pid: u32, values: &[V]) -> Vec<Copy> {
    let begun = wait::monotonic();
    loop {
        let is_last = wait::monotonic() - begun >= Duration::from_secs(1);
        let found = copies(pid, values);
        if found.is_empty() || is_last {
            return found;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Returns every copy of one of `values` in the memory of the process that can be read.
///
/// # Panics
/// When the process is not there, or may not be looked into.
pub fn copies<V: AsRef<[u8]>>(pid: u32, values: &[V]) -> Vec<Copy> {
    let mut parts = Parts { parts: HashMap::new(), begins: [false; 256] };
    for (index, value) in values.iter().enumerate() {
        parts.add(index, value.as_ref());
    }
    let memory = File::open(format!("/proc/{pid}/mem")).expect("a process that may be looked into");
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("a process that is there");
    maps.lines().flat_map(|line| parts.find_in(&memory, line)).collect()
}

/// The parts of all forms of the values, each with its value and form.
struct Parts {
    parts: HashMap<[u8; PART], (usize, &'static str)>,
    begins: [bool; 256],
}

impl Parts {
    fn add(&mut self, index: usize, value: &[u8]) {
        let hexadecimal: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = String::from_utf8_lossy(value);
        let forms: [(&'static str, Vec<u8>); 6] = [
            ("raw", value.to_vec()),
            ("base64", STANDARD.encode(value).into_bytes()),
            ("base64url", URL_SAFE_NO_PAD.encode(value).into_bytes()),
            ("json", serde_json::to_vec(&text).expect("text")),
            ("url", value.iter().flat_map(|byte| url_encoded(*byte)).collect()),
            ("hex", hexadecimal.into_bytes()),
        ];
        for (form, bytes) in forms {
            assert!(bytes.len() >= PART, "a value that is too short to be told from chance");
            for window in bytes.windows(PART) {
                self.begins[usize::from(window[0])] = true;
                self.parts.entry(window.try_into().expect("a part")).or_insert((index, form));
            }
        }
    }

    /// Finds the parts in one line of the maps; next to each other, they are one copy.
    fn find_in(&self, memory: &File, line: &str) -> Vec<Copy> {
        let mut fields = line.split_whitespace();
        let (range, rights) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        let region = fields.nth(3).unwrap_or("anonymous").to_owned();
        let Some((start, end)) = range.split_once('-') else { return Vec::new() };
        let number = |text| u64::from_str_radix(text, 16).expect("an address");
        let (start, end) = (number(start), number(end));
        let may_hold = rights.starts_with("rw") || (rights.starts_with('r') && !region.starts_with('/'));
        if !may_hold || region.starts_with("[v") {
            return Vec::new();
        }
        let mut bytes = vec![0; usize::try_from(end - start).expect("a size")];
        if memory.read_exact_at(&mut bytes, start).is_err() {
            for (page, address) in bytes.chunks_mut(PAGE).zip((start..).step_by(PAGE)) {
                // A page that nobody can read has no copy.
                memory.read_exact_at(page, address).ok();
            }
        }
        let mut found: Vec<Copy> = Vec::new();
        for (offset, window) in bytes.windows(PART).enumerate() {
            if !self.begins[usize::from(window[0])] {
                continue;
            }
            let Some(&(value, form)) = self.parts.get(window) else { continue };
            let address = start + offset as u64;
            match found.last_mut() {
                Some(last) if last.address + (last.len - PART) as u64 + 1 == address => last.len += 1,
                _ => found.push(Copy { value, form, address, len: PART, region: region.clone() }),
            }
        }
        found
    }
}

/// The smallest page there is.
const PAGE: usize = 4096;

fn url_encoded(byte: u8) -> Vec<u8> {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => vec![byte],
        _ => format!("%{byte:02X}").into_bytes(),
    }
}

impl fmt::Display for Copy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} bytes of value {} ({}) at {:#x} in {}",
            self.len, self.value, self.form, self.address, self.region
        )
    }
}
