//! The files of `deploy/`, as values.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name)
}

pub(crate) fn text(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap()
}

/// Returns the documents of a YAML text.
pub(crate) fn parse(text: &str) -> Vec<Value> {
    let text = format!("\n{text}");
    let documents = text.split("\n---\n").filter(|document| !document.trim().is_empty());
    documents.map(|document| serde_saphyr::from_str(document).unwrap()).collect()
}

pub(crate) fn documents(name: &str) -> Vec<Value> {
    parse(&text(name))
}

pub(crate) fn document(name: &str) -> Value {
    serde_saphyr::from_str(&text(name)).unwrap()
}

/// Returns the objects of a folder's own files, which are those that its kustomization lists.
pub(crate) fn folder(name: &str) -> Vec<Value> {
    let kustomization = document(&format!("{name}/kustomization.yaml"));
    let strings = |list: &Value, key: Option<&str>| -> Vec<String> {
        let items = list.as_array().into_iter().flatten();
        let items = items.map(|item| key.map_or(item, |key| &item[key]));
        items.filter_map(|item| item.as_str()).map(str::to_owned).collect()
    };
    let resources = strings(&kustomization["resources"], None);
    let resources: BTreeSet<String> =
        resources.into_iter().filter(|resource| !resource.starts_with("..")).collect();
    let patches: BTreeSet<String> = strings(&kustomization["patches"], Some("path")).into_iter().collect();
    let mut there = files(&path(name));
    there.remove("kustomization.yaml");
    assert_eq!(&resources | &patches, there, "{name}");
    resources.iter().flat_map(|file| documents(&format!("{name}/{file}"))).collect()
}

pub(crate) fn base() -> Vec<Value> {
    folder("base")
}

/// Returns the names of a folder's files, also of those in folders of it.
fn files(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let names = entries.flat_map(|entry| {
        let name = entry.file_name().unwrap().to_str().unwrap().to_owned();
        match entry.is_dir() {
            true => files(&entry).into_iter().map(|file| format!("{name}/{file}")).collect(),
            false => vec![name],
        }
    });
    names.collect()
}

/// Returns the webhook's object of a kind, or else the first one.
pub(crate) fn find(objects: &[Value], kind: &str) -> Value {
    let of_kind: Vec<&Value> = objects.iter().filter(|object| object["kind"] == kind).collect();
    let own = of_kind.iter().find(|object| object["metadata"]["name"] == "keywheel-operator");
    Value::clone(own.unwrap_or(&of_kind[0]))
}

/// Returns the object of a kind that has this name.
pub(crate) fn named(objects: &[Value], kind: &str, name: &str) -> Value {
    let is_it = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
    objects.iter().find(is_it).unwrap().clone()
}

pub(crate) fn kinds(objects: &[Value]) -> Vec<&str> {
    objects.iter().map(|object| object["kind"].as_str().unwrap()).collect()
}
