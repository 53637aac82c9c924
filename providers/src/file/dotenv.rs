//! dotenv: one `NAME=VALUE` per line.
//!
//! - Empty lines and those that begin with `#` are nothing; `export ` before a name is allowed; white space around a name, its `=` and an
//!   unquoted value is not part of them.
//! - A name has letters, digits, `_`, `.` and `-`, and begins with a letter or `_`. The last one of a name stands.
//! - An unquoted value goes to the end of the line, or to a `#` after white space. Nothing in it is special: no `\`, no quote, no `$`.
//! - `'…'` is taken as it is, over several lines too. `"…"` as well, but for `\n`, `\r`, `\t`, `\"`, `\\`, `\'`, `\$` and `` \` ``; any other `\` stays.
//! - `$NAME` is never replaced: a secret is full of such things, and the program's own environment does not belong in it.
//!
//! It is parsed here rather than by a crate because those that there are substitute, and keep copies of the values that they do not wipe.

use keywheel_core::error::{Error, Result};
use keywheel_core::value::Value;
use zeroize::Zeroizing;

use super::format::{Format, malformed, position};
use super::read::Fields;

/// Parses a file.
pub(super) fn parse(text: &str) -> Result<Fields> {
    let mut parser = Parser { text, at: 0 };
    let mut fields = Fields::new();
    while parser.skip_to_entry() {
        let name = parser.name()?;
        let value = parser.value()?;
        fields.insert(name, value);
    }
    Ok(fields)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    /// Goes to the next line with something on it.
    fn skip_to_entry(&mut self) -> bool {
        loop {
            self.take_while(char::is_whitespace);
            match self.rest().chars().next() {
                None => return false,
                Some('#') => self.take_while(|c| c != '\n'),
                Some(_) => return true,
            };
        }
    }

    fn name(&mut self) -> Result<String> {
        let mut name = self.word()?;
        self.take_while(is_blank);
        if name == "export" && !self.rest().starts_with('=') {
            name = self.word()?;
            self.take_while(is_blank);
        }
        if !self.rest().starts_with('=') {
            return Err(self.malformed("a name is not followed by `=`"));
        }
        self.at += 1;
        self.take_while(is_blank);
        Ok(name.to_owned())
    }

    fn word(&mut self) -> Result<&'a str> {
        if !self.rest().starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return Err(self.malformed("a name begins with a letter or `_`"));
        }
        Ok(self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')))
    }

    fn value(&mut self) -> Result<Value> {
        match self.rest().chars().next() {
            Some(quote @ ('\'' | '"')) => self.quoted(quote),
            _ => {
                let line = self.take_while(|c| c != '\n');
                Ok(without_comment(line).into())
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<Value> {
        let begin = self.at;
        self.at += 1;
        // As large as it can get, so that no growth leaves a copy behind.
        let mut value = Zeroizing::new(String::with_capacity(self.rest().len()));
        loop {
            value.push_str(self.take_while(|c| c != quote && (c != '\\' || quote == '\'')));
            let mut following = self.rest().chars();
            match (following.next(), following.next()) {
                (None, _) => {
                    self.at = begin;
                    return Err(self.malformed("a quote is not closed"));
                }
                (Some('\\'), Some(escaped)) => {
                    match escaped {
                        'n' => value.push('\n'),
                        'r' => value.push('\r'),
                        't' => value.push('\t'),
                        '"' | '\\' | '\'' | '$' | '`' => value.push(escaped),
                        other => value.extend(['\\', other]),
                    }
                    self.at += 1 + escaped.len_utf8();
                }
                (Some('\\'), None) => self.at += 1,
                (Some(_), _) => break,
            }
        }
        self.at += 1;
        let after = self.at;
        let rest = self.take_while(|c| c != '\n').trim();
        if !rest.is_empty() && !rest.starts_with('#') {
            self.at = after;
            return Err(self.malformed("something follows a closed quote"));
        }
        Ok(value.as_str().into())
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let taken = &rest[..rest.find(|c| !wanted(c)).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn malformed(&self, reason: &str) -> Error {
        malformed(Format::Dotenv, Some(position(&self.text.as_bytes()[..self.at])), reason)
    }
}

fn is_blank(c: char) -> bool {
    c == ' ' || c == '\t'
}

fn without_comment(line: &str) -> &str {
    let comment =
        line.char_indices().find(|(at, c)| *c == '#' && (*at == 0 || line[..*at].ends_with(is_blank)));
    line[..comment.map_or(line.len(), |(at, _)| at)].trim()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn never_panics(text in "([A-Z_ ='\"#\\\\$\n]|\\PC){0,60}") {
            let _parsed = parse(&text);
        }

        #[test]
        fn a_quoted_value_comes_back(value in "(\\PC|[\n\t\"'\\\\$#]){0,40}") {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
            let fields = parse(&format!("export A=\"{escaped}\" # end\nB=1\n")).unwrap();
            let read = fields["A"].to_bytes().unwrap();
            prop_assert_eq!(read.expose_text().unwrap(), value);
            prop_assert_eq!(fields.len(), 2);
        }
    }
}
