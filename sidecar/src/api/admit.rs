//! What a request asks for, and whether its sender may have it: a pure decision about the head of the request and what the kernel tells of its sender.

use std::fmt;

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use keywheel_core::SecretValue;
use keywheel_core::reference::FieldPath;

use super::aws::{self, Asked};
use super::catalogue::Catalogue;
use crate::peer::{Peer, is_browser, is_loopback_name};

/// Who may ask.
#[derive(Clone, Copy, Debug)]
pub struct Door<'a> {
    /// The users that may, where the kernel tells the user.
    pub users: &'a [u32],
    /// What has to be presented.
    pub token: Token<'a>,
}

/// What a request has to present.
#[derive(Clone, Copy, Debug)]
pub enum Token<'a> {
    /// Nothing: the kernel tells who it is.
    None,
    /// This.
    Is(&'a SecretValue),
    /// What is not known at this moment.
    Unreadable,
}

/// What an admitted request asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Wish {
    /// A secret, by its place in the catalogue, or one field of it.
    Secret {
        /// Its place.
        place: usize,
        /// The field.
        field: Option<FieldPath>,
    },
    /// To be told of changes.
    Watch {
        /// With the values.
        values: bool,
    },
    /// A secret, in the form of the agent of Secrets Manager.
    Agent {
        /// Its place in the catalogue.
        place: usize,
        /// How it was asked for.
        asked: Asked,
    },
    /// A secret, in the form of Secrets Manager itself: the body says which.
    Call,
}

/// Why a request gets nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// The user is not one that may ask.
    User(u32),
    /// The request came through somebody.
    Forwarded,
    /// A web page asks.
    Browser,
    /// It was meant for another host, or comes from one.
    Host,
    /// There is no token, or another one.
    Token,
    /// The token to compare with cannot be read.
    Closed,
    /// The method is not one of this path's.
    Method(&'static str),
    /// The request makes no sense.
    Malformed(&'static str),
    /// There is no such thing; the text names those that there are.
    Unknown(String),
    /// The name is that of several secrets; the text names them.
    Ambiguous(String),
    /// There is no value to give at this moment.
    Unavailable(String),
    /// There are as many who watch as there may be.
    Full,
}

/// Decides about a request; nothing but its head has been looked at.
///
/// # Errors
/// The sender may not ask, or what it asks for is not there. Who may not ask learns nothing of what there is.
pub fn admit(request: &Parts, peer: Peer, door: Door<'_>, catalogue: &Catalogue) -> Result<Wish, Refusal> {
    check_sender(request, peer, door.users)?;
    check_token(&request.headers, door.token)?;
    let uri = &request.uri;
    if uri.authority().is_some() {
        return Err(Refusal::Malformed("this is no proxy: ask for a path"));
    }
    let (path, query) = (uri.path(), uri.query().unwrap_or_default());
    let only = |allowed: &Method, name| match request.method == *allowed {
        true => Ok(()),
        false => Err(Refusal::Method(name)),
    };
    if let Some(name) = path.strip_prefix("/v1/secrets/") {
        only(&Method::GET, "GET")?;
        // Names have none of the characters that would need it.
        if name.contains(['%', '\\']) || name.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(Refusal::Malformed(
                "a secret is asked for by /v1/secrets/NAME or /v1/secrets/DELIVERY/NAME",
            ));
        }
        let field = Parameters::parse(query, &["field"])?.take("field");
        let field = field.map(|field| field.parse()).transpose();
        let field = field.map_err(|_| Refusal::Malformed("`field` is no field's name"))?;
        return Ok(Wish::Secret { place: catalogue.find(name)?, field });
    }
    match path {
        "/v1/watch" => {
            only(&Method::GET, "GET")?;
            let values = Parameters::parse(query, &["values"])?.flag("values")?;
            Ok(Wish::Watch { values })
        }
        "/secretsmanager/get" => {
            only(&Method::GET, "GET")?;
            let asked = Asked::of_query(query)?;
            Ok(Wish::Agent { place: catalogue.find_id(&asked.id, asked.wanted())?, asked })
        }
        "/" => {
            only(&Method::POST, "POST")?;
            aws::check_target(&request.headers)?;
            Ok(Wish::Call)
        }
        _ => Err(Refusal::Unknown(PATHS.into())),
    }
}

/// Refuses whom the kernel does not know as one who may ask, and what others had this host ask.
fn check_sender(request: &Parts, peer: Peer, users: &[u32]) -> Result<(), Refusal> {
    if let Peer::Process { uid, .. } = peer
        && !users.contains(&uid)
    {
        return Err(Refusal::User(uid));
    }
    let headers = &request.headers;
    if headers.contains_key(header::FORWARDED)
        || headers.keys().any(|name| name.as_str().starts_with("x-forwarded-"))
    {
        return Err(Refusal::Forwarded);
    }
    if is_browser(headers) {
        return Err(Refusal::Browser);
    }
    let Some(address) = peer.ip() else { return Ok(()) };
    let host = only_one(headers, header::HOST.as_str()).and_then(|host| std::str::from_utf8(host).ok());
    match address.is_loopback() && host.is_some_and(is_loopback_name) {
        true => Ok(()),
        false => Err(Refusal::Host),
    }
}

/// Compares the token, in a time that does not depend on how much of it is right.
fn check_token(headers: &HeaderMap, token: Token<'_>) -> Result<(), Refusal> {
    let expected = match token {
        Token::None => return Ok(()),
        Token::Is(expected) => expected,
        Token::Unreadable => return Err(Refusal::Closed),
    };
    let bearer = || {
        let (scheme, token) =
            only_one(headers, header::AUTHORIZATION.as_str())?.split_at_checked(BEARER.len())?;
        scheme.eq_ignore_ascii_case(BEARER).then_some(token)
    };
    let presented = match headers.contains_key(TOKEN_HEADER) {
        true => only_one(headers, TOKEN_HEADER),
        false => bearer(),
    };
    match presented.is_some_and(|presented| expected.is_equal(presented)) {
        true => Ok(()),
        false => Err(Refusal::Token),
    }
}

/// Returns the value of a header that is there once.
fn only_one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.as_bytes())
}

/// The parameters of a query, decoded: each is known, and there once.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn parse(query: &str, known: &[&str]) -> Result<Self, Refusal> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or(Refusal::Malformed("a parameter has no `=`"))?;
            if !known.contains(&name) {
                return Err(Refusal::Malformed("the query has a parameter that is not known here"));
            }
            if parameters.iter().any(|(other, _)| other == name) {
                return Err(Refusal::Malformed("a parameter is given twice"));
            }
            let value = value.replace('+', " ");
            let value = percent_encoding::percent_decode_str(&value).decode_utf8();
            let value = value.map_err(|_| Refusal::Malformed("a parameter is not UTF-8 text"))?;
            parameters.push((name.to_owned(), value.into_owned()));
        }
        Ok(Self(parameters))
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(other, _)| other == name)?;
        Some(self.0.swap_remove(at).1)
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<bool, Refusal> {
        match self.take(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Refusal::Malformed("a parameter is neither true nor false")),
        }
    }
}

impl Refusal {
    /// Returns the status to answer with.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::User(_) | Self::Forwarded | Self::Browser | Self::Host | Self::Token => {
                StatusCode::FORBIDDEN
            }
            Self::Closed | Self::Unavailable(_) | Self::Full => StatusCode::SERVICE_UNAVAILABLE,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Unknown(_) => StatusCode::NOT_FOUND,
            Self::Ambiguous(_) => StatusCode::CONFLICT,
        }
    }

    /// Tells whether somebody asked who may not.
    pub fn is_of_sender(&self) -> bool {
        self.status() == StatusCode::FORBIDDEN
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(uid) => write!(f, "the user {uid} may not ask: `users` of `api` does not name it"),
            Self::Forwarded => f.write_str("a request that was forwarded is not answered"),
            Self::Browser => f.write_str("a web page may not ask"),
            Self::Host => f.write_str("ask at 127.0.0.1, [::1] or localhost, and under no other name"),
            Self::Token => write!(f, "needs the token of `api`, in the header {TOKEN_HEADER}"),
            Self::Closed => f.write_str("the token to compare with cannot be read; see the log"),
            Self::Method(allowed) => write!(f, "this path is asked with {allowed}"),
            Self::Malformed(reason) => f.write_str(reason),
            Self::Unknown(reason) | Self::Ambiguous(reason) | Self::Unavailable(reason) => {
                f.write_str(reason)
            }
            Self::Full => f.write_str("too many watch already"),
        }
    }
}

/// The header that clients of the agent of Secrets Manager present their token in.
pub const TOKEN_HEADER: &str = "x-aws-parameters-secrets-token";
const BEARER: &[u8] = b"Bearer ";
const PATHS: &str = "there is no such path; known: /v1/secrets/NAME, /v1/secrets/DELIVERY/NAME, /v1/watch, /secretsmanager/get, and POST /";

#[cfg(test)]
mod tests;
