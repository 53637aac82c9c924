//! Reads a mapping of the configuration key by key and collects every mistake on the way.

use std::cell::RefCell;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::duration::parse_duration;
use super::node::{Content, Node, Place};

/// One mistake in a configuration: where, in which setting, and what.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct Mistake {
    /// Where in the file.
    pub place: Place,
    /// The dotted path of the setting, such as `deliveries[0].owner.uid`.
    pub setting: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let setting = if self.setting.is_empty() { "the file" } else { &self.setting };
        write!(f, "{}: {setting}: {}", self.place, self.message)
    }
}

/// Where the mistakes of one file gather.
#[derive(Debug, Default)]
pub struct Mistakes(RefCell<Vec<Mistake>>);

impl Mistakes {
    pub(super) fn push(&self, place: Place, setting: String, message: impl Into<String>) {
        self.0.borrow_mut().push(Mistake { place, setting, message: message.into() });
    }

    /// Returns how many there are so far.
    pub(super) fn count(&self) -> usize {
        self.0.borrow().len()
    }

    /// Returns the mistakes in the order of the file.
    pub fn into_sorted(self) -> Vec<Mistake> {
        let mut mistakes = self.0.into_inner();
        mistakes.sort();
        mistakes
    }
}

/// A setting that one scalar (or a list, or a mapping) of the file stands for.
pub trait Setting: Sized {
    /// Parses it.
    ///
    /// # Errors
    /// What would be right, in words that follow the setting's name.
    fn parse(value: &Item<'_>) -> Result<Self, String>;
}

/// One value of the configuration, with its place and its name.
#[derive(Clone, Debug)]
pub struct Item<'a> {
    node: &'a Node,
    setting: String,
    mistakes: &'a Mistakes,
}

impl<'a> Item<'a> {
    pub(super) fn new(node: &'a Node, setting: String, mistakes: &'a Mistakes) -> Self {
        Self { node, setting, mistakes }
    }

    /// Returns the text of a scalar: of a text as it is, of a number or truth value as written.
    pub fn scalar(&self) -> Option<String> {
        match &self.node.content {
            Content::Text(text) | Content::Number(text) => Some(text.clone()),
            Content::Bool(value) => Some(value.to_string()),
            _ => None,
        }
    }

    /// Returns the text, if it is one.
    pub fn text(&self) -> Option<&'a str> {
        self.node.text()
    }

    /// Returns what it is, for a message: `a list`.
    pub fn describe(&self) -> &'static str {
        self.node.describe()
    }

    /// Parses it, or notes the mistake.
    pub fn parse<T: Setting>(&self) -> Option<T> {
        T::parse(self).map_err(|message| self.mistake(message)).ok()
    }

    /// Notes a mistake here. Where variables were filled in, the message is replaced: it may quote what they hold.
    pub fn mistake(&self, message: impl Into<String>) {
        self.mistake_elsewhere(match self.node.expanded {
            true => "is wrong once its variables are filled in (what they hold is not shown)".into(),
            false => message.into(),
        });
    }

    /// Notes a mistake in what the item leads to (a file that could be read, say), and not in the item itself.
    pub fn mistake_elsewhere(&self, message: String) {
        self.mistakes.push(self.node.place, self.setting.clone(), message);
    }

    /// Returns the dotted path of the setting, such as `deliveries[0].files[1]`.
    pub fn name(&self) -> &str {
        &self.setting
    }

    /// Returns where in the file it stands.
    pub(super) fn place(&self) -> Place {
        self.node.place
    }

    /// Tells whether it is a mapping.
    pub fn is_section(&self) -> bool {
        matches!(self.node.content, Content::Map(_))
    }

    /// Returns it as a mapping, or notes the mistake.
    pub fn section(&self) -> Option<Section<'a>> {
        match &self.node.content {
            Content::Map(entries) => Some(Section { item: self.clone(), entries, known: Vec::new() }),
            _ => {
                self.mistake(format!("must be a mapping, and is {}", self.describe()));
                None
            }
        }
    }

    /// Returns the items of a list, or notes the mistake.
    pub fn list(&self) -> Vec<Item<'a>> {
        match &self.node.content {
            Content::List(items) => {
                let item =
                    |(index, node)| Item::new(node, format!("{}[{index}]", self.setting), self.mistakes);
                items.iter().enumerate().map(item).collect()
            }
            _ => {
                self.mistake(format!("must be a list, and is {}", self.describe()));
                Vec::new()
            }
        }
    }
}

/// A mapping of the configuration. Every key is asked for once; [`finish`](Self::finish) notes those that nobody asked for.
#[derive(Debug)]
pub struct Section<'a> {
    item: Item<'a>,
    entries: &'a [(String, Place, Node)],
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// Returns the value of a key that may be left out. `null` counts as left out.
    pub fn item(&mut self, key: &'static str) -> Option<Item<'a>> {
        self.known.push(key);
        let (_, _, node) = self.entries.iter().find(|(name, _, _)| name == key)?;
        (!matches!(node.content, Content::Null)).then(|| self.child(key, node))
    }

    /// Returns the parsed value of a key that may be left out.
    pub fn optional<T: Setting>(&mut self, key: &'static str) -> Option<T> {
        self.item(key)?.parse()
    }

    /// Returns the parsed value of a key; notes it as a mistake when it is left out.
    pub fn required<T: Setting>(&mut self, key: &'static str) -> Option<T> {
        match self.item(key) {
            Some(item) => item.parse(),
            None => {
                self.mistake(format!("needs `{key}`"));
                None
            }
        }
    }

    /// Returns the mapping under a key that may be left out.
    pub fn section(&mut self, key: &'static str) -> Option<Section<'a>> {
        self.item(key)?.section()
    }

    /// Returns the items of the list under a key; none when it is left out.
    pub fn list(&mut self, key: &'static str) -> Vec<Item<'a>> {
        self.item(key).map(|item| item.list()).unwrap_or_default()
    }

    /// Notes a key that the format has and that is not done here, with what to do instead: better refused than ignored.
    pub(super) fn refuse(&mut self, key: &'static str, reason: &str) {
        if let Some(item) = self.item(key) {
            item.mistake(reason);
        }
    }

    /// Returns all entries, for a mapping whose keys are names that the user chose.
    pub fn named(self) -> Vec<(&'a str, Item<'a>)> {
        self.entries()
    }

    /// Returns all entries, whether or not they were asked for.
    pub(crate) fn entries(&self) -> Vec<(&'a str, Item<'a>)> {
        self.entries.iter().map(|(name, _, node)| (name.as_str(), self.child(name, node))).collect()
    }

    /// Returns where in the file it begins.
    pub(super) fn place(&self) -> Place {
        self.item.place()
    }

    /// Notes a mistake in the mapping as a whole.
    pub fn mistake(&self, message: impl Into<String>) {
        self.item.mistake(message);
    }

    /// Notes each key that was not asked for, with the nearest known one.
    pub fn finish(self) {
        for (name, place, _) in
            self.entries.iter().filter(|(name, _, _)| !self.known.contains(&name.as_str()))
        {
            let hint = match nearest(name, &self.known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            self.item.mistakes.push(
                *place,
                self.item.setting.clone(),
                format!("unknown key `{name}`; {hint}"),
            );
        }
    }

    fn child(&self, key: &str, node: &'a Node) -> Item<'a> {
        let parent = &self.item.setting;
        let setting = if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") };
        Item::new(node, setting, self.item.mistakes)
    }
}

/// Finds the known word that `word` is most likely a slip of: at most two edits away, and less than half of it.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |other: &str| edit_distance(word, other);
    let best = known.iter().copied().min_by_key(|other| distance(other))?;
    (distance(best) <= 2 && distance(best) * 2 < word.len().max(2)).then_some(best)
}

fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

impl Setting for String {
    fn parse(value: &Item<'_>) -> Result<Self, String> {
        value
            .scalar()
            .filter(|text| !text.is_empty())
            .ok_or_else(|| format!("must be a text, and is {}", value.describe()))
    }
}

impl Setting for PathBuf {
    fn parse(value: &Item<'_>) -> Result<Self, String> {
        String::parse(value).map(PathBuf::from)
    }
}

impl Setting for bool {
    fn parse(value: &Item<'_>) -> Result<Self, String> {
        match &value.node.content {
            Content::Bool(value) => Ok(*value),
            // A variable (`${NAME}`) is always a text.
            Content::Text(text) if text == "true" => Ok(true),
            Content::Text(text) if text == "false" => Ok(false),
            _ => Err(format!("must be true or false, and is {}", value.describe())),
        }
    }
}

impl Setting for u32 {
    fn parse(value: &Item<'_>) -> Result<Self, String> {
        let number = value.scalar().and_then(|text| text.parse().ok());
        number.ok_or_else(|| "must be a whole number from 0 to 4294967295".into())
    }
}

impl Setting for f64 {
    fn parse(value: &Item<'_>) -> Result<Self, String> {
        let number = value.scalar().and_then(|text| text.parse::<f64>().ok());
        number.filter(|number| number.is_finite()).ok_or_else(|| "must be a number".into())
    }
}

impl Setting for Duration {
    fn parse(value: &Item<'_>) -> Result<Self, String> {
        let text = value.scalar().ok_or("must be a duration such as 90s, 5m or 1h30m")?;
        parse_duration(&text).map_err(|error| error.to_string())
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn parse(value: &Item<'_>) -> Result<Self, String> {
        let Content::List(_) = value.node.content else {
            return Err(format!("must be a list, and is {}", value.describe()));
        };
        Ok(value.list().iter().filter_map(Item::parse).collect())
    }
}
