//! Each filter's table, and the round trips that they promise.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;

use proptest::prelude::*;

use crate::render::{RenderInput, Template};
use crate::secret::{Secret, Version};
use crate::value::Value;

/// Renders `{{ v | filter }}` for a value.
fn apply(value: Value, filter: &str) -> Result<Vec<u8>, String> {
    let secret = Secret::try_new([("v".to_owned(), value)].into(), Version::new(1)).unwrap();
    let input = RenderInput { secret: Arc::new(secret), field: None };
    let template = Template::parse("t", format!("{{{{ s.v | {filter} }}}}")).unwrap();
    match template.render(&Arc::new([("s".to_owned(), input)].into())) {
        Ok(content) => Ok(content.expose_secret().to_vec()),
        Err(error) => Err(error.to_string()),
    }
}

fn text(value: &str, filter: &str) -> String {
    String::from_utf8(apply(value.into(), filter).unwrap()).unwrap()
}

fn json(json: &str, filter: &str) -> Result<String, String> {
    let value = serde_json::from_str(json).unwrap();
    apply(value, filter).map(|bytes| String::from_utf8(bytes).unwrap())
}

fn binary(bytes: &[u8], filter: &str) -> Result<Vec<u8>, String> {
    apply(Value::Bytes(bytes.to_vec().into()), filter)
}

#[test]
fn base64() {
    for (plain, encoded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foobar", "Zm9vYmFy")] {
        assert_eq!(text(plain, "b64encode"), encoded);
        assert_eq!(text(encoded, "b64decode"), plain);
        assert_eq!(text(encoded.trim_end_matches('='), "b64decode"), plain);
    }
    assert_eq!(binary(&[0xfb, 0xff], "b64encode").unwrap(), b"+/8=");
    for encoded in ["+/8=", "-_8=", "-_8", " + /\n8 =\r\n"] {
        assert_eq!(apply(encoded.into(), "b64decode").unwrap(), [0xfb, 0xff], "{encoded}");
    }
    assert_eq!(json("4711", "b64encode").unwrap(), "NDcxMQ==");
    assert_eq!(json("true", "b64encode").unwrap(), "dHJ1ZQ==");
    assert_eq!(json("null", "b64encode").unwrap(), "");
    for bad in ["a", "+-", "Zm9v!", "Zh==", "ä"] {
        assert!(apply(bad.into(), "b64decode").unwrap_err().contains("the value is not base64"), "{bad}");
    }
    for structure in ["[1]", "{}"] {
        assert!(json(structure, "b64encode").unwrap_err().contains("| json"), "{structure}");
    }
}

#[test]
fn url_components() {
    assert_eq!(text("a-Z0._~", "urlencode"), "a-Z0._~");
    assert_eq!(text("p@ss:w/rd? &=+#ä", "urlencode"), "p%40ss%3Aw%2Frd%3F%20%26%3D%2B%23%C3%A4");
    assert_eq!(binary(&[0xff, 0], "urlencode").unwrap(), b"%FF%00");
}

#[test]
fn digests() {
    assert_eq!(text("abc", "sha256"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(text("", "sha256"), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert!(binary(&[0xff], "sha256").unwrap().starts_with(b"a8100ae6aa1940d0b663"));
}

#[test]
fn shell_words() {
    for (value, quoted) in
        [("", "''"), ("a b", "'a b'"), ("it's", r"'it'\''s'"), ("$(x) `y` \\ \"", "'$(x) `y` \\ \"'")]
    {
        assert_eq!(text(value, "shell"), quoted);
    }
    assert!(apply("a\0b".into(), "shell").unwrap_err().contains("NUL"));
    for value in [
        "",
        "a b",
        "it's '' a \\",
        "$HOME `id` \"!\" *",
        "-n",
        "%s\\n",
        "line\nline\n\n",
        "ä\t\r \u{1}",
        "'",
        "''''",
    ] {
        let script = format!("printf %s {}", text(value, "shell"));
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(output.stdout, value.as_bytes(), "{value:?}");
    }
}

#[test]
fn dotenv_lines() {
    for (value, quoted) in [
        ("", "''"),
        ("a b # c", "'a b # c'"),
        ("$HOME \"x\"", "'$HOME \"x\"'"),
        ("it's $1", r#""it's \$1""#),
        ("a\nb", r#""a\nb""#),
        ("a\\", r#""a\\""#),
    ] {
        assert_eq!(text(value, "dotenv"), quoted);
    }
    assert_eq!(
        json(r#"{"B": "x y", "A_1": 5432, "C": true, "D": null}"#, "dotenv").unwrap(),
        "A_1='5432'\nB='x y'\nC='true'\nD=''\n"
    );
    assert_eq!(json("{}", "dotenv").unwrap(), "");
    for bad in [r#"{"a-b": 1}"#, r#"{"1a": 1}"#, r#"{"": 1}"#, r#"{"a b": 1}"#, r#"{"ä": 1}"#] {
        assert!(json(bad, "dotenv").unwrap_err().contains("cannot be a variable's"), "{bad}");
    }
    assert!(json(r#"{"a": [1]}"#, "dotenv").unwrap_err().contains("| json"));
    assert!(apply("a\0".into(), "dotenv").unwrap_err().contains("NUL"));
}

#[test]
fn json_of_anything() {
    let structure = r#"{"b": [1, -2.5, "ä\"\n<&>", null, true], "a": {}, "c": []}"#;
    let compact = r#"{"a":{},"b":[1,-2.5,"ä\"\n<&>",null,true],"c":[]}"#;
    for filter in ["json", "tojson"] {
        assert_eq!(json(structure, filter).unwrap(), compact);
    }
    assert_eq!(text("a\"b", "json"), r#""a\"b""#);
    assert_eq!(json("null", "json").unwrap(), "null");
    assert_eq!(
        json(r#"{"a": [1, {}], "b": 2}"#, "json(indent=2)").unwrap(),
        "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": 2\n}"
    );
    assert!(binary(&[0xff], "json").unwrap_err().contains("b64encode"));
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    assert_eq!(json(&deep, "json").unwrap(), deep);
}

#[test]
fn pem_parts() {
    let block = |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
    let (leaf, middle, root) =
        (block("CERTIFICATE", "bGVhZg=="), block("CERTIFICATE", "bWlk"), block("CERTIFICATE", "cm9vdA=="));
    for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
        let key = block(label, "a2V5\nbW9yZQ==");
        let bundle =
            format!("# subject\n{}{key}text\r\n{leaf}{middle}\n{root}", block("EC PARAMETERS", "eA=="));
        for bundle in [bundle.clone(), bundle.replace('\n', "\r\n"), bundle.trim_end().to_owned()] {
            assert_eq!(text(&bundle, "pem_key"), key);
            assert_eq!(text(&bundle, "pem_cert"), leaf);
            assert_eq!(text(&bundle, "pem_chain"), format!("{middle}{root}"));
            assert_eq!(text(&bundle, "pem_certs"), format!("{leaf}{middle}{root}"));
        }
    }
    let list = serde_json::to_string(&[middle.trim(), root.trim()]).unwrap();
    assert_eq!(json(&list, "pem_certs").unwrap(), format!("{middle}{root}"));
    for (bundle, filter, expected) in [
        ("", "pem_key", "no private key"),
        (&*leaf, "pem_key", "no private key"),
        ("secret", "pem_cert", "no certificate"),
        ("", "pem_certs", "no certificate"),
        ("", "pem_chain", "no certificate"),
        (&leaf, "pem_chain", "no chain"),
        ("-----BEGIN CERTIFICATE-----\nsecret", "pem_cert", "has no end"),
    ] {
        let error = apply(bundle.into(), filter).unwrap_err();
        assert!(error.contains(expected) && !error.contains("secret\n"), "{error}");
    }
}

/// The texts that are hard for quoting, and any others.
fn awkward() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z'\"\\\\$# \n\r\t={}`!%ä]{0,40}", "[^\0]{0,40}"]
}

proptest! {
    #[test]
    fn base64_round_trips(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(binary(&bytes, "b64encode | b64decode").unwrap(), bytes);
    }

    #[test]
    fn dotenv_round_trips(values in proptest::collection::btree_map("[A-Z_][A-Z0-9_]{0,8}", awkward(), 0..5)) {
        let map = values.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        let lines = apply(Value::Map(map), "dotenv").unwrap();
        let read: BTreeMap<String, String> = dotenvy::from_read_iter(&*lines).collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(read, values);
    }

    #[test]
    fn dotenv_values_round_trip_inside_a_file(value in awkward()) {
        let file = format!("A=1\nB={}\nC='3'\n", text(&value, "dotenv"));
        let read: Vec<(String, String)> = dotenvy::from_read_iter(file.as_bytes()).collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(&read[1].1, &value);
        prop_assert_eq!(&read[2].1, "3");
    }

    #[test]
    fn shell_words_have_no_end_inside(value in awkward()) {
        let quoted = text(&value, "shell");
        // Between quotes nothing is special; outside of them only `\'` stands.
        let inner = quoted.strip_prefix('\'').unwrap().strip_suffix('\'').unwrap();
        let parts: Vec<&str> = inner.split(r"'\''").collect();
        prop_assert!(parts.iter().all(|part| !part.contains('\'')));
        prop_assert_eq!(parts.join("'"), value);
    }

    #[test]
    fn json_reads_back(value in awkward()) {
        prop_assert_eq!(serde_json::from_str::<String>(&text(&value, "json")).unwrap(), value);
    }

    #[test]
    fn urls_decode_to_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let encoded = binary(&bytes, "urlencode").unwrap();
        prop_assert_eq!(percent_encoding::percent_decode(&encoded).collect::<Vec<u8>>(), bytes);
    }
}
