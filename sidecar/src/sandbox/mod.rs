//! The sandbox of the agent: after its start it reads, writes, connects to and runs what its configuration names, and nothing else.
//!
//! What that is, is a value ([`Allowed`]), computed from the configuration alone. [`close`] has the kernel hold this process to it: Landlock for files,
//! TCP ports and signals, seccomp for system calls.

mod allowed;
mod landlock;
mod places;
mod seccomp;

pub use self::allowed::Allowed;
pub use self::places::{programs_that_nobody_lists, with_named_files};

/// What a sandbox that was closed is worth.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Closed {
    /// What this kernel cannot do, in words; empty when everything holds.
    pub missing: Vec<&'static str>,
}

/// Closes the sandbox around the calling thread, for good; threads that it starts later are in it, those that are there are not.
///
/// # Errors
/// Says in words what failed. Where `is_strict`, that is also whatever the kernel cannot do, before anything is closed.
pub fn close(allowed: &Allowed, is_strict: bool) -> Result<Closed, String> {
    let filters = seccomp::filters()?;
    let mut missing = landlock::close(allowed, is_strict)?;
    match filters {
        Some(filters) => seccomp::apply(&filters)?,
        None if is_strict => return Err("there is no filter of system calls for this architecture".into()),
        None => missing.push("system calls"),
    }
    Ok(Closed { missing })
}
