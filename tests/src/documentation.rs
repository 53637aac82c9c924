//! The Markdown of this repository: its files, and the blocks of code in them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A file of Markdown.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its path from the repository's root.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// A block of code.
#[derive(Clone, Debug)]
pub struct Block {
    /// The file and the line that it begins at, for messages.
    pub place: String,
    /// What is said after the fence: the language, and what the block is.
    pub info: String,
    /// The lines between the fences.
    pub text: String,
}

/// Returns the repository's root.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository")
}

/// Returns all documents that users read, the book's pages among them.
///
/// # Panics
///
/// When one cannot be read.
pub fn documents() -> Vec<Document> {
    let alone = ["README.md", "SECURITY.md", "CHANGELOG.md", "deploy/README.md"].map(PathBuf::from);
    let folder = fs::read_dir(repository().join(BOOK)).expect("the book");
    let mut paths: Vec<PathBuf> =
        folder.map(|entry| Path::new(BOOK).join(entry.expect("a page").file_name())).chain(alone).collect();
    paths.sort();
    paths.into_iter().map(Document::read).collect()
}

/// Where the book's pages are.
pub const BOOK: &str = "docs/src";

impl Document {
    /// Reads the file at `path`, which is from the repository's root.
    ///
    /// # Panics
    ///
    /// When it cannot be read.
    pub fn read(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let text = fs::read_to_string(repository().join(&path));
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path, text }
    }

    /// Returns its blocks of code.
    ///
    /// # Panics
    ///
    /// When a block has no end.
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut open: Option<Block> = None;
        for (index, line) in self.text.lines().enumerate() {
            match (&mut open, line.strip_prefix("```")) {
                (None, Some(info)) => {
                    let place = format!("{}:{}", self.path.display(), index + 1);
                    open = Some(Block { place, info: info.to_owned(), text: String::new() });
                }
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(block), None) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a block without an end", self.path.display());
        blocks
    }

    /// Returns the targets of its links.
    pub fn links(&self) -> Vec<String> {
        let mut links = Vec::new();
        for line in self.prose() {
            // What stands in code is no link.
            let text: String = line.split('`').step_by(2).collect::<Vec<_>>().join("``");
            let rest = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
            links.extend(rest.map(|(link, _)| link.to_owned()));
        }
        links
    }

    /// Returns the anchors of its headings: their letters, digits, `-` and `_` in lower case, with `-` for a blank, and a number where one comes again.
    pub fn anchors(&self) -> Vec<String> {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let headings = self.prose().filter(|line| line.starts_with('#'));
        let anchors = headings.map(|line| {
            let title = line.trim_start_matches('#').trim();
            let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '));
            let plain: String = kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect();
            let again = seen.entry(plain.clone()).or_default();
            *again += 1;
            if *again == 1 { plain } else { format!("{plain}-{}", *again - 1) }
        });
        anchors.collect()
    }

    /// Returns its lines outside of blocks of code.
    fn prose(&self) -> impl Iterator<Item = &str> {
        let mut in_block = false;
        self.text.lines().filter(move |line| {
            let is_fence = line.starts_with("```");
            in_block ^= is_fence;
            !in_block && !is_fence
        })
    }
}
