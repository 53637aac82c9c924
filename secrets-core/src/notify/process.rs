//! Finds processes, and holds on to them.
//!
//! A PID alone is never trusted, since it may be another process's by the time that a signal is sent. The process is opened as a pidfd first
//! (`pidfd_open(2)`) and looked at after that: whatever has its number then, a signal to the pidfd goes to what was opened or to nobody.

use std::fs;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal, test_kill_process};

/// A process that was opened: it and no other one is signalled.
pub(super) struct Process {
    pid: Pid,
    pidfd: OwnedFd,
}

impl Process {
    /// Opens every process of the name but this one. One that ends meanwhile, or that is hidden from us, is not among them.
    pub(super) fn named(name: &str) -> io::Result<Vec<Self>> {
        let entries = fs::read_dir("/proc")?;
        let pids = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(Pid::from_raw)
            .filter(|pid| *pid != getpid() && is_named(*pid, name));
        let mut found = Vec::new();
        for pid in pids {
            match Self::open(pid) {
                // What was named so may have ended, and another process have taken its number.
                Ok(process) if is_named(pid, name) => found.push(process),
                Ok(_) | Err(Errno::SRCH | Errno::INVAL) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(found)
    }

    /// Opens a process by its number; `ESRCH` when there is none.
    pub(super) fn open(pid: Pid) -> Result<Self, Errno> {
        Ok(Self { pid, pidfd: pidfd_open(pid, PidfdFlags::empty())? })
    }

    /// Sends a signal; `ESRCH` when the process has ended.
    pub(super) fn send(&self, signal: Signal) -> Result<(), Errno> {
        pidfd_send_signal(&self.pidfd, signal)
    }

    /// Tells whether a signal would reach it: `ESRCH` when it has ended, `EPERM` when it is another user's.
    pub(super) fn may_be_told(&self) -> Result<(), Errno> {
        test_kill_process(self.pid)
    }

    /// Returns what is smaller the earlier the process began: its start in ticks since boot (proc_pid_stat(5), field 22), then its number.
    pub(super) fn age_rank(&self) -> (u64, i32) {
        let stat = fields_after_name(&PathBuf::from(format!("/proc/{}", self.pid())));
        let began = stat.get(19).and_then(|ticks| ticks.parse().ok());
        (began.unwrap_or(u64::MAX), self.pid())
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }
}

/// Reads the number of a process out of a file of at most 64 bytes: above 1, in decimal digits, with white space around it.
///
/// # Errors
/// Says in words what is wrong. A file that is none (a pipe, say) is not waited for.
pub(super) fn read_pid(path: &Path) -> Result<Pid, String> {
    const LIMIT: u64 = 64;
    let text = read_bounded(path, LIMIT + 1).map_err(|error| format!("cannot read the PID file: {error}"))?;
    let text = std::str::from_utf8(&text).ok().filter(|text| text.len() as u64 <= LIMIT).map(str::trim);
    let digits = text.filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|digits| digits.parse::<i32>().ok()).filter(|number| *number > 1);
    number.and_then(Pid::from_raw).ok_or_else(|| "the PID file does not hold the number of a process".into())
}

/// Tells whether a living process has the name: by `comm`, or by the file name of its program, as the process was called (`argv[0]`) or as
/// it was executed.
fn is_named(pid: Pid, name: &str) -> bool {
    let folder = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    let name = name.as_bytes();
    if name.is_empty() || !is_living_program(&folder) {
        return false;
    }
    let called = read_bounded(&folder.join("cmdline"), 4096).unwrap_or_default();
    let called = file_name(called.split(|byte| *byte == 0).next().unwrap_or_default());
    let executed = fs::read_link(folder.join("exe")).unwrap_or_default();
    // The kernel marks a program that was replaced on the disk while it runs.
    let executed = executed.as_os_str().as_bytes();
    let executed = file_name(executed.strip_suffix(b" (deleted)").unwrap_or(executed));
    if called == name || executed == name {
        return true;
    }
    let comm = read_bounded(&folder.join("comm"), 64).unwrap_or_default();
    // Of a longer name the kernel keeps 15 bytes: then it is that one's, and not the name.
    let is_cut = |whole: &[u8]| name.len() == 15 && whole.starts_with(name);
    comm.strip_suffix(b"\n").unwrap_or(&comm) == name && !is_cut(called) && !is_cut(executed)
}

fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

/// Tells whether a process still runs a program: it is no thread of the kernel, and has not ended unreaped (proc_pid_stat(5), fields 3 and 9).
fn is_living_program(folder: &Path) -> bool {
    const KERNEL_THREAD: u64 = 0x0020_0000;
    let fields = fields_after_name(folder);
    let flags: u64 = fields.get(6).and_then(|flags| flags.parse().ok()).unwrap_or_default();
    fields.first().is_some_and(|state| !matches!(state.as_str(), "Z" | "X" | "x"))
        && flags & KERNEL_THREAD == 0
}

/// Returns the fields of a process's `stat` from the third on; none where it has ended.
fn fields_after_name(folder: &Path) -> Vec<String> {
    let stat = read_bounded(&folder.join("stat"), 4096).unwrap_or_default();
    // The name before it is in parentheses, and may hold any byte.
    let Some(end) = stat.iter().rposition(|byte| *byte == b')') else { return Vec::new() };
    String::from_utf8_lossy(&stat[end + 1..]).split_whitespace().map(str::to_owned).collect()
}

fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_holds_one_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let read = |content: &[u8]| {
            crate::notify::tests::put(&path, content);
            read_pid(&path).map(|pid| pid.as_raw_nonzero().get())
        };
        assert_eq!(read(b"42"), Ok(42));
        assert_eq!(read(b" 42 \n"), Ok(42));
        for bad in [
            &b""[..],
            b"\n",
            b"0",
            b"1",
            b"-5",
            b"+5",
            b"4 2",
            b"0x2a",
            b"42\n43",
            b"99999999999",
            b"4.2",
            b"pid",
            &[0xff],
            &[b'4'; 100],
            &[&b"42"[..], &[b' '; 100]].concat(),
        ] {
            assert!(read(bad).unwrap_err().contains("does not hold"), "{bad:?}");
        }
        fs::remove_file(&path).unwrap();
        assert!(read_pid(&path).unwrap_err().contains("cannot read"));
        assert!(read_pid(folder.path()).unwrap_err().contains("cannot read"));
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(read_pid(&path).is_err(), "a pipe is not waited for");
    }

    #[test]
    fn a_thread_of_the_kernel_has_no_name_here() {
        if fs::read("/proc/2/comm").is_ok_and(|comm| comm == b"kthreadd\n") {
            assert!(!is_named(Pid::from_raw(2).unwrap(), "kthreadd"));
        }
        assert!(is_named(
            getpid(),
            file_name(std::env::current_exe().unwrap().as_os_str().as_bytes())
                .escape_ascii()
                .to_string()
                .as_str()
        ));
    }
}
