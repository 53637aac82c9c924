use std::os::unix::fs::PermissionsExt;

use super::*;

fn value(text: &str) -> SecretValue {
    SecretValue::copy_of(text.as_bytes())
}

async fn text(slot: &Slot) -> Option<String> {
    slot.load().await.map(|record| record.expose_text().unwrap().to_owned())
}

/// A folder in memory, on any Linux.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

#[tokio::test]
async fn a_record_is_replaced_and_removed_wherever_it_is() {
    let folder = folder();
    for state in [State::in_memory(), State::open(&folder.path().join("state")).unwrap()] {
        let (slot, other) = (state.slot("secret", "a"), state.slot("session", "a"));
        assert_eq!(text(&slot).await, None);
        slot.save(value("one")).await;
        slot.save(value("two")).await;
        other.save(value("three")).await;
        assert_eq!(
            (text(&slot).await.as_deref(), text(&other).await.as_deref()),
            (Some("two"), Some("three"))
        );
        let names: Vec<String> = state.slots("secret").iter().map(|slot| slot.name().to_owned()).collect();
        assert_eq!(names, ["secret.a"]);
        slot.clear().await;
        slot.clear().await;
        assert_eq!((text(&slot).await, text(&other).await.as_deref()), (None, Some("three")));
    }
}

#[tokio::test]
async fn records_outlive_whoever_wrote_them_and_a_draft_is_none() {
    let folder = folder();
    let path = folder.path().join("state");
    State::open(&path).unwrap().slot("secret", "a").save(value("kept")).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&path), mode(&path.join("secret.a"))), (0o700, 0o600));
    // A crash in the middle of a write leaves a draft.
    std::fs::copy(path.join("secret.a"), path.join(".secret.a")).unwrap();
    let state = State::open(&path).unwrap();
    assert_eq!(state.slots("secret").len(), 1);
    assert_eq!(text(&state.slot("secret", "a")).await.as_deref(), Some("kept"));
    state.slot("secret", "a").save(value("new")).await;
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 1);
}

#[tokio::test]
async fn what_is_no_record_is_left_out() {
    let folder = folder();
    let path = folder.path().join("state");
    drop(State::open(&path).unwrap());
    std::os::unix::fs::symlink("/etc/hostname", path.join("secret.link")).unwrap();
    std::fs::create_dir(path.join("secret.folder")).unwrap();
    let state = State::open(&path).unwrap();
    for name in ["link", "folder"] {
        assert_eq!(text(&state.slot("secret", name)).await, None, "{name}");
    }
}

#[test]
fn a_directory_that_is_not_private_is_refused() {
    let refusal = |path: &Path| State::open(path).unwrap_err().to_string();
    let disk = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    assert!(refusal(&disk.path().join("state")).contains("not kept in memory"));

    let folder = folder();
    let open = folder.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o750)).unwrap();
    assert!(refusal(&open).contains("open to other users"));

    let path = folder.path().join("state");
    let first = State::open(&path).unwrap();
    assert!(refusal(&path).contains("in use by another process"));
    drop(first);
    State::open(&path).unwrap();

    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(refusal(&link).contains("cannot be opened"));
}
