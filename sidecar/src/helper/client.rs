//! The agent's end: starts the helper, and asks it.

use std::io;
use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as Socket;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use keywheel_core::program::{Call, Ended, Listed, Program, Programs, Runner};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg,
    socketpair,
};
use serde::Serialize;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use super::{Beginning, MAX_MESSAGE, SUBCOMMAND};
use crate::exit::Failure;

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
        let (control, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        // This program, also where its file was replaced.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("keywheel").arg(SUBCOMMAND).stdin(theirs).stdout(Stdio::null());
        for (name, _) in std::env::vars_os().filter(|(name, _)| Program::holds_back(name)) {
            command.env_remove(name);
        }
        // What a terminal sends to the agent is for the agent.
        let process = command.process_group(0).spawn()?;
        for listed in list {
            send(&control, &Beginning::Listed(listed.clone()), None, SendFlags::NOSIGNAL)?;
        }
        send(&control, &Beginning::Done, None, SendFlags::NOSIGNAL)?;
        Ok(Self { control, _process: process })
    }

    async fn ask(&self, call: &Call) -> io::Result<Ended> {
        let (own, theirs) = Socket::pair()?;
        own.set_nonblocking(true)?;
        send(&self.control, call, Some(theirs), SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
        let mut answer = Vec::new();
        let limit = u64::try_from(MAX_MESSAGE).unwrap_or(u64::MAX);
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

/// Sends one message, and a socket with it.
fn send(to: &OwnedFd, message: &impl Serialize, socket: Option<Socket>, flags: SendFlags) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MAX_MESSAGE {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a command of more than 128 KiB"));
    }
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let sockets: Vec<_> = socket.iter().map(AsFd::as_fd).collect();
    if !sockets.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&sockets));
    }
    sendmsg(to, &[IoSlice::new(&bytes)], &mut ancillary, flags)?;
    Ok(())
}
