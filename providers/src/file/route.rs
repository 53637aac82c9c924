//! The way that a path takes through links, and where it could be given another turn.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// The places at which a change would make a path lead to something else, in order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Route(Vec<Turn>);

/// One name in one folder: a link on the way, the file at the end, or the first name that is missing. Without a name it is any file in the
/// folder at the end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Turn {
    pub(super) folder: PathBuf,
    /// `None` when the folder is gone at this moment.
    pub(super) id: Option<FolderId>,
    name: Option<OsString>,
}

/// Which folder it is that has a path at the moment: its device and inode.
pub(super) type FolderId = (u64, u64);

impl Route {
    /// Follows an absolute path as it leads now.
    pub(super) fn of(path: &Path) -> Self {
        const LINKS: usize = 40;
        let mut route = Self::default();
        let mut links = 0;
        let mut folder = PathBuf::from("/");
        let mut left: VecDeque<OsString> = names(path).collect();
        while let Some(name) = left.pop_front() {
            if name == ".." {
                folder.pop();
                continue;
            }
            let next = folder.join(&name);
            let is_folder = match next.symlink_metadata() {
                Ok(metadata) if metadata.is_symlink() => {
                    route.turn(&folder, Some(name));
                    links += 1;
                    let Ok(target) = next.read_link() else {
                        return route;
                    };
                    if links > LINKS {
                        return route;
                    }
                    if target.is_absolute() {
                        folder = "/".into();
                    }
                    names(&target).rev().for_each(|name| left.push_front(name));
                    continue;
                }
                Ok(metadata) => metadata.is_dir(),
                Err(_) => false,
            };
            if !is_folder {
                route.turn(&folder, Some(name));
                return route;
            }
            folder = next;
        }
        route.turn(&folder, None);
        route
    }

    /// Returns the turns.
    pub(super) fn turns(&self) -> &[Turn] {
        &self.0
    }

    fn turn(&mut self, folder: &Path, name: Option<OsString>) {
        let id = folder.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()));
        self.0.push(Turn { folder: folder.into(), id, name });
    }
}

impl Turn {
    /// Tells whether something that happened to `path` is about this turn.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        if path == self.folder {
            return true;
        }
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return false;
        };
        folder == self.folder
            && self.name.as_deref().map_or_else(|| is_content(name), |wanted| wanted == name)
    }
}

/// Tells whether a name in a folder is a field of its secret, or the link that all of them go through.
fn is_content(name: &OsStr) -> bool {
    name == "..data" || !name.as_encoded_bytes().starts_with(b"..")
}

fn names(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "the test makes its own files")]
    fn turns_are_the_links_and_the_end() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("volume/..1")).unwrap();
        std::fs::write(root.join("volume/..1/db.json"), "{}").unwrap();
        for (link, target) in
            [("volume/..data", "..1"), ("volume/db.json", "..data/db.json"), ("current", "volume")]
        {
            symlink(target, root.join(link)).unwrap();
        }
        let turns = |path: &str| -> Vec<(String, Option<String>)> {
            let text = |text: &OsStr| text.to_str().unwrap().to_owned();
            let below = |folder: &Path| text(folder.strip_prefix(&root).unwrap_or(folder).as_os_str());
            let route = Route::of(&root.join(path));
            route.turns().iter().map(|turn| (below(&turn.folder), turn.name.as_deref().map(text))).collect()
        };
        let turn = |folder: &str, name: &str| (folder.to_owned(), Some(name.to_owned()));
        assert_eq!(
            turns("current/db.json"),
            [
                turn("", "current"),
                turn("volume", "db.json"),
                turn("volume", "..data"),
                turn("volume/..1", "db.json")
            ]
        );
        assert_eq!(turns("volume"), [("volume".to_owned(), None)]);
        assert_eq!(turns("missing/below/it"), [turn("", "missing")]);
        assert_eq!(turns("volume/missing"), [turn("volume", "missing")]);
        assert_eq!(turns("volume/db.json/below")[2..], [turn("volume/..1", "db.json")]);
    }

    #[test]
    fn a_circle_ends() {
        let root = tempfile::tempdir().unwrap();
        symlink("loop", root.path().join("loop")).unwrap();
        assert!(Route::of(&root.path().join("loop")).turns().len() > 2);
    }
}
