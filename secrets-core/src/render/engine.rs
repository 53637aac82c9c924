//! minijinja, set up: what a template may use, and how its values are printed.

use std::collections::HashSet;
use std::sync::LazyLock;

use minijinja::value::{Value, ValueKind};
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, escape_formatter,
};

use crate::render::buffer::Buffer;
use crate::render::context::Root;
use crate::render::failure::said;
use crate::render::filters;

/// The work that one rendering may do: about one instruction or 64 bytes of data each, so that a template can make at most 32 MB.
const FUEL: u64 = 500_000;
const RECURSION_LIMIT: usize = 100;

/// The filters that there are, ours first, then minijinja's but those that have no use here, and `chain`, whose lists can double without
/// costing a step.
pub(super) const FILTERS: &[&str] = &[
    "b64decode",
    "b64encode",
    "dotenv",
    "json",
    "pem_cert",
    "pem_certs",
    "pem_chain",
    "pem_key",
    "secret_keys",
    "sha256",
    "shell",
    "urlencode",
    "abs",
    "attr",
    "batch",
    "bool",
    "capitalize",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "first",
    "float",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "select",
    "selectattr",
    "slice",
    "sort",
    "split",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "unique",
    "upper",
    "zip",
];

const REMOVED_FILTERS: &[&str] = &["chain", "pprint", "safe"];

/// The tests that there are: minijinja's.
pub(super) const TESTS: &[&str] = &[
    "boolean",
    "defined",
    "divisibleby",
    "endingwith",
    "eq",
    "equalto",
    "escaped",
    "even",
    "false",
    "filter",
    "float",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "int",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "safe",
    "sameas",
    "sequence",
    "startingwith",
    "string",
    "test",
    "true",
    "undefined",
    "upper",
];

/// The functions that there are.
pub(super) const FUNCTIONS: &[&str] = &["dict", "range"];

/// `debug` prints all variables; `namespace` lets a loop nest values deeper than a stack is.
const REMOVED_FUNCTIONS: &[&str] = &["debug", "namespace"];

/// A constant: it holds the table of filters, and nothing that a rendering leaves behind.
static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(print);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(RECURSION_LIMIT);
    let mut syntax = minijinja::syntax::SyntaxConfig::builder();
    if let Ok(syntax) = syntax.keep_trailing_newline(true).build() {
        environment.set_syntax(syntax);
    }
    for name in REMOVED_FILTERS {
        environment.remove_filter(name);
    }
    for name in REMOVED_FUNCTIONS {
        environment.remove_global(name);
    }
    environment.add_function("range", range);
    environment.add_filter("string", string);
    filters::add_to(&mut environment);
    environment
});

/// Checks the syntax.
pub(super) fn parse(name: &str, source: &str) -> Result<(), Error> {
    ENVIRONMENT.template_from_named_str(name, source).map(drop)
}

/// Tells whether `text` is an expression.
pub(super) fn is_expression(text: &str) -> bool {
    ENVIRONMENT.compile_expression(text).is_ok()
}

/// Returns the variables that a template does not declare itself, as far as minijinja sees them.
pub(super) fn undeclared(name: &str, source: &str) -> HashSet<String> {
    let template = ENVIRONMENT.template_from_named_str(name, source);
    template.map(|template| template.undeclared_variables(false)).unwrap_or_default()
}

pub(super) fn render(name: &str, source: &str, root: Root, out: &mut Buffer) -> Result<(), Error> {
    let template = ENVIRONMENT.template_from_named_str(name, source)?;
    template.render_captured_to(Value::from_object(root), out).map(drop)
}

/// Writes the bytes of an expression's value.
pub(super) fn render_expression(expression: &str, root: Root, out: &mut Buffer) -> Result<(), Error> {
    let notes = root.notes();
    let value = ENVIRONMENT.compile_expression(expression)?.eval(Value::from_object(root))?;
    match value.as_bytes() {
        Some(bytes) => {
            notes.check_lossless(&value)?;
            write(out, bytes)
        }
        None if value.is_undefined() => Err(ErrorKind::UndefinedError.into()),
        None => write_value(&value, out, &|| Ok(())),
    }
}

/// Prints a value into a text.
fn print(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    if !matches!(state.auto_escape(), AutoEscape::None) && value.as_str().is_some() {
        return escape_formatter(out, state, value);
    }
    match value.as_bytes() {
        Some(bytes) => {
            filters::check_lossless(state, value)?;
            out.write_str(std::str::from_utf8(bytes).map_err(|_| not_text())?)?;
        }
        None => {
            let mut buffer = Buffer::default();
            write_value(value, &mut buffer, &|| state.consume_fuel(1))?;
            out.write_str(std::str::from_utf8(buffer.as_slice()).map_err(|_| not_text())?)?;
        }
    }
    Ok(())
}

/// Gives a value as the text that it is printed as.
fn string(state: &State<'_, '_>, value: Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::String => Ok(value),
        ValueKind::Undefined => Err(ErrorKind::UndefinedError.into()),
        ValueKind::Bytes => {
            let text = value.as_bytes().and_then(|bytes| std::str::from_utf8(bytes).ok());
            text.map(Value::from).ok_or_else(not_text)
        }
        _ => {
            let mut buffer = Buffer::default();
            write_value(&value, &mut buffer, &|| state.consume_fuel(1))?;
            std::str::from_utf8(buffer.as_slice()).map(Value::from).map_err(|_| not_text())
        }
    }
}

/// Counts from `lower` up to `upper`, or from 0 to `lower`; minijinja's own overflows at the ends of the integers.
fn range(lower: i64, upper: Option<i64>, step: Option<i64>) -> Result<Value, Error> {
    const MOST: i128 = 100_000;
    let (start, end) = upper.map_or((0, lower), |upper| (lower, upper));
    let (start, end, step) = (i128::from(start), i128::from(end), i128::from(step.unwrap_or(1)));
    if step == 0 {
        return Err(said("the step of a range is not 0"));
    }
    let count = ((end - start) / step + i128::from((end - start) % step != 0)).max(0);
    if (end - start).signum() * step.signum() < 0 || count == 0 {
        return Ok(Value::from(Vec::<Value>::new()));
    }
    if count > MOST {
        return Err(said("a range has at most 100,000 numbers"));
    }
    Ok(Value::make_iterable(move || {
        (0..count as usize).map(move |index| Value::from((start + index as i128 * step) as i64))
    }))
}

/// Writes a value that is no text: a number by its digits, a truth value by its word, nothing for none, and a structure as compact JSON.
fn write_value(value: &Value, out: &mut Buffer, pay: filters::Pay<'_>) -> Result<(), Error> {
    match value.kind() {
        ValueKind::None | ValueKind::Undefined => Ok(()),
        ValueKind::Bool => write(out, if value.is_true() { b"true" } else { b"false" }),
        ValueKind::Number => write(out, value.to_string().as_bytes()),
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => filters::write_json(value, None, out, pay),
        _ => Err(said("what the expression gives is no value that could be printed")),
    }
}

pub(super) fn write(out: &mut Buffer, bytes: &[u8]) -> Result<(), Error> {
    match out.push(bytes) {
        true => Ok(()),
        false => Err(said(TOO_LARGE)),
    }
}

pub(super) fn not_text() -> Error {
    said(
        "the value is not UTF-8 text: put `| b64encode` after it, or deliver its bytes raw by a template that is this one expression and \
         nothing else, not even the end of a line",
    )
}

pub(super) const TOO_LARGE: &str = "the file would be larger than 1 MiB";
