//! What files of each kind mean, and what is said about those that mean nothing.
#![cfg(feature = "file")]
#![allow(clippy::disallowed_methods, reason = "the tests play the writers of source files")]
#![allow(clippy::unwrap_used, reason = "it is a test")]

mod support;

use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use keywheel_core::{Error, ErrorKind, Secret};

use self::support::provider;

/// Reads a file of that name and content; the answer is its fields as JSON.
async fn read(name: &str, content: impl AsRef<[u8]>) -> Result<String, Error> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(name), content).unwrap();
    read_at(folder.path(), name, None).await.map(|secret| shown(&secret))
}

async fn read_at(root: &Path, name: &str, identity_file: Option<&Path>) -> Result<Secret, Error> {
    provider(Some(root), identity_file).read(&format!("file://{name}").parse().unwrap()).await
}

fn shown(secret: &Secret) -> String {
    let fields: Vec<String> = secret
        .fields()
        .iter()
        .map(|(name, value)| match serde_json::to_string(&value.expose()) {
            Ok(json) => format!("{name}={json}"),
            Err(_) => format!("{name}={:?}", value.to_bytes().unwrap().expose_secret()),
        })
        .collect();
    fields.join(" ")
}

#[tokio::test]
async fn a_name_says_how_its_content_is_read() {
    for (name, content, fields) in [
        (
            "a.json",
            r#"{"user": "ann", "port": 5432, "on": true, "n": {"a": [1, null]}}"#,
            r#"n={"a":[1,null]} on=true port=5432 user="ann""#,
        ),
        ("a.JSON", "{\"a\": \"1\"}", r#"a="1""#),
        ("a.json", "\u{feff}{\"a\": \"bom\"}", r#"a="bom""#),
        ("a.json", "[1, 2]", "value=[1,2]"),
        ("a.json", "\"text\"", r#"value="text""#),
        ("a.json", "{}", ""),
        (
            "a.yaml",
            "user: ann\nport: 5432\nnested:\n  list: [a, b]\n",
            r#"nested={"list":["a","b"]} port=5432 user="ann""#,
        ),
        ("a.yml", "- a\n- b\n", r#"value=["a","b"]"#),
        ("a.yaml", "plain text", r#"value="plain text""#),
        ("a.yaml", "text: |\n  two\n  lines\n", r#"text="two\nlines\n""#),
        (
            "a.yaml",
            "base: &b {x: same}\none: *b\ntwo: *b\n",
            r#"base={"x":"same"} one={"x":"same"} two={"x":"same"}"#,
        ),
        (
            "a.toml",
            "user = \"ann\"\nport = 5_432\n[nested]\nlist = [1, 2]\n",
            r#"nested={"list":[1,2]} port=5432 user="ann""#,
        ),
        (
            "a.toml",
            "hex = 0xff\nwhen = 2026-11-23T07:00:00Z\non = true\n",
            r#"hex=255 on=true when="2026-11-23T07:00:00Z""#,
        ),
        ("a.env", "A=1\nB=two\n", r#"A="1" B="two""#),
        (".env", "A=1", r#"A="1""#),
        ("a.txt", "line\n", r#"value="line\n""#),
        ("password", " p w \n", r#"value=" p w \n""#),
        ("json", "{\"a\": \"1\"}", r#"value="{\"a\": \"1\"}""#),
        ("a.json.bak", "{}", r#"value="{}""#),
        (".hidden", "x", r#"value="x""#),
        ("a.age", "not encrypted", "Err"),
    ] {
        let read = read(name, content).await;
        match read {
            Ok(read) => assert_eq!(read, fields, "{name}: {content}"),
            Err(error) => assert_eq!(fields, "Err", "{name}: {content}: {error}"),
        }
    }
    assert_eq!(read("bytes", [0xff, 0x00, b'\n']).await.unwrap(), "value=[255, 0, 10]");
}

#[tokio::test]
async fn numbers_in_yaml_and_toml_keep_their_spelling() {
    for (text, delivered) in [
        ("1e10", "1e10"),
        ("12E4", "12E4"),
        ("1.10", "1.10"),
        ("0017", "0017"),
        ("0x1F", "0x1F"),
        ("0o17", "0o17"),
        ("1_000", "1_000"),
        ("1e999", "1e999"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("-5", "-5"),
        ("+5", "+5"),
        (".inf", ".inf"),
        ("yes", "yes"),
        ("off", "off"),
        ("true", "true"),
        ("2026-11-23", "2026-11-23"),
        ("~", ""),
        ("7  # comment", "7"),
    ] {
        for yaml in [format!("v: {text}\n"), format!("a: &x {text}\nv: *x\n"), format!("żółć: ść\nv: {text}")]
        {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("a.yaml"), &yaml).unwrap();
            let secret = read_at(folder.path(), "a.yaml", None).await.unwrap();
            assert_eq!(secret.fields()["v"].to_bytes().unwrap().expose_text().unwrap(), delivered, "{yaml}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.toml"), "v = 1.10").unwrap();
    let secret = read_at(folder.path(), "a.toml", None).await.unwrap();
    assert_eq!(secret.fields()["v"].to_bytes().unwrap().expose_text().unwrap(), "1.10");
}

#[tokio::test]
async fn dotenv_takes_values_as_they_are() {
    for (content, fields) in [
        ("A=1\r\nB=2\r\n", r#"A="1" B="2""#),
        ("# comment\n\n  export A = spaced out  # comment\n", r#"A="spaced out""#),
        ("A=pa$$word${HOME}$(id)`id`", r#"A="pa$$word${HOME}$(id)`id`""#),
        (r"A=back\slash\n", r#"A="back\\slash\\n""#),
        ("A=a#b\nB=#c\nC= # c", r#"A="a#b" B="" C="""#),
        ("A=it's", r#"A="it's""#),
        ("A=\nB=''\nC=\"\"", r#"A="" B="" C="""#),
        (r#"A="q\"uo\\te\n\t$HOME\$ \x" # comment"#, r#"A="q\"uo\\te\n\t$HOME$ \\x""#),
        ("A='as \\n is $HOME \"'", r#"A="as \\n is $HOME \"""#),
        ("KEY=\"-----BEGIN\nabc\n-----END\"\nB=1", r#"B="1" KEY="-----BEGIN\nabc\n-----END""#),
        ("export=1\nA.B-c=2\nA=1\nA=2", r#"A="2" A.B-c="2" export="1""#),
        ("A=a=b==", r#"A="a=b==""#),
    ] {
        assert_eq!(read(".env", content).await.unwrap(), fields, "{content}");
    }
}

const CANARY: &str = "hunter2-canary";

#[tokio::test]
async fn what_does_not_parse_is_temporary_and_says_where_and_never_what() {
    for (name, content, said) in [
        (
            "a.json",
            "{\"a\": \"CANARY\",\n \"b\": CANARY}",
            "not a JSON file: line 2, column 7: a character that does not belong there",
        ),
        ("a.json", "{\"a\": \"CANARY", "it ends too early"),
        ("a.json", "{\"a\": \"1\"} CANARY", "line 1, column 12"),
        ("a.json", "", "the file is empty"),
        ("a.json", " \n", "the file is empty"),
        ("password", "", "the file is empty"),
        ("a.yaml", "a: 'CANARY\nb: [", "not a YAML file: line "),
        ("a.yaml", "CANARY: 1\nCANARY: 2\n", "not a YAML file: line 2, column 1: "),
        ("a.yaml", "a: *CANARY", "not a YAML file: line 1"),
        ("a.yaml", "a: !!int CANARY", "not a YAML file: line 1"),
        ("a.yaml", "--- CANARY\n--- b\n", "not a YAML file: "),
        ("a.toml", "a = \"CANARY\"\nb = CANARY\n", "not a TOML file: line 2, column 5: this is no TOML"),
        ("a.toml", "CANARY = 1\nCANARY = 2\n", "not a TOML file: line 2, column 1: "),
        ("a.env", "A=1\nCANARY\n", "not a dotenv file: line 2, column 15: a name is not followed by `=`"),
        ("a.env", "A=1\n1CANARY=2\n", "line 2, column 1: a name begins with a letter or `_`"),
        ("a.env", "A='CANARY\n\n", "line 1, column 3: a quote is not closed"),
        ("a.env", "A=\"CANARY\\", "line 1, column 3: a quote is not closed"),
        ("a.env", "A='CANARY' CANARY", "line 1, column 19: something follows a closed quote"),
    ] {
        let error = read(name, content.replace("CANARY", CANARY)).await.unwrap_err();
        let message = format!("{error} {error:?}");
        assert!(message.contains(said), "{name}: {message}");
        assert!(message.contains(name) && message.contains("reference: file://"), "{message}");
        assert!(!message.contains(CANARY), "{message}");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{message}");
        assert!(error.is_temporary(), "{message}");
    }
    for name in ["a.json", "a.yaml", "a.toml", "a.env"] {
        let error =
            read(name, [b"a=\"".as_slice(), CANARY.as_bytes(), b"\n\xff\xfe\""].concat()).await.unwrap_err();
        assert!(error.to_string().contains("line 2, column 1: it is not UTF-8 text"), "{error}");
        assert!(!format!("{error} {error:?}").contains(CANARY), "{error}");
    }
}

#[tokio::test]
async fn small_files_do_not_grow_large_on_the_way() {
    let laughs = "a: &a [\"lol\",\"lol\",\"lol\",\"lol\",\"lol\",\"lol\",\"lol\",\"lol\",\"lol\"]\n"
        .to_owned()
        + "b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n";
    let deep = |open: &str, close: &str| open.repeat(100_000) + &close.repeat(100_000);
    for (name, content) in [
        ("a.yaml", laughs),
        ("a.yaml", deep("[", "]")),
        ("a.json", deep("[", "]")),
        ("a.toml", format!("a = {}", deep("[", "]"))),
        ("a.toml", format!("a{} = 1", ".a".repeat(100_000))),
    ] {
        let error = read(name, &content).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{name}: {error}");
    }
}

#[tokio::test]
async fn a_folder_is_one_field_per_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (name, content) in
        [("password", "p\n"), ("user.name", "ann"), (".hidden", "h"), ("empty", ""), ("..layout", "no")]
    {
        std::fs::write(at(name), content).unwrap();
    }
    std::fs::create_dir(at("sub")).unwrap();
    std::fs::write(at("sub/file"), "no").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    symlink("password", at("link")).unwrap();
    let root = folder.path().parent().unwrap();
    let name = folder.path().file_name().unwrap().to_str().unwrap();
    let secret = read_at(root, name, None).await.unwrap();
    assert_eq!(shown(&secret), r#".hidden="h" empty="" link="p\n" password="p\n" user.name="ann""#);
    assert_eq!(shown(&read_at(root, &format!("{name}/"), None).await.unwrap()), shown(&secret));

    symlink("nowhere", at("dangling")).unwrap();
    let error = read_at(root, name, None).await.unwrap_err();
    assert!(error.is_temporary() && error.to_string().contains("dangling"), "{error}");
    std::fs::remove_file(at("dangling")).unwrap();

    // The sizes of all files count together.
    for number in 0..5 {
        std::fs::write(at(&format!("big-{number}")), vec![b'x'; Secret::MAX_BYTES / 4]).unwrap();
    }
    assert_eq!(read_at(root, name, None).await.unwrap_err().kind(), ErrorKind::Invalid);

    std::fs::create_dir(at("sub/nothing")).unwrap();
    let error = read_at(folder.path(), "sub/nothing", None).await.unwrap_err();
    assert!(error.is_temporary() && error.to_string().contains("the folder has no files"), "{error}");
}

#[tokio::test]
async fn what_is_no_file_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
    symlink("/dev/zero", folder.path().join("device")).unwrap();
    let provider = provider(None, None);
    for name in ["fifo", "socket", "device"] {
        let reference = format!("file://{}/{name}", folder.path().display()).parse().unwrap();
        let read = tokio::time::timeout(Duration::from_secs(5), provider.read(&reference));
        let error = read.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains("it is not a regular file"), "{error}");
    }
}

#[tokio::test]
async fn references_stay_below_the_root() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(folder.path().join("outside.json"), r#"{"a": "1"}"#).unwrap();
    for (link, target) in [("up.json", "../outside.json"), ("absolute.json", "/etc/passwd"), ("folder", "..")]
    {
        symlink(target, root.join(link)).unwrap();
    }
    for name in ["up.json", "absolute.json", "folder/outside.json", "folder"] {
        let error = read_at(&root, name, None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert!(error.to_string().contains("a link leads out of the provider's root"), "{error}");
    }
    // A folder with one bad link is refused whole, rather than read without it.
    std::fs::create_dir(root.join("volume")).unwrap();
    std::fs::write(root.join("volume/good"), "x").unwrap();
    symlink("../../outside.json", root.join("volume/bad")).unwrap();
    assert_eq!(read_at(&root, "volume", None).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    // An absolute reference is the operator's own choice.
    let absolute = format!("file://{}", root.join("up.json").display()).parse().unwrap();
    assert!(provider(Some(&root), None).read(&absolute).await.is_ok());
}

#[tokio::test]
async fn references_are_checked_before_anything_is_read() {
    let provider = provider(None, None);
    for (reference, said) in [
        ("file://orders.json", "the path is relative and the provider has no `root`"),
        ("file:///orders.json?x=1", "unknown parameter \"x\""),
        ("file:///orders.json.age", "the file is encrypted and the provider has no `identity_file`"),
    ] {
        let reference = reference.parse().unwrap();
        let error = provider.validate(&reference).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(said) && error.to_string().contains("provider: local"), "{error}");
        assert_eq!(provider.read(&reference).await.unwrap_err().kind(), ErrorKind::Config);
    }
}

#[tokio::test]
async fn names_that_mean_nothing_are_not_found() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "x").unwrap();
    let long = "x".repeat(300);
    for name in ["missing", "missing/below", "file/below", &long, "$(id)", "~"] {
        let error = read_at(folder.path(), name, None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{name}: {error}");
    }
}

#[tokio::test]
async fn a_file_that_may_not_be_read_is_denied() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "x").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::File::open(&path).is_ok() {
        return; // As root everything may be read.
    }
    assert_eq!(read_at(folder.path(), "file", None).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
}

mod age_files {
    use age::armor::{ArmoredWriter, Format};
    use age::secrecy::ExposeSecret;
    use age::x25519::Identity;

    use super::*;

    fn encrypt(identity: &Identity, content: &[u8], format: Option<Format>) -> Vec<u8> {
        let recipient = identity.to_public();
        let encryptor =
            age::Encryptor::with_recipients([&recipient as &dyn age::Recipient].into_iter()).unwrap();
        let mut encrypted = Vec::new();
        let mut armor = ArmoredWriter::wrap_output(&mut encrypted, format.unwrap_or(Format::Binary)).unwrap();
        let mut writer = encryptor.wrap_output(&mut armor).unwrap();
        writer.write_all(content).unwrap();
        writer.finish().unwrap();
        armor.finish().unwrap();
        encrypted
    }

    #[tokio::test]
    async fn are_decrypted_and_then_read_by_the_rest_of_their_name() {
        let folder = tempfile::tempdir().unwrap();
        let (mine, other) = (Identity::generate(), Identity::generate());
        let identities = folder.path().join("identities.txt");
        let key = |identity: &Identity| identity.to_string().expose_secret().to_owned();
        std::fs::write(&identities, format!("# created: today\n{}\n\n{}\n", key(&other), key(&mine)))
            .unwrap();
        for (name, content, fields) in [
            ("a.json.age", r#"{"a": "1"}"#, r#"a="1""#),
            ("a.env.age", "A=1", r#"A="1""#),
            ("a.age", "text", r#"value="text""#),
        ] {
            for format in [None, Some(Format::AsciiArmor)] {
                std::fs::write(folder.path().join(name), encrypt(&mine, content.as_bytes(), format)).unwrap();
                let secret = read_at(folder.path(), name, Some(&identities)).await.unwrap();
                assert_eq!(shown(&secret), fields);
            }
        }
        // As large as a secret may be, and a byte more.
        for (size, fits) in [(Secret::MAX_BYTES, true), (Secret::MAX_BYTES + 1, false)] {
            let large = encrypt(&mine, &vec![b'x'; size], Some(Format::AsciiArmor));
            std::fs::write(folder.path().join("large.age"), large).unwrap();
            let read = read_at(folder.path(), "large.age", Some(&identities)).await;
            assert_eq!(read.is_ok(), fits, "{size}: {read:?}");
        }
    }

    #[tokio::test]
    async fn that_cannot_be_decrypted_say_why_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (mine, other) = (Identity::generate(), Identity::generate());
        let mine_text = mine.to_string().expose_secret().to_owned();
        std::fs::write(at("mine"), &mine_text).unwrap();
        std::fs::write(at("none"), "# nothing\n").unwrap();
        std::fs::write(at("broken"), format!("{mine_text}\n{CANARY}\n")).unwrap();
        let good = encrypt(&mine, CANARY.as_bytes(), None);
        std::fs::write(at("good.age"), &good).unwrap();
        std::fs::write(at("cut.age"), &good[..good.len() - 20]).unwrap();
        std::fs::write(at("header.age"), &good[..50]).unwrap();
        std::fs::write(at("plain.age"), CANARY).unwrap();
        std::fs::write(at("other.age"), encrypt(&other, CANARY.as_bytes(), None)).unwrap();
        let phrase = age::Encryptor::with_user_passphrase("phrase".to_owned().into());
        let mut encrypted = Vec::new();
        phrase.wrap_output(&mut encrypted).unwrap().finish().unwrap();
        std::fs::write(at("phrase.age"), encrypted).unwrap();
        for (name, identities, kind, temporary, said) in [
            ("other.age", "mine", ErrorKind::PermissionDenied, false, "none of the identities fits the file"),
            ("cut.age", "mine", ErrorKind::Invalid, true, "cut off or damaged"),
            ("header.age", "mine", ErrorKind::Invalid, true, "cut off or damaged"),
            ("plain.age", "mine", ErrorKind::Invalid, true, "cut off or damaged"),
            ("phrase.age", "mine", ErrorKind::Invalid, false, "encrypted with a passphrase"),
            ("good.age", "none", ErrorKind::Config, false, "the identity file has no identity"),
            (
                "good.age",
                "broken",
                ErrorKind::Config,
                false,
                "the identity file has a line that is no X25519 identity",
            ),
            ("good.age", "missing", ErrorKind::NotFound, false, "identity file: "),
        ] {
            let error = read_at(folder.path(), name, Some(&at(identities))).await.unwrap_err();
            let message = format!("{error} {error:?}");
            assert_eq!((error.kind(), error.is_temporary()), (kind, temporary), "{name}: {message}");
            assert!(message.contains(said) && message.contains(name), "{message}");
            assert!(!message.contains(CANARY) && !message.contains(&mine_text), "{message}");
        }
    }
}
