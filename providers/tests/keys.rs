//! Key pairs that are made here work elsewhere: `openssl` reads them, signs with the one key and verifies with the other.
#![cfg(feature = "keys")]
#![allow(clippy::disallowed_methods, reason = "the test writes files for openssl")]
#![allow(clippy::unwrap_used, reason = "it is a test")]

use std::fs;
use std::path::Path;
use std::process::Command;

use keywheel_providers::keys::{KeyKind, KeyPair};

const KINDS: [(KeyKind, &str); 6] = [
    (KeyKind::Ed25519, "ED25519"),
    (KeyKind::Rsa2048, "2048 bit"),
    (KeyKind::Rsa3072, "3072 bit"),
    (KeyKind::Rsa4096, "4096 bit"),
    (KeyKind::EcdsaP256, "P-256"),
    (KeyKind::EcdsaP384, "P-384"),
];

/// Runs `openssl` in `folder` and returns whether it succeeds, and what it says.
fn openssl(folder: &Path, arguments: &str) -> (bool, String) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn write(folder: &Path, pair: &KeyPair) {
    fs::write(folder.join("private.pem"), pair.private_key.expose_secret()).unwrap();
    fs::write(folder.join("public.pem"), &pair.public_key).unwrap();
    fs::write(folder.join("message"), "whoever reads this").unwrap();
}

#[test]
fn what_one_key_signs_the_other_verifies() {
    for (kind, description) in KINDS {
        let folder = tempfile::tempdir().unwrap();
        let pair = kind.generate().unwrap();
        write(folder.path(), &pair);
        let (good, said) = openssl(folder.path(), "pkey -in private.pem -check -noout -text");
        assert!(good && said.contains(description), "{kind}: {said}");
        let (good, public) = openssl(folder.path(), "pkey -in private.pem -pubout");
        assert!(good && public == pair.public_key, "{kind}: {public}");
        let (good, said) =
            openssl(folder.path(), "pkeyutl -sign -rawin -inkey private.pem -in message -out signature");
        assert!(good, "{kind}: {said}");
        let verify = "pkeyutl -verify -rawin -pubin -inkey public.pem -in message -sigfile signature";
        assert!(openssl(folder.path(), verify).0, "{kind}");
        fs::write(folder.path().join("message"), "whoever reads that").unwrap();
        assert!(!openssl(folder.path(), verify).0, "{kind}: another message is verified");
    }
}

#[test]
fn the_forms_are_those_that_everybody_reads() {
    let pair = KeyKind::Ed25519.generate().unwrap();
    let private = pair.private_key.expose_text().unwrap();
    assert!(
        private.starts_with("-----BEGIN PRIVATE KEY-----\n")
            && private.ends_with("\n-----END PRIVATE KEY-----\n")
    );
    assert!(pair.public_key.starts_with("-----BEGIN PUBLIC KEY-----\n"));
    assert!(private.lines().chain(pair.public_key.lines()).all(|line| line.len() <= 64));
    let shown = format!("{pair:?}");
    assert!(shown.contains("[REDACTED]") && !shown.contains(private.lines().nth(1).unwrap()));
}

#[test]
fn no_two_keys_are_the_same() {
    for kind in [KeyKind::Ed25519, KeyKind::EcdsaP256, KeyKind::Rsa2048] {
        let (one, other) = (kind.generate().unwrap(), kind.generate().unwrap());
        assert_ne!(one.public_key, other.public_key);
        assert_ne!(one.private_key.expose_secret(), other.private_key.expose_secret());
    }
}
