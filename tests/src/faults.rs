//! Stands between a client and a server, and shows faults that the server itself cannot be made to show.
//!
//! A quota's 429, a seal's 503, a hang and a refused connection are better shown by the real server
//! ([`crate::OpenBao`]: `sys/quotas`, `seal`, `pause`, `stop`). This is for the rest, and for faults on a count of
//! requests.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::wait;

/// A reverse proxy over plain HTTP/1.1 on loopback; one request per connection.
#[derive(Debug)]
pub struct Faults {
    listen: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

/// What is answered instead of the server's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// 429 with this `Retry-After`, in seconds.
    TooManyRequests {
        /// The header's value.
        retry_after: u32,
    },
    /// 503, as a sealed server answers.
    Sealed,
    /// 307 to the same path at this origin (`http://127.0.0.2:1234`).
    Redirect {
        /// The other origin.
        origin: String,
    },
    /// Any status with any body.
    Answer {
        /// The status code.
        status: u16,
        /// The body, as JSON.
        body: String,
    },
    /// The server's own answer, whose connection breaks in the middle of the body.
    Cut,
    /// Nothing, until the fault is healed.
    Hang,
    /// 200 with a JSON string of this many bytes.
    Oversized {
        /// The body's size.
        bytes: usize,
    },
}

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// The method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The headers, with names in lower case.
    pub headers: BTreeMap<String, String>,
    /// When its body had arrived, on [`wait::monotonic`]'s clock.
    pub at: Duration,
}

impl Faults {
    /// Stands in front of `server`, an origin such as [`crate::OpenBao::plain_address`].
    pub fn before(server: &str) -> Self {
        Self::listen(Ipv4Addr::LOCALHOST.into(), Some(server.trim_start_matches("http://").to_owned()))
    }

    /// Stands alone on another host (127.0.0.2) and answers 200 with an empty object; see [`Fault::Redirect`].
    pub fn elsewhere() -> Self {
        Self::listen(Ipv4Addr::new(127, 0, 0, 2).into(), None)
    }

    /// Returns the origin to connect to.
    pub fn address(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// Shows `fault` to all requests until [`Faults::heal`].
    pub fn show(&self, fault: Fault) {
        self.set(Rule { fault, prefix: String::new(), left: None });
    }

    /// Shows `fault` to requests whose path begins with `prefix` (`/v1/secret/data`) until [`Faults::heal`].
    pub fn show_at(&self, prefix: &str, fault: Fault) {
        self.set(Rule { fault, prefix: prefix.to_owned(), left: None });
    }

    /// Shows `fault` to the next `count` requests, then heals.
    pub fn show_times(&self, count: usize, fault: Fault) {
        self.set(Rule { fault, prefix: String::new(), left: Some(count) });
    }

    /// Lets requests through again; those that hang lose their connection.
    pub fn heal(&self) {
        let mut state = self.shared.state();
        state.rule = None;
        state.healed += 1;
        self.shared.changed.notify_all();
    }

    /// Returns the requests that have arrived, oldest first.
    pub fn arrived(&self) -> Vec<Arrived> {
        self.shared.state().arrived.clone()
    }

    /// Counts the requests that have arrived.
    pub fn count(&self) -> usize {
        self.shared.state().arrived.len()
    }

    fn listen(host: IpAddr, server: Option<String>) -> Self {
        let listener = TcpListener::bind((host, 0)).expect("a loopback listener");
        let listen = listener.local_addr().expect("a bound listener");
        let shared = Arc::new(Shared { server, ..Shared::default() });
        let for_acceptor = Arc::clone(&shared);
        let acceptor = thread::spawn(move || accept(&listener, &for_acceptor));
        Self { listen, shared, acceptor: Some(acceptor) }
    }

    fn set(&self, rule: Rule) {
        self.shared.state().rule = Some(rule);
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        self.shared.state().closed = true;
        self.heal();
        // Wakes the acceptor, which then sees that it is over.
        drop(TcpStream::connect(self.listen));
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().expect("the acceptor's end");
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    server: Option<String>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    rule: Option<Rule>,
    arrived: Vec<Arrived>,
    healed: u64,
    closed: bool,
}

#[derive(Debug)]
struct Rule {
    fault: Fault,
    prefix: String,
    left: Option<usize>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Notes a request and returns the fault that it is to see.
    fn note(&self, arrived: Arrived) -> Option<Fault> {
        let mut state = self.state();
        let mut fault = None;
        if let Some(rule) = state.rule.as_mut().filter(|rule| arrived.path.starts_with(&rule.prefix)) {
            fault = (rule.left != Some(0)).then(|| rule.fault.clone());
            rule.left = rule.left.map(|left| left.saturating_sub(1));
        }
        state.arrived.push(arrived);
        fault
    }

    fn hang(&self) {
        let state = self.state();
        let before = state.healed;
        drop(self.changed.wait_while(state, |state| state.healed == before));
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.state().closed {
            return;
        }
        if let Ok(client) = client {
            let shared = Arc::clone(shared);
            // A client that goes away in the middle is the client's own business.
            thread::spawn(move || drop(serve(client, &shared)));
        }
    }
}

fn serve(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    let (request, arrived) = read_request(&client)?;
    let path = arrived.path.clone();
    match shared.note(arrived) {
        Some(Fault::Hang) => {
            shared.hang();
            Ok(())
        }
        Some(Fault::Cut) => {
            let answer = forward(shared, &request)?;
            client.write_all(&answer[..middle_of_body(&answer)])
        }
        Some(fault) => client.write_all(answer(&fault, &path).as_bytes()),
        None => client.write_all(&forward(shared, &request)?),
    }
}

/// Reads one request; returns it as it is passed on, without keep-alive, and as it is remembered.
fn read_request(client: &TcpStream) -> io::Result<(Vec<u8>, Arrived)> {
    let mut reader = BufReader::new(client);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let mut head = line.clone();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
        if !name.eq_ignore_ascii_case("connection") {
            head.push_str(&line);
        }
    }
    head.push_str("Connection: close\r\n\r\n");
    let length = headers.get("content-length").map_or(Ok(0), |length| length.parse());
    let mut body = vec![0; length.map_err(|_not_a_number| io::ErrorKind::InvalidData)?];
    reader.read_exact(&mut body)?;
    let request = [head.into_bytes(), body].concat();
    Ok((request, Arrived { method, path, headers, at: wait::monotonic() }))
}

fn forward(shared: &Shared, request: &[u8]) -> io::Result<Vec<u8>> {
    let Some(server) = &shared.server else {
        return Ok(http_answer("200 OK", "", "{}").into_bytes());
    };
    let mut server = TcpStream::connect(server)?;
    server.write_all(request)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    Ok(answer)
}

fn middle_of_body(answer: &[u8]) -> usize {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(0, |at| at + 4);
    end + (answer.len() - end) / 2
}

fn answer(fault: &Fault, path: &str) -> String {
    match fault {
        Fault::TooManyRequests { retry_after } => {
            let header = format!("Retry-After: {retry_after}\r\n");
            http_answer(
                "429 Too Many Requests",
                &header,
                r#"{"errors":["request path: rate limit quota exceeded"]}"#,
            )
        }
        Fault::Sealed => http_answer("503 Service Unavailable", "", r#"{"errors":["Vault is sealed"]}"#),
        Fault::Redirect { origin } => {
            http_answer("307 Temporary Redirect", &format!("Location: {origin}{path}\r\n"), "")
        }
        Fault::Answer { status, body } => http_answer(&format!("{status} Shown by a test"), "", body),
        Fault::Oversized { bytes } => http_answer("200 OK", "", &format!("\"{}\"", "x".repeat(bytes - 2))),
        Fault::Cut | Fault::Hang => unreachable!("these are no answers of their own"),
    }
}

fn http_answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}Connection: close\r\n\r\n{body}"
    )
}
