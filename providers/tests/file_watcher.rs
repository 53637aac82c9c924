//! What the watcher takes from the process and gives back. It is one test, alone in its program: threads and limits are the process's.
#![cfg(feature = "file")]
#![allow(clippy::disallowed_methods, reason = "the test plays the writer of source files")]
#![allow(clippy::unwrap_used, reason = "it is a test")]

mod support;

use std::time::Duration;

use keywheel_core::SecretRef;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::support::{provider, replace};

#[tokio::test]
async fn the_watcher_is_one_thread_at_most_and_none_at_the_limit_or_after() {
    let folder = tempfile::tempdir().unwrap();
    replace(&folder.path().join("a"), b"one");
    let reference: SecretRef = "file://a".parse().unwrap();
    {
        let provider = provider(Some(folder.path()), None);
        provider.read(&reference).await.unwrap();
        assert_eq!(watcher_threads(), 0, "nobody has subscribed");
        let (one, two) = (provider.changes(&reference), provider.changes(&reference));
        assert!(one.is_some() && two.is_some());
        wait_for_threads(1).await;
        drop((one, two));
        assert_eq!(watcher_threads(), 1);
    }
    wait_for_threads(0).await;

    // No file descriptor is left for inotify: there is no hint, and the file can be polled.
    let provider = provider(Some(folder.path()), None);
    let limit = getrlimit(Resource::Nofile);
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64 - 1;
    setrlimit(Resource::Nofile, Rlimit { current: Some(open), ..limit }).unwrap();
    let hint = provider.changes(&reference);
    setrlimit(Resource::Nofile, limit).unwrap();
    assert!(hint.is_none());
    replace(&folder.path().join("a"), b"two");
    let secret = provider.read(&reference).await.unwrap();
    assert_eq!(secret.fields()["value"].to_bytes().unwrap().expose_secret(), b"two");
    // And the next who asks is watched.
    let mut hint = provider.changes(&reference).unwrap();
    replace(&folder.path().join("a"), b"three");
    tokio::time::timeout(Duration::from_secs(10), hint.changed()).await.unwrap().unwrap();
}

fn watcher_threads() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let names = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with("notify")).count()
}

async fn wait_for_threads(count: usize) {
    let arrival = async {
        while watcher_threads() != count {
            tokio::task::yield_now().await;
        }
    };
    let arrived = tokio::time::timeout(Duration::from_secs(10), arrival).await.is_ok();
    assert!(arrived, "{} watcher threads, not {count}", watcher_threads());
}
