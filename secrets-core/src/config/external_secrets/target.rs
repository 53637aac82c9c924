//! What an `ExternalSecret` makes of its values: the name of the `Secret`, and its templates.

use super::manifest::object_name;
use super::template::{self, Keys};
use crate::config::node::Place;
use crate::config::section::Section;
use crate::payload::FilePath;
use crate::render::is_of_key;

/// What `target.template` says.
#[derive(Default)]
pub(super) struct Templates {
    /// Key, place and template of Keywheel's.
    pub(super) files: Vec<(String, Place, String)>,
    /// Whether they are all that is delivered.
    pub(super) replace: bool,
}

/// Reads `target` into the name of the `Secret` and its templates; notes what is wrong.
pub(super) fn read(mut target: Section<'_>, keys: &Keys) -> (Option<String>, Templates) {
    let name = target.item("name").and_then(|item| object_name(&item));
    for (key, fine, reason) in [
        (
            "creationPolicy",
            &["Owner", "Orphan"][..],
            "must be Owner or Orphan: there is no Secret here that something could be merged into",
        ),
        (
            "deletionPolicy",
            &["Retain"],
            "must be Retain: Keywheel keeps what was delivered when its source is gone",
        ),
    ] {
        if let Some(policy) =
            target.item(key).filter(|policy| !policy.text().is_some_and(|text| fine.contains(&text)))
        {
            policy.mistake(reason);
        }
    }
    if target.optional::<bool>("immutable") == Some(true) {
        target.mistake("`immutable` must be false: files change with their secrets");
    }
    target.refuse("manifest", "Keywheel delivers files, and makes no objects in the cluster");
    let templates =
        target.section("template").map(|section| read_template(section, keys)).unwrap_or_default();
    target.finish();
    (name, templates)
}

fn read_template(mut section: Section<'_>, keys: &Keys) -> Templates {
    for of_the_cluster in ["type", "metadata"] {
        section.item(of_the_cluster);
    }
    if let Some(version) = section.item("engineVersion").filter(|version| version.text() != Some("v2")) {
        version.mistake("must be v2");
    }
    let merges = match section.item("mergePolicy").as_ref().map(|policy| (policy, policy.text())) {
        None | Some((_, Some("Replace"))) => false,
        Some((_, Some("Merge"))) => true,
        Some((policy, _)) => {
            policy.mistake("must be Replace or Merge");
            false
        }
    };
    section.refuse(
        "templateFrom",
        "is in objects of the cluster, which Keywheel does not read: write the templates into `data`",
    );
    let mut files = Vec::new();
    for (key, item) in section.section("data").map(Section::named).unwrap_or_default() {
        let is_key = check_key(key).map_err(|reason| item.mistake(reason)).is_ok();
        let Some(source) = item.text() else {
            item.mistake(format!("must be a template text, and is {}", item.describe()));
            continue;
        };
        match template::translate(source, keys) {
            Ok(template) if is_key => files.push((key.to_owned(), item.place(), template)),
            Ok(_) => {}
            Err(reason) => item.mistake(reason),
        }
    }
    section.finish();
    Templates { replace: !merges && !files.is_empty(), files }
}

/// Checks the key of a `Secret`, which is the name of a file.
pub(super) fn check_key(key: &str) -> Result<(), String> {
    if !key.chars().all(is_of_key) || key.len() > 253 {
        return Err("a key has at most 253 letters, digits, `-`, `_` and `.`".into());
    }
    key.parse::<FilePath>().map(drop).map_err(|error| error.to_string())
}
