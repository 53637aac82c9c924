//! Listens, and has somebody answer what connects: bounded in connections.

use std::fmt;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use keywheel_core::config::Listen;
use keywheel_sidecar::peer::Peer;
use rustix::fs::Mode;
use rustix::process::umask;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::exit::Failure;

/// Where an endpoint is to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    /// What it is, for people.
    pub(crate) name: &'static str,
    pub(crate) listen: Listen,
    /// Whether other users may connect to its socket.
    pub(crate) is_open: bool,
}

/// An endpoint that is bound already, and not yet served.
#[derive(Debug)]
pub(crate) struct Endpoint {
    place: Place,
    bound: Bound,
}

/// An endpoint that is served, until this is dropped.
#[derive(Debug)]
pub(crate) struct Serving {
    place: Place,
    task: tokio::task::JoinHandle<()>,
}

/// What is sent to and fro.
pub(crate) type Stream = Box<dyn Duplex>;

/// Both directions of a connection.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

#[derive(Debug)]
enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Endpoint {
    /// Binds the address, or the socket (with mode 0600, or 0666 where it is open; a socket that an earlier run left is replaced).
    pub(crate) async fn bind(place: Place) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::other(format!("cannot listen for {place}: {error}"));
        let bound = match &place.listen {
            Listen::Tcp(address) => {
                let listener = TcpListener::bind(address).await.map_err(failed)?;
                if let Ok(bound) = listener.local_addr() {
                    info!(address = %bound, "{} listens", place.name);
                }
                Bound::Tcp(listener)
            }
            Listen::Unix(path) => {
                let own = Mode::RUSR | Mode::WUSR;
                let all = Mode::RGRP | Mode::WGRP | Mode::ROTH | Mode::WOTH;
                let mode = if place.is_open { own | all } else { own };
                bind_socket(path, mode).map(Bound::Unix).map_err(failed)?
            }
        };
        Ok(Self { place, bound })
    }

    /// Has `answer` answer every connection until the result is dropped.
    pub(crate) fn serve(
        self,
        answer: impl Fn(Stream, Peer) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Serving {
        let Self { place, bound } = self;
        let name = place.name;
        Serving { place, task: tokio::spawn(async move { bound.run(name, answer).await }) }
    }
}

impl Serving {
    /// Tells whether it is where `place` says.
    pub(crate) fn is_at(&self, place: &Place) -> bool {
        self.place == *place
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.listen {
            Listen::Tcp(address) => write!(f, "{} on {address}", self.name),
            Listen::Unix(path) => write!(f, "{} on unix:{}", self.name, path.display()),
        }
    }
}

impl Bound {
    async fn run(self, name: &str, answer: impl Fn(Stream, Peer) -> BoxFuture<'static, ()>) {
        let places = Arc::new(Semaphore::new(MOST));
        let mut connections = JoinSet::new();
        // A place first: what there is no place for waits in the kernel's queue, and takes no file descriptor from the sources.
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            while connections.try_join_next().is_some() {}
            match self.accept().await {
                Ok((stream, peer)) => {
                    let answering = answer(stream, peer);
                    connections.spawn(async move {
                        answering.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    // No file descriptor is free, say: the next moment may be another one.
                    warn!(%error, "a connection to {name} could not be accepted");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    async fn accept(&self) -> std::io::Result<(Stream, Peer)> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // A small answer is not held back for more.
                stream.set_nodelay(true).ok();
                (Box::new(stream), Peer::Host(peer))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let peer = stream.peer_cred()?;
                (Box::new(stream), Peer::Process { uid: peer.uid(), pid: peer.pid().filter(|pid| *pid > 0) })
            }
        })
    }
}

fn bind_socket(path: &Path, mode: Mode) -> std::io::Result<UnixListener> {
    if std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        std::fs::remove_file(path)?;
    }
    // From its first moment on, and never by its path: in a folder that others write to, that may be a link to another file a moment later.
    let before = umask(mode.complement());
    let bound = UnixListener::bind(path);
    umask(before);
    bound
}

/// More than monitoring has, and few beside the file descriptors of a process.
const MOST: usize = 128;
const BREATH: Duration = Duration::from_millis(100);
