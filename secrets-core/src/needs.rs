//! What a part of a configuration needs of the system, so that a program can be kept from everything else.

use std::collections::BTreeSet;
use std::path::PathBuf;

/// What is read and connected to. A part that names too little does without it where a sandbox is closed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Needs {
    /// Files that are read, also after they were replaced by a rename or through a link.
    pub files: BTreeSet<PathBuf>,
    /// Files, and folders with all that is below them.
    pub trees: BTreeSet<PathBuf>,
    /// The TCP ports that are connected to.
    pub ports: BTreeSet<u16>,
    /// Settings by which a program is run that nobody lists: where such a file has the key, it is.
    pub programs: BTreeSet<(PathBuf, &'static str)>,
    /// Settings that name more files: where such a file has the key, its value is read as one of [`files`](Self::files).
    pub named_in: BTreeSet<(PathBuf, &'static str)>,
}

impl Needs {
    /// Adds files that are read.
    #[must_use]
    pub fn with_files<P: Into<PathBuf>>(mut self, files: impl IntoIterator<Item = P>) -> Self {
        self.files.extend(files.into_iter().map(Into::into));
        self
    }

    /// Adds files and folders that are read with all that is below them.
    #[must_use]
    pub fn with_trees<P: Into<PathBuf>>(mut self, trees: impl IntoIterator<Item = P>) -> Self {
        self.trees.extend(trees.into_iter().map(Into::into));
        self
    }

    /// Adds TCP ports that are connected to.
    #[must_use]
    pub fn with_ports(mut self, ports: impl IntoIterator<Item = u16>) -> Self {
        self.ports.extend(ports);
        self
    }

    /// Adds all that `other` needs.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.files.extend(other.files);
        self.trees.extend(other.trees);
        self.ports.extend(other.ports);
        self.programs.extend(other.programs);
        self.named_in.extend(other.named_in);
        self
    }
}
