//! Why a value does not fit a type, in words that hold nothing of the value.

use std::fmt;

use serde::de::{Error, Expected, Unexpected};

/// What did not fit, and where.
#[derive(Debug)]
pub(super) struct Unfit {
    /// Outermost first.
    path: Vec<String>,
    reason: String,
}

impl Unfit {
    /// Adds the name of the field that it was found in.
    pub(super) fn within(mut self, name: &str) -> Self {
        self.path.insert(0, name.to_owned());
        self
    }

    /// `reason` has to be of our own making.
    pub(super) fn new(reason: impl fmt::Display) -> Self {
        Self { path: Vec::new(), reason: reason.to_string() }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.is_empty() {
            true => f.write_str(&self.reason),
            false => write!(f, "the field {:?}: {}", self.path.join("."), self.reason),
        }
    }
}

impl std::error::Error for Unfit {}

impl Error for Unfit {
    /// Whatever a type says about a value may quote it.
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::new("the value is not one that the type takes")
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format_args!("expected {expected}"))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format_args!("expected {expected}"))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::new(format_args!("there are {length} of {expected}"))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format_args!("expected one of {}", expected.join(", ")))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format_args!("the secret has a field {field:?}; the type has {}", expected.join(", ")))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format_args!("the secret has no field {field:?}"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(format_args!("there are two fields {field:?}"))
    }
}
