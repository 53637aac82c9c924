//! One login to the server.

use std::time::Duration;

use keywheel_core::{Error, ErrorKind, Result};
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, OptsBuilder, Row, SslOpts};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::product::Product;
use super::refusal::{Ask, number, refused};
use super::sql::{Account, SEES_OTHERS};
use crate::strategies::accounts::Login;
use crate::strategies::place::{Place, Tls, certificates};

/// Where the server is, and how it is spoken to.
#[derive(Debug)]
pub(super) struct Server {
    place: Place,
    database: Option<String>,
    tls: Option<SslOpts>,
}

/// A login; closed by [`Session::close`], or in the background when dropped.
#[derive(Debug)]
pub(super) struct Session {
    connection: Conn,
    product: Product,
    place: String,
    user: String,
}

impl Server {
    /// Takes the address; reads the authorities' certificates.
    ///
    /// # Errors
    /// A file that is missing or does not parse.
    pub(super) fn try_new(place: Place, database: Option<String>) -> Result<Self> {
        let tls = match &place.tls {
            Tls::Off => None,
            Tls::Verify { ca: Some(ca) } => Some(trusting(certificates(ca)?)?),
            Tls::Verify { ca: None } => Some(trusting(rustls_native_certs::load_native_certs().certs)?),
        };
        Ok(Self { place, database, tls })
    }

    /// Logs in.
    ///
    /// # Errors
    /// The server cannot be reached, is too old, or does not let the login in.
    pub(super) async fn log_in(&self, login: Login<'_>) -> Result<Session> {
        let session = tokio::time::timeout(CONNECT_WITHIN, self.session(login)).await;
        let session = session.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Unavailable, "connect", "the connection was not made in time"))
        });
        session.map_err(|error| error.with("server", &self.place).with("user", login.user))
    }

    async fn session(&self, login: Login<'_>) -> Result<Session> {
        let options = OptsBuilder::default()
            .ip_or_hostname(self.place.host.as_str())
            .tcp_port(self.place.port)
            .user(Some(login.user))
            .pass(login.password.expose_text())
            .db_name(self.database.clone())
            .ssl_opts(self.tls.clone())
            .prefer_socket(false)
            .max_allowed_packet(Some(LARGEST_PACKET))
            .wait_timeout(Some(IDLE_SECONDS))
            .init(vec![FIX_QUOTES]);
        let asked = |error| refused(&error, Ask::LogIn);
        let mut connection = Conn::new(options).await.map_err(asked)?;
        let version: Option<String> = connection.query_first("SELECT VERSION()").await.map_err(asked)?;
        let product = Product::try_of(&version.unwrap_or_default())?;
        Ok(Session { connection, product, place: self.place.to_string(), user: login.user.to_owned() })
    }
}

impl Session {
    /// Returns which server it is.
    pub(super) fn product(&self) -> Product {
        self.product
    }

    /// Runs one statement.
    pub(super) async fn run(&mut self, statement: &str) -> Result<()> {
        let done = self.connection.query_drop(statement).await;
        done.map_err(|error| self.named(refused(&error, Ask::Run)))
    }

    /// Runs statements, one after the other.
    pub(super) async fn run_all<S: AsRef<str>>(
        &mut self,
        statements: impl IntoIterator<Item = S>,
    ) -> Result<()> {
        for statement in statements {
            self.run(statement.as_ref()).await?;
        }
        Ok(())
    }

    /// Returns the rows of a query.
    pub(super) async fn rows<T: FromRow + Send + 'static>(&mut self, query: &str) -> Result<Vec<T>> {
        let rows = self.connection.query(query).await;
        rows.map_err(|error| self.named(refused(&error, Ask::Run)))
    }

    /// Returns the rows of a query that takes the two parts of an account.
    pub(super) async fn rows_with<T: FromRow + Send + 'static>(
        &mut self,
        query: &str,
        account: Account<'_>,
    ) -> Result<Vec<T>> {
        let rows = self.connection.exec(query, (account.user, account.host)).await;
        rows.map_err(|error| self.named(refused(&error, Ask::Run)))
    }

    /// Ends every other connection of accounts of this name.
    pub(super) async fn end_sessions(&mut self, user: &str) -> Result<()> {
        self.run(SEES_OTHERS).await?;
        let connections: Vec<Row> = self.rows("SHOW PROCESSLIST").await?;
        for row in &connections {
            let (Some(Ok(id)), Some(Ok(owner))) = (row.get_opt::<u64, _>(0), row.get_opt::<String, _>(1))
            else {
                continue;
            };
            if owner != user {
                continue;
            }
            let ended = self.connection.query_drop(format!("KILL CONNECTION {id}")).await;
            match ended {
                Err(error) if number(&error) != Some(NO_SUCH_CONNECTION) => {
                    return Err(self.named(refused(&error, Ask::Run)));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Says goodbye to the server, which does not matter if it is lost.
    pub(super) async fn close(self) {
        drop(self.connection.disconnect().await);
    }

    fn named(&self, error: Error) -> Error {
        error.with("server", &self.place).with("user", &self.user)
    }
}

/// Encrypts, and trusts these authorities alone.
fn trusting(authorities: Vec<CertificateDer<'static>>) -> Result<SslOpts> {
    let mut store = RootCertStore::empty();
    let good: Vec<_> =
        authorities.into_iter().filter(|authority| store.add(authority.clone()).is_ok()).collect();
    if good.is_empty() {
        return Err(Error::config("connect", "there is no certificate authority to trust")
            .with_help("name the authority's file as `ca_file`"));
    }
    let roots = good.iter().map(|authority| authority.to_vec().into()).collect();
    Ok(SslOpts::default().with_disable_built_in_roots(true).with_root_certs(roots))
}

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const IDLE_SECONDS: usize = 60;
/// Enough for the longest list of columns; the server need not be asked for its own limit.
const LARGEST_PACKET: usize = 16 << 20;
/// Gives quotes the one meaning that the statements are written for, whatever the server's default; MariaDB also is not to make an account by a
/// grant (MySQL never does, and does not know the word).
const FIX_QUOTES: &str = "SET SESSION sql_quote_show_create = 1, sql_mode = IF(VERSION() LIKE '%MariaDB%', \
     'NO_BACKSLASH_ESCAPES,NO_AUTO_CREATE_USER', 'NO_BACKSLASH_ESCAPES')";
const NO_SUCH_CONNECTION: u16 = 1094;
