//! The listener of the admin endpoint, and the task that answers: bounded in connections, and in how long one says nothing.

use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use futures_util::future::BoxFuture;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use keywheel_core::config::Listen;
use rustix::fs::Mode;
use rustix::process::umask;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use crate::exit::Failure;

/// Where the admin endpoint is to be, bound already.
#[derive(Debug)]
pub(crate) struct Endpoint {
    listen: Option<Listen>,
    bound: Option<Admin>,
}

/// The admin endpoint, ended when it is dropped.
#[derive(Debug)]
pub(crate) struct AdminTask {
    listen: Option<Listen>,
    task: Option<tokio::task::JoinHandle<()>>,
}

/// A listener that is bound and not yet served.
#[derive(Debug)]
enum Admin {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Endpoint {
    /// Binds the address, or the socket (with mode 0600; a socket that an earlier run left is replaced).
    pub(crate) async fn bind(listen: Option<Listen>) -> Result<Self, Failure> {
        let bound = match &listen {
            Some(listen) => Some(Admin::bind(listen).await?),
            None => None,
        };
        Ok(Self { listen, bound })
    }

    /// Answers as `router` says until the task is dropped.
    pub(crate) fn serve(self, router: Router) -> AdminTask {
        let task = self.bound.map(|admin| tokio::spawn(admin.run(router)));
        AdminTask { listen: self.listen, task }
    }
}

impl AdminTask {
    /// Tells whether it is where `listen` says.
    pub(crate) fn is_at(&self, listen: Option<&Listen>) -> bool {
        self.listen.as_ref() == listen
    }
}

impl Drop for AdminTask {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Admin {
    async fn bind(listen: &Listen) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            Failure::other(format!("cannot listen for the admin endpoint on {listen:?}: {error}"))
        };
        match listen {
            Listen::Tcp(address) => {
                let listener = TcpListener::bind(address).await.map_err(failed)?;
                if let Ok(bound) = listener.local_addr() {
                    info!(address = %bound, "the admin endpoint listens");
                }
                Ok(Self::Tcp(listener))
            }
            Listen::Unix(path) => bind_socket(path).map(Self::Unix).map_err(failed),
        }
    }

    async fn run(self, router: Router) {
        let places = Arc::new(Semaphore::new(MOST));
        let mut connections = JoinSet::new();
        // A place first: what there is no place for waits in the kernel's queue, and takes no file descriptor from the sources.
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            while connections.try_join_next().is_some() {}
            match self.accept(router.clone()).await {
                Ok(answering) => drop(connections.spawn(async move {
                    answering.await;
                    drop(place);
                })),
                Err(error) => {
                    // No file descriptor is free, say: the next moment may be another one.
                    warn!(%error, "a connection to the admin endpoint could not be accepted");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    /// Waits for a connection; returns what answers it.
    async fn accept(&self, router: Router) -> std::io::Result<BoxFuture<'static, ()>> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // A small answer is not held back for more.
                stream.set_nodelay(true).ok();
                Box::pin(answer(stream, router.layer(Extension(ConnectInfo::<SocketAddr>(peer)))))
            }
            Self::Unix(listener) => Box::pin(answer(listener.accept().await?.0, router)),
        })
    }
}

/// Answers what is asked over one connection, until it has nothing more to say.
async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = serving.await {
        debug!(%error, "a connection to the admin endpoint ended");
    }
}

fn bind_socket(path: &Path) -> std::io::Result<UnixListener> {
    if std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        std::fs::remove_file(path)?;
    }
    // From its first moment on; `keywheel run` has the umask of its user otherwise.
    let before = umask(Mode::RWXG | Mode::RWXO);
    let bound = UnixListener::bind(path);
    umask(before);
    let listener = bound?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// More than monitoring has, and few beside the file descriptors of a process.
const MOST: usize = 128;
/// For how long a connection may say nothing, or not all of a request's head.
const IDLE: Duration = Duration::from_secs(30);
const BREATH: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_or_half_a_request_is_not_listened_to_for_ever() {
        let bound = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = bound.local_addr().unwrap();
        let endpoint = Endpoint { listen: None, bound: Some(Admin::Tcp(bound)) };
        let _served = endpoint.serve(Router::new().route("/livez", get(|| async { "ok" })));
        for said in ["", "GET /livez HT", "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(said.as_bytes()).await.unwrap();
            let mut heard = String::new();
            let ended = tokio::time::timeout(10 * IDLE, stream.read_to_string(&mut heard)).await;
            assert!(ended.is_ok(), "{said:?}");
            assert_eq!(heard.contains("200 OK"), said.ends_with("\r\n\r\n"), "{said:?}: {heard:?}");
        }
    }
}
