//! Asks the admin endpoint of a running program.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use keywheel_core::config::Listen;
use reqwest::{Method, StatusCode, Url};

use crate::exit::Failure;

/// Where an admin endpoint is: `http://127.0.0.1:9464` or `unix:/PATH`.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    Http(Url),
    Unix(PathBuf),
}

/// What it answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.into()));
        }
        let url = Url::parse(text).ok().filter(|url| url.scheme() == "http" && url.has_host());
        url.map(Self::Http).ok_or_else(|| "it is written http://127.0.0.1:9464 or unix:/PATH".into())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => f.write_str(url.as_str().trim_end_matches('/')),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Address {
    /// Returns where an endpoint that listens there is asked.
    ///
    /// # Errors
    /// None for an address that can be listened on.
    pub(crate) fn of(listen: &Listen) -> Result<Self, String> {
        match listen {
            Listen::Tcp(address) => format!("http://{address}").parse(),
            Listen::Unix(path) => Ok(Self::Unix(path.clone())),
        }
    }

    /// Sends one request, with a bound on time.
    ///
    /// # Errors
    /// Nobody answers there.
    pub(crate) async fn ask(&self, method: Method, path: &str) -> Result<Answer, Failure> {
        // What the library says of a failure may name its own parts; the address says enough.
        let unreachable = |_| {
            Failure::unavailable(format!(
                "nobody answers at the admin endpoint {self}; is the program running, with `admin: {{listen: …}}` in its configuration?"
            ))
        };
        let client = keywheel_core::names::client()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .tls_certs_only([])
            .connect_timeout(CONNECT_WITHIN)
            .timeout(ANSWER_WITHIN);
        let (client, base) = match self {
            Self::Http(url) => (client, url.as_str().trim_end_matches('/').to_owned()),
            Self::Unix(socket) => (client.unix_socket(socket.as_path()), "http://localhost".into()),
        };
        let client = client.build().map_err(unreachable)?;
        let answer = client.request(method, format!("{base}{path}")).send().await.map_err(unreachable)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(unreachable)?.to_vec();
        Ok(Answer { status, body })
    }
}

impl Answer {
    /// Returns the first line of the body, for a message.
    pub(crate) fn reason(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let line: String = text.lines().next().unwrap_or_default().chars().take(400).collect();
        if line.is_empty() { format!("it answered {}", self.status) } else { line }
    }
}

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Longer than the endpoint takes for the slowest of its answers.
const ANSWER_WITHIN: Duration = Duration::from_secs(70);
