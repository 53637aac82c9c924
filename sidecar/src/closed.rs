//! Closes this process to others of the same user: what it holds in memory is in no core dump and cannot be read from outside.

use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit, umask};
use rustix::thread::set_no_new_privs;

use crate::exit::Failure;

/// Has the kernel refuse core dumps, ptrace(2), `/proc/PID/mem`, `/proc/PID/environ` and the like to whoever has no capability for them (prctl(2),
/// `PR_SET_DUMPABLE`). A program that is started from here opens itself again with execve(2): it is nobody's business of ours.
pub(crate) fn close() -> Result<(), Failure> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| Failure::other(format!("cannot close the process to others: {error}")))
}

/// Allows no core dump of this process, nor of the programs that it starts.
pub(crate) fn forbid_core_dumps() -> Result<(), Failure> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .map_err(|error| Failure::other(format!("cannot forbid core dumps: {error}")))
}

/// Has no program that this process starts gain a right by it (`PR_SET_NO_NEW_PRIVS`), and no file that it makes be open to others, unless it is said.
pub(crate) fn keep_private() -> Result<(), Failure> {
    umask(Mode::RWXG | Mode::RWXO);
    set_no_new_privs(true).map_err(|error| Failure::other(format!("cannot give up new privileges: {error}")))
}
