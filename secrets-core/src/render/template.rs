//! Templates: parsed once, rendered often.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use smol_str::SmolStr;

use crate::error::{Error, Result};
use crate::render::buffer::Buffer;
use crate::render::context::{Notes, Root};
use crate::render::engine::{self, FILTERS, FUNCTIONS, TESTS};
use crate::render::failure;
use crate::render::plan::RenderInput;
use crate::render::scan::{KEYWORDS, Mentions};
use crate::secret::SecretValue;

/// A template that parses, and whose filters and tests there are.
///
/// Each secret of the delivery is a variable: its fields by name, or, where the reference names a field, that value itself. A value that
/// is not there is an error, never an empty text (`default` and `is defined` are there for what is optional). A template that is one
/// `{{ expression }}` with nothing around it delivers the expression's bytes as they are; anywhere else bytes that are not UTF-8 text are
/// an error. The end of the file is kept as it is written.
#[derive(Clone)]
pub struct Template(Arc<Parsed>);

/// What is known of a template that parses.
struct Parsed {
    name: SmolStr,
    source: Box<str>,
    is_expression: bool,
    /// The variables that it mentions, in the order of their names, each with its first line.
    mentioned: Box<[(SmolStr, usize)]>,
    /// The variables that it assigns.
    assigned: Box<[SmolStr]>,
}

impl Template {
    /// The largest source, in bytes.
    pub const MAX_BYTES: usize = 256 * 1024;
    /// The most words and signs in one tag.
    pub const MAX_TAG: usize = 1000;
    /// The most `set` tags.
    pub const MAX_SETS: usize = 200;
    /// The most `elif` tags.
    pub const MAX_ELIFS: usize = 200;

    /// Parses a template. `name` is what errors call it: its file's path, or its place in the configuration.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) with the name and the line: a syntax error, a filter or test that there is not, or a
    /// source beyond its bounds.
    pub fn parse(name: impl Into<SmolStr>, source: impl Into<Box<str>>) -> Result<Self> {
        let (name, source) = (name.into(), source.into());
        let wrong = |reason: String| Error::config("parse template", reason).with("template", &name);
        if source.len() > Self::MAX_BYTES {
            return Err(wrong(format!("it is larger than {} bytes", Self::MAX_BYTES)));
        }
        let mentions = Mentions::of(&source);
        // These bound how deep expressions and values nest, and with it the stack that parsing, rendering and dropping them takes.
        for (count, most, what) in [
            (mentions.longest, Self::MAX_TAG, "words and signs in one tag"),
            (mentions.sets, Self::MAX_SETS, "`set` tags"),
            (mentions.elifs, Self::MAX_ELIFS, "`elif` tags"),
        ] {
            if count > most {
                return Err(wrong(format!("it has more than {most} {what}")));
            }
        }
        engine::parse(&name, &source).map_err(|error| failure::of_syntax(&name, &error))?;
        for (what, used, known) in [("filter", &mentions.filters, FILTERS), ("test", &mentions.tests, TESTS)]
        {
            if let Some((unknown, line)) = used.iter().find(|(used, _)| !known.contains(&used.as_str())) {
                let reason = format!("there is no {what} `{unknown}`; there are {}", known.join(", "));
                return Err(wrong(reason).with("line", line));
            }
        }
        let is_expression = expression(&source).is_some_and(engine::is_expression);
        let mentioned = mentions.names.into_iter().map(|(name, line)| (name.into(), line)).collect();
        let assigned = mentions.assigned.into_iter().map(Into::into).collect();
        Ok(Self(Arc::new(Parsed { name, source, is_expression, mentioned, assigned })))
    }

    /// Returns what errors call the template.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Checks that the template uses no other variables than the delivery's secrets, `names`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) with the first unknown one, its line, and the names that there are.
    pub fn check(&self, names: &BTreeSet<String>) -> Result<()> {
        let Parsed { name: template, source, mentioned, assigned, .. } = &*self.0;
        let mut unknown: Vec<_> = mentioned
            .iter()
            .filter(|(name, _)| !names.contains(&**name))
            .filter(|(name, _)| !assigned.contains(name) && !FUNCTIONS.contains(&&**name))
            .collect();
        // Finding out what it declares itself parses it once more.
        if !unknown.is_empty() {
            let undeclared = engine::undeclared(template, source);
            unknown.retain(|(name, _)| undeclared.contains(&**name));
        }
        let Some((name, line)) = unknown.into_iter().min_by_key(|(_, line)| *line) else {
            return Ok(());
        };
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        let reason = match known.is_empty() {
            true => format!("there is no secret `{name}`; the delivery has none"),
            false => format!("there is no secret `{name}`; the delivery has {}", known.join(", ")),
        };
        Err(Error::config("check template", reason).with("template", template).with("line", line))
    }

    /// Returns which secrets the content depends on: every one that an expression mentions, whether or not a rendering comes by it.
    pub fn secrets(&self, is_secret: impl Fn(&str) -> bool) -> BTreeSet<String> {
        let mentioned = self.0.mentioned.iter().map(|(name, _)| &**name);
        mentioned.filter(|name| is_secret(name)).map(str::to_owned).collect()
    }

    pub(super) fn render(&self, inputs: &Arc<BTreeMap<String, RenderInput>>) -> Result<SecretValue> {
        let notes = Arc::new(Notes::default());
        let root = Root::new(Arc::clone(inputs), Arc::clone(&notes));
        let mut buffer = Buffer::default();
        let Parsed { name, source, is_expression, .. } = &*self.0;
        let rendered = match expression(source).filter(|_| *is_expression) {
            Some(expression) => engine::render_expression(expression, root, &mut buffer),
            None => engine::render(name, source, root, &mut buffer),
        };
        match rendered {
            Ok(()) => Ok(buffer.into_value()),
            Err(error) => Err(failure::of_rendering(name, source, &error, &notes, buffer.is_full())),
        }
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Template").field(&self.0.name).finish()
    }
}

/// Tells whether a secret of this name can be a variable of templates: a letter or `_`, then letters, digits and `_` (all ASCII), and not a
/// word of the language.
pub fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !KEYWORDS.contains(&name)
}

/// Returns what is between `{{` and `}}` where they are the source's ends; it may still be more than one expression.
fn expression(source: &str) -> Option<&str> {
    let inner = source.strip_prefix("{{")?.strip_suffix("}}")?;
    let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner);
    Some(inner.strip_suffix(['-', '+']).unwrap_or(inner))
}
