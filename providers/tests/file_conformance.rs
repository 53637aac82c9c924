//! The file provider passes the suites that every provider does, in each of its layouts.
#![cfg(feature = "file")]
#![allow(clippy::unwrap_used, reason = "it is a test")]

mod support;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use keywheel_core::SecretRef;
use keywheel_core::conformance::{Fields, Fixture, Holds, run_all};
use keywheel_core::layer::{Retry, RetryPolicy};

use self::support::{Kubelet, provider, replace};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Layout {
    /// `NAME.json`, below the root.
    Json,
    /// `NAME.yaml`, by its absolute path, in JSON, which is YAML too.
    Yaml,
    /// `NAME`, as it is.
    Plain,
    /// `NAME/FIELD`.
    Folder,
    /// `NAME/FIELD -> ..data/FIELD`.
    Kubernetes,
}

#[derive(Debug)]
struct Files {
    root: tempfile::TempDir,
    layout: Layout,
}

impl Files {
    fn new(layout: Layout) -> Self {
        let root = tempfile::tempdir().unwrap();
        Self { root, layout }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(self.relative(name))
    }

    fn relative(&self, name: &str) -> String {
        match self.layout {
            Layout::Json => format!("{name}.json"),
            Layout::Yaml => format!("{name}.yaml"),
            Layout::Plain | Layout::Folder | Layout::Kubernetes => name.into(),
        }
    }
}

#[async_trait]
impl Fixture for Files {
    fn holds(&self) -> Holds {
        let structures = matches!(self.layout, Layout::Json | Layout::Yaml);
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

async fn conforms(layout: Layout) {
    let files = Files::new(layout);
    run_all(&*provider(Some(files.root.path()), None), &files).await;
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
    let retried = Retry::new(provider(Some(files.root.path()), None), policy);
    run_all(&retried, &files).await;
}
