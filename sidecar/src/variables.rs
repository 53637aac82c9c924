//! The names of environment variables.

use crate::exit::Failure;

/// Returns the variable that a field becomes: every character but letters, digits and `_` is a `_`.
pub(crate) fn variable_name(field: &str) -> Result<String, Failure> {
    let name: String = field.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    match is_variable_name(&name) {
        true => Ok(name),
        false => Err(Failure::other(format!("the field {field:?} cannot name a variable"))),
    }
}

/// Tells whether every shell and program can take `name` as a variable's (POSIX XBD 8.1).
pub(crate) fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Returns the failure of two fields that would be one variable.
pub(crate) fn same_variable(variable: &str) -> Failure {
    Failure::other(format!("two fields would be the variable {variable}; fetch them one by one"))
}
