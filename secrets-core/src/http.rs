//! HTTP requests to the application, which carry no secret: to tell it of a change, or to see whether it works.
//!
//! They go straight to the host that is named, or to a Unix socket: no proxy, no redirect. Of an answer only its status is looked at.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A request that was checked and can be sent as often as it is wanted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    method: Method,
    url: String,
    unix_socket: Option<PathBuf>,
    timeout: Duration,
}

/// The methods that a request may have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
}

impl std::str::FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = [("GET", Self::Get), ("HEAD", Self::Head), ("POST", Self::Post), ("PUT", Self::Put)];
        let found = known.iter().find(|(name, _)| *name == text).map(|(_, method)| *method);
        found.ok_or_else(|| "must be GET, HEAD, POST or PUT".into())
    }
}

impl fmt::Display for Request {
    /// Names method and URL without its query, which may say more than a log should.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.split(['?', '#']).next().unwrap_or_default();
        let method = match self.method {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
        };
        write!(f, "{method} {url}")
    }
}

impl Request {
    /// How long an answer may take when nothing is said.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

    /// Takes an absolute `http://` or `https://` URL without a user in it. With `unix_socket`, the request goes there whatever host the URL has.
    ///
    /// # Errors
    /// Says in words what is wrong.
    #[cfg(feature = "http")]
    pub fn try_new(
        method: Method,
        url: &str,
        unix_socket: Option<PathBuf>,
        timeout: Duration,
    ) -> Result<Self, String> {
        let parsed =
            reqwest::Url::parse(url).map_err(|_| "must be a URL such as http://127.0.0.1:8080/healthz")?;
        if !matches!(parsed.scheme(), "http" | "https") || !parsed.has_host() {
            return Err("must be an http:// or https:// URL with a host".into());
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err("must not have a user or password in it".into());
        }
        Ok(Self { method, url: parsed.into(), unix_socket, timeout })
    }

    /// Returns the TCP port that it goes to; none where it goes to a Unix socket.
    #[cfg(feature = "http")]
    pub fn port(&self) -> Option<u16> {
        match self.unix_socket {
            Some(_) => None,
            None => reqwest::Url::parse(&self.url).ok()?.port_or_known_default(),
        }
    }

    /// Returns no port: no request is sent.
    #[cfg(not(feature = "http"))]
    pub fn port(&self) -> Option<u16> {
        None
    }

    /// Returns the same request with another time-out.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Sends it, and returns the status of the answer.
    ///
    /// # Errors
    /// Says in words why there was no answer.
    #[cfg(feature = "http")]
    pub(crate) async fn send(&self) -> Result<u16, String> {
        let method = match self.method {
            Method::Get => reqwest::Method::GET,
            Method::Head => reqwest::Method::HEAD,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
        };
        let mut client = crate::names::client()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .timeout(self.timeout);
        if let Some(socket) = &self.unix_socket {
            client = client.unix_socket(socket.as_path());
        }
        if !self.url.starts_with("https:") {
            // Reading the platform's certificates takes longer than the request.
            client = client.tls_certs_only([]);
        }
        let client = client.build().map_err(|_| "the HTTP client cannot be made")?;
        match client.request(method, &self.url).send().await {
            Ok(answer) => Ok(answer.status().as_u16()),
            Err(error) if error.is_timeout() => Err(format!("no answer within {:?}", self.timeout)),
            Err(error) if error.is_connect() => Err("cannot connect".into()),
            Err(_) => Err("the answer is not HTTP, or broke off".into()),
        }
    }

    /// Refuses: this build was made without the feature `http`.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "http"))]
    pub fn try_new(
        _method: Method,
        _url: &str,
        _unix_socket: Option<PathBuf>,
        _timeout: Duration,
    ) -> Result<Self, String> {
        Err("this program was built without the feature `http`".into())
    }

    #[cfg(not(feature = "http"))]
    #[expect(clippy::unused_async, reason = "it waits where the feature is on")]
    pub(crate) async fn send(&self) -> Result<u16, String> {
        Err(format!(
            "this program was built without the feature `http` ({:?}, {:?})",
            self.unix_socket, self.timeout
        ))
    }
}
