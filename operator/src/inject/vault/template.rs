//! Translates a template of the Vault Agent into one of Keywheel's, and finds the secrets that it reads.

use std::collections::BTreeMap;

use keywheel_core::SecretRef;
use keywheel_core::render::go::{self, Part, Word, quote};

/// A template in Keywheel's language.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Translated {
    pub(super) text: String,
    /// The secrets that it reads, by the variable.
    pub(super) secrets: BTreeMap<String, String>,
}

/// Translates `source`; the variables that are made for its secrets begin with `variable`.
///
/// # Errors
/// Whatever would not come out as the Vault Agent has it: a template is translated wholly, or refused.
pub(super) fn translate(source: &str, variable: &str) -> Result<Translated, String> {
    let mut translation =
        Translation { variable, out: String::new(), secrets: BTreeMap::new(), begun: 0, open: Vec::new() };
    for part in go::parts(source)? {
        match part {
            Part::Text(text) => translation.out.push_str(&go::literal(text)),
            Part::Action { words, trims } => translation.action(&words, trims)?,
        }
    }
    match translation.open.is_empty() {
        true => Ok(Translated { text: translation.out, secrets: translation.secrets }),
        false => Err("a `with` or `range` has no `end`".into()),
    }
}

/// Turns a path of Vault's API into a reference. Where `may_be_data`, data of KV version 2, which is at `MOUNT/data/PATH` there, is at `MOUNT/PATH`,
/// as for people and for Keywheel, and may be of a version: `?version=N`.
///
/// # Errors
/// A path that no reference can have.
pub(super) fn reference(path: &str, may_be_data: bool) -> Result<String, String> {
    let (path, version) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path, None),
    };
    let is_version =
        |query: &str| query.strip_prefix("version=").is_some_and(|number| number.parse::<u32>().is_ok());
    if version.is_some_and(|query| !may_be_data || !path.contains(DATA) || !is_version(query)) {
        return Err("has a `?` with more than the version of a secret of KV version 2".into());
    }
    let path = path.trim_matches('/');
    // The mount may have a path of its own.
    let logical = if may_be_data { path.replacen(DATA, "/", 1) } else { path.to_owned() };
    let encoded = logical.replace('%', "%25").replace('#', "%23").replace(' ', "%20");
    let query = version.map(|version| format!("?{version}")).unwrap_or_default();
    let reference: SecretRef =
        format!("vault://{encoded}{query}").parse().map_err(|_| "is not the path of a secret")?;
    Ok(reference.to_string())
}

struct Translation<'a> {
    variable: &'a str,
    out: String,
    secrets: BTreeMap<String, String>,
    /// How many blocks have begun; each has the next number in its variables, so that none hides another's.
    begun: usize,
    open: Vec<Open>,
}

/// A block that has not ended.
enum Open {
    With {
        variable: String,
        path: String,
        parameters: Vec<String>,
        level: Option<Level>,
    },
    /// The names of the template, and those that they have become.
    Range {
        names: [(String, String); 2],
    },
}

/// What of an answer is read.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Level {
    /// `.Data`
    Fields,
    /// `.Data.data`: the fields of a secret of KV version 2.
    Data,
}

impl Translation<'_> {
    fn tag(&mut self, signs: [&str; 2], trims: [bool; 2], inner: &str) {
        self.out.push_str(&go::tag(signs, trims, inner));
    }

    fn action(&mut self, words: &[Word], trims: [bool; 2]) -> Result<(), String> {
        let names: Vec<&str> = words.iter().map(name).collect();
        match names.as_slice() {
            // A comment; what is trimmed around it is trimmed.
            [] => self.tag(COMMENT, trims, ""),
            ["with", "secret", ..] => {
                self.with(&words[2..])?;
                self.tag(COMMENT, trims, "");
            }
            ["range", key, ",", value, ":=", place] if key.starts_with('$') && value.starts_with('$') => {
                let map = self.place(place)?;
                self.begun += 1;
                let number = self.begun;
                let [of_key, of_value] = [format!("key_{number}"), format!("value_{number}")];
                self.tag(BLOCK, trims, &format!("for {of_key}, {of_value} in {map} | items"));
                let names = [((*key).to_owned(), of_key), ((*value).to_owned(), of_value)];
                self.open.push(Open::Range { names });
            }
            ["end"] => match self.open.pop() {
                Some(Open::Range { .. }) => self.tag(BLOCK, trims, "endfor"),
                Some(Open::With { variable, path, parameters, level }) => {
                    let mut reference = reference(&path, level == Some(Level::Data))?;
                    for parameter in &parameters {
                        reference.push(if reference.contains('?') { '&' } else { '?' });
                        reference.push_str(parameter);
                    }
                    reference.parse::<SecretRef>().map_err(|error| error.to_string())?;
                    self.secrets.insert(variable, reference);
                    self.tag(COMMENT, trims, "");
                }
                None => return Err("an `end` has no beginning".into()),
            },
            _ => {
                let value = self.pipeline(words)?;
                self.tag(VALUE, trims, &value);
            }
        }
        Ok(())
    }

    fn with(&mut self, words: &[Word]) -> Result<(), String> {
        let texts: Option<Vec<&String>> =
            words.iter().map(|word| if let Word::Text(text) = word { Some(text) } else { None }).collect();
        let texts = texts.ok_or("`with secret` takes quoted texts alone")?;
        let (path, parameters) = texts.split_first().ok_or("`with secret` needs a path")?;
        let encode = |text: &str| {
            let reserved = ['%', '&', '#', '+', ' ', '='];
            let hex = |c: char| if reserved.contains(&c) { format!("%{:02X}", c as u32) } else { c.into() };
            text.chars().map(hex).collect::<String>()
        };
        let parameters = parameters.iter().map(|pair| {
            let (name, value) = pair.split_once('=').ok_or("a parameter is not written NAME=VALUE")?;
            Ok(format!("{}={}", encode(name), encode(value)))
        });
        let parameters = parameters.collect::<Result<Vec<_>, String>>()?;
        self.begun += 1;
        let variable = format!("{}_{}", self.variable, self.begun);
        self.open.push(Open::With { variable, path: (*path).clone(), parameters, level: None });
        Ok(())
    }

    /// Translates a value and the functions that it goes through.
    fn pipeline(&mut self, words: &[Word]) -> Result<String, String> {
        let mut stages = words.split(|word| *word == Word::Pipe);
        let first = stages.next().unwrap_or_default();
        let names: Vec<&str> = first.iter().map(name).collect();
        let mut value = match (names.as_slice(), first) {
            ([variable], _) if variable.starts_with('$') => self.variable_of(variable)?,
            ([place], [Word::Name(_)]) => self.place(place)?,
            (["index", place, _], [_, _, Word::Text(key)]) => {
                format!("{}[{}]", self.place(place)?, quote(key))
            }
            _ => return Err(unknown(&names)),
        };
        for stage in stages {
            let names: Vec<&str> = stage.iter().map(name).collect();
            let function = FUNCTIONS.iter().find(|(theirs, _)| names == [*theirs]);
            let (_, filter) = function.ok_or_else(|| unknown(&names))?;
            value = format!("{value} | {filter}");
        }
        Ok(value)
    }

    fn variable_of(&self, wanted: &str) -> Result<String, String> {
        let ranges = self.open.iter().rev().filter_map(|open| match open {
            Open::Range { names } => Some(names),
            Open::With { .. } => None,
        });
        let found = ranges.flatten().find(|(theirs, _)| theirs == wanted);
        found.map(|(_, ours)| ours.clone()).ok_or_else(|| unknown(&[wanted]))
    }

    /// Translates `.Data.KEY`, `.Data.data.KEY` and the maps themselves.
    fn place(&mut self, place: &str) -> Result<String, String> {
        // Within a range, the dot is another one.
        let Some(Open::With { variable, path, level, .. }) =
            self.open.last_mut().filter(|_| place.starts_with('.'))
        else {
            return self.outer_place(place);
        };
        let steps: Vec<&str> = place.split('.').skip(1).collect();
        let (now, keys) = match steps.as_slice() {
            ["Data", "data", keys @ ..] => (Level::Data, keys),
            ["Data"] | ["Data", "metadata", ..] if path.contains(DATA) => {
                return Err("of a secret of KV version 2, `.Data.data` alone can be read".into());
            }
            ["Data", keys @ ..] => (Level::Fields, keys),
            _ => return Err(unknown(&[place])),
        };
        if level.is_some_and(|before| before != now) {
            return Err("one secret's `.Data` and `.Data.data` cannot both be read".into());
        }
        *level = Some(now);
        if keys.iter().any(|key| key.is_empty()) {
            return Err(unknown(&[place]));
        }
        let keys: String = keys.iter().map(|key| format!("[{}]", quote(key))).collect();
        Ok(format!("{variable}{keys}"))
    }

    fn outer_place(&self, place: &str) -> Result<String, String> {
        Err(match self.open.last() {
            Some(Open::Range { .. }) => format!("within `range`, {place:?} is not understood"),
            _ => unknown(&[place]),
        })
    }
}

/// Returns a word as a pattern can match it; quoted texts are none.
fn name(word: &Word) -> &str {
    match word {
        Word::Name(name) => name,
        Word::Text(_) => "\"",
        Word::Pipe => "|",
        Word::Assign => ":=",
        Word::Comma => ",",
    }
}

fn unknown(words: &[&str]) -> String {
    let words: String = words.join(" ").chars().take(60).collect();
    format!(
        "{{{{ {words} }}}} is not understood; write a template of Keywheel's in keywheel.dev/template-NAME"
    )
}

/// What comes after the mount in the path of a secret of KV version 2.
const DATA: &str = "/data/";
const VALUE: [&str; 2] = ["{{", "}}"];
const BLOCK: [&str; 2] = ["{%", "%}"];
const COMMENT: [&str; 2] = ["{#", "#}"];

/// Functions that a value can go through, and the filters that do the same.
const FUNCTIONS: [(&str, &str); 6] = [
    ("toJSON", "json"),
    ("base64Decode", "b64decode"),
    ("base64Encode", "b64encode"),
    ("toLower", "lower"),
    ("toUpper", "upper"),
    ("trimSpace", "trim"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(source: &str) -> (String, Vec<(String, String)>) {
        let translated = translate(source, "db").unwrap();
        (translated.text, translated.secrets.into_iter().collect())
    }

    fn secret(variable: &str, reference: &str) -> (String, String) {
        (variable.into(), reference.into())
    }

    #[test]
    fn the_usual_forms_come_out_the_same() {
        let (text, secrets) = translated(
            "{{- with secret \"secret/data/orders/db\" -}}\npostgres://{{ .Data.data.username }}:{{ .Data.data.password }}@db\n{{- end }}",
        );
        assert_eq!(
            text,
            "{#-  -#}\npostgres://{{ db_1[\"username\"] }}:{{ db_1[\"password\"] }}@db\n{#-  #}"
        );
        assert_eq!(secrets, [secret("db_1", "vault://secret/orders/db")]);

        let (text, secrets) =
            translated("{{with secret \"database/creds/orders\"}}{{.Data.username}}{{end}}");
        assert_eq!(text, "{#  #}{{ db_1[\"username\"] }}{#  #}");
        assert_eq!(secrets, [secret("db_1", "vault://database/creds/orders")]);

        let (text, _) = translated(
            "{{ with secret \"secret/data/a\" }}{{ range $k, $v := .Data.data }}export {{ $k }}={{ $v | toJSON }}\n{{ end }}{{ end }}",
        );
        assert_eq!(
            text,
            "{#  #}{% for key_2, value_2 in db_1 | items %}export {{ key_2 }}={{ value_2 | json }}\n{% endfor %}{#  #}"
        );
        let (text, _) = translated(
            "{{ with secret \"kv/data/a\" }}{{ index .Data.data \"a-b\" }}{{ .Data.data | toJSON }}{{ end }}",
        );
        assert_eq!(text, "{#  #}{{ db_1[\"a-b\"] }}{{ db_1 | json }}{#  #}");
        let (_, secrets) = translated(
            "{{ with secret \"pki/issue/web\" \"common_name=a.b\" \"ttl=1 h\" }}{{ .Data.certificate }}{{ end }}",
        );
        assert_eq!(secrets, [secret("db_1", "vault://pki/issue/web?common_name=a.b&ttl=1%20h")]);
    }

    #[test]
    fn two_secrets_and_a_mount_with_a_path() {
        let (text, secrets) = translated(
            "{{ with secret \"team/kv/data/a\" }}{{ .Data.data.x }}{{ with secret \"kv/data/b\" }}{{ .Data.data.y }}{{ end }}{{ end }}",
        );
        assert_eq!(text, "{#  #}{{ db_1[\"x\"] }}{#  #}{{ db_2[\"y\"] }}{#  #}{#  #}");
        assert_eq!(secrets, [secret("db_1", "vault://team/kv/a"), secret("db_2", "vault://kv/b")]);
    }

    #[test]
    fn no_secret_has_the_variable_of_another() {
        let (text, secrets) = translated(
            "{{ with secret \"a/x\" }}{{ range $k, $v := .Data }}{{ with secret \"b/x\" }}{{ .Data.p }}{{ end }}{{ end }}{{ with secret \"c/x\" }}{{ .Data.p }}{{ end }}{{ end }}",
        );
        let references: Vec<_> = secrets.iter().map(|(_, reference)| reference.as_str()).collect();
        assert_eq!(references, ["vault://a/x", "vault://b/x", "vault://c/x"], "{text}");
        let key = translate(
            "{{ with secret \"a/x\" }}{{ range $k, $v := .Data }}{{ with secret \"b/x\" }}{{ .Data.p }}{{ end }}{{ end }}{{ end }}",
            "key",
        );
        let key = key.unwrap();
        assert!(
            key.secrets.keys().all(|variable| !key.text.contains(&format!("for {variable},"))),
            "{}",
            key.text
        );
    }

    #[test]
    fn a_path_of_the_api_becomes_one_for_people() {
        for (path, expected) in [
            ("secret/data/orders/db", "vault://secret/orders/db"),
            ("/secret/data/data/db/", "vault://secret/data/db"),
            ("team/kv/data/orders", "vault://team/kv/orders"),
            ("secret/data/orders?version=2", "vault://secret/orders?version=2"),
            ("database/creds/orders", "vault://database/creds/orders"),
        ] {
            assert_eq!(reference(path, true).as_deref(), Ok(expected));
        }
        for bad in
            ["secret/data/x?version=", "secret/data/x?list=true", "database/creds/x?version=2", "a?b?c"]
        {
            assert!(reference(bad, true).is_err(), "{bad}");
        }
        let (_, secrets) = translated("{{ with secret \"kv/data/a\" }}{{ .Data.x }}{{ end }}");
        assert_eq!(secrets, [secret("db_1", "vault://kv/data/a")], "a folder of KV version 1");
    }

    #[test]
    fn what_would_be_a_tag_is_text() {
        let (text, _) = translated("{% raw %}{# a #}{{/* note */}} %}");
        assert_eq!(text, "{{ '{%' }} raw %}{{ '{#' }} a #}{#  #} %}");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for bad in [
            "{{ if .Data }}",
            "{{ with secret }}{{ end }}",
            "{{ with secret \"a/b\" }}",
            "{{ end }}",
            "{{ key \"consul\" }}",
            "{{ with secret \"a/b\" }}{{ .LeaseID }}{{ end }}",
            "{{ with secret \"a/b\" }}{{ .Data.x }}{{ .Data.data.y }}{{ end }}",
            "{{ with secret \"a/b\" }}{{ .Data.x | plugin }}{{ end }}",
            "{{ with secret \"../b\" }}{{ end }}",
            "{{ with secret \"a\" \"b\" }}{{ end }}",
            "{{ $k }}",
            "{{ .Data.x }}",
            "{{ \"open",
            "{{",
            "{{ with secret \"a/b\" }}{{ .Data..x }}{{ end }}",
            "{{ with secret \"a/data/b\" }}{{ .Data.metadata.version }}{{ end }}",
            "{{ with secret \"a/data/b\" }}{{ .Data | toJSON }}{{ end }}",
            "{{ with secret \"a/data/b?list=true\" }}{{ .Data.data.x }}{{ end }}",
        ] {
            assert!(translate(bad, "db").is_err(), "{bad}");
        }
    }
}
