//! Seeing whether the application works with what was delivered.

use std::fmt;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::http::Request;
use crate::notify::Event;
use crate::program::Program;

/// How an application proves that it works, and how long it may take.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Probe {
    /// What is looked at.
    pub check: Check,
    /// How long the application may take to be told of a change, and then as long to prove that it works with it.
    pub within: Duration,
    /// How long to wait after everybody was told, before the first look.
    pub delay: Duration,
    /// How long to wait between two looks.
    pub interval: Duration,
    /// How many looks in a row have to be good.
    pub successes: u32,
}

/// What is looked at.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Check {
    /// A request that has to be answered with a status from 200 to 399.
    Http(Request),
    /// An address, `HOST:PORT`, that has to take a connection.
    Tcp {
        /// The address.
        address: String,
        /// How long connecting may take.
        timeout: Duration,
    },
    /// A program that has to end with exit code 0.
    Exec(Program),
}

impl Probe {
    /// How long an application may take when nothing is said.
    pub const DEFAULT_WITHIN: Duration = Duration::from_secs(30);
    /// How long to wait between two looks when nothing is said.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_millis(500);

    /// Looks once.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`], which says what was seen instead.
    pub async fn look(&self, event: &Event) -> Result<()> {
        let seen = match &self.check {
            Check::Http(request) => match request.send().await {
                Ok(200..=399) => Ok(()),
                Ok(status) => Err(format!("it answered {status}")),
                Err(reason) => Err(reason),
            },
            Check::Tcp { address, timeout } => match tokio::time::timeout(*timeout, connect(address)).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(format!("cannot connect: {}", error.kind())),
                Err(_) => Err(format!("no connection within {timeout:?}")),
            },
            Check::Exec(program) => program.run(event).await.map_err(|failure| failure.reason),
        };
        seen.map_err(|reason| {
            Error::new(ErrorKind::Rejected, "verify", reason).with("probe", &self.check).with_temporary(true)
        })
    }
}

#[cfg(feature = "http")]
use crate::names::connect;

#[cfg(not(feature = "http"))]
async fn connect(address: &str) -> std::io::Result<tokio::net::TcpStream> {
    tokio::net::TcpStream::connect(address).await
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(request) => request.fmt(f),
            Self::Tcp { address, .. } => f.write_str(address),
            Self::Exec(program) => program.fmt(f),
        }
    }
}
