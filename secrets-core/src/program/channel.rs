//! Messages between two processes of one program, each whole and with a file where one goes along.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::retry_on_intr;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The largest message, in bytes: a socket's buffer holds no larger one.
pub const MAX_MESSAGE: usize = 128 << 10;

/// Makes the two ends. No program that this process starts has one, unless it is given it.
///
/// # Errors
/// There are too many files.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Sends one message, and a `file` with it.
///
/// # Errors
/// It is too large, the other end is gone, or with [`SendFlags::DONTWAIT`], nobody has read for long.
pub fn send(
    to: impl AsFd,
    message: &impl Serialize,
    file: Option<BorrowedFd<'_>>,
    flags: SendFlags,
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MAX_MESSAGE {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a message of more than 128 KiB"));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !file.as_slice().is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(file.as_slice()));
    }
    retry_on_intr(|| sendmsg(&to, &[IoSlice::new(&bytes)], &mut ancillary, flags | SendFlags::NOSIGNAL))?;
    Ok(())
}

/// Takes the next message and the file that came with it; `None` when the other end is gone, and all it has sent is taken.
///
/// # Errors
/// What comes is no such message; with [`RecvFlags::DONTWAIT`], there is none yet.
pub fn receive<M: DeserializeOwned>(
    from: impl AsFd,
    flags: RecvFlags,
) -> io::Result<Option<(M, Option<OwnedFd>)>> {
    let mut bytes = vec![0; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let received =
        retry_on_intr(|| recvmsg(&from, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags))?;
    let file = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    match &bytes[..received.bytes] {
        [] => Ok(None),
        message => Ok(Some((serde_json::from_slice(message)?, file))),
    }
}
