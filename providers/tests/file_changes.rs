//! Changes of files are seen as they happen, by the real inotify: nothing here sleeps, and every wait has a bound.
#![cfg(feature = "file")]
#![allow(clippy::disallowed_methods, reason = "the tests play the writers of source files")]
#![allow(clippy::unwrap_used, reason = "it is a test")]

mod support;

use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use keywheel_core::{ErrorKind, Provider, SecretRef};
use tokio::sync::watch;

use self::support::{Kubelet, provider, replace};

/// A folder, a provider, and one watched reference.
struct Case {
    folder: tempfile::TempDir,
    provider: Arc<dyn Provider>,
    reference: SecretRef,
    hint: watch::Receiver<()>,
}

impl Case {
    /// Watches `path` in a folder that `prepare` makes.
    async fn new(path: &str, prepare: impl FnOnce(PathBuf)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path().to_owned());
        let provider = provider(Some(folder.path()), None);
        let reference: SecretRef = format!("file://{path}").parse().unwrap();
        let hint = provider.changes(&reference).unwrap();
        let case = Self { folder, provider, reference, hint };
        // As its users do: after the subscription, the first read.
        let _first = case.value().await;
        case
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn value(&self) -> Result<String, ErrorKind> {
        let secret = self.provider.read(&self.reference).await.map_err(|error| error.kind())?;
        let values =
            secret.fields().values().map(|value| value.to_bytes().unwrap().expose_text().unwrap().to_owned());
        Ok(values.collect::<Vec<_>>().join(" "))
    }

    /// Reads after each hint, as the engine does, until the secret is `wanted`.
    async fn becomes(&mut self, wanted: Result<&str, ErrorKind>) {
        let wanted = wanted.map(str::to_owned);
        let arrival = async {
            loop {
                self.hint.changed().await.unwrap();
                if self.value().await == wanted {
                    break;
                }
            }
        };
        let arrived = tokio::time::timeout(Duration::from_secs(10), arrival).await.is_ok();
        assert!(arrived, "no hint brought {wanted:?}; it is {:?}", self.value().await);
    }
}

#[tokio::test]
async fn a_kubelets_swap_is_seen_from_a_file_and_from_the_folder() {
    for path in ["volume/db.json", "volume"] {
        let mut case = Case::new(path, |folder| {
            Kubelet::at(&folder.join("volume")).publish([("db.json", r#"{"a": "0"}"#)])
        })
        .await;
        let volume = Kubelet::at(&case.path("volume"));
        for round in 1..20 {
            let content = format!(r#"{{"a": "{round}"}}"#);
            volume.publish([("db.json", &content)]);
            let wanted = if path == "volume" { content } else { round.to_string() };
            case.becomes(Ok(&wanted)).await;
        }
    }
}

#[tokio::test]
async fn an_editors_rename_over_the_file_is_seen_again_and_again() {
    let mut case = Case::new("db.json", |folder| replace(&folder.join("db.json"), br#"{"a": "0"}"#)).await;
    for round in 1..20 {
        replace(&case.path("db.json"), format!(r#"{{"a": "{round}"}}"#).as_bytes());
        case.becomes(Ok(&round.to_string())).await;
    }
    // vim, with `backup`: the file is moved away, and a new one is written in its place.
    std::fs::rename(case.path("db.json"), case.path("db.json~")).unwrap();
    std::fs::write(case.path("db.json"), r#"{"a": "vim"}"#).unwrap();
    case.becomes(Ok("vim")).await;
}

#[tokio::test]
async fn a_write_in_place_is_seen_when_it_ends() {
    let mut case = Case::new("token", |folder| std::fs::write(folder.join("token"), "one").unwrap()).await;
    let mut file = std::fs::File::options().append(true).open(case.path("token")).unwrap();
    file.write_all(b" two").unwrap();
    drop(file);
    case.becomes(Ok("one two")).await;
    std::fs::write(case.path("token"), "three").unwrap();
    case.becomes(Ok("three")).await;
}

#[tokio::test]
async fn a_file_that_is_removed_and_made_again_is_seen_both_times() {
    let mut case = Case::new("db.json", |folder| replace(&folder.join("db.json"), br#"{"a": "0"}"#)).await;
    std::fs::remove_file(case.path("db.json")).unwrap();
    case.becomes(Err(ErrorKind::NotFound)).await;
    std::fs::write(case.path("db.json"), r#"{"a": "1"}"#).unwrap();
    case.becomes(Ok("1")).await;
}

#[tokio::test]
async fn a_folder_that_is_removed_and_made_again_is_watched_again() {
    for path in ["deep/er/db.json", "deep/er"] {
        let make = |folder: PathBuf, content: &str| {
            std::fs::create_dir_all(folder.join("deep/er")).unwrap();
            std::fs::write(folder.join("deep/er/db.json"), content).unwrap();
        };
        let mut case = Case::new(path, |folder| make(folder, "[0]")).await;
        for round in 1..5 {
            std::fs::remove_dir_all(case.path("deep")).unwrap();
            case.becomes(Err(ErrorKind::NotFound)).await;
            make(case.folder.path().into(), &format!("[{round}]"));
            case.becomes(Ok(&format!("[{round}]"))).await;
            // And the new folder is watched as the old one was.
            replace(&case.path("deep/er/db.json"), br#"["more"]"#);
            case.becomes(Ok(r#"["more"]"#)).await;
        }
    }
}

#[tokio::test]
async fn a_folder_that_is_swapped_for_another_is_seen() {
    let mut case = Case::new("volume/a", |folder| {
        std::fs::create_dir(folder.join("volume")).unwrap();
        std::fs::write(folder.join("volume/a"), "old").unwrap();
    })
    .await;
    std::fs::create_dir(case.path("next")).unwrap();
    std::fs::write(case.path("next/a"), "new").unwrap();
    std::fs::rename(case.path("volume"), case.path("away")).unwrap();
    std::fs::rename(case.path("next"), case.path("volume")).unwrap();
    case.becomes(Ok("new")).await;
    std::fs::write(case.path("volume/a"), "newer").unwrap();
    case.becomes(Ok("newer")).await;
}

#[tokio::test]
async fn a_link_on_the_way_that_is_pointed_elsewhere_is_seen() {
    let mut case = Case::new("current/a", |folder| {
        for release in ["1", "2"] {
            std::fs::create_dir(folder.join(release)).unwrap();
            std::fs::write(folder.join(release).join("a"), release).unwrap();
        }
        symlink("1", folder.join("current")).unwrap();
    })
    .await;
    symlink("2", case.path("new")).unwrap();
    std::fs::rename(case.path("new"), case.path("current")).unwrap();
    case.becomes(Ok("2")).await;
    std::fs::write(case.path("2/a"), "3").unwrap();
    case.becomes(Ok("3")).await;
}

#[tokio::test]
async fn what_is_not_there_yet_is_awaited() {
    let mut case = Case::new("not/yet/there.json", |_| {}).await;
    std::fs::create_dir(case.path("not")).unwrap();
    std::fs::create_dir(case.path("not/yet")).unwrap();
    replace(&case.path("not/yet/there.json"), br#"{"a": "here"}"#);
    case.becomes(Ok("here")).await;
}

#[tokio::test]
async fn a_file_beside_it_is_nobodys_business() {
    let case = Case::new("mine.json", |folder| replace(&folder.join("mine.json"), br#"{"a": "0"}"#)).await;
    let other: SecretRef = "file://other.json".parse().unwrap();
    let mut other = case.provider.changes(&other).unwrap();
    replace(&case.path("other.json"), br#"{"a": "1"}"#);
    other.changed().await.unwrap();
    assert!(!case.hint.has_changed().unwrap());
}

#[tokio::test]
async fn a_thousand_references_share_their_folders_watch() {
    let folder = tempfile::tempdir().unwrap();
    let provider = provider(Some(folder.path()), None);
    let mut hints = Vec::new();
    for number in 0..1000 {
        let reference: SecretRef = format!("file://{number}.json").parse().unwrap();
        hints.push(provider.changes(&reference).unwrap());
    }
    replace(&folder.path().join("999.json"), br#"{"a": "1"}"#);
    let seen = tokio::time::timeout(Duration::from_secs(10), hints[999].changed()).await;
    seen.unwrap().unwrap();
    assert!(hints[..999].iter().all(|hint| !hint.has_changed().unwrap()));
    let debug = format!("{provider:?}");
    assert!(debug.contains("Files") && !debug.contains("999"), "{debug}");
}
