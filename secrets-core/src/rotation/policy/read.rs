//! Reads the section of a generated value, such as `password:`.

use super::alphabet::{Alphabet, Class};
use super::{Form, Notation, Policy};
use crate::config::{Item, Section, Setting};

impl Policy {
    /// Reads `length`, `classes`, `symbols` and `exclude`; or `format` with `bytes`, or with `words` and `separator`. Mistakes go to the section.
    pub fn parse(mut section: Section<'_>) -> Option<Self> {
        let form = match section.item("format").map(|item| item.parse()) {
            None => read_characters(&mut section),
            Some(Some(Format::Bytes(notation))) => {
                let Count(count) = section.optional("bytes").unwrap_or(Count::<1, 1024>(32));
                Some(Form::Bytes { count, notation })
            }
            Some(Some(Format::Uuid)) => Some(Form::Uuid),
            Some(Some(Format::Words)) => read_words(&mut section),
            Some(None) => return None,
        };
        let policy = form.map(Self);
        let bits = policy.as_ref().map(Self::entropy_bits);
        if let Some(bits) = bits.filter(|bits| *bits < Self::MIN_BITS) {
            section.mistake(format!(
                "makes values that are guessed too easily ({bits:.1} bits, and {} are needed); make them longer, or allow more characters",
                Self::MIN_BITS
            ));
        }
        section.finish();
        policy
    }
}

fn read_characters(section: &mut Section<'_>) -> Option<Form> {
    let length: Option<Count<12, 1024>> = match section.item("length") {
        Some(item) => item.parse(),
        None => Some(Count(32)),
    };
    let classes = match section.item("classes") {
        Some(item) => read_classes(&item),
        None => Some(vec![Class::Lower, Class::Upper, Class::Digit]),
    };
    let symbols = section.item("symbols");
    let exclude = section.item("exclude");
    let own = symbols.as_ref().map(|item| item.parse::<Symbols>());
    let excluded = match &exclude {
        Some(item) => item.parse::<String>()?,
        None => String::new(),
    };
    let classes = classes?;
    if let Some(symbols) = &symbols
        && !classes.contains(&Class::Symbol)
    {
        symbols.mistake("goes with the class `symbol`");
    }
    let own = match own {
        Some(own) => Some(own?.0),
        None => None,
    };
    let mut kept = Vec::new();
    for class in classes {
        let mut characters = match &own {
            Some(own) if class == Class::Symbol => own.clone(),
            _ => class.characters(),
        };
        characters.retain(|byte| !excluded.as_bytes().contains(byte));
        if characters.is_empty() {
            exclude.as_ref()?.mistake(format!("leaves nothing of the class `{}`", class.name()));
            return None;
        }
        kept.push(characters);
    }
    Some(Form::Characters { length: length?.0, alphabet: Alphabet::new(kept) })
}

fn read_classes(item: &Item<'_>) -> Option<Vec<Class>> {
    let classes: Vec<Class> = item.parse()?;
    let mut distinct = classes.clone();
    distinct.sort();
    distinct.dedup();
    if distinct.len() < classes.len() {
        item.mistake("names a class twice");
    }
    if classes.is_empty() {
        item.mistake("needs at least one of lower, upper, digit and symbol");
        return None;
    }
    Some(distinct)
}

fn read_words(section: &mut Section<'_>) -> Option<Form> {
    let Count(count) = section.optional("words").unwrap_or(Count::<1, 64>(6));
    let Separator(separator) = section.optional("separator").unwrap_or(Separator("-".into()));
    Some(Form::Words { count, separator })
}

/// What `format` names.
#[derive(Clone, Copy)]
enum Format {
    Bytes(Notation),
    Uuid,
    Words,
}

impl Setting for Format {
    fn parse(value: &Item<'_>) -> Result<Self, String> {
        match String::parse(value)?.as_str() {
            "hex" => Ok(Self::Bytes(Notation::Hex)),
            "base64" => Ok(Self::Bytes(Notation::Base64)),
            "base64url" => Ok(Self::Bytes(Notation::Base64Url)),
            "uuid" => Ok(Self::Uuid),
            "words" => Ok(Self::Words),
            _ => {
                Err("must be hex, base64, base64url, uuid or words; leave it out for characters by class"
                    .into())
            }
        }
    }
}

impl Class {
    const ALL: [Self; 4] = [Self::Lower, Self::Upper, Self::Digit, Self::Symbol];

    fn name(self) -> &'static str {
        match self {
            Self::Lower => "lower",
            Self::Upper => "upper",
            Self::Digit => "digit",
            Self::Symbol => "symbol",
        }
    }
}

impl Setting for Class {
    fn parse(value: &Item<'_>) -> Result<Self, String> {
        let text = String::parse(value)?;
        let class = Self::ALL.into_iter().find(|class| class.name() == text);
        class.ok_or_else(|| "must be lower, upper, digit or symbol".into())
    }
}

/// The symbols that somebody chose, each once.
struct Symbols(Vec<u8>);

impl Setting for Symbols {
    fn parse(value: &Item<'_>) -> Result<Self, String> {
        let mut symbols = String::parse(value)?.into_bytes();
        symbols.sort_unstable();
        symbols.dedup();
        match symbols.iter().all(u8::is_ascii_punctuation) {
            true => Ok(Self(symbols)),
            false => Err("must be ASCII characters that are no letters, digits or blanks".into()),
        }
    }
}

/// A whole number within bounds.
struct Count<const LEAST: usize, const MOST: usize>(usize);

impl<const LEAST: usize, const MOST: usize> Setting for Count<LEAST, MOST> {
    fn parse(value: &Item<'_>) -> Result<Self, String> {
        let count = value.scalar().and_then(|text| text.parse().ok());
        let count = count.filter(|count| (LEAST..=MOST).contains(count)).map(Self);
        count.ok_or_else(|| format!("must be a whole number from {LEAST} to {MOST}"))
    }
}

/// What stands between words; with letters or nothing, two choices of words could make one text.
struct Separator(String);

impl Setting for Separator {
    fn parse(value: &Item<'_>) -> Result<Self, String> {
        let text = value.scalar().unwrap_or_default();
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_alphabetic() || byte == b' ';
        match (1..=8).contains(&text.len()) && text.bytes().all(is_plain) {
            true => Ok(Self(text)),
            false => Err("must be 1 to 8 ASCII characters that are no letters".into()),
        }
    }
}
