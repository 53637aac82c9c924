//! What the tests of the file provider share: building one, and playing its writers.

#![allow(dead_code, reason = "each test program uses its part")]
#![allow(clippy::disallowed_methods, reason = "the tests play the writers of source files")]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use keywheel_core::config::Config;
use keywheel_core::environment::Environment;
use keywheel_core::layer::{Budget, BudgetLimits};
use keywheel_core::registry::Context;
use keywheel_core::{Clock, Provider};

/// Builds a provider of kind `file` as a configuration with these settings does.
pub(crate) fn provider(root: Option<&Path>, identity_file: Option<&Path>) -> Arc<dyn Provider> {
    provider_with(root, identity_file, "")
}

/// As [`provider`], with one more setting.
pub(crate) fn provider_with(
    root: Option<&Path>,
    identity_file: Option<&Path>,
    more: &str,
) -> Arc<dyn Provider> {
    let mut text = "providers:\n  local:\n    kind: file\n".to_owned();
    for (key, value) in [("root", root), ("identity_file", identity_file)] {
        if let Some(value) = value {
            text += &format!("    {key}: {}\n", value.display());
        }
    }
    text += &format!("    {more}\n");
    let registry = keywheel_providers::registry();
    let config = Config::parse(Path::new("test.yaml"), &text, &registry, &Environment::default()).unwrap();
    let clock = Clock::system();
    let context = Context {
        name: "local".into(),
        clock: clock.clone(),
        budget: Arc::new(Budget::new(BudgetLimits::default(), clock)),
        timeout: Duration::from_secs(1),
        slot: keywheel_core::State::in_memory().slot("session", "test"),
    };
    config.providers["local"].blueprint.build(context).unwrap()
}

/// Replaces a file as a careful writer does: writes another one and renames it over.
pub(crate) fn replace(path: &Path, content: &[u8]) {
    let new = path.with_file_name("..new");
    std::fs::write(&new, content).unwrap();
    std::fs::rename(&new, path).unwrap();
}

/// Publishes files in a folder as the kubelet's AtomicWriter does.
pub(crate) struct Kubelet {
    folder: PathBuf,
}

impl Kubelet {
    /// Takes charge of `folder`, which is made when it is not there.
    pub(crate) fn at(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        Self { folder: folder.into() }
    }

    /// Writes a new generation, swaps `..data` and removes the old one.
    pub(crate) fn publish<N: AsRef<Path>, B: AsRef<[u8]>>(&self, files: impl IntoIterator<Item = (N, B)>) {
        static GENERATION: AtomicUsize = AtomicUsize::new(0);
        let number = GENERATION.fetch_add(1, Ordering::Relaxed);
        let generation = format!("..2026_11_23_07_00_00.{number:09}");
        std::fs::create_dir(self.folder.join(&generation)).unwrap();
        let old = std::fs::read_link(self.folder.join("..data")).ok();
        let mut names = Vec::new();
        for (name, bytes) in files {
            std::fs::write(self.folder.join(&generation).join(&name), bytes).unwrap();
            names.push(name.as_ref().to_owned());
        }
        symlink(&generation, self.folder.join("..data_tmp")).unwrap();
        std::fs::rename(self.folder.join("..data_tmp"), self.folder.join("..data")).unwrap();
        for name in names {
            let link = self.folder.join(&name);
            if link.symlink_metadata().is_err() {
                symlink(Path::new("..data").join(&name), link).unwrap();
            }
        }
        if let Some(old) = old {
            std::fs::remove_dir_all(self.folder.join(old)).unwrap();
        }
    }
}
