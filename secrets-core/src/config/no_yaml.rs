//! In place of the reader of YAML in a build without it.

use super::mistake;
use super::node::{Node, Place};
use super::section::Mistake;

/// Refuses.
pub(super) fn documents(_text: &str) -> Result<Vec<Node>, Mistake> {
    Err(absent())
}

/// Refuses.
pub(super) fn document(_text: &str) -> Result<Node, Mistake> {
    Err(absent())
}

fn absent() -> Mistake {
    mistake(Place { line: 1, column: 1 }, "this program was built without the feature `yaml`")
}
