//! The secrets as templates see them: looked up on demand, so that only what is used is copied.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::{Enumerator, Object, ObjectRepr, Value};
use minijinja::{Error, State};

use crate::fields::FieldMap;
use crate::render::engine::{self, FUNCTIONS};
use crate::render::failure::said;
use crate::render::keys::{self, NoKeys};
use crate::render::plan::RenderInput;
use crate::secret::{Secret, Version};
use crate::value::Value as SecretField;

/// The variables: one per secret.
pub(super) struct Root {
    inputs: Arc<BTreeMap<String, RenderInput>>,
    notes: Arc<Notes>,
}

impl Root {
    pub(super) fn new(inputs: Arc<BTreeMap<String, RenderInput>>, notes: Arc<Notes>) -> Self {
        Self { inputs, notes }
    }

    pub(super) fn notes(&self) -> Arc<Notes> {
        Arc::clone(&self.notes)
    }
}

impl Object for Root {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, name: &str) -> Option<Value> {
        if name == NOTES {
            return Some(Value::from_dyn_object(Arc::clone(&self.notes)));
        }
        if let Some(input) = self.inputs.get(name) {
            let place = Place {
                input: input.clone(),
                label: name.into(),
                steps: Vec::new(),
                notes: Arc::clone(&self.notes),
            };
            return place.into_value();
        }
        if !FUNCTIONS.contains(&name) {
            let known = self.inputs.keys().map(String::as_str);
            self.notes.miss(name, format!("there is no secret {name:?}; the delivery has {}", list(known)));
        }
        None
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Root")
    }
}

/// A place in a secret that holds a map or a list.
#[derive(Clone)]
struct Place {
    input: RenderInput,
    label: String,
    steps: Vec<Step>,
    notes: Arc<Notes>,
}

#[derive(Clone)]
enum Step {
    Name(String),
    Index(usize),
}

/// What is at a place.
#[derive(Clone, Copy)]
enum Found<'a> {
    Fields(&'a FieldMap),
    Map(&'a BTreeMap<String, SecretField>),
    List(&'a [SecretField]),
    Leaf(&'a SecretField),
}

impl<'a> Found<'a> {
    fn of(value: &'a SecretField) -> Self {
        match value {
            SecretField::Map(values) => Self::Map(values),
            SecretField::List(values) => Self::List(values),
            leaf => Self::Leaf(leaf),
        }
    }

    /// Returns the names at a place that has values by name.
    fn names(self) -> Option<Vec<&'a str>> {
        match self {
            Self::Fields(values) => Some(values.keys().collect()),
            Self::Map(values) => Some(values.keys().map(String::as_str).collect()),
            Self::List(_) | Self::Leaf(_) => None,
        }
    }

    fn step(self, step: &Step) -> Option<Self> {
        match (self, step) {
            (Self::Fields(values), Step::Name(name)) => values.get(name).map(Self::of),
            (Self::Map(values), Step::Name(name)) => values.get(name).map(Self::of),
            (Self::List(values), Step::Index(index)) => values.get(*index).map(Self::of),
            _ => None,
        }
    }
}

impl Place {
    fn found(&self) -> Option<Found<'_>> {
        let RenderInput { secret, field } = &self.input;
        let start = match field {
            Some(field) => Found::of(field.find(|name| secret.fields().get(name))?),
            None => Found::Fields(secret.fields()),
        };
        self.steps.iter().try_fold(start, Found::step)
    }

    fn child(&self, step: Step) -> Self {
        let mut child = self.clone();
        child.label = match &step {
            Step::Name(name) => format!("{}.{name}", self.label),
            Step::Index(index) => format!("{}[{index}]", self.label),
        };
        child.steps.push(step);
        child
    }

    fn into_value(self) -> Option<Value> {
        match self.found()? {
            Found::Leaf(leaf) => Some(self.leaf(leaf)),
            _ => Some(Value::from_object(self)),
        }
    }

    fn leaf(&self, value: &SecretField) -> Value {
        match value {
            SecretField::Bool(value) => Value::from(*value),
            SecretField::Number(digits) => number(digits.expose_text().unwrap_or_default()),
            SecretField::Bytes(bytes) => match bytes.expose_text() {
                Some(text) => Value::from(text),
                None => {
                    self.notes.saw_binary();
                    Value::from_bytes(bytes.expose_secret().to_vec())
                }
            },
            SecretField::Null | SecretField::List(_) | SecretField::Map(_) => Value::from(()),
        }
    }

    fn at_name(&self, name: &str) -> Option<Value> {
        let found = self.found()?;
        let step = Step::Name(name.into());
        if found.step(&step).is_none() {
            let known = list(found.names()?.into_iter());
            self.notes.miss(name, format!("{} has no field {name:?}; it has {known}", self.label));
            return None;
        }
        self.child(step).into_value()
    }

    fn at_index(&self, index: usize) -> Option<Value> {
        let Some(Found::List(values)) = self.found() else {
            return None;
        };
        if index >= values.len() {
            let reason = format!("{} has no item {index}; it has {}", self.label, values.len());
            self.notes.miss(&index.to_string(), reason);
            return None;
        }
        self.child(Step::Index(index)).into_value()
    }
}

impl Object for Place {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        match self.found() {
            Some(Found::List(_)) => ObjectRepr::Seq,
            _ => ObjectRepr::Map,
        }
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str() {
            Some(name) => self.at_name(name),
            None => self.at_index(key.as_usize()?),
        }
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.at_name(key)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match self.found() {
            Some(Found::List(values)) => Enumerator::Seq(values.len()),
            found => match found.and_then(Found::names) {
                Some(names) => Enumerator::Values(names.into_iter().map(Value::from).collect()),
                None => Enumerator::Empty,
            },
        }
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        match self.found() {
            Some(Found::Fields(values)) => Some(values.len()),
            Some(Found::Map(values)) => Some(values.len()),
            Some(Found::List(values)) => Some(values.len()),
            _ => Some(0),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Place")
    }
}

/// Gives the fields of a secret, of a structure in it, or of a text that is a JSON object, by the keys that they have in a Kubernetes `Secret`.
pub(super) fn secret_keys(state: &State<'_, '_>, value: Value) -> Result<Value, Error> {
    let place = value.downcast_object::<Place>();
    let fields = match place.as_ref().and_then(|place| place.found()) {
        Some(Found::Fields(fields)) => keys::of_fields(fields),
        Some(Found::Map(fields)) => keys::of_fields(fields),
        _ => keys::of_text(value.as_bytes().unwrap_or_default()),
    };
    let fields = fields.map_err(|why| match why {
        NoKeys::Same(_) => said("two fields would have one key in a Secret"),
        NoKeys::NoFields => {
            said("the filter takes fields, and this is neither a structure nor a text that is a JSON object")
        }
    })?;
    state.consume_fuel(fields.values().map(SecretField::size).sum::<usize>() as u64 / 64)?;
    let secret = Secret::try_new(fields, Version::new("")).map_err(|_| said(engine::TOO_LARGE))?;
    let place = Place {
        input: RenderInput { secret: Arc::new(secret), field: None },
        label: place.map_or_else(|| "the text".to_owned(), |place| place.label.clone()),
        steps: Vec::new(),
        notes: Notes::of(state).unwrap_or_default(),
    };
    Ok(Value::from_object(place))
}

/// Returns a number where that prints as it is written, else its text.
fn number(digits: &str) -> Value {
    let integer = digits.parse::<i128>().map(Value::from);
    let number = integer.or_else(|_| digits.parse::<u128>().map(Value::from));
    let number = number.ok().or_else(|| digits.parse::<f64>().ok().map(Value::from));
    match number {
        Some(number) if number.to_string() == digits => number,
        _ => Value::from(digits),
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 20;
    let mut names = names.peekable();
    if names.peek().is_none() {
        return "none".into();
    }
    let mut shown: Vec<String> = names.by_ref().take(SHOWN).map(str::to_owned).collect();
    let more = names.count();
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
}

/// What a rendering comes by, for the error that it may end with.
#[derive(Default)]
pub(super) struct Notes {
    missed: Mutex<Option<Missed>>,
    saw_binary: AtomicBool,
}

struct Missed {
    name: String,
    sentence: String,
}

/// No template can write this name.
const NOTES: &str = " notes";

impl Notes {
    /// Finds the notes of the rendering that `state` belongs to.
    pub(super) fn of(state: &State<'_, '_>) -> Option<Arc<Self>> {
        state.lookup(NOTES)?.downcast_object()
    }

    fn miss(&self, name: &str, sentence: String) {
        let name = name.into();
        *self.missed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Missed { name, sentence });
    }

    /// Says what was not there, if it is named in `tags`, the text where the rendering failed: a name that is not written there may be a
    /// value, and may have been missed elsewhere.
    pub(super) fn missing(&self, tags: &str) -> Option<String> {
        let missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        let missed = missed.as_ref().filter(|missed| tags.contains(&missed.name))?;
        Some(missed.sentence.clone())
    }

    pub(super) fn saw_binary(&self) {
        self.saw_binary.store(true, Ordering::Relaxed);
    }

    /// Checks that `value` is not a text that minijinja made of bytes that are none (`~` and some filters do so), putting U+FFFD for what
    /// it could not read.
    pub(super) fn check_lossless(&self, value: &Value) -> Result<(), Error> {
        let is_lossy = self.saw_binary.load(Ordering::Relaxed)
            && value.as_str().is_some_and(|text| text.contains('\u{fffd}'));
        if is_lossy { Err(engine::not_text()) } else { Ok(()) }
    }
}

impl Object for Notes {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
}

impl fmt::Debug for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notes")
    }
}
