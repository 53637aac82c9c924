//! `cargo xtask schema`: writes the schema of the configuration for editors, and the book's page that is made from it.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{command, reference, workspace};

/// Asks `keywheel` for the schema, and writes it and the page.
///
/// # Errors
///
/// The program cannot be built, or a file not be written.
pub(crate) fn run() -> Result<()> {
    // With the features of all other builds, those that tests want among them, so that nothing is compiled twice.
    let build = ["build", "--workspace", "--all-features", "--bin=keywheel", "--test=schema"];
    command::run(workspace::cargo().args(build))?;
    let program = workspace::target().join("debug/keywheel");
    let schema = command::output(Command::new(program).arg("schema"))?;
    let page = reference::page(&serde_json::from_str(&schema).context("the schema is no JSON")?);
    for (file, text) in [(SCHEMA, schema), (PAGE, page)] {
        let file = workspace::root().join(file);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        println!("schema: {}", file.display());
    }
    Ok(())
}

const SCHEMA: &str = "deploy/keywheel.schema.json";
const PAGE: &str = "docs/src/configuration.md";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_that_of_the_schema() {
        let read = |file| fs::read_to_string(workspace::root().join(file)).unwrap();
        let page = reference::page(&serde_json::from_str(&read(SCHEMA)).unwrap());
        assert!(read(PAGE) == page, "{PAGE} is another one; `cargo xtask schema` writes it");
    }
}
