//! Processes of this host that nobody here started: those in the containers of a node.

use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};

/// Ends with SIGKILL the one process in whose files in `/proc` these texts are, each named with its file (`("cmdline", "…")`). The UID of a pod is in its
/// `cgroup`, with `-` or, where systemd makes it, `_`.
///
/// # Panics
///
/// When there is no such process, or more than one.
pub fn kill(marks: &[(&str, &str)]) {
    let has_all = |folder: &PathBuf| {
        marks.iter().all(|(file, text)| {
            let holds =
                |found: &[u8], text: &str| found.windows(text.len()).any(|part| part == text.as_bytes());
            std::fs::read(folder.join(file)).is_ok_and(|found| {
                holds(&found, text) || *file == "cgroup" && holds(&found, &text.replace('-', "_"))
            })
        })
    };
    let processes = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let pid = |folder: PathBuf| Pid::from_raw(folder.file_name()?.to_str()?.parse().ok()?);
    let found: Vec<Pid> = processes.filter(has_all).filter_map(pid).collect();
    let [pid] = found[..] else { panic!("{} processes with {marks:?}", found.len()) };
    kill_process(pid, Signal::KILL).unwrap();
}
