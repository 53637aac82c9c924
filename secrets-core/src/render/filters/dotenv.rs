//! Values for `.env` files.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, State};

use crate::quote;
use crate::render::failure::said;

use super::text;

/// Quotes a value so that a `.env` file gives it back as it was, or writes a map as `NAME=value` lines in the order of the names.
///
/// See [`quote::dotenv`]. A NUL is refused.
pub(super) fn dotenv(state: &State<'_, '_>, value: Value) -> Result<String, Error> {
    if value.kind() != ValueKind::Map {
        return quoted(&text(state, &value)?);
    }
    let mut lines = Vec::new();
    for name in value.try_iter()?.checked() {
        let name = name?;
        state.consume_fuel(1)?;
        let variable = name.as_str().filter(|name| is_variable(name)).ok_or_else(|| {
            said("a name in the map cannot be a variable's: letters, digits and `_`, not beginning with a digit")
        })?;
        let line = format!("{variable}={}\n", quoted(&text(state, &value.get_item(&name)?)?)?);
        lines.push((variable.to_owned(), line));
    }
    lines.sort();
    Ok(lines.into_iter().map(|(_, line)| line).collect())
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn quoted(text: &str) -> Result<String, Error> {
    quote::dotenv(text).ok_or_else(|| said("the value has a NUL, which no environment can carry"))
}
