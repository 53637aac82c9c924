//! What a program is to deliver.

use std::iter;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keywheel_tests::OpenBao;
use serde_json::json;

/// The files that are wanted, and how fresh.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) files: Vec<Wanted>,
    /// The time between two looks at a secret.
    pub(crate) refresh: Duration,
}

/// One secret in a file of its own.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The file's name.
    pub(crate) file: String,
    /// Where the secret is, as the command line takes it.
    pub(crate) path: String,
    /// Where the secret is in the server's API.
    pub(crate) api_path: String,
    /// Where the API's answer has the fields.
    pub(crate) answer: &'static str,
    /// The fields, with a colon between them in the file.
    pub(crate) fields: &'static [&'static str],
}

/// An order, and where a program finds what it needs for it.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    pub(crate) order: &'a Order,
    pub(crate) server: &'a OpenBao,
    pub(crate) token_file: &'a Path,
    /// Empty and memory-backed.
    pub(crate) volume: &'a Path,
    /// For the configuration.
    pub(crate) folder: &'a Path,
}

impl Order {
    /// Orders the first `count` secrets that [`write_secrets`] wrote.
    pub(crate) fn of_secrets(count: usize, refresh: Duration) -> Self {
        Self { files: (0..count).map(Wanted::secret).collect(), refresh }
    }
}

impl Wanted {
    /// Wants a secret that [`write_secrets`] wrote.
    pub(crate) fn secret(index: usize) -> Self {
        Self {
            file: format!("secret-{index}"),
            path: format!("secret/bench/{index}"),
            api_path: format!("secret/data/bench/{index}"),
            answer: ".Data.data",
            fields: &["value"],
        }
    }

    /// Wants `USER:PASSWORD` from `path` of the database engine.
    pub(crate) fn account(file: &str, path: &str) -> Self {
        Self {
            file: file.to_owned(),
            path: format!("database/{path}"),
            api_path: format!("database/{path}"),
            answer: ".Data",
            fields: &["username", "password"],
        }
    }
}

impl Job<'_> {
    /// Returns the files that are there when the job is done.
    pub(crate) fn files(&self) -> impl Iterator<Item = PathBuf> {
        self.order.files.iter().map(|wanted| self.volume.join(&wanted.file))
    }
}

/// Writes `count` secrets with 64 bytes each, all below one prefix.
pub(crate) fn write_secrets(server: &OpenBao, count: usize) {
    eprintln!("writing {count} secrets");
    for index in 0..count {
        write_secret(server, index, &format!("{index:064}"));
    }
}

/// Gives one secret a value that is nowhere else, and returns it.
pub(crate) fn write_random(server: &OpenBao, index: usize) -> String {
    let value: String = iter::repeat_with(fastrand::alphanumeric).take(64).collect();
    write_secret(server, index, &value);
    value
}

/// Gives one secret a value.
pub(crate) fn write_secret(server: &OpenBao, index: usize, value: &str) {
    server.kv_put("secret", &format!("bench/{index}"), &json!({"value": value}));
}

/// What the programs may do with the secrets: read them and their versions, and list the versions of all, which only keywheel asks for.
pub(crate) const RULES: &str = r#"
path "secret/data/bench/*" { capabilities = ["read"] }
path "secret/metadata/bench/*" { capabilities = ["read"] }
path "secret/detailed-metadata/bench/*" { capabilities = ["list"] }
"#;

/// The least that both need: without the list.
pub(crate) const UNLISTED: &str = r#"
path "secret/data/bench/*" { capabilities = ["read"] }
path "secret/metadata/bench/*" { capabilities = ["read"] }
"#;
