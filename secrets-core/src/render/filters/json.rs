//! JSON of any value.

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

use crate::render::buffer::Buffer;
use crate::render::engine::{self, write as push};
use crate::render::failure::said;

/// Pays for one value out of the work that a rendering may do.
pub(crate) type Pay<'a> = &'a dyn Fn() -> Result<(), Error>;

/// Writes a value as JSON: compact, or with `indent` spaces to a level.
pub(super) fn json(state: &State<'_, '_>, value: Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    options.assert_all_used()?;
    if indent.is_some_and(|indent| indent > 16) {
        return Err(said("`indent` is at most 16"));
    }
    let mut buffer = Buffer::default();
    write(&value, indent, &mut buffer, &|| state.consume_fuel(1))?;
    std::str::from_utf8(buffer.as_slice()).map(str::to_owned).map_err(|_| engine::not_text())
}

/// Writes a value as JSON into `out`.
pub(crate) fn write(
    value: &Value,
    indent: Option<usize>,
    out: &mut Buffer,
    pay: Pay<'_>,
) -> Result<(), Error> {
    Writer { indent, out, pay }.value(value, 0)
}

struct Writer<'a> {
    indent: Option<usize>,
    out: &'a mut Buffer,
    pay: Pay<'a>,
}

const MAX_DEPTH: usize = 128;

impl Writer<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        (self.pay)()?;
        if depth > MAX_DEPTH {
            return Err(said("the structure is nested too deep for JSON"));
        }
        match value.kind() {
            ValueKind::None => push(self.out, b"null"),
            ValueKind::Bool => push(self.out, if value.is_true() { b"true" } else { b"false" }),
            ValueKind::Number => self.number(value),
            ValueKind::String | ValueKind::Bytes => self.text(value),
            ValueKind::Seq | ValueKind::Iterable => self.container(b'[', value, depth, b']'),
            ValueKind::Map => self.container(b'{', value, depth, b'}'),
            ValueKind::Undefined => Err(ErrorKind::UndefinedError.into()),
            _ => Err(said("the value has no form in JSON")),
        }
    }

    fn number(&mut self, value: &Value) -> Result<(), Error> {
        let digits = value.to_string();
        if digits.contains(['n', 'N']) {
            return Err(said("JSON has no infinity, and nothing for what is not a number"));
        }
        push(self.out, digits.as_bytes())
    }

    fn text(&mut self, value: &Value) -> Result<(), Error> {
        let text = value.as_bytes().and_then(|bytes| std::str::from_utf8(bytes).ok());
        let text = text.ok_or_else(|| {
            said("JSON carries text, and the value is not UTF-8: put `| b64encode` after it")
        })?;
        serde_json::to_writer(&mut *self.out, text).map_err(|_| said(engine::TOO_LARGE))
    }

    fn container(&mut self, open: u8, value: &Value, depth: usize, close: u8) -> Result<(), Error> {
        push(self.out, &[open])?;
        let mut is_empty = true;
        for item in value.try_iter()?.checked() {
            let item = item?;
            if !is_empty {
                push(self.out, b",")?;
            }
            is_empty = false;
            self.line(depth + 1)?;
            if open == b'[' {
                self.value(&item, depth + 1)?;
                continue;
            }
            if item.as_str().is_none() {
                return Err(said("a key of the map is not a text, as JSON wants it"));
            }
            self.text(&item)?;
            push(self.out, if self.indent.is_some() { b": " } else { b":" })?;
            self.value(&value.get_item(&item)?, depth + 1)?;
        }
        if !is_empty {
            self.line(depth)?;
        }
        push(self.out, &[close])
    }

    fn line(&mut self, depth: usize) -> Result<(), Error> {
        match self.indent {
            Some(indent) => push(self.out, format!("\n{:1$}", "", indent * depth).as_bytes()),
            None => Ok(()),
        }
    }
}
