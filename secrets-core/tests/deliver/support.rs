//! A directory on tmpfs, payloads, and a reader that knows nothing of Keywheel.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use keywheel_core::clock::Clock;
use keywheel_core::deliver::{AtomicDir, Settings, Sources, Written};
use keywheel_core::payload::{Payload, PayloadFile};
use keywheel_core::secret::SecretValue;

use crate::listener;

/// Files by path: bytes and mode.
pub(crate) type Files = BTreeMap<String, (Vec<u8>, u32)>;

/// A temporary folder on a volume that is kept in memory.
pub(crate) struct Volume(tempfile::TempDir);

impl Volume {
    pub(crate) fn new() -> Self {
        listener::install();
        Self(tempfile::tempdir_in("/dev/shm").unwrap())
    }

    /// The delivery directory, not made yet.
    pub(crate) fn directory(&self) -> PathBuf {
        self.0.path().join("delivery")
    }

    /// A place beside it that no delivery may touch.
    pub(crate) fn outside(&self) -> PathBuf {
        let path = self.0.path().join("outside");
        fs::create_dir_all(path.join("folder")).unwrap();
        fs::write(path.join("a"), "outside a").unwrap();
        fs::write(path.join("folder/x"), "outside x").unwrap();
        path
    }
}

pub(crate) fn settings(directory: &Path) -> Settings {
    Settings {
        name: "orders".into(),
        directory: directory.into(),
        owner: None,
        allow_disk: false,
        overlap: Duration::from_secs(3600),
    }
}

pub(crate) fn open(directory: &Path) -> AtomicDir {
    AtomicDir::open(settings(directory), Clock::system()).unwrap()
}

pub(crate) fn payload(files: &Files) -> Payload {
    let file = |(path, (bytes, mode)): (&String, &(Vec<u8>, u32))| {
        let file = PayloadFile {
            content: SecretValue::copy_of(bytes),
            mode: format!("{mode:04o}").parse().unwrap(),
            secrets: ["db".to_string()].into(),
        };
        (path.parse().unwrap(), file)
    };
    Payload { files: files.iter().map(file).collect() }
}

/// Files whose bytes say their path and `marker`, over more than one page.
pub(crate) fn marked(marker: &str, paths: &[(&str, u32)]) -> Files {
    let file = |(path, mode): &(&str, u32)| {
        let line = format!("{path} {marker}\n");
        (path.to_string(), (line.repeat(6000 / line.len()).into_bytes(), *mode))
    };
    paths.iter().map(file).collect()
}

/// Writes, and says whether anything was published.
pub(crate) fn write(dir: &mut AtomicDir, files: &Files) -> bool {
    match dir.write(&payload(files), &Sources::new()).unwrap() {
        Written::Unchanged => false,
        Written::Published { .. } => true,
        other => panic!("{other:?}"),
    }
}

/// What a reader sees that resolves `..data` once; the manifest apart.
pub(crate) fn generation(directory: &Path) -> Option<Files> {
    let folder = directory.join(fs::read_link(directory.join("..data")).ok()?);
    let mut files = tree(&folder);
    assert!(files.remove("..manifest.json").is_some(), "no manifest in {files:?}");
    Some(files)
}

/// What a reader sees through the visible names. Links that lead nowhere are left out.
pub(crate) fn visible(directory: &Path) -> Files {
    let mut files = Files::new();
    for (name, _) in entries(directory).into_iter().filter(|(name, _)| !name.starts_with("..")) {
        let path = directory.join(&name);
        match fs::metadata(&path) {
            Ok(found) if found.is_dir() => {
                files.extend(tree(&path).into_iter().map(|(below, file)| (format!("{name}/{below}"), file)));
            }
            Ok(_) => {
                files.insert(name, file(&path));
            }
            Err(_) => {}
        }
    }
    files
}

fn tree(top: &Path) -> Files {
    let mut files = Files::new();
    for (name, kind) in entries(top) {
        let path = top.join(&name);
        match kind {
            'd' => {
                files.extend(tree(&path).into_iter().map(|(below, file)| (format!("{name}/{below}"), file)))
            }
            _ => {
                files.insert(name, file(&path));
            }
        }
    }
    files
}

fn file(path: &Path) -> (Vec<u8>, u32) {
    let mode = fs::symlink_metadata(path).unwrap().permissions();
    let mode = if mode.mode() & 0o170_000 == 0o120_000 {
        fs::metadata(path).unwrap().permissions().mode()
    } else {
        mode.mode()
    };
    (fs::read(path).unwrap(), mode & 0o7777)
}

/// The names in a folder, sorted, with `f`, `d`, `l` or `?`.
pub(crate) fn entries(folder: &Path) -> Vec<(String, char)> {
    let mut names: Vec<(String, char)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            let letter = match () {
                () if kind.is_file() => 'f',
                () if kind.is_dir() => 'd',
                () if kind.is_symlink() => 'l',
                () => '?',
            };
            (entry.file_name().into_string().unwrap(), letter)
        })
        .collect();
    names.sort();
    names
}

/// Asserts that the directory shows `files`, and that there is nothing beside the current generation and `retired` others.
pub(crate) fn assert_shows(directory: &Path, files: &Files, retired: usize) {
    same(&generation(directory).unwrap(), files);
    same(&visible(directory), files);
    let current = fs::read_link(directory.join("..data")).unwrap();
    let mut generations = 0;
    let tops: std::collections::BTreeSet<&str> =
        files.keys().map(|path| path.split('/').next().unwrap()).collect();
    for (name, kind) in entries(directory) {
        let path = directory.join(&name);
        match (name.as_str(), kind) {
            ("..data", 'l') => {}
            (other, 'd') if other.starts_with("..2") => {
                generations += 1;
                let mode = fs::metadata(&path).unwrap().mode() & 0o777;
                assert_eq!(mode, 0o755, "{other} is open to readers");
            }
            (link, 'l') if tops.contains(link) => {
                assert_eq!(fs::read_link(&path).unwrap(), Path::new("..data").join(link));
            }
            other => panic!("{other:?} is left in {}", directory.display()),
        }
    }
    assert!(directory.join(current).is_dir());
    assert_eq!(generations, 1 + retired, "{:?}", entries(directory));
}

/// Compares without printing whole files.
pub(crate) fn same(is: &Files, wanted: &Files) {
    assert!(is == wanted, "{:?}\nis not\n{:?}", Short(is), Short(wanted));
}

/// Everything below a folder, without following links: to see that nothing was touched.
pub(crate) fn snapshot(top: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, kind) in entries(top) {
        let path = top.join(&name);
        let stat = fs::symlink_metadata(&path).unwrap();
        let target = fs::read_link(&path).ok();
        let content = stat.is_file().then(|| fs::read(&path).unwrap());
        assert!(stat.file_type().is_fifo() || kind != '?');
        lines.push(format!(
            "{name} {kind} {:o} {} {}:{} {target:?} {content:?}",
            stat.mode(),
            stat.ino(),
            stat.uid(),
            stat.gid()
        ));
        if kind == 'd' {
            lines.extend(snapshot(&path).into_iter().map(|line| format!("{name}/{line}")));
        }
    }
    lines
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Files as their first lines.
struct Short<'a>(&'a Files);

impl fmt::Debug for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = |bytes: &[u8]| {
            let line: Vec<u8> = bytes.iter().copied().take_while(|byte| *byte != b'\n').take(40).collect();
            format!("{:?} and so on: {} bytes", String::from_utf8_lossy(&line), bytes.len())
        };
        let short = self.0.iter().map(|(path, (bytes, mode))| (path, first(bytes), format!("{mode:o}")));
        f.debug_list().entries(short).finish()
    }
}
