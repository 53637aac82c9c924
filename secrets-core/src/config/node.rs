//! The configuration file as a tree that knows where each part stands.

use std::fmt;

use crate::environment::Environment;

/// A line and a column in a file, both from 1.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A part of the configuration and where it stands.
pub(super) struct Node {
    pub(super) content: Content,
    pub(super) place: Place,
    /// Whether it is a text with the values of variables in it: a message must not quote it then.
    pub(super) expanded: bool,
}

#[cfg_attr(not(feature = "yaml"), expect(dead_code, reason = "only a reader makes some of them"))]
pub(super) enum Content {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Place, Node)>),
}

impl Node {
    /// Returns what it is, in the words of an error message.
    pub(super) fn describe(&self) -> &'static str {
        match self.content {
            Content::Null => "nothing",
            Content::Bool(_) => "a truth value",
            Content::Number(_) => "a number",
            Content::Text(_) => "a text",
            Content::List(_) => "a list",
            Content::Map(_) => "a mapping",
        }
    }

    /// Returns the part under a key of a mapping.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Content::Map(entries) = &self.content else { return None };
        entries.iter().find(|(name, ..)| name == key).map(|(_, _, node)| node)
    }

    /// Returns the text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Replaces `${NAME}` in every text by the variable's value, and `$${` by `${`; returns the names that are not set.
    pub(super) fn expand(&mut self, environment: &Environment) -> Vec<(Place, String)> {
        let children: Vec<&mut Self> = match &mut self.content {
            Content::Text(text) if text.contains("${") => {
                let expanded = expand(text, environment);
                self.expanded = true;
                return match expanded {
                    Ok(expanded) => {
                        *text = expanded;
                        Vec::new()
                    }
                    Err(name) => vec![(self.place, name)],
                };
            }
            Content::List(items) => items.iter_mut().collect(),
            Content::Map(entries) => entries.iter_mut().map(|(_, _, node)| node).collect(),
            _ => return Vec::new(),
        };
        children.into_iter().flat_map(|child| child.expand(environment)).collect()
    }
}

impl fmt::Debug for Node {
    /// Shows what it is and where: a text may hold a token that a variable was filled in with.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.describe(), self.place)
    }
}

fn expand(text: &str, environment: &Environment) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(escaped) = before.strip_suffix('$') {
            out.push_str(escaped);
            out.push_str("${");
            rest = after;
            continue;
        }
        let Some((name, tail)) = after.split_once('}') else {
            return Err(after.into());
        };
        out.push_str(before);
        out.push_str(environment.value(name).ok_or_else(|| name.to_owned())?);
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}
