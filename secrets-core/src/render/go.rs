//! Takes the text of a Go template apart: literal text and actions, and the words of an action; and writes what both translators write of it.
//!
//! <https://pkg.go.dev/text/template> has the rules; only what templates of the Vault Agent and of External Secrets usually have is read.

/// A part of a template.
#[derive(Debug, Eq, PartialEq)]
pub enum Part<'a> {
    /// What is printed as it is.
    Text(&'a str),
    /// What stands between `{{` and `}}`; a comment has no words.
    Action {
        /// Its words.
        words: Vec<Word>,
        /// Whether the white space before it goes, and that after it.
        trims: [bool; 2],
    },
}

/// A word of an action.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Word {
    /// A name, a field (`.Data.data.password`), a variable (`$k`), or a keyword.
    Name(String),
    /// A quoted text.
    Text(String),
    /// `|`
    Pipe,
    /// `:=`
    Assign,
    /// `,`
    Comma,
}

/// Takes a template apart.
///
/// # Errors
/// An action without an end, or with a sign that is not read.
pub fn parts(source: &str) -> Result<Vec<Part<'_>>, String> {
    let mut parts = Vec::new();
    let mut rest = source;
    while let Some(start) = rest.find("{{") {
        if start > 0 {
            parts.push(Part::Text(&rest[..start]));
        }
        let (action, after) = action(&rest[start + 2..])?;
        parts.extend(action);
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    Ok(parts)
}

/// Reads an action whose `{{` has been read, and returns what comes after its `}}`.
fn action(inner: &str) -> Result<(Option<Part<'_>>, &str), String> {
    let before = inner.strip_prefix('-').filter(|rest| rest.starts_with(char::is_whitespace));
    let mut rest = before.unwrap_or(inner);
    if let Some(comment) = rest.trim_start().strip_prefix("/*") {
        let (_, after) = comment.split_once("*/").ok_or("a comment has no end")?;
        let (after_trims, after) = end(after.trim_start(), true).ok_or("a comment has no end")?;
        return Ok((Some(Part::Action { words: Vec::new(), trims: [before.is_some(), after_trims] }), after));
    }
    let mut words = Vec::new();
    loop {
        let trimmed = rest.trim_start();
        let spaced = trimmed.len() < rest.len();
        if let Some((trims, after)) = end(trimmed, spaced) {
            return Ok((Some(Part::Action { words, trims: [before.is_some(), trims] }), after));
        }
        let (word, after) = word(trimmed)?;
        words.push(word);
        rest = after;
    }
}

/// Reads the end of an action: whether it takes the white space after it along, and what follows.
fn end(text: &str, spaced: bool) -> Option<(bool, &str)> {
    if let Some(after) = text.strip_prefix("}}") {
        return Some((false, after));
    }
    text.strip_prefix("-}}").filter(|_| spaced).map(|after| (true, after))
}

/// Writes literal text as one of Keywheel's templates has it: what would be a tag there is text.
pub fn literal(text: &str) -> String {
    text.replace("{%", "{{ '{%' }}").replace("{#", "{{ '{#' }}")
}

/// Writes a tag of one of Keywheel's templates, between `signs` such as `{{` and `}}`.
pub fn tag(signs: [&str; 2], trims: [bool; 2], inner: &str) -> String {
    let [open, close] = signs;
    let [before, after] = trims.map(|trims| if trims { "-" } else { "" });
    format!("{open}{before} {inner} {after}{close}")
}

/// Writes a quoted text as one of Keywheel's templates has it.
pub fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn word(text: &str) -> Result<(Word, &str), String> {
    for (sign, word) in [("|", Word::Pipe), (":=", Word::Assign), (",", Word::Comma)] {
        if let Some(rest) = text.strip_prefix(sign) {
            return Ok((word, rest));
        }
    }
    if let Some(raw) = text.strip_prefix('`') {
        let (raw, rest) = raw.split_once('`').ok_or("a quoted text has no end")?;
        return Ok((Word::Text(raw.into()), rest));
    }
    if text.starts_with('"') {
        return quoted(text);
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '$');
    let length = text.find(|c: char| !plain(c)).unwrap_or(text.len());
    if length == 0 {
        return Err("an action has a sign that is not understood, or no end".into());
    }
    Ok((Word::Name(text[..length].into()), &text[length..]))
}

/// Reads a text between double quotes. Of its escapes, those are read that Go and JSON have in common.
fn quoted(text: &str) -> Result<(Word, &str), String> {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|&(_, c)| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    let (end, _) = end.ok_or("a quoted text has no end")?;
    let inner = serde_json::from_str(&text[..=end]).map_err(|_| "a quoted text cannot be read")?;
    Ok((Word::Text(inner), &text[end + 1..]))
}
