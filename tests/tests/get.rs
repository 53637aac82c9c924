//! `keywheel get`: one secret at a terminal or in a script, in every format, from every provider that needs no setting up.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use keywheel_tests::{OpenBao, Tmpfs, built, ports, wait};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder with secrets in files, where `keywheel get` runs.
struct Stage {
    folder: TempDir,
}

impl Stage {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// Writes a source; returns the reference to it.
    fn source(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), content).expect("a source");
        format!("file://{}", self.path(name).display())
    }

    fn json(&self, content: &Value) -> String {
        self.source("source.json", content.to_string())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(built::program("keywheel"));
        command
            .arg("get")
            .args(arguments)
            .env_clear()
            .env("HOME", self.folder.path())
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs `keywheel get` with its output in a pipe.
    fn get(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("keywheel")
    }

    /// Runs `keywheel get`, which has to succeed without a word; returns what it printed.
    fn printed(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.get(arguments);
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""), "{arguments:?}");
        output.stdout
    }

    /// Runs `keywheel get`, which has to end with `code` and print nothing; returns its message.
    fn refused(&self, arguments: &[&str], code: i32) -> String {
        refused(self.command(arguments), code)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).expect("the stage");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
        names.sort();
        names
    }
}

fn refused(mut command: Command, code: i32) -> String {
    let output = command.output().expect("keywheel");
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(text(&output.stdout), "", "a failure prints no result");
    stderr
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("a file").permissions().mode() & 0o7777
}

/// What has broken a shell, a parser or a quoting rule before.
const NASTY: [(&str, &str); 19] = [
    ("single", "it's"),
    ("singles", "''''"),
    ("double", r#"say "it""#),
    ("dollar", "$HOME ${HOME} $1 $$"),
    ("command", "$(touch pwned) `touch pwned`"),
    ("backslash", r"a\b\\c\"),
    ("escapes", r"\n\t\x41\$\`"),
    ("lines", "first\nsecond\n\nfourth"),
    ("trailing", "ends with lines\n\n"),
    ("spaces", "  two before and two after  "),
    ("tab", "a\tb"),
    ("hash", "a #b"),
    ("hashed", "#b"),
    ("equals", "a=b=c"),
    ("history", "a!b!!"),
    ("operators", "a; b & c | d > e < f * ? [x] ~ (y) {z}"),
    ("dash", "-n"),
    ("unicode", "pässwörd — 密码 🔑"),
    ("empty", ""),
];

fn nasty() -> Value {
    NASTY
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[test]
fn a_pipe_gets_the_value_alone() {
    let stage = Stage::new();
    let source = stage.json(&json!({"password": "hunter2", "lines": "a\nb\n", "empty": ""}));
    assert_eq!(stage.printed(&[&format!("{source}#password")]), b"hunter2");
    assert_eq!(stage.printed(&[&format!("{source}#lines")]), b"a\nb\n");
    assert_eq!(stage.printed(&[&format!("{source}#empty")]), b"");
    assert_eq!(stage.printed(&["--format", "raw", &format!("{source}#password")]), b"hunter2");
}

#[test]
fn a_terminal_gets_a_newline_after_a_value_without_one() {
    let stage = Stage::new();
    let source = stage.json(&json!({"password": "hunter2", "line": "ends\n"}));
    // The terminal itself writes a newline as CR and LF (termios(3), ONLCR).
    assert_eq!(at_a_terminal(stage.command(&[&format!("{source}#password")])), "hunter2\r\n");
    assert_eq!(at_a_terminal(stage.command(&[&format!("{source}#line")])), "ends\r\n");
    let json = at_a_terminal(stage.command(&["--format", "json", &source]));
    assert!(json.ends_with("}\r\n") && !json.ends_with("\r\n\r\n"), "{json:?}");
}

/// Runs `command` with its standard output on a terminal; returns what the terminal shows.
fn at_a_terminal(mut command: Command) -> String {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("a terminal");
    let name = ptsname(&terminal, Vec::new()).expect("the terminal's name");
    let theirs =
        fs::File::options().write(true).open(name.to_str().expect("a plain name")).expect("a terminal");
    let mut child = command.stdout(theirs).spawn().expect("keywheel");
    drop(command);
    let status =
        wait::until(Duration::from_secs(30), "the end of keywheel", || child.try_wait().expect("a child"));
    assert!(status.success());
    let mut shown = Vec::new();
    // Nobody holds the other end: what is left is read, and then comes EIO, which is how a terminal says it.
    let end = fs::File::from(terminal).read_to_end(&mut shown).expect_err("the terminal's end");
    assert_eq!(end.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
    text(&shown)
}

#[test]
fn json_is_one_object_that_says_what_the_source_says() {
    let stage = Stage::new();
    let fields = json!({
        "text": "a\"b\n", "number": 5432, "big": 18_446_744_073_709_551_615_u64, "float": 1.5, "yes": true, "nothing": null,
        "list": [1, "two", {"three": 3}], "map": {"a": {"b": "c"}}, "unicode": "🔑\u{7}",
    });
    let printed = stage.printed(&["--format", "json", &stage.json(&fields)]);
    assert_eq!(serde_json::from_slice::<Value>(&printed).unwrap(), fields);
    assert_eq!(printed.iter().filter(|byte| **byte == b'\n').count(), 1, "one line, ended");
}

#[test]
fn yaml_is_a_mapping_that_says_what_the_source_says() {
    let stage = Stage::new();
    let mut fields = nasty();
    fields["number"] = json!(5432);
    fields["not a number"] = json!("5432");
    fields["no"] = json!("no");
    fields["null"] = json!("null");
    fields["yes: it is"] = json!(true);
    fields["map"] = json!({"a": [1, "b"]});
    let printed = text(&stage.printed(&["--format", "yaml", &stage.json(&fields)]));
    let read: Value = serde_saphyr::from_str(&printed).unwrap_or_else(|error| panic!("{error}\n{printed}"));
    assert_eq!(read, fields);
}

#[test]
fn env_is_safe_to_evaluate() {
    let stage = Stage::new();
    let printed = stage.printed(&["--format", "env", &stage.json(&nasty())]);
    assert_eq!(
        printed.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"export ")).count(),
        NASTY.len()
    );
    fs::write(stage.path("secrets.sh"), &printed).unwrap();
    for shell in ["/bin/sh", "/bin/bash"] {
        for (name, value) in NASTY {
            // `set -f` is not given: nothing may be expanded for want of it. `export` is seen by a child.
            let script = format!(r#"eval "$(cat secrets.sh)"; exec /usr/bin/env printenv {name}"#);
            let mut command = Command::new(shell);
            command
                .args(["-u", "-c", &script])
                .current_dir(stage.folder.path())
                .env_clear()
                .env("PATH", "/usr/bin:/bin");
            let output = command.output().expect("a shell");
            assert_eq!(text(&output.stderr), "", "{shell} {name}");
            assert_eq!(text(&output.stdout), format!("{value}\n"), "{shell} {name}");
        }
    }
    assert_eq!(stage.names(), ["secrets.sh", "source.json"], "nothing in a value was run");
}

#[test]
fn dotenv_is_read_back_by_others_and_by_ourselves() {
    let stage = Stage::new();
    let printed = stage.printed(&["--format", "dotenv", &stage.json(&nasty())]);
    let read: serde_json::Map<String, Value> = dotenvy::from_read_iter(printed.as_slice())
        .map(|pair| pair.map(|(name, value)| (name, json!(value))))
        .collect::<Result<_, _>>()
        .unwrap_or_else(|error| panic!("{error}\n{}", text(&printed)));
    assert_eq!(Value::from(read), nasty());

    let again = stage.source("again.env", &printed);
    let read = stage.printed(&["--format", "json", &again]);
    assert_eq!(serde_json::from_slice::<Value>(&read).unwrap(), nasty());
}

#[test]
fn env_and_dotenv_need_names_and_text() {
    let stage = Stage::new();
    let source = stage.json(&json!({"api-key": "a", "db.host": "b"}));
    for (format, line) in [("env", "export api_key='a'"), ("dotenv", "api_key=")] {
        let printed = text(&stage.printed(&["--format", format, &source]));
        assert!(printed.lines().any(|printed| printed.starts_with(line)), "{printed}");
    }
    let nameless = stage.source("digits.json", r#"{"1st": "do-not-print"}"#);
    let binary = stage.source("binary", b"do-not-print\xff");
    let nul = stage.source("nul.json", r#"{"a": "do-not-print\u0000"}"#);
    for (source, word) in [(nameless, "\"1st\""), (binary, "UTF-8"), (nul, "NUL")] {
        for format in ["env", "dotenv"] {
            let stderr = stage.refused(&["--format", format, &source], 1);
            assert!(stderr.contains(word) && !stderr.contains("do-not-print"), "{stderr}");
        }
    }
}

#[test]
fn two_fields_with_one_variable_name_are_refused() {
    let stage = Stage::new();
    let source = stage.json(&json!({"api-key": "do-not-print-1", "api_key": "do-not-print-2"}));
    for format in ["env", "dotenv"] {
        let stderr = stage.refused(&["--format", format, &source], 1);
        assert!(stderr.contains("api_key") && !stderr.contains("do-not-print"), "{stderr}");
    }
}

#[test]
fn several_references_make_one_result() {
    let stage = Stage::new();
    let db = stage.source("db.json", r#"{"username": "orders", "password": "hunter2"}"#);
    let api = stage.source("api.json", r#"{"key": "abc", "nested": {"deep": 1}}"#);
    let (password, key) = (format!("{db}#password"), format!("{api}#key"));
    let read = |arguments: &[&str]| -> Value { serde_json::from_slice(&stage.printed(arguments)).unwrap() };
    assert_eq!(read(&["--format", "json", &password, &key]), json!({"password": "hunter2", "key": "abc"}));
    assert_eq!(
        read(&["--format", "json", &db, &format!("{api}#nested.deep")]),
        json!({"username": "orders", "password": "hunter2", "deep": 1})
    );
    assert!(stage.refused(&[&password, &key], 64).contains("raw"));
    let twice = stage.source("other.json", r#"{"password": "other"}"#);
    let stderr = stage.refused(&["--format", "json", &password, &format!("{twice}#password")], 64);
    assert!(stderr.contains("\"password\"") && !stderr.contains("hunter2"), "{stderr}");
    // One that fails prints none of the others.
    stage.refused(&["--format", "json", &password, &format!("{api}#missing")], 1);
}

#[test]
fn a_field_is_a_name_a_path_or_a_pointer() {
    let stage = Stage::new();
    let source = stage
        .json(&json!({"a.b": "exact", "a": {"b": "nested", "list": [{"x/y": "deep", "n": 7}]}, "yes": true}));
    for (field, value) in [
        ("a.b", "exact"),
        ("/a/b", "nested"),
        ("a.list.0.n", "7"),
        ("/a/list/0/x~1y", "deep"),
        ("a.list", r#"[{"n":7,"x/y":"deep"}]"#),
        ("yes", "true"),
    ] {
        assert_eq!(text(&stage.printed(&[&format!("{source}#{field}")])), value, "{field}");
    }
    for field in ["/a/list/1", "a.list.9", "b", "/", "a.b.c"] {
        let stderr = stage.refused(&[&format!("{source}#{field}")], 1);
        assert!(stderr.contains("\"a\"") && stderr.contains("\"yes\""), "names the fields: {stderr}");
        assert!(!stderr.contains("exact") && !stderr.contains("nested"), "{stderr}");
    }
}

#[test]
fn binary_values_come_out_as_they_went_in() {
    let stage = Stage::new();
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let source = stage.source("key.bin", &bytes);
    assert_eq!(stage.printed(&[&source]), bytes);
    assert_eq!(stage.printed(&[&format!("{source}#value")]), bytes);
    stage.printed(&[&source, "--output", "copy.bin"]);
    assert_eq!(fs::read(stage.path("copy.bin")).unwrap(), bytes);
    for format in ["json", "yaml"] {
        assert!(stage.refused(&[&source, "--format", format], 1).contains("UTF-8"));
    }
}

#[test]
fn output_makes_a_file_with_its_mode_whatever_the_umask() {
    let stage = Stage::new();
    let source = stage.json(&json!({"password": "hunter2"}));
    let reference = format!("{source}#password");
    for umask in ["000", "077", "777"] {
        for (file, arguments, wanted) in
            [("default", vec![], 0o400), ("shared", vec!["--mode", "0640"], 0o640)]
        {
            let mut command = Command::new("/bin/sh");
            command
                .args(["-c", &format!("umask {umask}; exec \"$@\""), "sh"])
                .arg(built::program("keywheel"))
                .args(["get", &reference, "--output", file])
                .args(arguments)
                .env_clear()
                .current_dir(stage.folder.path());
            let output = command.output().expect("a shell");
            assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0), "{}", text(&output.stderr));
            assert_eq!(mode(&stage.path(file)), wanted, "{file} under umask {umask}");
            assert_eq!(fs::read(stage.path(file)).unwrap(), b"hunter2");
        }
    }
    assert_eq!(stage.names(), ["default", "shared", "source.json"]);
    stage.refused(&[&reference, "--mode", "0640"], 64);
}

#[test]
fn output_replaces_a_file_in_one_step() {
    let stage = Stage::new();
    let reference = format!("{}#password", stage.json(&json!({"password": "new"})));
    let (file, before) = (stage.path("password"), stage.path("before"));
    fs::write(&file, "old value").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    fs::hard_link(&file, &before).unwrap();
    // A reader that has the old file open keeps the whole old value.
    let mut open = fs::File::open(&file).unwrap();

    stage.printed(&[&reference, "--output", "password"]);
    assert_eq!((fs::read(&file).unwrap(), mode(&file)), (b"new".to_vec(), 0o400));
    let mut kept = String::new();
    open.read_to_string(&mut kept).unwrap();
    assert_eq!(kept, "old value");
    assert_eq!(fs::read(&before).unwrap(), b"old value", "the old file was not written to");
    assert_eq!(stage.names(), ["before", "password", "source.json"]);
}

#[test]
fn output_takes_the_place_of_a_link_and_does_not_follow_it() {
    let stage = Stage::new();
    let reference = format!("{}#password", stage.json(&json!({"password": "new"})));
    fs::write(stage.path("victim"), "untouched").unwrap();
    for (link, target) in [("link", "victim"), ("dangling", "nowhere")] {
        symlink(target, stage.path(link)).unwrap();
        stage.printed(&[&reference, "--output", link]);
        assert!(fs::symlink_metadata(stage.path(link)).unwrap().is_file(), "{link}");
        assert_eq!(fs::read(stage.path(link)).unwrap(), b"new");
    }
    assert_eq!(fs::read(stage.path("victim")).unwrap(), b"untouched");
    assert!(!stage.path("nowhere").exists());
}

#[test]
fn output_that_fails_leaves_everything_as_it_was() {
    let stage = Stage::new();
    let source = stage.json(&json!({"password": "do-not-print"}));
    let reference = format!("{source}#password");
    fs::write(stage.path("old"), "old").unwrap();
    let inode = fs::metadata(stage.path("old")).unwrap().ino();
    fs::create_dir_all(stage.path("folder/inner")).unwrap();
    let before = stage.names();

    for (reference, output, code) in [
        (format!("{source}#missing"), "old", 1),
        (reference.clone(), "folder", 1),
        (reference.clone(), "no/such/folder", 1),
        (reference.clone(), "old/below", 1),
        (reference.clone(), "..", 64),
        (reference.clone(), "/", 64),
    ] {
        let stderr = stage.refused(&[&reference, "--output", output], code);
        assert!(!stderr.contains("do-not-print"), "{stderr}");
        assert_eq!(stage.names(), before, "{output}");
    }
    assert_eq!(fs::read(stage.path("old")).unwrap(), b"old");
    assert_eq!(fs::metadata(stage.path("old")).unwrap().ino(), inode);
}

#[test]
fn output_on_a_full_volume_leaves_the_old_file_and_no_draft() {
    let volume = Tmpfs::mount(64 << 10);
    if !volume.is_limited() {
        return; // Without the right to mount there is no volume that can be filled.
    }
    let stage = Stage::new();
    let large = stage.source("large", vec![b'x'; 512 << 10]);
    let file = volume.path().join("file");
    fs::write(&file, "old").unwrap();
    let stderr = stage.refused(&[&large, "--output", file.to_str().unwrap()], 1);
    assert!(stderr.contains("No space left"), "{stderr}");
    assert_eq!(fs::read(&file).unwrap(), b"old");
    assert_eq!(fs::read_dir(volume.path()).unwrap().count(), 1, "the draft is gone");
}

#[test]
fn the_environment_is_a_provider() {
    let stage = Stage::new();
    let get = |arguments: &[&str]| {
        let mut command = stage.command(arguments);
        command.env("DB_PASSWORD", "hunter2");
        command
    };
    let output = get(&["env://DB_PASSWORD"]).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), b"hunter2".as_slice()));
    let stderr = refused(get(&["env://DB_PASSWORT"]), 1);
    assert!(stderr.contains("env://DB_PASSWORT") && !stderr.contains("hunter2"), "{stderr}");
}

#[test]
fn a_configuration_names_the_providers() {
    let stage = Stage::new();
    stage.source("db.json", r#"{"password": "hunter2"}"#);
    let root = stage.folder.path().display();
    fs::write(stage.path("keywheel.yaml"), format!("providers: {{local: {{kind: file, root: {root}}}}}\n"))
        .unwrap();
    assert_eq!(stage.printed(&["local://db.json#password", "--config", "keywheel.yaml"]), b"hunter2");
    assert!(stage.refused(&["local://db.json#password"], 64).contains("local"));
}

/// The variables that users of `vault` and `bao` have set.
fn as_user(mut command: Command, prefix: &str, server: &OpenBao, token: &str) -> Command {
    command
        .env(format!("{prefix}_ADDR"), server.address())
        .env(format!("{prefix}_CACERT"), server.ca_file())
        .env(format!("{prefix}_TOKEN"), token);
    command
}

#[test]
fn a_real_server_answers_with_the_settings_of_the_environment() {
    let server = OpenBao::start();
    server.kv_put("secret", "orders/db", &json!({"username": "orders", "password": "first"}));
    server.kv_put("secret", "orders/db", &json!({"username": "orders", "password": "second", "port": 5432}));
    server.kv1_put("kv1", "orders/db", &json!({"password": "old kind"}));
    let stage = Stage::new();
    let get = |prefix: &str, arguments: &[&str]| {
        let output =
            as_user(stage.command(arguments), prefix, &server, server.root_token()).output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""), "{arguments:?}");
        text(&output.stdout)
    };
    for prefix in ["VAULT", "BAO"] {
        assert_eq!(get(prefix, &["vault://secret/orders/db#password"]), "second");
        assert_eq!(get(prefix, &["bao://secret/orders/db#password"]), "second");
    }
    assert_eq!(get("VAULT", &["vault://secret/orders/db?version=1#password"]), "first");
    assert_eq!(get("VAULT", &["vault://secret/orders/db?kv=2#port"]), "5432");
    assert_eq!(get("VAULT", &["vault://kv1/orders/db#password"]), "old kind");
    assert_eq!(get("VAULT", &["vault://kv1/orders/db?kv=1#password"]), "old kind");
    let all: Value =
        serde_json::from_str(&get("VAULT", &["vault://secret/orders/db", "--format", "json"])).unwrap();
    assert_eq!(all, json!({"username": "orders", "password": "second", "port": 5432}));

    // The file that `vault login` and `bao login` write.
    fs::write(stage.path(".vault-token"), format!("{}\n", server.root_token())).unwrap();
    let mut command = stage.command(&["vault://secret/orders/db#password"]);
    command.env("VAULT_ADDR", server.address()).env("VAULT_CACERT", server.ca_file());
    assert_eq!(text(&command.output().unwrap().stdout), "second");
}

#[test]
fn the_exit_code_says_why_a_server_gave_nothing() {
    let server = OpenBao::start();
    server.kv_put("secret", "orders/db", &json!({"password": "do-not-print"}));
    server.policy("other", r#"path "secret/data/other" { capabilities = ["read"] }"#);
    let other = server.token(&json!({"policies": ["other"], "ttl": "1h"})).token;
    let stage = Stage::new();
    const REFERENCE: &str = "vault://secret/orders/db#password";
    let as_root =
        |arguments: &[&str]| as_user(stage.command(arguments), "VAULT", &server, server.root_token());
    let shown = |stderr: &str, words: &[&str]| {
        for word in words {
            assert!(stderr.contains(word), "{word:?} is missing: {stderr}");
        }
        for secret in ["do-not-print", &other, server.root_token()] {
            assert!(!stderr.contains(secret), "{stderr}");
        }
    };

    let forbidden = refused(as_user(stage.command(&[REFERENCE]), "VAULT", &server, &other), 77);
    shown(&forbidden, &["permission denied", "vault", "vault://secret/orders/db", "403"]);
    let unknown =
        refused(as_user(stage.command(&[REFERENCE]), "VAULT", &server, "hvs.nobody-has-this-token"), 77);
    shown(&unknown, &["vault://secret/orders/db", "403"]);

    let missing = refused(as_root(&["vault://secret/orders/nothing#password"]), 1);
    shown(&missing, &["not found", "vault://secret/orders/nothing"]);
    let field = refused(as_root(&["vault://secret/orders/db#pasword"]), 1);
    shown(&field, &["missing field", "\"pasword\"", "\"password\""]);
    // The server answers 403 for a mount that is not there, whoever asks; the message says both.
    let mount = refused(as_root(&["vault://nowhere/orders/db#password"]), 77);
    shown(&mount, &["vault://nowhere/orders/db", "nothing is", "403"]);
    let mount = refused(as_root(&["vault://nowhere/orders/db?kv=2#password"]), 1);
    shown(&mount, &["not found", "vault://nowhere/orders/db"]);

    let mut nobody = as_root(&[REFERENCE]);
    nobody.env("VAULT_ADDR", format!("https://127.0.0.1:{}", ports::free()));
    shown(&refused(nobody, 69), &["unavailable", "vault://secret/orders/db"]);
    let mut stranger = as_root(&[REFERENCE]);
    stranger.env_remove("VAULT_CACERT");
    shown(&refused(stranger, 69), &["vault://secret/orders/db", "certificate"]);

    let mut homeless = stage.command(&[REFERENCE]);
    homeless.env("VAULT_ADDR", server.address()).env("VAULT_CACERT", server.ca_file());
    let tokenless = homeless.output().unwrap();
    assert!(matches!(tokenless.status.code(), Some(64 | 77)), "{:?}", tokenless.status);
    shown(&text(&tokenless.stderr), &["VAULT_TOKEN"]);

    server.seal();
    shown(&refused(as_root(&[REFERENCE]), 69), &["vault://secret/orders/db", "503"]);
}
