//! Reads the annotations of one family key by key, and notes every mistake, and every key that nobody asked for.

use std::collections::{BTreeMap, BTreeSet};

/// The annotations with one prefix. Whatever of them is not read by the end is told to whoever makes the pod.
pub(super) struct Annotations<'a> {
    family: &'static str,
    values: BTreeMap<&'a str, &'a str>,
    known: BTreeSet<&'a str>,
    mistakes: Vec<String>,
}

impl<'a> Annotations<'a> {
    /// Takes those of `all` that begin with `family`.
    pub(super) fn of(all: &'a BTreeMap<String, String>, family: &'static str) -> Self {
        let values = all.iter().filter_map(|(key, value)| Some((key.strip_prefix(family)?, value.as_str())));
        Self { family, values: values.collect(), known: BTreeSet::new(), mistakes: Vec::new() }
    }

    /// Returns a value that may be left out; an empty one is a mistake.
    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.parsed(key, |value| Ok(value.to_owned()))
    }

    /// Returns a parsed value that may be left out. What `parse` says is wrong follows the annotation's name, and does not quote the value.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (&key, &value) = self.values.get_key_value(key)?;
        self.known.insert(key);
        let parsed = plain(value).and_then(parse);
        parsed.map_err(|reason| self.mistake(key, &reason)).ok()
    }

    /// Returns a truth value that may be left out.
    pub(super) fn truth(&mut self, key: &'static str) -> Option<bool> {
        self.parsed(key, |value| value.parse().map_err(|_| "must be true or false".into()))
    }

    /// Returns the values whose keys begin with `prefix`, by what follows it.
    pub(super) fn named(&mut self, prefix: &'static str) -> Vec<(&'a str, &'a str)> {
        let mut found = Vec::new();
        for (&key, &value) in &self.values {
            let Some(name) = key.strip_prefix(prefix).filter(|name| !name.is_empty()) else { continue };
            if self.known.insert(key) {
                found.push((name, value));
            }
        }
        found.retain(|(name, value)| match plain(value) {
            Ok(_) => true,
            Err(reason) => {
                self.mistakes.push(format!("{}{prefix}{name}: {reason}", self.family));
                false
            }
        });
        found
    }

    /// Tells whether there is such a key, and marks it as known.
    pub(super) fn mentions(&mut self, key: &'static str) -> bool {
        match self.values.get_key_value(key) {
            Some((key, _)) => {
                self.known.insert(key);
                true
            }
            None => false,
        }
    }

    /// Notes what is wrong with a value.
    pub(super) fn mistake(&mut self, key: &str, reason: &str) {
        self.mistakes.push(format!("{}{key}: {reason}", self.family));
    }

    /// Returns every mistake, and the names of the annotations that were not read.
    pub(super) fn finish(self) -> (Vec<String>, Vec<String>) {
        let unread = self.values.keys().filter(|key| !self.known.contains(*key));
        (self.mistakes, unread.map(|key| format!("{}{key}", self.family)).collect())
    }
}

/// Refuses what no setting has: nothing at all, and characters that are not seen (a line's end and a tab are; templates have them).
fn plain(value: &str) -> Result<&str, String> {
    let unseen = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{feff}' | '\u{fffe}' | '\u{ffff}' | '\u{2028}' | '\u{2029}')
    };
    match value {
        "" => Err("is empty; leave it out".into()),
        value if value.contains(unseen) => Err("has a character that cannot be seen".into()),
        value => Ok(value),
    }
}
