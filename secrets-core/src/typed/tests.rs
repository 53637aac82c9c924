use std::collections::BTreeMap;

use proptest::prelude::*;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::Error as _;

use super::*;
use crate::secret::Version;

fn secret(json: &str) -> Secret {
    Secret::try_new(serde_json::from_str(json).unwrap(), Version::new(1)).unwrap()
}

fn into<T: DeserializeOwned>(json: &str) -> Result<T> {
    read(&secret(json), None)
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Plain,
    Tls { ca: String },
    Ports(u16, u16),
    Wrapped(u8),
}

#[derive(Debug, Deserialize)]
struct Login {
    username: String,
    password: SecretString,
    port: u16,
    is_primary: Option<bool>,
    #[serde(default)]
    hosts: Vec<String>,
    mode: Option<Mode>,
}

#[test]
fn fields_are_those_of_a_struct_and_read_as_what_the_type_says() {
    let text = r#"{"username": "u", "password": "p", "port": "5432", "is_primary": true, "hosts": ["a", "b"], "more": {"x": 1}}"#;
    let login: Login = into(text).unwrap();
    assert_eq!((login.username.as_str(), login.password.expose_secret(), login.port), ("u", "p", 5432));
    assert_eq!((login.is_primary, login.hosts, login.mode), (Some(true), vec!["a".into(), "b".into()], None));
    let login: Login = into(r#"{"username": 17, "password": 4711, "port": 1, "is_primary": null}"#).unwrap();
    assert_eq!(
        (login.username.as_str(), login.password.expose_secret(), login.is_primary),
        ("17", "4711", None)
    );
}

#[test]
fn a_variant_is_a_name_or_a_structure_with_one() {
    #[derive(Debug, Deserialize)]
    struct Settings {
        mode: Mode,
    }
    let mode = |json: &str| into::<Settings>(json).unwrap().mode;
    assert_eq!(mode(r#"{"mode": "plain"}"#), Mode::Plain);
    assert_eq!(mode(r#"{"mode": {"tls": {"ca": "c"}}}"#), Mode::Tls { ca: "c".into() });
    assert_eq!(mode(r#"{"mode": {"ports": [1, 2]}}"#), Mode::Ports(1, 2));
    assert_eq!(mode(r#"{"mode": {"wrapped": "3"}}"#), Mode::Wrapped(3));
}

#[test]
fn what_is_no_structure_takes_the_named_field_or_the_only_one() {
    let one = secret(r#"{"value": "abc"}"#);
    assert_eq!(read::<String>(&one, None).unwrap(), "abc");
    assert_eq!(read::<SecretValue>(&one, None).unwrap().expose_secret(), b"abc");
    assert_eq!(read::<SecretString>(&one, None).unwrap().expose_secret(), "abc");
    let two = secret(r#"{"a": "1", "b": {"c": "x"}}"#);
    assert_eq!(read::<u8>(&two, Some(&"a".parse().unwrap())).unwrap(), 1);
    assert_eq!(read::<String>(&two, Some(&"b.c".parse().unwrap())).unwrap(), "x");
    assert!(read::<String>(&two, None).unwrap_err().to_string().contains("#FIELD"));
    assert_eq!(read::<BTreeMap<String, Value>>(&two, None).unwrap().len(), 2);
}

#[test]
fn bytes_stay_whole() {
    let fields = BTreeMap::from([("value".to_owned(), Value::Bytes(SecretValue::copy_of(&[0xff, 0])))]);
    let secret = Secret::try_new(fields, Version::new(1)).unwrap();
    assert_eq!(read::<SecretValue>(&secret, None).unwrap().expose_secret(), [0xff, 0]);
    assert!(read::<String>(&secret, None).unwrap_err().to_string().contains("expected a text"));
}

#[test]
fn an_error_names_the_field_and_what_was_expected() {
    let message = |json: &str| into::<Login>(json).unwrap_err().to_string();
    let port = message(r#"{"username": "u", "password": "p", "port": "hunter2"}"#);
    assert!(port.contains(r#"the field "port": expected u16, found a text"#), "{port}");
    let missing = message(r#"{"username": "u", "port": 1}"#);
    assert!(missing.contains(r#"the secret has no field "password""#), "{missing}");
    let mode = message(r#"{"username": "u", "password": "p", "port": 1, "mode": "hunter2"}"#);
    assert!(mode.contains("expected one of plain, tls, ports, wrapped"), "{mode}");
}

/// A type of the caller's own, which quotes what it does not take.
#[derive(Debug)]
struct Picky;

impl<'de> Deserialize<'de> for Picky {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Err(D::Error::custom(format!("bad: {text}")))
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
#[expect(dead_code, reason = "only whether it fits is of interest")]
enum Untagged {
    Port { port: u16 },
    Picky(Picky),
}

proptest! {
    #[test]
    fn no_error_holds_anything_of_a_value(value in "[a-zA-Z]{16}", shape in 0..4) {
        let json = match shape {
            0 => format!(r#"{{"username": ["{value}"], "password": "p", "port": 1}}"#),
            1 => format!(r#"{{"username": "u", "password": {{"x": "{value}"}}, "port": 1}}"#),
            2 => format!(r#"{{"username": "u", "password": "p", "port": "{value}"}}"#),
            _ => format!(r#"{{"username": "u", "password": "p", "port": 1, "mode": {{"wrapped": "{value}"}}}}"#),
        };
        let errors = [
            into::<Login>(&json).unwrap_err(),
            into::<Picky>(&format!(r#"{{"value": "{value}"}}"#)).unwrap_err(),
            into::<Untagged>(&format!(r#"{{"value": "{value}"}}"#)).unwrap_err(),
        ];
        for error in errors {
            prop_assert!(!format!("{error} {error:?}").contains(&value), "{error}");
        }
    }
}
