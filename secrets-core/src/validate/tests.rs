use std::collections::BTreeSet;

use super::*;
use crate::payload::Mode;
use crate::secret::SecretValue;

fn payload(files: &[(&str, &[u8])]) -> Payload {
    let file = |(path, content): &(&str, &[u8])| {
        let content = SecretValue::copy_of(content);
        (path.parse().unwrap(), PayloadFile { content, mode: Mode::DEFAULT, secrets: BTreeSet::new() })
    };
    Payload { files: files.iter().map(file).collect() }
}

fn path(text: &str) -> FilePath {
    text.parse().unwrap()
}

/// What a validator says of a file `f` with that content.
fn said(validator: fn(FilePath) -> Validator, content: &[u8]) -> Option<String> {
    let found = validator(path("f")).check(&payload(&[("f", content)]), Timestamp::UNIX_EPOCH);
    found.err().map(|error| {
        assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Rejected, false));
        error.to_string()
    })
}

#[test]
fn a_file_has_the_format_that_it_should_have() {
    for good in ["{}", "[1, 2]", " null\n"] {
        assert_eq!(said(Validator::Json, good.as_bytes()), None, "{good}");
    }
    let json = said(Validator::Json, b"{\n\"password\": hunter2}").unwrap();
    assert!(
        json.contains("line 2 column 13") && json.contains("file: f") && !json.contains("hunter2"),
        "{json}"
    );
    assert_eq!(said(Validator::Yaml, b"a: [1, 2]\nb: x\n"), None);
    let yaml = said(Validator::Yaml, b"a: [hunter2\nb: }").unwrap();
    assert!(yaml.contains("line") && !yaml.contains("hunter2"), "{yaml}");
    assert_eq!(said(Validator::Dotenv, b"# comment\nA=1\nexport B='x y'\n"), None);
    let dotenv = said(Validator::Dotenv, b"A=1\nhunter2 is no entry\n").unwrap();
    assert!(dotenv.contains("entry 2") && !dotenv.contains("hunter2"), "{dotenv}");
    assert_eq!(said(Validator::NotEmpty, b"x"), None);
    assert!(said(Validator::NotEmpty, b" \n").unwrap().contains("it is empty"));
    assert!(said(Validator::Yaml, &[0xff]).unwrap().contains("not UTF-8"));
    let missing = Validator::Json(path("other")).check(&payload(&[]), Timestamp::UNIX_EPOCH).unwrap_err();
    assert!(missing.to_string().contains("no such file"), "{missing}");
}

#[tokio::test]
async fn a_program_sees_the_files_before_they_are_visible() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::File::create(folder.path().join("app.conf")).unwrap();
    let staged = Event {
        delivery: "orders".into(),
        directory: folder.path().into(),
        generation: "..2026".into(),
        versions: [].into(),
    };
    let run = async |command: &[&str]| {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        let timeout = std::time::Duration::from_secs(20);
        let program = Program { names_directory: true, ..Program::new(command, timeout) };
        Validator::Exec(program).run(&staged).await
    };
    run(&[
        "/bin/sh",
        "-c",
        "test -f \"$1/app.conf\" && test \"$1\" = \"$KEYWHEEL_DIRECTORY\"",
        "sh",
        "{directory}",
    ])
    .await
    .unwrap();
    let no = run(&["/bin/false"]).await.unwrap_err();
    assert_eq!((no.kind(), no.is_temporary()), (ErrorKind::Rejected, false), "{no}");
    let missing = run(&["/does/not/exist"]).await.unwrap_err();
    assert!(missing.is_temporary() && missing.to_string().contains("no such program"), "{missing}");
}

#[cfg(feature = "certificates")]
mod certificates {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn pair(from: i32, to: i32) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["web.example.com".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn check(certificates: &str, key: Option<&str>) -> Option<String> {
        let validator = Validator::Certificate { certificates: path("c"), key: key.map(|_| path("k")) };
        let files = payload(&[("c", certificates.as_bytes()), ("k", key.unwrap_or_default().as_bytes())]);
        let now = "2026-11-29T00:00:00Z".parse().unwrap();
        validator.check(&files, now).err().map(|error| error.to_string())
    }

    #[test]
    fn a_certificate_is_valid_now_and_belongs_to_its_key() {
        let (certificate, key) = pair(2026, 2027);
        let (other, other_key) = pair(2026, 2028);
        assert_eq!(check(&certificate, None), None);
        assert_eq!(check(&certificate, Some(&key)), None);
        assert_eq!(check(&format!("{certificate}{other}"), Some(&key)), None, "the chain follows the leaf");
        let says = |certificates: &str, key: Option<&str>, words: &str| {
            let said = check(certificates, key).unwrap();
            assert!(said.contains(words) && !said.contains("BEGIN"), "{said}");
        };
        says(&certificate, Some(&other_key), "does not belong to the private key");
        says(&format!("{other}{certificate}"), Some(&key), "does not belong");
        says(&pair(2020, 2021).0, None, "has expired");
        says(&pair(2030, 2031).0, None, "is not valid yet");
        says("x", None, "no certificate");
        says(&certificate, Some("x"), "no private key");
        says(&certificate[..certificate.len() / 2], None, "not whole");
    }
}
