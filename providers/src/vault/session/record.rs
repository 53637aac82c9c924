//! What is remembered of a session, so that the next one goes on with its tokens.

use keywheel_core::SecretValue;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::token::Token;
use crate::vault::life::Life;
use crate::vault::wrapping::Unwrapped;

/// The tokens of an earlier session, the one in use first, and the secret id that it unwrapped.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) tokens: Vec<Token>,
    pub(super) secret_id: Option<Unwrapped>,
}

/// Writes the record of a session in `realm`.
pub(super) fn write<'a>(
    realm: &str,
    tokens: impl Iterator<Item = &'a Token>,
    secret_id: Option<&Unwrapped>,
) -> Option<SecretValue> {
    let token = |token: &'a Token| {
        Some(WrittenToken { name: &token.name, token: token.value.expose_text()?, life: token.life() })
    };
    let written = Written {
        format: FORMAT,
        realm,
        tokens: tokens.filter_map(token).collect(),
        secret_id: secret_id.map(|secret_id| WrittenSecretId {
            wrapped_in: &secret_id.wrapped_in,
            value: secret_id.value.as_ref().and_then(SecretValue::expose_text),
        }),
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(ROOM));
    serde_json::to_writer(&mut *bytes, &written).ok()?;
    Some(SecretValue::copy_of(&bytes))
}

/// Reads a record; nothing where it is of another format or realm.
pub(super) fn read(bytes: &SecretValue, realm: &str) -> Option<Record> {
    let mut found: Read = serde_json::from_slice(bytes.expose_secret()).ok()?;
    if found.format != FORMAT || found.realm != realm {
        return None;
    }
    let token = |mut token: ReadToken| {
        let value = std::mem::take(&mut token.token);
        Token::named(std::mem::take(&mut token.name), value.into(), token.life)
    };
    Some(Record {
        tokens: std::mem::take(&mut found.tokens).into_iter().map(token).collect(),
        secret_id: found.secret_id.take().map(|mut secret_id| Unwrapped {
            wrapped_in: std::mem::take(&mut secret_id.wrapped_in),
            value: secret_id.value.take().map(SecretValue::from),
        }),
    })
}

#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    realm: &'a str,
    tokens: Vec<WrittenToken<'a>>,
    secret_id: Option<WrittenSecretId<'a>>,
}

#[derive(Serialize)]
struct WrittenSecretId<'a> {
    wrapped_in: &'a str,
    value: Option<&'a str>,
}

#[derive(Serialize)]
struct WrittenToken<'a> {
    name: &'a str,
    token: &'a str,
    life: Life,
}

#[derive(Deserialize)]
struct Read {
    format: u32,
    realm: String,
    tokens: Vec<ReadToken>,
    secret_id: Option<ReadSecretId>,
}

#[derive(Deserialize)]
struct ReadToken {
    name: String,
    token: String,
    life: Life,
}

#[derive(Deserialize)]
struct ReadSecretId {
    wrapped_in: String,
    value: Option<String>,
}

impl Drop for ReadSecretId {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}

impl Drop for ReadToken {
    fn drop(&mut self) {
        self.token.zeroize();
    }
}

const FORMAT: u32 = 1;
/// Enough for a few tokens without growing: a copy that growth leaves behind is wiped by the program's allocator alone.
const ROOM: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;

    #[test]
    fn what_is_written_is_read_by_the_same_identity_alone() {
        let life = Life::granted(Timestamp::UNIX_EPOCH, Duration::from_secs(60), true);
        let tokens = [
            Token::new(SecretValue::copy_of(b"s.1"), life),
            Token::new(SecretValue::copy_of(b"s.2"), Life::Endless),
        ];
        let id = Unwrapped { wrapped_in: "d".into(), value: Some(SecretValue::copy_of(b"id")) };
        let bytes = write("realm", tokens.iter(), Some(&id)).unwrap();
        let found = read(&bytes, "realm").unwrap();
        let seen: Vec<_> = found
            .tokens
            .iter()
            .map(|token| (token.name.clone(), token.value.expose_text(), token.life()))
            .collect();
        assert_eq!(
            seen,
            [
                (tokens[0].name.clone(), Some("s.1"), life),
                (tokens[1].name.clone(), Some("s.2"), Life::Endless)
            ]
        );
        assert_eq!(found.secret_id.unwrap().value.unwrap().expose_text(), Some("id"));
        assert!(read(&bytes, "another").is_none());
        assert!(read(&SecretValue::copy_of(b"not a record"), "realm").is_none());
    }
}
