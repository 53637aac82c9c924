//! Remembers a folder as it is, to tell whether anything in it was touched.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Everything below a folder: names, contents, links, modes, owners and inodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<PathBuf, Entry>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    content: Content,
    mode: u32,
    owner: (u32, u32),
    /// A file that was written again has another one, even when it holds the same bytes.
    inode: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    File(Vec<u8>),
    Link(PathBuf),
    Folder,
}

impl Snapshot {
    /// Takes a snapshot of `folder`, without following links.
    ///
    /// # Panics
    ///
    /// When something changes underneath, or cannot be read.
    pub fn of(folder: &Path) -> Self {
        let mut entries = BTreeMap::new();
        collect(folder, Path::new(""), &mut entries);
        Self(entries)
    }

    /// Returns the paths, relative to the folder.
    pub fn paths(&self) -> Vec<&Path> {
        self.0.keys().map(PathBuf::as_path).collect()
    }
}

fn collect(folder: &Path, below: &Path, entries: &mut BTreeMap<PathBuf, Entry>) {
    for entry in fs::read_dir(folder.join(below)).expect("a folder") {
        let relative = below.join(entry.expect("an entry").file_name());
        let path = folder.join(&relative);
        let metadata = path.symlink_metadata().expect("metadata");
        let content = if metadata.is_dir() {
            collect(folder, &relative, entries);
            Content::Folder
        } else if metadata.is_symlink() {
            Content::Link(fs::read_link(&path).expect("a link"))
        } else {
            Content::File(fs::read(&path).expect("a file"))
        };
        let entry = Entry {
            content,
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            inode: metadata.ino(),
        };
        entries.insert(relative, entry);
    }
}
