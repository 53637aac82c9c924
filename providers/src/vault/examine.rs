//! The way to the server, step by step: credentials, name, connection, login.

use std::time::Duration;

use keywheel_core::config::format_duration;
use keywheel_core::examine::Finding;
use keywheel_core::identity::TokenSource;
use keywheel_core::{Clock, Error, ErrorKind, Result, names};
use serde::Deserialize;
use url::{Host, Url};
use vaultrs::api::token::requests::LookupTokenSelfRequest;

use super::claims::Claims;
use super::endpoint::Logical;
use super::error;
use super::login::{Credential, Method};
use super::session::Session;

/// Goes the way up to the first step that fails. A login that would use up what it is made with is not tried.
pub(super) async fn examine(session: &Session, clock: &Clock) -> Vec<Finding> {
    let settings = session.settings();
    let mut findings = Vec::new();
    for Credential { name, source, is_jwt } in settings.method.credentials() {
        findings.push(Finding::new(name, credential(source, is_jwt, clock).await));
    }
    if findings.iter().any(Finding::is_bad) {
        return findings;
    }
    if let Some(Host::Domain(host)) = settings.address.host() {
        findings.push(Finding::new("name", name(host, &settings.address).await));
    }
    if !findings.iter().any(Finding::is_bad) {
        findings.push(Finding::new("server", server(session).await));
    }
    if !findings.iter().any(Finding::is_bad) {
        findings.push(match settings.method.uses_up() {
            Some(what) => Finding::left_alone("login", what),
            None => Finding::new("login", login(&settings.method, session).await),
        });
    }
    findings
}

async fn credential(source: &TokenSource, is_jwt: bool, clock: &Clock) -> Result<String> {
    let token = source.token().await?;
    let place = match source {
        TokenSource::File(file) => file.display().to_string(),
        TokenSource::Value(_) => "is given".to_owned(),
        TokenSource::Issued(_) => "is issued by the cluster".to_owned(),
    };
    if !is_jwt {
        return Ok(place);
    }
    let claims = Claims::of(&token).and_then(|claims| claims.describe(clock.now()));
    match (claims, source.file()) {
        (Ok(claims), _) => Ok(format!("{place}: {claims}")),
        (Err(error), Some(file)) => Err(error.with("file", file.display())),
        (Err(error), None) => Err(error),
    }
}

async fn name(host: &str, address: &Url) -> Result<String> {
    let found = names::addresses(host).await.map_err(|_| {
        let error = Error::new(ErrorKind::Unavailable, "look up", "the host's name was not found");
        error.with("server", address).with_help("is it written as the server's own users write it?")
    })?;
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    Ok(format!("{host} is at {}", found.join(", ")))
}

/// What `sys/health` says of a server, whatever its status.
#[derive(Deserialize)]
struct Health {
    #[serde(default)]
    version: String,
    #[serde(default)]
    standby: bool,
}

/// Connects, which verifies the server's certificate, and asks how the server is.
async fn server(session: &Session) -> Result<String> {
    let transport = session.transport();
    let answer = transport.send(&transport.call("ask health", &Logical::read("sys/health"))?, None).await?;
    match answer.status {
        501 | 503 => return Err(error::refused(&answer)),
        _ => {}
    }
    let address = transport.address();
    let Ok(Health { version, standby }) = answer.parse::<Health>() else {
        return Ok(format!("{address} answers; it does not say how it is"));
    };
    let version: String = version.chars().filter(char::is_ascii_graphic).take(MOST_OF_VERSION).collect();
    let standby = if standby { ", standby" } else { "" };
    Ok(format!("{address}, version {version}{standby}"))
}

const MOST_OF_VERSION: usize = 40;

/// What a token says of itself.
#[derive(Deserialize)]
struct LookedUp {
    data: Token,
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    ttl: u64,
    #[serde(default)]
    policies: Vec<String>,
    #[serde(default)]
    identity_policies: Vec<String>,
}

async fn login(method: &Method, session: &Session) -> Result<String> {
    let identity = method.describe();
    let answer = session.ask("look up token", &LookupTokenSelfRequest {}).await?;
    if answer.status == 403 && method.issues_tokens() {
        // It logged in; the policy `default` would let it look at its own token.
        return Ok(format!("as {identity}"));
    }
    if !answer.is_success() {
        return Err(error::refused(&answer).with_help("is the token still valid?"));
    }
    let Token { ttl, mut policies, identity_policies } = answer.parse::<LookedUp>()?.data;
    policies.extend(identity_policies);
    let policies: Vec<String> = policies.iter().map(|name| name.escape_debug().to_string()).collect();
    let end = match ttl {
        0 => "no end".to_owned(),
        seconds => format!("ends in {}", format_duration(Duration::from_secs(seconds))),
    };
    Ok(format!("as {identity}: policies {}; {end}", policies.join(", ")))
}
