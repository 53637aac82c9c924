//! Makes the files of a delivery from its secrets: one file per field, or what the templates say.
//!
//! A template is text with `{{ expressions }}`, in the language of Jinja as minijinja has it. It sees the delivery's secrets and nothing
//! else: no environment, no other file, no clock. Its source, its steps and its output are bounded, and no error quotes a value. The bounds are
//! there for mistakes: whoever writes templates can still make the program use more memory than it should (minijinja joins and repeats
//! lists without counting them), and is trusted like whoever writes the configuration.

mod buffer;
mod context;
mod engine;
mod failure;
mod filters;
pub mod go;
mod keys;
mod plan;
mod scan;
mod template;

pub(crate) use self::keys::is_of_key;
pub use self::plan::{FieldsSpec, FilePlan, FileSpec, RenderInput};
pub use self::template::{Template, is_variable_name};

#[cfg(test)]
mod tests;
