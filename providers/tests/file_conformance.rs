//! The file provider passes the suites that every provider does, in each of its layouts.
#![cfg(feature = "file")]
#![allow(clippy::unwrap_used, reason = "it is a test")]

mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use async_trait::async_trait;
use keywheel_core::conformance::{Fields, Fixture, Holds, kills_do_no_harm, run_all, stores};
use keywheel_core::layer::{Retry, RetryPolicy};
use keywheel_core::{Provider, SecretRef};

use self::support::{Kubelet, provider, replace};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Layout {
    /// `NAME.json`, below the root.
    Json,
    /// `NAME.yaml`, by its absolute path, in JSON, which is YAML too.
    Yaml,
    /// `NAME.json.age`, encrypted.
    Age,
    /// `NAME`, as it is.
    Plain,
    /// `NAME/FIELD`.
    Folder,
    /// `NAME/FIELD -> ..data/FIELD`.
    Kubernetes,
}

struct Files {
    root: tempfile::TempDir,
    keys: tempfile::TempDir,
    identity: Identity,
    layout: Layout,
}

impl Files {
    fn new(layout: Layout) -> Self {
        let (root, keys, identity) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), Identity::generate());
        replace(&keys.path().join("identities"), identity.to_string().expose_secret().as_bytes());
        Self { root, keys, identity, layout }
    }

    fn provider(&self) -> Arc<dyn Provider> {
        provider(Some(self.root.path()), Some(&self.keys.path().join("identities")))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(self.relative(name))
    }

    fn relative(&self, name: &str) -> String {
        match self.layout {
            Layout::Json => format!("{name}.json"),
            Layout::Yaml => format!("{name}.yaml"),
            Layout::Age => format!("{name}.json.age"),
            Layout::Plain | Layout::Folder | Layout::Kubernetes => name.into(),
        }
    }
}

#[async_trait]
impl Fixture for Files {
    fn holds(&self) -> Holds {
        let structures = matches!(self.layout, Layout::Json | Layout::Yaml | Layout::Age);
        Holds { names: self.layout != Layout::Plain, structures, binary: !structures, ..Holds::default() }
    }

    fn reference(&self, name: &str) -> SecretRef {
        let reference = match self.layout {
            Layout::Yaml => format!("file://{}", self.path(name).display()),
            _ => format!("file://{}", self.relative(name)),
        };
        reference.parse().unwrap()
    }

    async fn put(&self, name: &str, fields: Fields) {
        let path = self.path(name);
        let files = fields
            .iter()
            .map(|(name, value)| (name.clone(), value.to_bytes().unwrap().expose_secret().to_vec()));
        match self.layout {
            Layout::Json | Layout::Yaml => {
                let fields = keywheel_core::Value::Map(fields);
                replace(&path, &serde_json::to_vec(&fields.expose()).unwrap());
            }
            Layout::Age => {
                let plain = serde_json::to_vec(&keywheel_core::Value::Map(fields).expose()).unwrap();
                replace(&path, &age::encrypt(&self.identity.to_public(), &plain).unwrap());
            }
            Layout::Plain => replace(&path, fields["value"].to_bytes().unwrap().expose_secret()),
            Layout::Folder => {
                std::fs::create_dir_all(&path).unwrap();
                for (name, bytes) in files {
                    replace(&path.join(name), &bytes);
                }
            }
            Layout::Kubernetes => Kubelet::at(&path).publish(files),
        }
    }

    async fn delete(&self, name: &str) {
        let path = self.path(name);
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
    }

    async fn spoil(&self, name: &str, canary: &str) -> bool {
        let content = match self.layout {
            Layout::Json => format!("{{\"password\": \"{canary}\", {canary}"),
            Layout::Yaml => format!("password: \"{canary}\nother: [{canary}"),
            _ => return false,
        };
        replace(&self.path(name), content.as_bytes());
        true
    }
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").field("layout", &self.layout).finish_non_exhaustive()
    }
}

async fn conforms(layout: Layout) {
    let files = Files::new(layout);
    run_all(&*files.provider(), &files).await;
}

#[tokio::test]
async fn json_files_conform() {
    conforms(Layout::Json).await;
}

#[tokio::test]
async fn yaml_files_conform() {
    conforms(Layout::Yaml).await;
}

#[tokio::test]
async fn encrypted_files_conform() {
    conforms(Layout::Age).await;
}

#[tokio::test]
async fn plain_files_conform() {
    conforms(Layout::Plain).await;
}

#[tokio::test]
async fn folders_conform() {
    conforms(Layout::Folder).await;
}

#[tokio::test]
async fn kubernetes_volumes_conform() {
    conforms(Layout::Kubernetes).await;
}

#[tokio::test]
async fn files_conform_under_retries() {
    let files = Files::new(Layout::Json);
    let policy = RetryPolicy { first: Duration::from_millis(5), ..RetryPolicy::default() };
    let retried = Retry::new(files.provider(), policy);
    run_all(&retried, &files).await;
}

async fn store_conforms(layout: Layout) {
    let files = Files::new(layout);
    let provider = files.provider();
    stores::run_all(&*provider, &files, true).await;
    kills_do_no_harm(&provider, &files, keywheel_providers::registry).await;
}

#[tokio::test]
async fn the_store_of_json_files_conforms() {
    store_conforms(Layout::Json).await;
}

#[tokio::test]
async fn the_store_of_encrypted_files_conforms() {
    store_conforms(Layout::Age).await;
}
