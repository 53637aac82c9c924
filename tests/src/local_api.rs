//! Asks the local API as a plain client does, byte by byte, so that nothing mends a request on its way.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

/// Where the API listens, and the headers that each request has.
#[derive(Clone, Debug)]
pub struct LocalApi {
    address: Address,
    headers: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
enum Address {
    Tcp(u16),
    Unix(PathBuf),
}

/// The events that somebody who watches is told.
#[derive(Debug)]
pub struct Events(BufReader<Connection>);

#[derive(Debug)]
enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl LocalApi {
    /// Asks at a port of loopback.
    pub fn at_port(port: u16) -> Self {
        Self { address: Address::Tcp(port), headers: vec![("Host".into(), format!("127.0.0.1:{port}"))] }
    }

    /// Asks at a Unix socket.
    pub fn at_socket(path: impl Into<PathBuf>) -> Self {
        Self { address: Address::Unix(path.into()), headers: Vec::new() }
    }

    /// Adds a header to each request, in the place of another one of that name.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Reads a path; returns the status and the body, `None` when nobody answers.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        self.ask("GET", path, "")
    }

    /// Reads a secret.
    ///
    /// # Panics
    /// When it is not given.
    pub fn secret(&self, name: &str) -> Value {
        let (status, body) = self.get(&format!("/v1/secrets/{name}")).expect("an answer");
        assert_eq!(status, 200, "{name}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// Sends a request; returns the status and the body, `None` when nobody answers, or not in HTTP.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let mut connection = self.send(method, path, body).ok()?;
        let mut answer = String::new();
        // Whoever is refused may find the connection closed before all was sent.
        connection.read_to_string(&mut answer).ok();
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// Watches; `path` is that of the events.
    ///
    /// # Panics
    /// When it may not.
    pub fn watch(&self, path: &str) -> Events {
        let mut events = Events(BufReader::new(self.send("GET", path, "").expect("a connection")));
        let status = events.line().expect("an answer");
        assert!(status.contains(" 200 "), "{status}");
        while events.line().is_some_and(|line| !line.is_empty()) {}
        events
    }

    /// Begins to watch; returns the status of the answer, and goes.
    ///
    /// # Panics
    /// When nobody answers.
    pub fn watch_status(&self) -> u16 {
        let connection = self.send("GET", "/v1/watch", "").expect("a connection");
        let status = Events(BufReader::new(connection)).line().expect("an answer");
        status.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
    }

    /// Says that the body ends with the connection, in the words of HTTP/1.0: nothing of it is in chunks.
    fn send(&self, method: &str, path: &str, body: &str) -> std::io::Result<Connection> {
        let mut connection = match &self.address {
            Address::Tcp(port) => Connection::Tcp(TcpStream::connect(("127.0.0.1", *port))?),
            Address::Unix(path) => Connection::Unix(UnixStream::connect(path)?),
        };
        connection.set_bound()?;
        let headers: String =
            self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        write!(connection, "{method} {path} HTTP/1.0\r\n{headers}{length}\r\n{body}")?;
        Ok(connection)
    }
}

impl Events {
    /// Returns the next event; `None` when there will be none.
    ///
    /// # Panics
    /// When there is none within half a minute.
    pub fn next_event(&mut self) -> Option<Value> {
        loop {
            let line = self.line()?;
            if let Some(event) = line.strip_prefix("data: ") {
                return Some(serde_json::from_str(event).expect("JSON"));
            }
        }
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).expect("a line within half a minute");
        (read > 0).then(|| line.trim_end().to_owned())
    }
}

impl Connection {
    fn set_bound(&self) -> std::io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(Some(BOUND)),
            Self::Unix(stream) => stream.set_read_timeout(Some(BOUND)),
        }
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

const BOUND: Duration = Duration::from_secs(30);
