//! Where the names of a configuration lead at this moment.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::allowed::{Allowed, is_shared, own_folder};

/// Returns the places that have to be readable so that `file` can be read, also after it was replaced: its folder, and, where it is a link, the folders
/// that it leads through. In a folder that belongs to others too, it is the file alone.
pub(super) fn of_file(file: &Path) -> Vec<PathBuf> {
    let mut places = Vec::new();
    let mut next = Some(absolute(file));
    for _ in 0..LINKS {
        let Some(path) = next.take() else { break };
        // The folder as it is called, and as it is: what is called by a link may be a folder that belongs to others.
        match own_folder(&path)
            .and_then(|folder| folder.canonicalize().ok())
            .filter(|folder| !is_shared(folder))
        {
            Some(folder) => places.push(folder),
            None => places.push(there(&path)),
        }
        next = path
            .read_link()
            .ok()
            .map(|target| absolute(&path.parent().unwrap_or(Path::new("/")).join(target)));
    }
    // Links in the way's folders may lead elsewhere.
    places.extend(file.canonicalize());
    places
}

/// Returns the place that has to be readable for all of `tree`.
pub(super) fn of_tree(tree: &Path) -> PathBuf {
    there(&absolute(tree))
}

/// Returns `path` where it is there; else the nearest folder above it that is, unless it belongs to others.
fn there(path: &Path) -> PathBuf {
    if path.exists() {
        return path.into();
    }
    let nearest =
        path.ancestors().skip(1).find(|folder| folder.exists()).and_then(|folder| folder.canonicalize().ok());
    nearest.filter(|folder| !is_shared(folder)).unwrap_or_else(|| path.into())
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.into())
}

/// How many links a path may lead through (path_resolution(7)).
const LINKS: usize = 40;

/// Adds the files that the settings of other programs name (such as a token that a profile of AWS points to).
pub fn with_named_files(mut allowed: Allowed) -> Allowed {
    let named = allowed.needs.named_in.iter().flat_map(|(file, key)| values(file, key));
    let named: BTreeSet<PathBuf> = named.map(PathBuf::from).collect();
    allowed.needs.files.extend(named);
    allowed
}

/// Returns the files whose settings have the agent run programs that no configuration of ours lists.
pub fn programs_that_nobody_lists(allowed: &Allowed) -> Vec<&Path> {
    let runs = allowed.needs.programs.iter().filter(|(file, key)| !values(file, key).is_empty());
    runs.map(|(file, _)| file.as_path()).collect()
}

/// Returns the values that a file of `KEY = VALUE` lines has for a key, in any of its sections.
fn values(file: &Path, key: &str) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let value = |line: &str| {
        let (name, value) = line.split_once('=')?;
        (name.trim() == key).then(|| value.trim().to_owned())
    };
    text.lines().filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "the test makes its own files")]
    fn a_file_is_its_folder_and_those_that_it_leads_through() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        for folder in ["volume/..1", "own", "elsewhere"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::write(root.join("volume/..1/token"), "t").unwrap();
        symlink("..1", root.join("volume/..data")).unwrap();
        symlink("..data/token", root.join("volume/token")).unwrap();
        symlink("../volume/token", root.join("own/token")).unwrap();
        let places: BTreeSet<PathBuf> = of_file(&root.join("own/token")).into_iter().collect();
        assert!(places.contains(&root.join("own")) && places.contains(&root.join("volume")), "{places:?}");
        assert!(!places.contains(&root) && !places.contains(&root.join("elsewhere")), "{places:?}");
        assert_eq!(of_file(&root.join("own/later/token"))[0], root.join("own"), "what is not there yet");
    }

    #[test]
    fn a_file_among_those_of_others_is_itself_alone() {
        assert_eq!(of_file(Path::new("/etc/passwd")), [Path::new("/etc/passwd"); 2]);
        let missing = of_file(Path::new("/etc/is-not-there"));
        assert_eq!(missing, [Path::new("/etc/is-not-there")], "nothing above it is allowed instead");
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "the test makes its own files")]
    fn settings_of_others_are_found_in_every_section() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        let text = "[default]\nregion = eu-west-1\n[profile a]\n credential_process=/bin/x --y=z\n";
        fs::write(&file, text).unwrap();
        assert_eq!(values(&file, "credential_process"), ["/bin/x --y=z"]);
        assert_eq!(values(&file, "process"), [""; 0]);
        assert_eq!(values(&folder.path().join("none"), "region"), [""; 0]);
    }
}
