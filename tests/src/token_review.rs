//! Plays the one part of the Kubernetes API that kubernetes auth needs: the TokenReview.
//!
//! As the API server, it answers 201 to a review whatever comes of it, checks the signature, the end and the audiences
//! of a token, and lets only those review who show a token of their own.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::{Value, json};

use crate::loopback::{self, Request, Server};
use crate::service_account::{ISSUER, Issuer};

/// A server on loopback, without TLS, that reviews an [`Issuer`]'s tokens.
#[derive(Debug)]
pub struct TokenReview {
    listener: Server,
    shared: Arc<Shared>,
}

struct Shared {
    key: DecodingKey,
    reviewer: String,
    reviews: AtomicUsize,
}

impl TokenReview {
    /// Starts to review the tokens that `issuer` mints.
    pub fn start(issuer: &Issuer) -> Self {
        let key = DecodingKey::from_rsa_pem(issuer.public_key_pem().as_bytes()).expect("an RSA key");
        let reviewer = std::iter::repeat_with(fastrand::alphanumeric).take(24).collect();
        let shared = Arc::new(Shared { key, reviewer, reviews: AtomicUsize::new(0) });
        let for_listener = Arc::clone(&shared);
        let listener = Server::start(Ipv4Addr::LOCALHOST.into(), move |client| serve(client, &for_listener));
        Self { listener, shared }
    }

    /// Returns the API's origin, `http://127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.listener.address()
    }

    /// Returns the token that a reviewer must show.
    pub fn reviewer_token(&self) -> &str {
        &self.shared.reviewer
    }

    /// Counts the tokens that were reviewed, accepted or not.
    pub fn reviews(&self) -> usize {
        self.shared.reviews.load(Ordering::SeqCst)
    }
}

fn serve(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    let request = Request::read(&client)?;
    client.write_all(shared.answer(&request).as_bytes())
}

impl Shared {
    fn answer(&self, request: &Request) -> String {
        if (request.method.as_str(), request.path.as_str()) != ("POST", PATH) {
            return failure("404 Not Found", "the server could not find the requested resource");
        }
        if request.headers.get("authorization") != Some(&format!("Bearer {}", self.reviewer)) {
            return failure("401 Unauthorized", "Unauthorized");
        }
        let Ok(mut review) = serde_json::from_slice::<Value>(&request.body) else {
            return failure("400 Bad Request", "the body is not JSON");
        };
        self.reviews.fetch_add(1, Ordering::SeqCst);
        review["status"] = self.review(&review["spec"]).unwrap_or_else(
            |error| json!({"authenticated": false, "error": format!("[invalid bearer token, {error}]")}),
        );
        loopback::answer("201 Created", "", &review.to_string())
    }

    /// Returns the status of a token that is accepted.
    fn review(&self, spec: &Value) -> Result<Value, jsonwebtoken::errors::Error> {
        let mut asked = texts(&spec["audiences"]);
        if asked.is_empty() {
            // The API server's own audience.
            asked.push(ISSUER.to_owned());
        }
        let mut validation = Validation::new(Algorithm::RS256);
        validation.leeway = 0;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&asked);
        let token = spec["token"].as_str().unwrap_or_default();
        let claims = decode::<Value>(token, &self.key, &validation)?.claims;

        let mut audiences = texts(&claims["aud"]);
        audiences.retain(|audience| asked.contains(audience));
        let account = &claims["kubernetes.io"];
        let namespace = account["namespace"].as_str().unwrap_or_default();
        Ok(json!({
            "authenticated": true,
            "user": {
                "username": claims["sub"],
                "uid": account["serviceaccount"]["uid"],
                "groups": [
                    "system:serviceaccounts",
                    format!("system:serviceaccounts:{namespace}"),
                    "system:authenticated",
                ],
            },
            "audiences": audiences,
        }))
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("reviews", &self.reviews).finish_non_exhaustive()
    }
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn failure(status: &str, message: &str) -> String {
    let code: u16 = status.split(' ').next().and_then(|code| code.parse().ok()).expect("a status code");
    let body =
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code});
    loopback::answer(status, "", &body.to_string())
}

const PATH: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
