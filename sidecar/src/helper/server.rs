//! The helper's end: takes the list, then runs what it is asked for.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as Socket;

use keywheel_core::program::{Call, Listed, channel};
use rustix::net::RecvFlags;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use super::Beginning;
use crate::exit::Failure;
use crate::shutdown::Signals;

/// Serves the agent at the other end of standard input, until it is gone; then kills what still runs.
///
/// # Errors
/// Whoever started this is no agent.
pub(crate) async fn serve() -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::usage(format!("this is for the agent alone: {error}"));
    // What asks the agent to end does not end what it still has to run; taken and not ignored, which programs would inherit.
    let _taken = Signals::listen().map_err(failed)?;
    rustix::thread::set_name(c"keywheel-helper").map_err(|errno| failed(errno.into()))?;
    let control = Socket::from(io::stdin().as_fd().try_clone_to_owned().map_err(failed)?);
    control.set_nonblocking(true).map_err(failed)?;
    let control = UnixStream::from_std(control).map_err(failed)?;
    let mut list = Vec::new();
    loop {
        match next::<Beginning>(&control).await.map_err(failed)? {
            Some((Beginning::Listed(listed), _)) => list.push(listed),
            Some((Beginning::Done, _)) => break,
            None => return Ok(()),
        }
    }
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            asked = next::<Call>(&control) => match asked {
                Ok(Some((call, Some(socket)))) => answer(&list, &call, socket, &mut running),
                // Nobody is told: there is no socket to answer to.
                Ok(Some((_, None))) | Err(_) => {}
                Ok(None) => break,
            },
            Some(_) = running.join_next() => {}
        }
    }
    running.shutdown().await;
    Ok(())
}

/// Begins to run what is asked for; closes the socket where that is not in the list.
fn answer(list: &[Listed], call: &Call, socket: Socket, running: &mut JoinSet<io::Result<()>>) {
    let Some((program, occasion)) =
        list.get(call.program).and_then(|listed| Some((listed.program().clone(), listed.occasion(call)?)))
    else {
        return;
    };
    running.spawn(async move {
        socket.set_nonblocking(true)?;
        let (mut asking, mut answering) = UnixStream::from_std(socket)?.into_split();
        // Nothing is sent there: it only closes.
        let mut closed = [0];
        tokio::select! {
            ended = program.run_here(&occasion) => answering.write_all(&serde_json::to_vec(&ended)?).await,
            _ = asking.read(&mut closed) => Ok(()),
        }
    });
}

/// Takes the next message and the socket that came with it; `None` when the agent is gone.
///
/// # Cancel safety
/// No message is lost.
async fn next<M: serde::de::DeserializeOwned>(
    control: &UnixStream,
) -> io::Result<Option<(M, Option<Socket>)>> {
    let receive = || channel::receive(control, RecvFlags::DONTWAIT);
    let message = control.async_io(Interest::READABLE, receive).await?;
    Ok(message.map(|(message, socket)| (message, socket.map(Socket::from))))
}
