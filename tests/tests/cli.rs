//! Transcripts of the command line in `cmd/`: what is typed, what is printed, and the exit code.
//!
//! `TRYCMD=overwrite cargo test --test cli` writes what is printed now; the difference is then reviewed like any other.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::path::Path;
use std::process::{Command, Stdio};

use keywheel_tests::{Tmpfs, built};
use trycmd::TestCases;
use trycmd::schema::Bin;

#[test]
fn transcripts() {
    let target = Tmpfs::mount(1 << 20);
    let source = tempfile::tempdir().expect("a temporary folder");
    let secret = r#"{"username": "orders", "password": "correct-horse"}"#;
    // The transcripts run at the same time, and one of them changes the first.
    for file in ["db.json", "fixed.json"] {
        std::fs::write(source.path().join(file), secret).expect("a source");
    }
    let cases = TestCases::new();
    cases
        .register_bin("keywheel", Bin::Path(built::program("keywheel")))
        .register_bin("sh", Bin::Path("/bin/sh".into()))
        .env("COLUMNS", "100")
        .env("KEYWHEEL_LOG", "off")
        .env("SOURCE", source.path().display().to_string())
        .env("TARGET", target.path().join("orders").display().to_string())
        .insert_var("[VERSION]", env!("CARGO_PKG_VERSION"))
        .expect("a new variable");
    cases.case("tests/cmd/*.trycmd");
    cases.run();
}

#[test]
fn completions_are_taken_by_the_shell() {
    let bash = completions("bash");
    assert!(bash.contains("_keywheel()") && bash.contains("--dry-run"), "{bash}");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = folder.path().join("keywheel.bash");
    std::fs::write(&script, &bash).expect("a script");
    assert_eq!(completed(&script, "keywheel ren"), "render");
    assert_eq!(completed(&script, "keywheel get --form"), "--format");
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(completions(shell).contains("keywheel"), "{shell}");
    }
}

fn completions(shell: &str) -> String {
    let output =
        Command::new(built::program("keywheel")).args(["completions", shell]).output().expect("keywheel");
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()), "{shell}");
    String::from_utf8(output.stdout).expect("text")
}

/// Returns what bash offers for the last word of `line`.
fn completed(script: &Path, line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let (last, before) = (words[words.len() - 1], words[words.len() - 2]);
    let typed = format!(
        "source {}; COMP_WORDS=({line}); COMP_CWORD={}; _keywheel keywheel {last} {before}; echo \"${{COMPREPLY[*]}}\"",
        script.display(),
        words.len() - 1
    );
    let mut bash = Command::new("/bin/bash");
    let output = bash.args(["-c", &typed]).stdin(Stdio::null()).output().expect("bash");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}
