//! Requests to the local API: who may not ask gets nothing, and no path yields what is not configured.

#![no_main]

use std::sync::LazyLock;

use http::Request;
use http::request::Parts;
use keywheel_core::SecretValue;
use keywheel_sidecar::api::admit::{Door, Refusal, Token, Wish, admit};
use keywheel_sidecar::api::aws::Asked;
use keywheel_sidecar::api::catalogue::Catalogue;
use keywheel_sidecar::peer::Peer;
use libfuzzer_sys::fuzz_target;

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let of = |reference: &str| reference.parse().expect("a reference");
    Catalogue::default()
        .with("orders", "db", &of("vault://secret/orders/db"))
        .with("orders", "api", &of("aws://prod/api?stage=AWSPREVIOUS"))
        .with("web", "db", &of("aws://arn:aws:secretsmanager:eu-west-1:1:secret:prod/db-a1b2c3#password"))
});

fuzz_target!(|input: &[u8]| {
    let Some((first, rest)) = input.split_first() else { return };
    let (head, body) = match rest.windows(2).position(|pair| pair == b"\n\n") {
        Some(end) => (&rest[..end], &rest[end + 2..]),
        None => (rest, &b""[..]),
    };
    if let Ok(asked) = Asked::of_call(body) {
        assert!(!asked.id.is_empty());
        CATALOGUE.find_id(&asked.id, asked.wanted()).map(|place| CATALOGUE.name(place)).ok();
    }
    let Some(request) = parse(head) else { return };
    let token = SecretValue::copy_of(TOKEN.as_bytes());
    let peer = match first % 3 {
        0 => Peer::Process { uid: 1000, pid: Some(1) },
        1 => Peer::Process { uid: 1001, pid: None },
        _ => Peer::Host("127.0.0.1:50000".parse().expect("an address")),
    };
    let door = Door { users: &[1000], token: Token::Is(&token) };
    let verdict = admit(&request, peer, door, &CATALOGUE);
    if let Ok(wish) = &verdict {
        assert_ne!(first % 3, 1, "another user");
        assert!(
            request.headers.values().any(|value| value.as_bytes().ends_with(TOKEN.as_bytes())),
            "no token"
        );
        for name in ["origin", "forwarded", "x-forwarded-for", "sec-fetch-site"] {
            assert!(!request.headers.contains_key(name), "{name}");
        }
        if let Wish::Secret { place, .. } = wish {
            let asked = request.uri.path().strip_prefix("/v1/secrets/").expect("the path of a secret");
            let name = CATALOGUE.name(*place);
            assert!(
                asked == name || name.split_once('/').is_some_and(|(_, name)| asked == name),
                "{asked}: {name}"
            );
        }
    }
    if let Err(refusal) = verdict {
        assert!(!refusal.to_string().contains(TOKEN) && refusal.status().as_u16() >= 400);
        let learns = matches!(refusal, Refusal::Unknown(_) | Refusal::Ambiguous(_) | Refusal::Method(_));
        assert!(!learns || first % 3 != 1, "another user learns of names");
    }
});

/// Reads `METHOD PATH` and lines of headers.
fn parse(head: &[u8]) -> Option<Parts> {
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = lines.next()?;
    let space = first.iter().position(|byte| *byte == b' ')?;
    let mut request = Request::builder().method(&first[..space]).uri(&first[space + 1..]);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        request = request.header(&line[..colon], line[colon + 1..].trim_ascii());
    }
    Some(request.body(()).ok()?.into_parts().0)
}

const TOKEN: &str = "a-token-of-twenty-characters";
