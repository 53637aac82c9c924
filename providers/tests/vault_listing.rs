//! Many secrets of one folder that are polled with one request, at a real OpenBao server.

#![cfg(feature = "vault")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

mod vault_support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keywheel_core::{ErrorKind, Provider, Result, Secret, Version};
use keywheel_tests::OpenBao;
use keywheel_tests::faults::{Fault, Faults};
use keywheel_tests::openbao::Mark;
use serde_json::json;
use tokio::task::JoinSet;
use vault_support::{Log, expose, from_environment, provider, reference};

/// The secrets of a folder, as they were read last.
struct Folder {
    vault: Arc<dyn Provider>,
    folder: &'static str,
    versions: BTreeMap<String, Version>,
}

impl Folder {
    /// Writes `count` secrets to the folder of `secret/`, and reads them.
    async fn new(bao: &OpenBao, vault: Arc<dyn Provider>, folder: &'static str, count: usize) -> Self {
        let mut versions = BTreeMap::new();
        for index in 0..count {
            let name = format!("s{index:03}");
            bao.kv_put("secret", &format!("{folder}{name}"), &json!({"x": index}));
            let secret = vault.read(&at(folder, &name)).await.unwrap();
            versions.insert(name, secret.version().clone());
        }
        Self { vault, folder, versions }
    }

    /// Polls all of them together; returns those that changed or failed.
    async fn poll(&self) -> BTreeMap<String, Result<Secret>> {
        let mut polls = JoinSet::new();
        for (name, version) in self.versions.clone() {
            let (vault, reference) = (Arc::clone(&self.vault), at(self.folder, &name));
            polls.spawn(async move { (name, vault.read_if_changed(&reference, &version).await.transpose()) });
        }
        polls.join_all().await.into_iter().filter_map(|(name, polled)| Some((name, polled?))).collect()
    }

    /// Polls all of them, which are as they were.
    async fn poll_same(&self) {
        let changed = self.poll().await;
        assert!(changed.is_empty(), "{changed:?}");
    }
}

fn at(folder: &str, name: &str) -> keywheel_core::SecretRef {
    reference(&format!("vault://secret/{folder}{name}"))
}

fn root(bao: &OpenBao) -> Arc<dyn Provider> {
    provider(bao, &[("VAULT_TOKEN", bao.root_token())])
}

fn paths(bao: &OpenBao, mark: Mark) -> Vec<String> {
    bao.requests_since(mark).into_iter().map(|seen| seen.path).collect()
}

#[tokio::test]
async fn a_hundred_secrets_of_a_folder_cost_one_request() {
    let bao = OpenBao::start();
    for folder in ["shop/", "", "deep/er/than that/"] {
        let folder = Folder::new(&bao, root(&bao), folder, 100).await;
        let mark = bao.mark();
        folder.poll_same().await;
        let list = format!("secret/detailed-metadata/{}", folder.folder);
        assert_eq!(paths(&bao, mark), [list.as_str()]);

        // The values of those that changed are read, and no others.
        bao.kv_put("secret", &format!("{}s042", folder.folder), &json!({"x": "new"}));
        let mark = bao.mark();
        let changed = folder.poll().await;
        assert_eq!(changed.keys().collect::<Vec<_>>(), ["s042"]);
        assert_eq!(expose(changed["s042"].as_ref().unwrap(), "x"), "new");
        assert_eq!(paths(&bao, mark), [list, format!("secret/data/{}s042", folder.folder)]);
    }
}

#[tokio::test]
async fn two_secrets_of_a_folder_are_asked_for_one_by_one() {
    let bao = OpenBao::start();
    let folder = Folder::new(&bao, root(&bao), "shop/", 2).await;
    let mark = bao.mark();
    folder.poll_same().await;
    let mut seen = paths(&bao, mark);
    seen.sort();
    assert_eq!(seen, ["secret/metadata/shop/s000", "secret/metadata/shop/s001"]);
}

#[tokio::test]
async fn what_is_gone_is_not_found_and_the_others_stay() {
    let bao = OpenBao::start();
    let folder = Folder::new(&bao, root(&bao), "shop/", 6).await;
    bao.kv_delete("secret", "shop/s001");
    bao.write("secret/destroy/shop/s002", &json!({"versions": [1]}));
    bao.delete("secret/metadata/shop/s003");
    // A folder of the same name is another thing.
    bao.kv_put("secret", "shop/s003/below", &json!({"x": "y"}));
    // The same version number, and another value.
    bao.delete("secret/metadata/shop/s004");
    bao.kv_put("secret", "shop/s004", &json!({"x": "anew"}));
    let changed = folder.poll().await;
    assert_eq!(changed.keys().collect::<Vec<_>>(), ["s001", "s002", "s003", "s004"]);
    for (name, part) in [("s001", "was deleted"), ("s002", "was destroyed"), ("s003", "no such secret")] {
        let error = changed[name].as_ref().unwrap_err();
        assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::NotFound, false), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(expose(changed["s004"].as_ref().unwrap(), "x"), "anew");
}

#[tokio::test]
async fn a_folder_that_was_empty_for_a_while_is_listed_again() {
    let bao = OpenBao::start();
    let folder = Folder::new(&bao, root(&bao), "shop/", 5).await;
    folder.poll_same().await;
    for name in folder.versions.keys() {
        bao.delete(&format!("secret/metadata/shop/{name}"));
    }
    let gone = folder.poll().await;
    assert!(gone.len() == 5 && gone.values().all(Result::is_err), "{gone:?}");
    let folder = Folder::new(&bao, folder.vault, "shop/", 5).await;
    let mark = bao.mark();
    folder.poll_same().await;
    assert_eq!(paths(&bao, mark), ["secret/detailed-metadata/shop/"]);
}

#[tokio::test]
async fn a_policy_that_does_not_allow_lists_is_found_out_once() {
    let (log, _catching) = Log::catch();
    let bao = OpenBao::start();
    bao.policy(
        "reader",
        r#"path "secret/data/*" { capabilities = ["read"] }
           path "secret/metadata/*" { capabilities = ["read"] }"#,
    );
    let token = bao.token(&json!({"policies": ["reader"], "no_parent": true}));
    let vault = provider(&bao, &[("VAULT_TOKEN", &token.token)]);
    let folder = Folder::new(&bao, vault, "shop/", 10).await;
    let mark = bao.mark();
    folder.poll_same().await;
    assert_eq!(bao.count_since(mark, "secret/detailed-metadata"), 1);
    assert_eq!(bao.count_since(mark, "secret/metadata"), 10);
    let mark = bao.mark();
    folder.poll_same().await;
    assert_eq!(bao.count_since(mark, "secret/detailed-metadata"), 0);
    assert_eq!(bao.count_since(mark, "secret/metadata"), 10);
    assert_eq!(log.count("`list` on secret/detailed-metadata/shop/"), 1);
    assert!(folder.vault.group(&at("shop/", "s000")).is_none());
}

#[tokio::test]
async fn a_server_that_lists_no_versions_is_found_out_once() {
    let bao = OpenBao::start();
    let faults = Faults::before(&bao.plain_address());
    let refusals = [
        Fault::Answer { status: 404, body: r#"{"errors":[]}"#.into() },
        Fault::Answer {
            status: 405,
            body: r#"{"errors":["1 error occurred:\n\t* unsupported operation\n\n"]}"#.into(),
        },
        Fault::Oversized { bytes: 5 << 20 },
        Fault::Answer { status: 200, body: r#"{"data": {"keys": []}}"#.into() },
    ];
    for fault in refusals {
        let vault =
            from_environment([("VAULT_ADDR", faults.address().as_str()), ("VAULT_TOKEN", bao.root_token())]);
        let folder = Folder::new(&bao, vault, "shop/", 5).await;
        faults.show_at("/v1/secret/detailed-metadata", fault.clone());
        let before = faults.count();
        folder.poll_same().await;
        folder.poll_same().await;
        let lists = faults.arrived()[before..].iter().filter(|seen| seen.path.contains("detailed")).count();
        assert_eq!(lists, 1, "{fault:?}");
        faults.heal();
    }
}

#[tokio::test]
async fn a_list_that_fails_for_a_while_is_asked_for_again() {
    let bao = OpenBao::start();
    let faults = Faults::before(&bao.plain_address());
    let vault =
        from_environment([("VAULT_ADDR", faults.address().as_str()), ("VAULT_TOKEN", bao.root_token())]);
    let folder = Folder::new(&bao, vault, "shop/", 5).await;
    faults.show_at("/v1/secret/detailed-metadata", Fault::Sealed);
    let polled = folder.poll().await;
    assert!(
        polled.values().all(|polled| polled.as_ref().is_err_and(|error| error.is_temporary())),
        "{polled:?}"
    );
    faults.heal();
    let mark = bao.mark();
    folder.poll_same().await;
    assert_eq!(paths(&bao, mark), ["secret/detailed-metadata/shop/"]);
}

#[tokio::test]
async fn a_poll_sees_what_was_written_before_it() {
    let bao = Arc::new(OpenBao::start());
    let folder = Arc::new(Folder::new(&bao, root(&bao), "shop/", 8).await);
    let stop = Arc::new(AtomicBool::new(false));
    let mut others = JoinSet::new();
    let names: Vec<String> = folder.versions.keys().skip(1).cloned().collect();
    for name in names {
        let (folder, stop) = (Arc::clone(&folder), Arc::clone(&stop));
        others.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let polled = folder.vault.read_if_changed(&at("shop/", &name), &folder.versions[&name]).await;
                assert!(polled.unwrap().is_none());
            }
        });
    }
    let mark = bao.mark();
    let mut known = folder.versions["s000"].clone();
    for round in 0..200 {
        let put = {
            let bao = Arc::clone(&bao);
            move || bao.kv_put("secret", "shop/s000", &json!({"x": round}))
        };
        let version = tokio::task::spawn_blocking(put).await.unwrap();
        let seen = folder.vault.read_if_changed(&at("shop/", "s000"), &known).await.unwrap();
        let seen = seen.unwrap_or_else(|| panic!("round {round}: an old list was taken for a new one"));
        assert_eq!(seen.version(), &Version::new(version));
        known = seen.version().clone();
    }
    stop.store(true, Ordering::Relaxed);
    others.join_all().await;
    assert!(bao.count_since(mark, "secret/detailed-metadata") > 50, "the polls were made together");
}

#[tokio::test]
async fn secrets_of_one_folder_of_versioned_secrets_are_one_group() {
    let bao = OpenBao::start();
    bao.kv1_put("kv1", "shop/a", &json!({"x": "y"}));
    let vault = root(&bao);
    let group = |text: &str| vault.group(&reference(text));
    assert_eq!(group("vault://secret/shop/s000"), None, "nothing is known of the mount yet");
    Folder::new(&bao, Arc::clone(&vault), "shop/", 2).await;
    vault.read(&reference("vault://kv1/shop/a")).await.unwrap();
    vault.read(&reference("vault://sys/health")).await.ok();
    let shop = group("vault://secret/shop/s000");
    assert!(shop.is_some());
    assert_eq!(group("vault://secret/shop/s001#x"), shop);
    let others =
        [group("vault://secret/s000"), group("vault://secret/shop/deeper/s"), group("vault://secret/bar/s")];
    for (index, other) in others.iter().enumerate() {
        assert!(other.is_some() && *other != shop && !others[..index].contains(other), "{others:?}");
    }
    for none in [
        "vault://kv1/shop/a",
        "vault://secret/shop/s000?version=1",
        "vault://sys/health",
        "vault://pki/issue/web?common_name=a",
        "vault://secret/shop/s000?wrapped=/token",
    ] {
        assert_eq!(group(none), None, "{none}");
    }
}
