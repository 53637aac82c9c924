//! The agent's end: starts the helper, and asks it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as Socket;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use keywheel_core::program::{Call, Ended, Listed, Program, Programs, Runner, channel};
use rustix::net::SendFlags;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use super::{Beginning, SUBCOMMAND};
use crate::exit::Failure;
use crate::itself;

/// Starts a helper for the programs of `list`; nobody where there are none.
///
/// # Errors
/// A helper that cannot be started.
pub(crate) fn start(list: Vec<Listed>) -> Result<Option<Runner>, Failure> {
    if list.is_empty() {
        return Ok(None);
    }
    let helper = Helper::start(&list)
        .map_err(|error| Failure::other(format!("cannot start the helper that runs the hooks: {error}")))?;
    Ok(Some(Runner::new(list, helper)))
}

#[derive(Debug)]
struct Helper {
    control: OwnedFd,
    // It ends by itself when `control` closes.
    _process: Child,
}

impl Helper {
    fn start(list: &[Listed]) -> io::Result<Self> {
        let (control, theirs) = channel::pair()?;
        let mut command = itself::command(SUBCOMMAND);
        command.stdin(theirs).stdout(Stdio::null());
        // What a terminal sends to the agent is for the agent.
        let process = command.process_group(0).spawn()?;
        let tell = |beginning| channel::send(&control, &beginning, None, SendFlags::empty());
        list.iter().try_for_each(|listed| tell(Beginning::Listed(listed.clone())))?;
        tell(Beginning::Done)?;
        Ok(Self { control, _process: process })
    }

    async fn ask(&self, call: &Call) -> io::Result<Ended> {
        let (own, theirs) = Socket::pair()?;
        own.set_nonblocking(true)?;
        channel::send(&self.control, call, Some(theirs.as_fd()), SendFlags::DONTWAIT)?;
        // The answer ends where the helper closes it.
        drop(theirs);
        let mut answer = Vec::new();
        let limit = u64::try_from(channel::MAX_MESSAGE).unwrap_or(u64::MAX);
        UnixStream::from_std(own)?.take(limit).read_to_end(&mut answer).await?;
        Ok(serde_json::from_slice(&answer)?)
    }
}

#[async_trait]
impl Programs for Helper {
    async fn run(&self, call: &Call, program: &Program) -> Result<Ended, String> {
        match tokio::time::timeout(program.timeout + MARGIN, self.ask(call)).await {
            Ok(Ok(ended)) => Ok(ended),
            Ok(Err(_)) => Err("the helper that runs it is gone; start the agent again".into()),
            Err(_) => Err("the helper that runs it does not answer".into()),
        }
    }
}

/// How much longer than a program's own time the helper may take: it reaps what it killed.
const MARGIN: Duration = Duration::from_secs(10);
