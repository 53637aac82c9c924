//! The schema of the configuration says what its reader says: the same keys at every mapping, and of every configuration here.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use keywheel_core::config::Config;
use keywheel_core::environment::Environment;
use keywheel_tests::{Launch, documentation, validator};
use serde_json::{Value, json};

/// Returns what the program prints.
fn schema() -> Value {
    let printed = Launch::new("schema").output();
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""));
    serde_json::from_str(&printed.stdout).unwrap()
}

/// Returns what the reader says against a configuration, if anything.
fn read(text: &str) -> Option<String> {
    read_at(Path::new("keywheel.yaml"), text)
}

/// As [`read`], of a file at that path. Its variables are set, to what may be a path.
fn read_at(path: &Path, text: &str) -> Option<String> {
    let names = text.split("${").skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name);
    let environment: Environment = names.map(|name| (name, format!("/run/{name}"))).collect();
    let read = Config::parse(path, text, &keywheel_providers::registry(), &environment);
    read.err().map(|error| error.to_string())
}

#[test]
fn the_file_for_editors_is_what_the_program_prints() {
    let file = documentation::repository().join("deploy/keywheel.schema.json");
    let text = fs::read_to_string(file).unwrap();
    assert!(
        Launch::new("schema").output().stdout == text,
        "it is another one; `cargo xtask schema` writes it"
    );
}

/// One way into the schema: how a mapping there is made to stand in a configuration.
struct Walk<'a> {
    schema: &'a Value,
    /// Which keys the schema has and which the reader asked for, by the place.
    seen: BTreeMap<String, Keys>,
    /// Where the reader said nothing of a strange key.
    silent: Vec<String>,
}

#[derive(Default)]
struct Keys {
    described: BTreeSet<String>,
    known: BTreeSet<String>,
}

/// A key that nobody asks for.
const STRANGE: &str = "a_key_that_nobody_asks_for";

impl<'a> Walk<'a> {
    /// Looks at whatever a value may be; `place` makes a whole configuration of one.
    fn look(&mut self, name: &str, mut schema: &'a Value, place: &dyn Fn(Value) -> Value) {
        let root = self.schema;
        let reference = |schema: &'a Value| schema["$ref"].as_str().or(schema["allOf"][0]["$ref"].as_str());
        while let Some(target) = reference(schema) {
            schema = root.pointer(target.strip_prefix('#').unwrap()).unwrap();
        }
        if let Some(properties) = schema["properties"].as_object() {
            let tag = Self::tag(schema);
            // The names of strategies are the registry's, here and there.
            if schema["maxProperties"] != 1 {
                self.ask(name, properties.keys(), &tag, place);
            }
            for (key, value) in properties {
                let inner = |value: Value| {
                    let mut mapping = tag.clone();
                    mapping[key] = value;
                    place(mapping)
                };
                self.look(&format!("{name}.{key}"), value, &inner);
            }
            return;
        }
        for alternative in ["oneOf", "anyOf"].into_iter().filter_map(|word| schema[word].as_array()).flatten()
        {
            self.look(name, alternative, place);
        }
        if schema["additionalProperties"].is_object() {
            let inner = |value: Value| place(json!({"x": value}));
            self.look(&format!("{name}.x"), &schema["additionalProperties"], &inner);
        }
        if schema["items"].is_object() {
            self.look(&format!("{name}[]"), &schema["items"], &|value| place(json!([value])));
        }
    }

    /// Returns what tells a mapping from its like, and what its reader has to have before it goes on.
    fn tag(schema: &Value) -> Value {
        let properties = schema["properties"].as_object().unwrap();
        let mut tag = serde_json::Map::new();
        for key in ["kind", "method", "format"].into_iter().filter(|key| properties.contains_key(*key)) {
            let word = properties[key].get("const").or_else(|| properties[key]["enum"].get(0));
            tag.extend(word.map(|word| (key.to_owned(), word.clone())));
        }
        if properties.contains_key("strategy") {
            tag.insert("strategy".into(), json!({"random": {}}));
        }
        tag.into()
    }

    /// Has the reader say which keys it knows where the mapping is.
    fn ask<'k>(
        &mut self,
        name: &str,
        described: impl Iterator<Item = &'k String>,
        tag: &Value,
        place: &dyn Fn(Value) -> Value,
    ) {
        let mut mapping = tag.clone();
        mapping[STRANGE] = 1.into();
        let configuration = place(mapping).to_string();
        let said = read(&configuration).unwrap_or_default();
        let known = said
            .lines()
            .find_map(|line| Some(line.split_once(&format!("unknown key `{STRANGE}`; known here: "))?.1));
        let Some(known) = known else {
            return self.silent.push(format!("{name}: {configuration}\n{said}"));
        };
        let seen = self.seen.entry(name.to_owned()).or_default();
        seen.described.extend(described.cloned());
        seen.known.extend(known.split(", ").filter(|key| !key.is_empty()).map(str::to_owned));
    }
}

#[test]
fn the_reader_knows_the_same_keys_at_every_mapping() {
    let schema = schema();
    let mut walk = Walk { schema: &schema, seen: BTreeMap::new(), silent: Vec::new() };
    walk.look("", &schema, &|value| value);
    assert!(walk.silent.is_empty(), "{}", walk.silent.join("\n"));
    for (name, keys) in &walk.seen {
        assert_eq!(keys.described, keys.known, "{name}");
    }
    // A provider and a strategy of each kind, with what is in them.
    assert!(walk.seen.len() > 35, "{:?}", walk.seen.keys());
}

/// Returns all configurations in this repository, with what they are called.
fn configurations() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for folder in ["examples", "tests/tests"] {
        collect(&documentation::repository().join(folder), &mut files);
    }
    let of_files = files.iter().map(|file| (file.display().to_string(), fs::read_to_string(file)));
    let mut all: Vec<_> = of_files.filter_map(|(name, text)| Some((name, text.ok()?))).collect();
    for document in documentation::documents() {
        let blocks = document.blocks().into_iter().filter(|block| block.info == "yaml");
        all.extend(blocks.map(|block| (block.place, block.text)));
    }
    all
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => collect(&path, files),
            false if path.ends_with("keywheel.yaml") => files.push(path),
            false => {}
        }
    }
}

/// Returns the one document of a text; none for manifests, several documents, and what is no YAML.
fn document(text: &str) -> Option<Value> {
    let one = serde_saphyr::from_multiple::<Value>(text).ok().filter(|all| all.len() == 1)?.remove(0);
    one["apiVersion"].is_null().then_some(one)
}

#[test]
fn every_configuration_that_the_reader_takes_fits() {
    let (names, documents): (Vec<String>, Vec<Value>) = configurations()
        .into_iter()
        .filter(|(name, text)| read_at(Path::new(name), text).is_none())
        .filter_map(|(name, text)| Some((name, document(&text)?)))
        .unzip();
    assert!(documents.len() > 20, "{names:?}");
    for (name, mistake) in names.iter().zip(validator::mistakes(&schema(), &documents)) {
        assert_eq!(mistake, None, "{name}");
    }
}

/// Configurations with one mistake each in keys, kinds of values, and what has to be there.
const MISTAKES: [&str; 28] = [
    "deliverys: []",
    "deliveries: {name: a}",
    "deliveries: [a]",
    "deliveries: [{name: a, secrets: {a: 'env://A'}}]",
    "deliveries: [{name: a, directory: run, secrets: {a: 'env://A'}}]",
    "deliveries: [{name: [a], directory: /run/a, secrets: {a: 'env://A'}}]",
    "deliveries: [{name: a, directory: /run/a, secrets: {a: 'A'}}]",
    "deliveries: [{name: a, directory: /run/a, secrets: {a: {ref: 'env://A', refresh: 30}}}]",
    "deliveries: [{name: a, directory: /run/a, secrets: {a: {ref: 'env://A', on_forbidden: leave}}}]",
    "deliveries: [{name: a, directory: /run/a, secrets: {a: {refresh: 30s}}}]",
    "deliveries: [{name: a, directory: /run/a, secrets: {a: 'env://A'}, owner: {uid: -1}}]",
    "deliveries: [{name: a, directory: /run/a, secrets: {a: 'env://A'}, owner: {user: 1}}]",
    "deliveries: [{name: a, directory: /run/a, secrets: {a: 'env://A'}, files: [{path: a}]}]",
    "deliveries: [{name: a, directory: /run/a, secrets: {a: 'env://A'}, files: [{path: a, value: b, mode: 440}]}]",
    "deliveries: [{name: a, directory: /run/a, secrets: {a: 'env://A'}, allow_disk: perhaps}]",
    "deliveries: [{name: a, directory: /run/a, secrets: {a: 'env://A'}, on_change: [{signal: {signal: SIGHUP}}]}]",
    "deliveries: [{name: a, directory: /run/a, secrets: {a: 'env://A'}, on_change: [{}]}]",
    "deliveries: [{name: a, directory: /run/a, secrets: {a: 'env://A'}, overlap: 10 s}]",
    "deliveries: [{name: a, directory: /run/a, secrets: {a: 'env://A'}, verify: {within: 5s}}]",
    "providers: {a: {address: 'https://a'}}",
    "providers: {a: {kind: vault}}",
    "providers: {a: {kind: nothing}}",
    "providers: {a: {kind: vault, address: 'https://a', auth: {method: jwt, roles: a, token_file: /a}}}",
    "providers: {a: {kind: aws, budget: {burst: 0}}}",
    "providers: {a: {kind: env, address: 'https://a'}}",
    "rotations: [{name: a, target: 'env://A', schedule: {}, strategy: {random: {}}}]",
    "rotations: [{name: a, target: 'env://A', schedule: {every: 1d}, strategy: {}}]",
    "rotations: [{name: a, target: 'env://A', schedule: {every: 1d}, strategy: {random: {length: 8}}}]",
];

#[test]
fn what_the_reader_refuses_for_its_shape_does_not_fit() {
    let documents: Vec<Value> = MISTAKES.iter().map(|text| document(text).unwrap()).collect();
    for (text, mistake) in MISTAKES.iter().zip(validator::mistakes(&schema(), &documents)) {
        assert!(read(text).is_some(), "the reader takes {text}");
        assert!(mistake.is_some(), "the schema takes {text}");
    }
}
