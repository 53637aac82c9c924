//! The documentation says what the programs do: its blocks are read by those that they are for, its links lead somewhere, and its pages are listed.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use keywheel_core::config::Config;
use keywheel_core::environment::Environment;
use keywheel_tests::documentation::{BOOK, Block, Document, documents, repository};
use serde_json::Value;

#[test]
fn every_block_is_what_it_says_it_is() {
    let blocks: Vec<Block> = documents().iter().flat_map(Document::blocks).collect();
    for block in &blocks {
        match block.info.as_str() {
            "yaml" => assert_configuration(block),
            "yaml manifest" => {
                let objects = serde_saphyr::from_multiple::<Value>(&block.text).unwrap();
                let is_object =
                    |object: &Value| object["apiVersion"].is_string() && object["kind"].is_string();
                assert!(objects.iter().all(is_object) && !objects.is_empty(), "{}", block.place);
            }
            "yaml pod" | "yaml kustomize" | "yaml falco" | "yaml falcosidekick" => {
                let read = serde_saphyr::from_str::<Value>(&block.text);
                assert!(read.is_ok_and(|value| !value.is_null()), "{}", block.place);
            }
            "json" => {
                let is_json = |line: &str| serde_json::from_str::<Value>(line).is_ok();
                assert!(block.text.lines().all(is_json), "{}", block.place);
            }
            "sh" | "text" | "rust" | "python" | "hcl" | "toml" => {}
            other => panic!("{}: nobody reads blocks of {other:?}", block.place),
        }
    }
    let configurations = blocks.iter().filter(|block| block.info == "yaml").count();
    assert!(configurations > 10, "{configurations}");
}

/// Has the program's own reader read a configuration.
fn assert_configuration(block: &Block) {
    let template = tempfile::NamedTempFile::new().unwrap();
    let text = replace_templates(&block.text, template.path());
    let (registry, environment) = (keywheel_providers::registry(), Environment::default());
    if let Err(error) = Config::parse(Path::new("keywheel.yaml"), &text, &registry, &environment) {
        panic!("{}\n{error}\n{text}", block.place);
    }
}

/// Puts a file that is there in the place of each template file, which is the reader's to have.
fn replace_templates(text: &str, file: &Path) -> String {
    let mut parts = text.split("template_file: ");
    let mut replaced = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find([',', '}', '\n', ' ']).unwrap_or(part.len());
        replaced.push_str(&format!("template_file: {}{}", file.display(), &part[end..]));
    }
    replaced
}

/// Returns what is wrong with the links of a document.
fn wrong_links(document: &Document) -> Vec<String> {
    let links = document.links();
    links
        .iter()
        .filter_map(|link| Some(format!("{}: {link}: {}", document.path.display(), wrong(document, link)?)))
        .collect()
}

/// Says why a link leads nowhere, if it does.
fn wrong(document: &Document, link: &str) -> Option<String> {
    if link.contains("://") {
        let url = reqwest::Url::parse(link).ok();
        let is_good = url.is_some_and(|url| {
            matches!(url.scheme(), "https") && url.host_str().is_some_and(|host| host.contains('.'))
        });
        return (!is_good).then(|| "is no address".into());
    }
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let target = match path {
        "" => document.path.clone(),
        _ => normal(&document.path.with_file_name("").join(path)),
    };
    if document.path.starts_with(BOOK) && !target.starts_with(BOOK) {
        return Some("leads out of the book".into());
    }
    if !repository().join(&target).exists() {
        return Some("is not there".into());
    }
    let anchor = anchor?;
    let anchors = if path.is_empty() { document.anchors() } else { Document::read(&target).anchors() };
    (!anchors.iter().any(|known| known == anchor)).then(|| "has no such heading".into())
}

/// Resolves `..` in a path.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path {
        match part.to_str() {
            Some("..") => drop(normal.pop()),
            Some(".") => {}
            _ => normal.push(part),
        }
    }
    normal
}

#[test]
fn every_link_leads_somewhere() {
    let documents = documents();
    let wrong: Vec<String> = documents.iter().flat_map(wrong_links).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let links: usize = documents.iter().map(|document| document.links().len()).sum();
    assert!(links > 50, "{links}");
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let document = |path: &str, text: &str| Document { path: path.into(), text: text.into() };
    let wrong = |path, text| wrong_links(&document(path, text)).len();
    for good in [
        "[a](deploy/README.md)",
        "[a](https://example.com/x)",
        "# One `two`\n[a](#one-two)",
        "`[a](nowhere.md)`",
        "```text\n[a](nowhere.md)\n```\n",
    ] {
        assert_eq!(wrong("README.md", good), 0, "{good}");
    }
    for bad in [
        "[a](nowhere.md)",
        "[a](#two)",
        "[a](http://example.com)",
        "[a](https://)",
        "[a](deploy/README.md#x)",
        "[![a](b.svg)](c.md)",
    ] {
        assert!(wrong("README.md", bad) > 0, "{bad}");
    }
    assert_eq!(wrong("docs/src/concepts.md", "[a](../../README.md)"), 1);
}

#[test]
fn the_summary_is_one_and_lists_every_page_once() {
    let summary = Document::read(format!("{BOOK}/SUMMARY.md"));
    let mut lines = summary.text.lines().filter(|line| !line.is_empty());
    assert_eq!(lines.next(), Some("# Summary"));
    let (mut depth, mut listed) = (0, BTreeSet::new());
    for line in lines {
        if line.strip_prefix("# ").is_some_and(|part| !part.is_empty()) {
            depth = 0;
            continue;
        }
        let (indent, item) = line.split_once("- [").unwrap_or_else(|| panic!("{line:?}"));
        let (title, page) = item
            .strip_suffix(')')
            .and_then(|item| item.split_once("]("))
            .unwrap_or_else(|| panic!("{line:?}"));
        let deeper = indent.len() / 2;
        assert!(
            indent.trim().is_empty()
                && indent.len().is_multiple_of(2)
                && deeper <= depth + 1
                && !title.is_empty(),
            "{line:?}"
        );
        depth = deeper;
        assert!(listed.insert(PathBuf::from(BOOK).join(page)), "{page} twice");
        let begins = Document::read(PathBuf::from(BOOK).join(page)).text;
        assert!(begins.starts_with("# "), "{page} begins without a title");
    }
    let pages = documents().into_iter().map(|document| document.path);
    let pages: BTreeSet<PathBuf> =
        pages.filter(|path| path.starts_with(BOOK) && !path.ends_with("SUMMARY.md")).collect();
    assert_eq!(listed, pages);
}

#[test]
fn every_alert_is_explained() {
    let page = Document::read(format!("{BOOK}/operations.md")).text;
    let alerts = include_str!("../../deploy/monitoring/alerts.yaml");
    for alert in alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(page.contains(&format!("`{alert}`")), "{alert}");
    }
}
