//! What is delivered: files by their safe relative paths.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use crate::secret::SecretValue;

/// The files of one generation, complete before any of them is written.
#[derive(Debug, Default)]
pub struct Payload {
    /// Each file by its path.
    pub files: BTreeMap<FilePath, PayloadFile>,
}

/// One file to deliver.
#[derive(Debug)]
pub struct PayloadFile {
    /// Its bytes.
    pub content: SecretValue,
    /// Its permissions.
    pub mode: Mode,
    /// The names of the secrets, in the delivery, that its content was made of.
    pub secrets: BTreeSet<String>,
}

/// A path below a delivery directory that can lead nowhere else.
///
/// It is relative; no component is empty, `.` or `..`, begins with `..` (those names are the layout's own), has a control character, a
/// backslash or more than 255 bytes; all of it has at most 1,024 bytes and 16 components.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct FilePath(String);

impl FilePath {
    /// Returns the path as written, with `/` between components.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the components in order; there is at least one.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// Returns the first component: what is linked at the top of the delivery directory.
    pub fn top(&self) -> &str {
        self.0.split('/').next().unwrap_or(&self.0)
    }
}

/// The paths of files that can be beside each other in one directory.
#[derive(Debug, Default)]
pub(crate) struct FilePaths(BTreeSet<String>);

impl FilePaths {
    /// Adds a path, unless it is that of a file that is there, or one of the two would have to be a folder.
    pub(crate) fn add(&mut self, path: &FilePath) -> Result<(), FileClash> {
        let path = path.as_str();
        if self.0.contains(path) {
            return Err(FileClash::Same(path.into()));
        }
        let folder =
            path.match_indices('/').map(|(end, _)| &path[..end]).find(|above| self.0.contains(*above));
        let below = format!("{path}/");
        let inside = self.0.range(below.clone()..).next().filter(|next| next.starts_with(&below));
        if let Some(other) = folder.or(inside.map(String::as_str)) {
            return Err(FileClash::Folder { path: path.into(), other: other.into() });
        }
        self.0.insert(path.to_owned());
        Ok(())
    }
}

/// Why two files cannot be in one directory.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum FileClash {
    #[error("two files have the path {0:?}")]
    Same(String),
    #[error("{path:?} and {other:?} cannot both be files: one is the other's folder")]
    Folder { path: String, other: String },
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text cannot be the path of a delivered file.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("{path:?} cannot be a file below the delivery directory: {reason}")]
pub struct FilePathError {
    path: String,
    reason: &'static str,
}

impl FromStr for FilePath {
    type Err = FilePathError;

    fn from_str(text: &str) -> Result<Self, FilePathError> {
        let reason = |component: &str| match component {
            "" => Some("it is absolute, or has an empty component"),
            c if c.starts_with("..") => Some("a component begins with `..`"),
            "." => Some("a component is `.`"),
            c if c.len() > 255 => Some("a component is longer than 255 bytes"),
            c if c.chars().any(|c| c.is_control() || c == '\\') => {
                Some("it has a control character or a backslash")
            }
            _ => None,
        };
        let too_long = (text.len() > 1024 || text.split('/').count() > 16).then_some("it is too long");
        match too_long.or_else(|| text.split('/').find_map(reason)) {
            Some(reason) => Err(FilePathError { path: text.chars().take(120).collect(), reason }),
            None => Ok(Self(text.into())),
        }
    }
}

/// File permissions: the lower nine bits, written as octal text such as `"0440"`.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Mode(u32);

impl Mode {
    /// What a file gets when nothing is said: readable for its owner and group.
    pub const DEFAULT: Self = Self(0o440);

    /// Returns the permission bits.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl Default for Mode {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl fmt::Debug for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a mode.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be an octal text from \"0000\" to \"0777\", such as \"0440\"")]
pub struct ModeError;

impl FromStr for Mode {
    type Err = ModeError;

    fn from_str(text: &str) -> Result<Self, ModeError> {
        let octal = matches!(text.len(), 3 | 4) && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
        let bits = octal.then(|| u32::from_str_radix(text, 8).ok()).flatten();
        bits.filter(|bits| *bits <= 0o777).map(Self).ok_or(ModeError)
    }
}

/// Who owns the delivered files.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Owner {
    /// The user's number; the program's own when it is not given.
    pub uid: Option<u32>,
    /// The group's number; the directory's or the program's own when it is not given.
    pub gid: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_their_directory() {
        for good in ["a", "db/password", "app.env", ".hidden", "a..b", "ä ö"] {
            assert!(good.parse::<FilePath>().is_ok(), "{good}");
        }
        let long = "a/".repeat(20) + "a";
        for bad in [
            "", "/a", "a/", "a//b", ".", "a/./b", "..", "../a", "a/../b", "..data", "a/..b", "a\0", "a\nb",
            "a\\b", &long,
        ] {
            assert!(bad.parse::<FilePath>().is_err(), "{bad:?}");
        }
        assert!("a".repeat(256).parse::<FilePath>().is_err());
    }

    #[test]
    fn a_file_is_no_folder_of_another() {
        let mut paths = FilePaths::default();
        let mut add = |path: &str| paths.add(&path.parse().unwrap());
        for good in ["a/b", "a-b", "a.b", "ab", "a/c/d", "b"] {
            assert_eq!(add(good), Ok(()), "{good}");
        }
        assert_eq!(add("a/b"), Err(FileClash::Same("a/b".into())));
        for (path, other) in [("a", "a/b"), ("a/b/c", "a/b"), ("a/c", "a/c/d"), ("b/c/d", "b")] {
            let clash = FileClash::Folder { path: path.into(), other: other.into() };
            assert_eq!(add(path), Err(clash));
        }
        assert_eq!(add("a/bc"), Ok(()));
    }

    #[test]
    fn modes_are_octal_texts() {
        assert_eq!("0440".parse::<Mode>().unwrap().bits(), 0o440);
        assert_eq!("644".parse::<Mode>().unwrap().to_string(), "0644");
        for bad in ["", "9", "0o440", "1777", "00440", "-440", "0888"] {
            assert!(bad.parse::<Mode>().is_err(), "{bad:?}");
        }
    }
}
