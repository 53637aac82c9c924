//! What a JWT says of itself, read without verifying it: whom it is of, whom it is for, and when it ends.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use keywheel_core::config::format_duration;
use keywheel_core::{Error, ErrorKind, Result, SecretValue};
use serde::Deserialize;
use zeroize::Zeroizing;

/// The claims of RFC 7519, section 4.1, that decide about a login.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    #[serde(default)]
    sub: Option<String>,
    #[serde(default)]
    aud: Audience,
    #[serde(default)]
    exp: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Default for Audience {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl Claims {
    /// Reads them out of a token.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`] when it is no JWT; nothing of it is quoted.
    pub(super) fn of(token: &SecretValue) -> Result<Self> {
        let mut parts = token.expose_secret().split(|byte| *byte == b'.');
        let (payload, rest) = (parts.nth(1), parts.count());
        let payload = payload.filter(|_| rest == 1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let claims = payload.map(Zeroizing::new).and_then(|json| serde_json::from_slice(&json).ok());
        claims.ok_or_else(|| refused("the token is not a JWT").with_help("is it the right file?"))
    }

    /// Says whom the token is of, whom it is for, and when it ends.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`] when it has ended.
    pub(super) fn describe(&self, now: Timestamp) -> Result<String> {
        let audiences = match &self.aud {
            Audience::One(one) => std::slice::from_ref(one),
            Audience::Several(several) => several,
        };
        let audiences: Vec<String> = audiences.iter().map(|one| one.escape_debug().to_string()).collect();
        let audience = match audiences.is_empty() {
            true => "no audience".to_owned(),
            false => format!("audience {}", audiences.join(", ")),
        };
        let subject = self.sub.as_deref().unwrap_or("nobody").escape_debug();
        let left = self.exp.map(|end| end - now.as_second() as f64);
        let end = match left {
            None => "no end".to_owned(),
            Some(left) if left > 0.0 => format!("ends in {}", span(left)),
            Some(ended) => {
                let reason = format!("the token ended {} ago", span(-ended));
                return Err(refused(&reason).with_help(
                    "a projected token is renewed by the kubelet: is this the file of a projected volume, and is it read where it is mounted?",
                ));
            }
        };
        Ok(format!("{subject}, {audience}, {end}"))
    }
}

fn span(seconds: f64) -> String {
    format_duration(Duration::from_secs(seconds.trunc() as u64))
}

fn refused(reason: &str) -> Error {
    Error::new(ErrorKind::Unauthenticated, "read token", reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> SecretValue {
        SecretValue::copy_of(format!("h.{}.s", URL_SAFE_NO_PAD.encode(claims)).as_bytes())
    }

    #[test]
    fn claims_are_told_in_words() {
        let now = Timestamp::from_second(1_000).unwrap();
        let told = |claims: &str| Claims::of(&token(claims)).and_then(|claims| claims.describe(now));
        let good =
            told(r#"{"sub": "system:serviceaccount:shop:orders", "aud": ["vault", "x"], "exp": 1060}"#);
        assert_eq!(good.unwrap(), "system:serviceaccount:shop:orders, audience vault, x, ends in 1m");
        assert_eq!(told(r#"{"aud": "vault"}"#).unwrap(), "nobody, audience vault, no end");
        assert_eq!(told(r#"{"sub": "a\u001b[2J"}"#).unwrap(), "a\\u{1b}[2J, no audience, no end");
        assert_eq!(told(r#"{"exp": 1060.9}"#).unwrap(), "nobody, no audience, ends in 1m");
        assert!(
            told(r#"{"exp": 1e300}"#).unwrap().contains("ends in ") && told(r#"{"exp": -1e300}"#).is_err()
        );
        let ended = told(r#"{"exp": 910}"#).unwrap_err().to_string();
        assert!(ended.contains("ended 1m30s ago"), "{ended}");
    }

    #[test]
    fn what_is_no_jwt_is_not_quoted() {
        for bad in ["c4n4ry", "a.c4n4ry", "a.c4n4ry.b", "a.b.c.d", "..", "a.e30.b.c"] {
            let error = Claims::of(&SecretValue::copy_of(bad.as_bytes())).unwrap_err().to_string();
            assert!(error.contains("not a JWT") && !error.contains("c4n4ry"), "{error}");
        }
        assert!(Claims::of(&token("{}")).is_ok());
    }
}
