//! Speaks to PostgreSQL from a plain, blocking test, or from within an asynchronous one.

use std::sync::LazyLock;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio_postgres::{Config, Error, NoTls, SimpleQueryMessage};

/// Who asks, and where; always on loopback, without TLS.
#[derive(Clone, Copy)]
pub(crate) struct Account<'a> {
    pub(crate) port: u16,
    pub(crate) user: &'a str,
    pub(crate) password: &'a str,
}

impl Account<'_> {
    /// Runs statements on a connection of their own; returns the rows, each value as text and NULL as an empty one.
    ///
    /// # Errors
    ///
    /// What the server said against it, or that `bound` has passed.
    pub(crate) fn query(self, sql: &str, bound: Duration) -> Result<Vec<Vec<String>>, String> {
        let query = async {
            let answer = tokio::time::timeout(bound, self.query_async(sql)).await;
            answer
                .map_or_else(|_elapsed| Err(format!("no answer within {bound:?}")), |rows| rows.map_err(text))
        };
        // A thread of its own, because an asynchronous test's thread may not block on another runtime.
        std::thread::scope(|scope| {
            scope.spawn(|| RUNTIME.block_on(query)).join().expect("the query's thread")
        })
    }

    async fn query_async(self, sql: &str) -> Result<Vec<Vec<String>>, Error> {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port).dbname("postgres").user(self.user).password(self.password);
        let (client, connection) = config.connect(NoTls).await?;
        let ask = async move {
            // The client is dropped at the end, and that closes the connection.
            client.simple_query(sql).await
        };
        let (answer, closed) = tokio::join!(ask, connection);
        let messages = answer?;
        closed?;
        Ok(messages.iter().filter_map(row).collect())
    }
}

/// A connection that stays open until it is dropped, or the server ends it.
#[derive(Debug)]
pub struct Connection {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Account<'_> {
    /// Opens a connection.
    ///
    /// # Panics
    ///
    /// When the server does not let the account in.
    pub(crate) fn connect(self) -> Connection {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port).dbname("postgres").user(self.user).password(self.password);
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let (client, connection) = config.connect(NoTls).await.expect("a login");
                ready.send(()).expect("somebody who waits");
                tokio::select! {
                    // The server may end it.
                    _ended = connection => {}
                    _dropped = stopped => {}
                }
                drop(client);
            });
        });
        is_ready.recv().expect("an open connection");
        Connection { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the connection's end");
        }
    }
}

fn row(message: &SimpleQueryMessage) -> Option<Vec<String>> {
    let SimpleQueryMessage::Row(row) = message else {
        return None;
    };
    Some((0..row.len()).map(|column| row.get(column).unwrap_or_default().to_owned()).collect())
}

/// The server's own words; the client's would be "db error".
fn text(error: Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |error| error.to_string())
}

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_all().build().expect("a runtime"));
