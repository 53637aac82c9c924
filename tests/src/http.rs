//! Sends one HTTP request from a plain, blocking test, or from within an asynchronous one.

use std::sync::LazyLock;
use std::time::Duration;

use reqwest::Certificate;
pub use reqwest::Method;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

/// A request that is being put together.
#[derive(Debug)]
pub struct Request<'a> {
    method: Method,
    url: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    body: Option<Vec<u8>>,
    ca_pem: Option<&'a str>,
}

/// What the server answered.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body, whole.
    pub body: Vec<u8>,
}

impl<'a> Request<'a> {
    /// Begins a request without headers and body.
    pub fn new(method: Method, url: &'a str) -> Self {
        Self { method, url, headers: Vec::new(), body: None, ca_pem: None }
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: &'a str, value: &'a str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Sends `body` as JSON, of the type that a header names, if one does.
    #[must_use]
    pub fn with_json(mut self, body: &Value) -> Self {
        self.body = Some(body.to_string().into_bytes());
        self
    }

    /// Sends `body` as it is.
    #[must_use]
    pub fn with_body(mut self, body: Vec<u8>) -> Self {
        self.body = Some(body);
        self
    }

    /// Trusts this certificate authority and no other.
    #[must_use]
    pub fn with_ca(mut self, pem: &'a str) -> Self {
        self.ca_pem = Some(pem);
        self
    }

    /// Sends the request on a connection of its own and reads the whole answer. Redirects are not followed.
    ///
    /// # Errors
    ///
    /// When there is no answer within thirty seconds.
    pub fn send(self) -> Result<Answer, reqwest::Error> {
        // A thread of its own, because an asynchronous test's thread may not block on another runtime.
        std::thread::scope(|scope| {
            scope.spawn(|| RUNTIME.block_on(self.send_async())).join().expect("the request's thread")
        })
    }

    async fn send_async(self) -> Result<Answer, reqwest::Error> {
        let trusted = self.ca_pem.map(|pem| Certificate::from_pem(pem.as_bytes())).transpose()?;
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .timeout(BOUND)
            .tls_certs_only(trusted)
            .build()?;
        let mut request = client.request(self.method, self.url);
        let is_typed = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        if let Some(body) = self.body {
            if !is_typed {
                request = request.header("Content-Type", "application/json");
            }
            request = request.body(body);
        }
        let answer = request.send().await?;
        Ok(Answer { status: answer.status().as_u16(), body: answer.bytes().await?.to_vec() })
    }
}

/// Reads `url`.
///
/// # Errors
///
/// When there is no answer within thirty seconds.
pub fn get(url: &str) -> Result<Answer, reqwest::Error> {
    Request::new(Method::GET, url).send()
}

impl Answer {
    /// Returns the body as JSON; `null` when it is empty.
    ///
    /// # Panics
    ///
    /// When it is something else.
    pub fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("status {}, a body that is not JSON ({error}): {}", self.status, self.text())
        })
    }

    /// Returns the body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

const BOUND: Duration = Duration::from_secs(30);

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_all().build().expect("a runtime"));
