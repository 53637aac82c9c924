//! The listener of the admin endpoint, and the task that answers.

use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use axum::{Router, serve};
use keywheel_core::config::Listen;
use rustix::fs::Mode;
use rustix::process::umask;
use tokio::net::{TcpListener, UnixListener};
use tracing::{error, info};

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
        let ended = match self {
            Self::Tcp(listener) => {
                serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await
            }
            Self::Unix(listener) => serve(listener, router).await,
        };
        if let Err(error) = ended {
            error!(%error, "the admin endpoint ended");
        }
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
