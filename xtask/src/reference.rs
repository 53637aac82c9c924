//! The book's page on the configuration, from its schema: a table for each mapping, under the path that leads to it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;

use serde_json::Value;

/// Returns the page.
pub(crate) fn page(schema: &Value) -> String {
    let mut page =
        Page { schema, text: BEFORE.to_owned(), titles: BTreeMap::new(), waiting: VecDeque::new() };
    page.waiting.push_back(("The file".to_owned(), String::new(), schema));
    // What a mapping holds comes right after it.
    while let Some((title, path, mapping)) = page.waiting.pop_front() {
        let mut below = page.section(&title, &path, mapping);
        below.append(&mut page.waiting);
        page.waiting = below;
    }
    page.text
}

/// What is said before the tables.
const BEFORE: &str = include_str!("configuration.md");

struct Page<'a> {
    schema: &'a Value,
    text: String,
    /// The titles of the definitions that have a section.
    titles: BTreeMap<&'a str, String>,
    waiting: VecDeque<Waiting<'a>>,
}

/// A section that is to be written: its title, the path to it, and the mapping.
type Waiting<'a> = (String, String, &'a Value);

/// Returns the keys that each of several alternatives needs.
fn alternatives(of: &Value) -> Vec<String> {
    let keys = |one: &Value| {
        let names = one["required"].as_array()?.iter().filter_map(Value::as_str);
        Some(names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" with "))
    };
    of.as_array().into_iter().flatten().filter_map(keys).collect()
}

impl<'a> Page<'a> {
    /// Writes a section; returns those of the mappings in it that have none yet.
    fn section(&mut self, title: &str, path: &str, mapping: &'a Value) -> VecDeque<Waiting<'a>> {
        let mut below = VecDeque::new();
        write!(self.text, "\n## {title}\n").expect("a text takes all");
        let description = text_of(mapping, "description");
        if !description.is_empty() {
            write!(self.text, "\n{description}\n").expect("a text takes all");
        }
        for (word, said) in [("oneOf", "It has one of these"), ("anyOf", "It has one of these at least")] {
            let ways = alternatives(&mapping[word]);
            if !ways.is_empty() {
                write!(self.text, "\n{said}: {}.\n", ways.join("; ")).expect("a text takes all");
            }
        }
        let Some(properties) = mapping["properties"].as_object() else { return below };
        if properties.is_empty() {
            return below;
        }
        self.text.push_str("\n| Key | What it is | If left out | Meaning |\n|---|---|---|---|\n");
        let required =
            |key: &str| mapping["required"].as_array().is_some_and(|all| all.iter().any(|one| one == key));
        let mut keys: Vec<_> = properties.iter().collect();
        keys.sort_by_key(|(key, _)| !required(key));
        for (key, value) in keys {
            let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let kind = self.kind(value, &inner, &mut below);
            let absent = match value.get("default") {
                _ if required(key) => "**needed**".to_owned(),
                Some(default) => format!("`{}`", plain(default)),
                None => value.get("const").map(|word| format!("`{}`", plain(word))).unwrap_or_default(),
            };
            let meaning = self.meaning(value).replace('|', r"\|");
            writeln!(self.text, "| `{key}` | {kind} | {absent} | {meaning} |").expect("a text takes all");
        }
        below
    }

    /// Says what a value means: in its own words, or in those of its definition.
    fn meaning(&self, value: &'a Value) -> &'a str {
        let own = text_of(value, "description");
        match definition(value) {
            Some(name) if own.is_empty() => text_of(&self.schema["definitions"][name], "description"),
            _ => own,
        }
    }

    /// Says what a value is; a mapping is said by a link to its section.
    fn kind(&mut self, value: &'a Value, path: &str, below: &mut VecDeque<Waiting<'a>>) -> String {
        if let Some(name) = definition(value) {
            return self.link(name, path, below);
        }
        if let Some(word) = value.get("const") {
            return format!("`{}`", plain(word));
        }
        if let Some(words) = value["enum"].as_array() {
            return words.iter().map(|word| format!("`{}`", plain(word))).collect::<Vec<_>>().join(", ");
        }
        if let Some(alternatives) = value["anyOf"].as_array() {
            // That it may come from a variable, or have another spelling, goes without saying.
            let said = alternatives.iter().filter(|one| one["pattern"].is_null() || one["title"].is_string());
            let kinds: Vec<String> = said.map(|one| self.kind(one, path, below)).collect();
            return kinds.join(" or ");
        }
        match (&value["title"], text_of(value, "type")) {
            (Value::String(title), _) => title.clone(),
            (_, "array") => format!("list of {}", self.kind(&value["items"], &format!("{path}[]"), below)),
            _ if value["additionalProperties"].is_object() => {
                format!(
                    "names, each with {}",
                    self.kind(&value["additionalProperties"], &format!("{path}.NAME"), below)
                )
            }
            _ => "mapping".to_owned(),
        }
    }

    fn link(&mut self, name: &'a str, path: &str, below: &mut VecDeque<Waiting<'a>>) -> String {
        if let Some(title) = self.titles.get(name) {
            return format!("[mapping](#{})", anchor(title));
        }
        let schema = self.schema;
        let mapping = &schema["definitions"][name];
        let alternatives = mapping["oneOf"].as_array().or_else(|| mapping["anyOf"].as_array());
        // Beside keys of its own, they say which of them go together.
        let Some(alternatives) = alternatives.filter(|_| mapping["properties"].is_null()) else {
            let title = format!("`{path}`");
            self.titles.insert(name, title.clone());
            below.push_back((title.clone(), path.to_owned(), mapping));
            return format!("[mapping](#{})", anchor(&title));
        };
        let links: Vec<String> =
            alternatives.iter().map(|one| self.alternative(name, one, path, below)).collect();
        links.join(" or ")
    }

    /// Returns a link to one of several mappings that `name` may be.
    fn alternative(
        &mut self,
        name: &'a str,
        one: &'a Value,
        path: &str,
        below: &mut VecDeque<Waiting<'a>>,
    ) -> String {
        let schema = self.schema;
        let mapping = definition(one).map_or(one, |name| &schema["definitions"][name]);
        if mapping["properties"].is_null() {
            return self.kind(one, path, below);
        }
        let tag = ["kind", "method", "format", "key"].into_iter().find_map(|tag| {
            let value = &mapping["properties"][tag];
            let word = value.get("const").or_else(|| value["enum"].get(0))?;
            Some(format!("{tag}: {}", plain(word)))
        });
        let words = tag.unwrap_or_else(|| "characters".to_owned());
        let title = format!("`{path}`, `{words}`");
        below.push_back((title.clone(), path.to_owned(), mapping));
        self.titles.entry(name).or_insert_with(|| title.clone());
        format!("[`{words}`](#{})", anchor(&title))
    }
}

/// Returns the definition that a schema refers to.
fn definition(schema: &Value) -> Option<&str> {
    let reference = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str());
    reference?.strip_prefix("#/definitions/")
}

fn text_of<'a>(schema: &'a Value, key: &str) -> &'a str {
    schema[key].as_str().unwrap_or_default()
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Returns the anchor that a heading has: its letters, digits, `-` and `_`, in lower case, and `-` for a blank.
fn anchor(title: &str) -> String {
    let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}
