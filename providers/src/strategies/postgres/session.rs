//! One login to the server, and what its refusals mean.

use std::time::Duration;

use keywheel_core::{Error, ErrorKind, Result};
use tokio::net::TcpStream;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

use super::tls::Connector;
use crate::strategies::accounts::Login;
use crate::strategies::place::{Place, Tls};

/// Where the server is, and how it is spoken to.
#[derive(Debug)]
pub(super) struct Server {
    place: Place,
    database: String,
    connector: Option<Connector>,
}

impl Server {
    /// Takes the address; reads the authority's file.
    ///
    /// # Errors
    /// A file that is missing or does not parse.
    pub(super) fn try_new(place: Place, database: String) -> Result<Self> {
        let connector = match &place.tls {
            Tls::Off => None,
            Tls::Verify { ca } => Some(Connector::try_new(&place.host, ca.as_ref())?),
        };
        Ok(Self { place, database, connector })
    }

    /// Logs in, does `work`, and closes the connection.
    ///
    /// # Errors
    /// The server cannot be reached, does not let the login in, or refuses what is done.
    pub(super) async fn with<T, F>(&self, login: Login<'_>, work: impl FnOnce(Client) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, tokio_postgres::Error>>,
    {
        let done = self.connected(login, work).await;
        done.map_err(|error| error.with("server", &self.place).with("user", login.user))
    }

    async fn connected<T, F>(&self, login: Login<'_>, work: impl FnOnce(Client) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, tokio_postgres::Error>>,
    {
        let mut config = Config::new();
        config.user(login.user).password(login.password.expose_secret()).dbname(&self.database);
        config.application_name("keywheel").ssl_mode(SslMode::Disable);
        let connect = TcpStream::connect((self.place.host.as_str(), self.place.port));
        let stream = match tokio::time::timeout(CONNECT_WITHIN, connect).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(_)) => return Err(unreachable("the server cannot be reached")),
            Err(_) => return Err(unreachable("the connection was not made in time")),
        };
        match &self.connector {
            None => {
                let (client, connection) =
                    config.connect_raw(stream, NoTls).await.map_err(|error| refused(&error))?;
                driven(work(client), connection).await
            }
            Some(connector) => {
                config.ssl_mode(SslMode::Require);
                let connected = config.connect_raw(stream, connector.clone()).await;
                let (client, connection) = connected.map_err(|error| refused(&error))?;
                driven(work(client), connection).await
            }
        }
    }
}

/// Does `work` while the connection is kept going, and lets it end in good order.
async fn driven<T>(
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    connection: impl Future<Output = Result<(), tokio_postgres::Error>>,
) -> Result<T> {
    let (done, _closed) = tokio::join!(work, connection);
    done.map_err(|error| refused(&error))
}

fn unreachable(reason: &str) -> Error {
    Error::new(ErrorKind::Unavailable, "connect", reason)
}

/// Returns what an error means, in words of our own: the server's may quote the statement.
fn refused(error: &tokio_postgres::Error) -> Error {
    let Some(state) = error.code() else {
        let reason = match error.is_closed() {
            true => "the connection broke",
            false => "the server does not speak the protocol, or not with this encryption",
        };
        return Error::new(ErrorKind::Unavailable, "ask PostgreSQL", reason);
    };
    let (kind, reason) = match *state {
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            (ErrorKind::Unauthenticated, "the server does not let this login in")
        }
        SqlState::INSUFFICIENT_PRIVILEGE => (ErrorKind::PermissionDenied, "the role may not do this"),
        SqlState::INVALID_CATALOG_NAME => (ErrorKind::Config, "there is no such database"),
        SqlState::UNDEFINED_OBJECT => (ErrorKind::NotFound, "there is no such role"),
        SqlState::TOO_MANY_CONNECTIONS => (ErrorKind::Unavailable, "the server has no connection left"),
        SqlState::READ_ONLY_SQL_TRANSACTION => {
            (ErrorKind::Unavailable, "the server is a standby, or only lets itself be read")
        }
        // Connections that broke, and operators who intervened (classes 08 and 57).
        _ if state.code().starts_with("08") || state.code().starts_with("57") => {
            (ErrorKind::Unavailable, "the server is starting, stopping, or ended the connection")
        }
        // Locks, and two who change one role (classes 40 and 55, and XX000 `tuple concurrently updated`).
        _ if ["40", "55", "XX"].iter().any(|class| state.code().starts_with(class)) => {
            (ErrorKind::Unavailable, "somebody else is changing the same role")
        }
        _ => (ErrorKind::Rejected, "the server refuses the statement"),
    };
    Error::new(kind, "ask PostgreSQL", reason).with("sqlstate", state.code())
}

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
