//! Stands between a client and a server, and shows faults that the server itself cannot be made to show.
//!
//! A quota's 429, a seal's 503, a hang and a refused connection are better shown by the real server
//! ([`crate::OpenBao`]: `sys/quotas`, `seal`, `pause`, `stop`). This is for the rest, and for faults on a count of
//! requests.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crate::loopback::{self, Request, Server};
use crate::{sts, wait};

/// A reverse proxy over plain HTTP/1.1 on loopback; one request per connection.
#[derive(Debug)]
pub struct Faults {
    listener: Server,
    shared: Arc<Shared>,
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
    /// The server's own answer, after this time, or when the fault is healed.
    Late {
        /// The time.
        by: Duration,
    },
    /// A refusal as the JSON services of AWS write it.
    Aws {
        /// The status code.
        status: u16,
        /// The error's code (`ThrottlingException`).
        code: String,
        /// The error's words.
        message: String,
    },
    /// Credentials from STS for a web identity; see [`crate::sts::granted`].
    Granted {
        /// Their access key.
        access_key: String,
        /// How long they last.
        lifetime: Duration,
    },
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
    /// The body.
    pub body: Vec<u8>,
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
        self.listener.address()
    }

    /// Shows `fault` to all requests until [`Faults::heal`].
    pub fn show(&self, fault: Fault) {
        self.set(Rule { fault, prefix: String::new(), operation: None, skip: 0, left: None });
    }

    /// Shows `fault` to requests whose path begins with `prefix` (`/v1/secret/data`) until [`Faults::heal`].
    pub fn show_at(&self, prefix: &str, fault: Fault) {
        self.set(Rule { fault, prefix: prefix.to_owned(), operation: None, skip: 0, left: None });
    }

    /// Shows `fault` to requests of an operation of AWS's (`BatchGetSecretValue`, `AssumeRole`) until [`Faults::heal`].
    pub fn show_to(&self, operation: &str, fault: Fault) {
        let operation = Some(operation.to_owned());
        self.set(Rule { fault, prefix: String::new(), operation, skip: 0, left: None });
    }

    /// Lets `count` requests whose path begins with `prefix` through, then shows `fault` to those after them until [`Faults::heal`].
    pub fn show_after(&self, count: usize, prefix: &str, fault: Fault) {
        self.set(Rule { fault, prefix: prefix.to_owned(), operation: None, skip: count, left: None });
    }

    /// Shows `fault` to the next `count` requests, then heals.
    pub fn show_times(&self, count: usize, fault: Fault) {
        self.set(Rule { fault, prefix: String::new(), operation: None, skip: 0, left: Some(count) });
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

    /// Counts the requests of an operation of AWS's that have arrived.
    pub fn count_of(&self, operation: &str) -> usize {
        self.shared.state().arrived.iter().filter(|arrived| arrived.is_of(operation)).count()
    }

    /// Counts the requests that have arrived.
    pub fn count(&self) -> usize {
        self.shared.state().arrived.len()
    }

    /// Counts the requests that [`Fault::Hang`] was shown to, and those whose answer [`Fault::Late`] has held back.
    pub fn held(&self) -> usize {
        self.shared.state().held
    }

    fn listen(host: IpAddr, server: Option<String>) -> Self {
        let shared = Arc::new(Shared { server, ..Shared::default() });
        let for_listener = Arc::clone(&shared);
        let listener = Server::start(host, move |client| serve(client, &for_listener));
        Self { listener, shared }
    }

    fn set(&self, rule: Rule) {
        self.shared.state().rule = Some(rule);
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        // Requests that hang lose their connection.
        self.heal();
    }
}

impl Arrived {
    /// Returns the operation of AWS's that is asked for: the header of the JSON services names it, and the body of the older ones.
    pub fn operation(&self) -> Option<String> {
        match self.headers.get("x-amz-target") {
            Some(target) => target.rsplit('.').next().map(str::to_owned),
            None => {
                let body = std::str::from_utf8(&self.body).ok()?;
                let action = body.split('&').find_map(|pair| pair.strip_prefix("Action="))?;
                Some(action.to_owned())
            }
        }
    }

    fn is_of(&self, operation: &str) -> bool {
        self.operation().is_some_and(|own| own == operation)
    }

    fn now(request: &Request) -> Self {
        Self {
            method: request.method.clone(),
            path: request.path.clone(),
            headers: request.headers.clone(),
            body: request.body.clone(),
            at: wait::monotonic(),
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
    held: usize,
    healed: u64,
}

#[derive(Debug)]
struct Rule {
    fault: Fault,
    prefix: String,
    operation: Option<String>,
    skip: usize,
    left: Option<usize>,
}

impl Rule {
    fn is_about(&self, arrived: &Arrived) -> bool {
        arrived.path.starts_with(&self.prefix)
            && self.operation.as_ref().is_none_or(|operation| arrived.is_of(operation))
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Notes a request and returns the fault that it is to see.
    fn note(&self, arrived: Arrived) -> Option<Fault> {
        let mut state = self.state();
        let mut fault = None;
        if let Some(rule) = state.rule.as_mut().filter(|rule| rule.is_about(&arrived)) {
            if rule.skip > 0 {
                rule.skip -= 1;
            } else {
                fault = (rule.left != Some(0)).then(|| rule.fault.clone());
                rule.left = rule.left.map(|left| left.saturating_sub(1));
            }
        }
        state.arrived.push(arrived);
        fault
    }

    fn wait_until_healed(&self, bound: Duration) {
        let mut state = self.state();
        state.held += 1;
        let before = state.healed;
        drop(self.changed.wait_timeout_while(state, bound, |state| state.healed == before));
    }
}

fn serve(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    let request = Request::read(&client)?;
    match shared.note(Arrived::now(&request)) {
        Some(Fault::Hang) => {
            shared.wait_until_healed(Duration::MAX);
            Ok(())
        }
        Some(Fault::Late { by }) => {
            let answer = forward(shared, &request)?;
            shared.wait_until_healed(by);
            client.write_all(&answer)
        }
        Some(Fault::Cut) => {
            let answer = forward(shared, &request)?;
            client.write_all(&answer[..middle_of_body(&answer)])
        }
        Some(fault) => client.write_all(answer(&fault, &request.path).as_bytes()),
        None => client.write_all(&forward(shared, &request)?),
    }
}

fn forward(shared: &Shared, request: &Request) -> io::Result<Vec<u8>> {
    let Some(server) = &shared.server else {
        return Ok(loopback::answer("200 OK", "", "{}").into_bytes());
    };
    let mut server = TcpStream::connect(server)?;
    server.write_all(&request.to_pass_on())?;
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
            loopback::answer(
                "429 Too Many Requests",
                &header,
                r#"{"errors":["request path: rate limit quota exceeded"]}"#,
            )
        }
        Fault::Sealed => loopback::answer("503 Service Unavailable", "", r#"{"errors":["Vault is sealed"]}"#),
        Fault::Redirect { origin } => {
            loopback::answer("307 Temporary Redirect", &format!("Location: {origin}{path}\r\n"), "")
        }
        Fault::Answer { status, body } => loopback::answer(&format!("{status} Shown by a test"), "", body),
        Fault::Aws { status, code, message } => {
            let body = format!(r#"{{"__type":"{code}","message":"{message}"}}"#);
            loopback::answer(&format!("{status} Shown by a test"), "", &body)
        }
        Fault::Granted { access_key, lifetime } => {
            loopback::answer("200 OK", "", &sts::grant(access_key, *lifetime))
        }
        Fault::Oversized { bytes } => {
            loopback::answer("200 OK", "", &format!("\"{}\"", "x".repeat(bytes - 2)))
        }
        Fault::Cut | Fault::Hang | Fault::Late { .. } => unreachable!("these are no answers of their own"),
    }
}
