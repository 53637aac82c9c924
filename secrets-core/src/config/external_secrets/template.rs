//! Translates a template of the operator (engine version 2) into one of Keywheel's.

use std::collections::BTreeMap;

use crate::render::go::{self, Part, Word, quote};
use crate::render::is_of_key;

/// What a template can name.
#[derive(Default)]
pub(super) struct Keys {
    /// The expression for each key.
    pub(super) data: BTreeMap<String, String>,
    /// The secrets whose fields are keys too, unless `data` has them; a later one's come before an earlier one's.
    pub(super) extracts: Vec<String>,
}

impl Keys {
    fn expression(&self, key: &str) -> Result<String, String> {
        if let Some(expression) = self.data.get(key) {
            return Ok(expression.clone());
        }
        let quoted = quote(key);
        let mut extracts = self.extracts.iter().map(|secret| format!("({secret} | secret_keys)[{quoted}]"));
        let Some(first) = extracts.next() else {
            return Err(format!("there is no key {key:?}: name it in `data`"));
        };
        if !key.chars().all(is_of_key) {
            return Err(format!(
                "there is no key {key:?}: a key has letters, digits, `-`, `_` and `.`, and what else the name of a field has is `_` there"
            ));
        }
        Ok(extracts.fold(first, |earlier, own| format!("({own} if {own} is defined else {earlier})")))
    }
}

/// Translates `source`.
///
/// # Errors
/// Whatever would not come out as the operator has it.
pub(super) fn translate(source: &str, keys: &Keys) -> Result<String, String> {
    let mut out = String::with_capacity(source.len());
    for part in go::parts(source)? {
        match part {
            Part::Text(text) => out.push_str(&go::literal(text)),
            Part::Action { words, trims } if words.is_empty() => {
                out.push_str(&go::tag(["{#", "#}"], trims, ""));
            }
            Part::Action { words, trims } => {
                out.push_str(&go::tag(["{{", "}}"], trims, &pipeline(&words, keys)?));
            }
        }
    }
    Ok(out)
}

/// Translates a value and the functions that it goes through.
fn pipeline(words: &[Word], keys: &Keys) -> Result<String, String> {
    let mut stages = words.split(|word| *word == Word::Pipe);
    let mut value = first(stages.next().unwrap_or_default(), keys)?;
    for stage in stages {
        value = apply(stage, &value).ok_or_else(|| unknown(stage))?;
    }
    Ok(value)
}

/// Translates what a pipeline begins with: `.KEY`, `index . "KEY"`, a text, or a function of one of them.
fn first(words: &[Word], keys: &Keys) -> Result<String, String> {
    match words {
        [Word::Text(text)] => Ok(quote(text)),
        [Word::Name(name)] => match name.strip_prefix('.') {
            Some(key) if !key.is_empty() && !key.contains(['.', '$']) => keys.expression(key),
            _ => Err(unknown(words)),
        },
        [Word::Name(index), Word::Name(dot), Word::Text(key)] if index == "index" && dot == "." => {
            keys.expression(key)
        }
        [call @ .., last @ (Word::Name(_) | Word::Text(_))] if !call.is_empty() => {
            let value = first(std::slice::from_ref(last), keys)?;
            apply(call, &value).ok_or_else(|| unknown(words))
        }
        _ => Err(unknown(words)),
    }
}

/// Applies a function, with the arguments that come before the value.
fn apply(call: &[Word], value: &str) -> Option<String> {
    match call {
        [Word::Name(name)] => {
            let (_, filters) = FUNCTIONS.iter().find(|(theirs, _)| theirs == name)?;
            Some(filters.iter().fold(value.to_owned(), |value, filter| format!("{value} | {filter}")))
        }
        [Word::Name(name), Word::Name(width)] if name == "indent" => indented(value, "", width),
        [Word::Name(name), Word::Name(width)] if name == "nindent" => indented(value, "\n", width),
        [Word::Name(name), Word::Text(from), Word::Text(to)] if name == "replace" && !from.is_empty() => {
            Some(format!("{value} | string | replace({}, {})", quote(from), quote(to)))
        }
        _ => None,
    }
}

/// Puts spaces before every line, also the first and empty ones.
fn indented(value: &str, before: &str, width: &str) -> Option<String> {
    let spaces = " ".repeat(width.parse().ok().filter(|width| *width <= WIDEST)?);
    let (first, next) = (quote(&format!("{before}{spaces}")), quote(&format!("\n{spaces}")));
    Some(format!("({first} ~ ({value} | string | replace(\"\\n\", {next})))"))
}

fn unknown(words: &[Word]) -> String {
    let word = |word: &Word| match word {
        Word::Name(name) => name.clone(),
        // Whatever is said there is nobody's business.
        Word::Text(_) => "\"…\"".into(),
        Word::Pipe => "|".into(),
        Word::Assign => ":=".into(),
        Word::Comma => ",".into(),
    };
    let words: Vec<String> = words.iter().map(word).collect();
    let words: String = words.join(" ").chars().take(60).collect();
    let functions: Vec<&str> = FUNCTIONS.iter().map(|(theirs, _)| *theirs).collect();
    format!(
        "{{{{ {words} }}}} is not understood; a key ({{{{ .KEY }}}}, {{{{ index . \"KEY\" }}}}) can go through {}, indent, nindent and replace",
        functions.join(", ")
    )
}

/// The widest indentation.
const WIDEST: usize = 64;

/// Functions that a value can go through, and the filters that do the same.
const FUNCTIONS: [(&str, &[&str]); 9] = [
    ("b64enc", &["b64encode"]),
    ("b64dec", &["b64decode"]),
    ("lower", &["string", "lower"]),
    ("upper", &["string", "upper"]),
    ("trim", &["string", "trim"]),
    ("quote", &["string", "json"]),
    ("toJson", &["string", "json"]),
    ("sha256sum", &["sha256"]),
    ("toString", &[]),
];
