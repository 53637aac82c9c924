//! What a rotation leaves in a folder: whose files, and what nobody takes for secrets.
#![cfg(feature = "file")]
#![allow(clippy::unwrap_used, reason = "it is a test")]
#![allow(clippy::disallowed_methods, reason = "the tests make files of their own")]

mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use keywheel_core::rotation::{Fields, Revision, Store};
use keywheel_core::{ErrorKind, Provider, SecretRef};

use self::support::{provider, provider_with};

fn reference(text: &str) -> SecretRef {
    text.parse().unwrap()
}

fn fields(value: &str) -> Fields {
    [("password".to_owned(), value.into())].into()
}

/// Replaces what is there, whatever it is.
async fn put(store: &dyn Store, place: &SecretRef, value: &str) -> keywheel_core::Result<Revision> {
    let found = store.look(place).await?;
    store.write(place, &fields(value), &found.revision, "token").await
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_file_keeps_its_mode_and_what_is_made_is_private() {
    let root = tempfile::tempdir().unwrap();
    let files = provider(Some(root.path()), None);
    let store = files.store().unwrap();
    let mode = |name: &str| root.path().join(name).metadata().unwrap().mode() & 0o7777;
    std::fs::write(root.path().join("db.json"), "{}").unwrap();
    std::fs::set_permissions(root.path().join("db.json"), PermissionsExt::from_mode(0o640)).unwrap();
    let target = reference("file://db.json");
    let record = store.record_of(&target).await.unwrap();
    for value in ["one", "two"] {
        put(store, &target, value).await.unwrap();
        put(store, &record, value).await.unwrap();
        put(store, &reference("file://new.json"), value).await.unwrap();
    }
    assert_eq!(record.path(), ".db.json.keywheel-rotation");
    let modes = [mode("db.json"), mode(record.path()), mode("new.json")];
    assert_eq!(modes, [0o640, 0o600, 0o600], "{modes:?}");
    assert_eq!(names(root.path()), [".db.json.keywheel-rotation", "db.json", "new.json"]);
}

#[tokio::test]
async fn a_file_keeps_its_owner() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("db.json");
    std::fs::write(&path, "{}").unwrap();
    if std::os::unix::fs::chown(&path, Some(12345), Some(54321)).is_err() {
        return; // Only root can give files away.
    }
    let files = provider(Some(root.path()), None);
    put(files.store().unwrap(), &reference("file://db.json"), "one").await.unwrap();
    let metadata = path.metadata().unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (12345, 54321));
}

#[tokio::test]
async fn what_a_crash_left_is_in_nobodys_way() {
    let root = tempfile::tempdir().unwrap();
    let files = provider(None, None);
    let folder = reference(&format!("file://{}", root.path().display()));
    let target = reference(&format!("file://{}/db.json", root.path().display()));
    std::fs::write(root.path().join(".db.json.keywheel-new"), "half").unwrap();
    let store = files.store().unwrap();
    put(store, &store.record_of(&target).await.unwrap(), "c4n4ry").await.unwrap();
    put(store, &target, "one").await.unwrap();
    std::fs::write(root.path().join("..db.json.keywheel-rotation.keywheel-new"), "c4n4ry").unwrap();
    std::fs::write(root.path().join(".db.json.keywheel-new"), "c4n4ry").unwrap();
    let read = files.read(&folder).await.unwrap();
    let fields: Vec<&str> = read.fields().keys().collect();
    assert_eq!(fields, ["db.json"], "the folder shows what rotations made");
}

#[tokio::test]
async fn no_link_is_written_through_and_nothing_leaves_the_root() {
    let outside = tempfile::tempdir().unwrap();
    let root = outside.path().join("root");
    std::fs::create_dir_all(root.join("inner")).unwrap();
    std::fs::write(outside.path().join("secret.json"), r#"{"password": "theirs"}"#).unwrap();
    for (link, to) in
        [("link.json", "inner/real.json"), ("out.json", "../secret.json"), ("up", ".."), ("..data", "inner")]
    {
        symlink(to, root.join(link)).unwrap();
    }
    let files = provider(Some(&root), None);
    let store = files.store().unwrap();
    for (path, kind) in [
        ("link.json", ErrorKind::Config),
        ("out.json", ErrorKind::Config),
        ("up/secret.json", ErrorKind::PermissionDenied),
        ("missing/a.json", ErrorKind::NotFound),
    ] {
        let place = reference(&format!("file://{path}"));
        let looked = store.look(&place).await.unwrap_err();
        let written =
            store.write(&place, &fields("mine"), &Revision::new("none"), "token").await.unwrap_err();
        assert_eq!((looked.kind(), written.kind()), (kind, kind), "{path}: {looked} {written}");
    }
    put(store, &reference("file://..data/real.json"), "mine").await.unwrap();
    assert_eq!(names(&root.join("inner")), ["real.json"]);
    assert_eq!(names(outside.path()), ["root", "secret.json"]);
    assert!(std::fs::read_to_string(outside.path().join("secret.json")).unwrap().contains("theirs"));
}

#[tokio::test]
async fn only_json_is_written() {
    let files = provider(Some(Path::new("/nowhere")), Some(Path::new("/nowhere/identities")));
    let store = files.store().unwrap();
    for fine in ["file://a.json", "file:///a/b.JSON", "file://a.json.age"] {
        store.validate(&reference(fine)).unwrap();
    }
    for (wrong, why) in [
        ("file://a.yaml", ".json"),
        ("file://a.env", ".json"),
        ("file://folder", ".json"),
        ("file://a.yaml.age", ".json"),
        ("file://.a.json.keywheel-rotation", "for themselves"),
        ("file://a.json?x=1", "unknown parameter"),
    ] {
        let error = store.validate(&reference(wrong)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains(why), "{wrong}: {error}");
    }
    let plain = provider(Some(Path::new("/nowhere")), None);
    assert!(plain.store().unwrap().validate(&reference("file://a.json.age")).is_err(), "cannot be encrypted");
}

#[tokio::test]
async fn an_encrypted_file_stays_so_and_locks_nobody_out() {
    let (root, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mine, theirs) = (Identity::generate(), Identity::generate());
    let identities = keys.path().join("identities");
    std::fs::write(&identities, mine.to_string().expose_secret()).unwrap();
    let target = reference("file://db.json.age");
    let path = root.path().join("db.json.age");
    let write = |plain: &[u8], armored: bool| {
        use std::io::Write;
        let format = if armored { age::armor::Format::AsciiArmor } else { age::armor::Format::Binary };
        let (mine, theirs) = (mine.to_public(), theirs.to_public());
        let both = [&mine as &dyn age::Recipient, &theirs as &dyn age::Recipient];
        let encryptor = age::Encryptor::with_recipients(both.into_iter()).unwrap();
        let armor = age::armor::ArmoredWriter::wrap_output(Vec::new(), format).unwrap();
        let mut writer = encryptor.wrap_output(armor).unwrap();
        writer.write_all(plain).unwrap();
        std::fs::write(&path, writer.finish().unwrap().finish().unwrap()).unwrap();
    };
    let open = |identity: &Identity| age::decrypt(identity, &std::fs::read(&path).unwrap());
    let settings = format!("recipients: [{}]", theirs.to_public());
    let both: Arc<dyn Provider> = provider_with(Some(root.path()), Some(&identities), &settings);
    let alone = provider(Some(root.path()), Some(&identities));
    for armored in [true, false] {
        write(b"{}", armored);
        let error = put(alone.store().unwrap(), &target, "c4n4ry").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains("2 recipients, and would be to 1"), "{error}");
        put(both.store().unwrap(), &target, "c4n4ry").await.unwrap();
        let written = std::fs::read(&path).unwrap();
        assert_eq!(written.starts_with(b"-----BEGIN AGE"), armored);
        assert!(!String::from_utf8_lossy(&written).contains("c4n4ry"));
        for identity in [&mine, &theirs] {
            assert!(String::from_utf8(open(identity).unwrap()).unwrap().contains("c4n4ry"));
        }
    }
    let record = both.store().unwrap().record_of(&target).await.unwrap();
    put(both.store().unwrap(), &record, "c4n4ry").await.unwrap();
    let written = std::fs::read(root.path().join(record.path())).unwrap();
    assert!(written.starts_with(b"age-encryption.org/v1"), "the record is not encrypted");
}
