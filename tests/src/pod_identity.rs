//! Plays the agent on a node that gives a pod its credentials (EKS Pod Identity).

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::json;

use crate::loopback::{self, Request, Server};

/// A running agent; it takes one token, and counts what it gives.
#[derive(Debug)]
pub struct PodIdentity {
    listener: Server,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    token: String,
    expiration: String,
    given: usize,
}

impl PodIdentity {
    /// Starts an agent that takes `token`, and whose credentials end at `expiration` (RFC 3339).
    pub fn start(token: &str, expiration: &str) -> Self {
        let state = State { token: token.to_owned(), expiration: expiration.to_owned(), given: 0 };
        let state = Arc::new(Mutex::new(state));
        let served = Arc::clone(&state);
        let listener = Server::start(Ipv4Addr::LOCALHOST.into(), move |mut client| {
            let request = Request::read(&client)?;
            client.write_all(answer(&request, &mut lock(&served)).as_bytes())
        });
        Self { listener, state }
    }

    /// Returns where credentials are, as in `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
    pub fn address(&self) -> String {
        format!("{}/v1/credentials", self.listener.address())
    }

    /// Takes another token from now on, and gives credentials that end at `expiration`.
    pub fn change(&self, token: &str, expiration: &str) {
        let mut state = lock(&self.state);
        (state.token, state.expiration) = (token.to_owned(), expiration.to_owned());
    }

    /// Counts the credentials that were given.
    pub fn given(&self) -> usize {
        lock(&self.state).given
    }
}

fn answer(request: &Request, state: &mut State) -> String {
    // The token comes as it is, without a word before it.
    if request.path != "/v1/credentials" || request.headers.get("authorization") != Some(&state.token) {
        return loopback::answer("401 Unauthorized", "", r#"{"code": "AccessDenied", "message": "no"}"#);
    }
    state.given += 1;
    let body = json!({
        "AccessKeyId": format!("POD{}", state.given),
        "SecretAccessKey": "pod-secret-key",
        "Token": "pod-session-token",
        "Expiration": state.expiration,
    });
    loopback::answer("200 OK", "", &body.to_string())
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
