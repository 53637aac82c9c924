use axum::http::Request;
use proptest::prelude::*;

use super::*;

const TOKEN: &str = "a-token-of-twenty-characters";
const OWN: Peer = Peer::Process { uid: 1000, pid: Some(42) };

fn host() -> Peer {
    Peer::Host("127.0.0.1:50000".parse().unwrap())
}

fn catalogue() -> Catalogue {
    let of = |reference: &str| reference.parse().unwrap();
    Catalogue::default()
        .with("orders", "db", &of("vault://secret/orders/db"))
        .with("orders", "api", &of("aws://prod/api"))
        .with("web", "db", &of("vault://secret/web"))
}

fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn judge(
    peer: Peer,
    token: Option<&str>,
    method: &str,
    uri: &str,
    headers: &[(&str, &str)],
) -> Result<Wish, Refusal> {
    let token = token.map(|token| SecretValue::copy_of(token.as_bytes()));
    let token = token.as_ref().map_or(Token::None, Token::Is);
    admit(&parts(method, uri, headers), peer, Door { users: &[0, 1000], token }, &catalogue())
}

fn ask(uri: &str) -> Result<Wish, Refusal> {
    judge(OWN, None, "GET", uri, &[])
}

#[test]
fn the_paths_are_what_they_are() {
    let place = |place| Ok(Wish::Secret { place, field: None });
    assert_eq!((ask("/v1/secrets/api"), ask("/v1/secrets/web/db")), (place(1), place(2)));
    let field = Ok(Wish::Secret { place: 1, field: Some("a b/c".parse().unwrap()) });
    assert_eq!(ask("/v1/secrets/api?field=a+b%2Fc"), field);
    assert_eq!(ask("/v1/watch"), Ok(Wish::Watch { values: false }));
    assert_eq!(ask("/v1/watch?values=true"), Ok(Wish::Watch { values: true }));
    let agent = ask("/secretsmanager/get?secretId=prod%2Fapi&versionStage=AWSCURRENT&refreshNow=false");
    assert!(matches!(agent, Ok(Wish::Agent { place: 1, ref asked }) if !asked.refresh), "{agent:?}");
    let call = [("x-amz-target", "secretsmanager.GetSecretValue")];
    assert_eq!(judge(OWN, None, "POST", "/", &call), Ok(Wish::Call));
    let other = [("x-amz-target", "secretsmanager.PutSecretValue")];
    assert!(matches!(judge(OWN, None, "POST", "/", &other), Err(Refusal::Malformed(_))));
    assert!(matches!(ask("/v1/secrets/db"), Err(Refusal::Ambiguous(_))));
    for unknown in ["/", "/v1", "/v1/secrets", "/status", "/secretsmanager/get/", "/v1/watch/"] {
        assert!(ask(unknown).is_err(), "{unknown}");
    }
}

#[test]
fn a_path_that_leaves_its_names_is_refused() {
    for path in [
        "/v1/secrets/",
        "/v1/secrets/../watch",
        "/v1/secrets/./api",
        "/v1/secrets//api",
        "/v1/secrets/orders/",
        "/v1/secrets/orders%2Fapi",
        "/v1/secrets/%2e%2e/api",
        "/v1/secrets/ap%69",
        "/v1/secrets/orders\\api",
    ] {
        assert!(matches!(ask(path), Err(Refusal::Malformed(_))), "{path}: {:?}", ask(path));
    }
    for query in ["x=1", "field=a&field=b", "field", "field=%ff", "field="] {
        assert!(matches!(ask(&format!("/v1/secrets/api?{query}")), Err(Refusal::Malformed(_))), "{query}");
    }
    assert!(matches!(ask("http://localhost/v1/secrets/api"), Err(Refusal::Malformed(_))));
}

#[test]
fn other_methods_are_refused() {
    for method in ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH"] {
        for path in ["/v1/secrets/api", "/v1/watch", "/secretsmanager/get?secretId=api"] {
            assert_eq!(judge(OWN, None, method, path, &[]), Err(Refusal::Method("GET")), "{method} {path}");
        }
    }
    assert_eq!(ask("/"), Err(Refusal::Method("POST")));
}

#[test]
fn another_user_is_refused_before_all_else() {
    let stranger = Peer::Process { uid: 1001, pid: None };
    for path in ["/v1/secrets/api", "/v1/secrets/none", "/"] {
        assert_eq!(judge(stranger, None, "GET", path, &[]), Err(Refusal::User(1001)));
        assert_eq!(
            judge(stranger, Some(TOKEN), "GET", path, &[(TOKEN_HEADER, TOKEN)]),
            Err(Refusal::User(1001))
        );
    }
}

#[test]
fn the_token_is_this_one_once() {
    let local = ("host", "127.0.0.1:2773");
    let judge = |headers: &[(&str, &str)]| judge(host(), Some(TOKEN), "GET", "/v1/secrets/api", headers);
    assert!(judge(&[local, (TOKEN_HEADER, TOKEN)]).is_ok());
    assert!(judge(&[local, ("authorization", &format!("bearer {TOKEN}"))]).is_ok());
    let long = format!("{TOKEN}x");
    for wrong in ["", "x", &TOKEN[1..], &long, "A-token-of-twenty-characters"] {
        assert_eq!(judge(&[local, (TOKEN_HEADER, wrong)]), Err(Refusal::Token), "{wrong}");
        assert_eq!(judge(&[local, ("authorization", &format!("Bearer {wrong}"))]), Err(Refusal::Token));
    }
    assert_eq!(judge(&[local]), Err(Refusal::Token));
    assert_eq!(judge(&[local, ("authorization", TOKEN)]), Err(Refusal::Token));
    assert_eq!(judge(&[local, (TOKEN_HEADER, TOKEN), (TOKEN_HEADER, TOKEN)]), Err(Refusal::Token));
    let both = [local, (TOKEN_HEADER, "wrong"), ("authorization", &format!("Bearer {TOKEN}"))];
    assert_eq!(judge(&both), Err(Refusal::Token));
    let closed = Door { users: &[], token: Token::Unreadable };
    let request = parts("GET", "/v1/secrets/api", &[local, (TOKEN_HEADER, TOKEN)]);
    assert_eq!(admit(&request, host(), closed, &catalogue()), Err(Refusal::Closed));
}

#[test]
fn what_others_had_this_host_ask_is_refused() {
    let token = (TOKEN_HEADER, TOKEN);
    let judge = |peer, header: (&str, &str)| {
        let mut headers = vec![token, header];
        headers.extend((header.0 != "host").then_some(("host", "localhost:2773")));
        judge(peer, Some(TOKEN), "GET", "/v1/secrets/api", &headers)
    };
    for peer in [host(), OWN] {
        for name in ["x-forwarded-for", "forwarded", "x-forwarded-host"] {
            assert_eq!(judge(peer, (name, "10.0.0.1")), Err(Refusal::Forwarded), "{name}");
        }
        for (name, value) in
            [("origin", "http://localhost"), ("sec-fetch-site", "none"), ("sec-fetch-mode", "cors")]
        {
            assert_eq!(judge(peer, (name, value)), Err(Refusal::Browser), "{name}");
        }
    }
    for name in ["evil.test", "127.0.0.1.evil.test", "10.0.0.7", ""] {
        assert_eq!(judge(host(), ("host", name)), Err(Refusal::Host), "{name}");
    }
    assert!(judge(host(), ("host", "[::1]:2773")).is_ok());
    assert!(judge(OWN, ("host", "unix")).is_ok(), "no name leads a web page to a Unix socket");
    let far = Peer::Host("10.0.0.7:1".parse().unwrap());
    assert_eq!(judge(far, ("host", "localhost")), Err(Refusal::Host));
}

proptest! {
    #[test]
    fn no_path_yields_what_is_not_configured(
        path in prop_oneof![
            "/v1/secrets/[a-z./%\\\\]{0,12}",
            "/v1/secrets/(orders|web|\\.\\.|%2e|db|api)?/?/?(db|api|d%62|\\.\\.)?(/(db|api|\\.\\.))?",
            "/[ -~]{0,30}",
        ],
    ) {
        let Ok(request) = Request::builder().uri(&*path).body(()) else { return Ok(()) };
        let request = request.into_parts().0;
        let (users, catalogue) = ([1000], catalogue());
        let door = Door { users: &users, token: Token::None };
        if let Ok(Wish::Secret { place, .. }) = admit(&request, OWN, door, &catalogue) {
            let name = catalogue.name(place);
            let asked = request.uri.path().strip_prefix("/v1/secrets/").unwrap();
            prop_assert!(asked == name || (asked == "api" && name == "orders/api"), "{path} yields {name}");
        }
    }

    #[test]
    fn a_wrong_token_learns_nothing(path in "/[ -~]{0,40}", token in "[!-~]{0,40}") {
        prop_assume!(token != TOKEN);
        let Ok(request) = Request::builder().uri(&*path).header("host", "localhost").header(TOKEN_HEADER, &token).body(()) else {
            return Ok(());
        };
        let expected = SecretValue::copy_of(TOKEN.as_bytes());
        let door = Door { users: &[], token: Token::Is(&expected) };
        prop_assert_eq!(admit(&request.into_parts().0, host(), door, &catalogue()), Err(Refusal::Token));
    }
}
