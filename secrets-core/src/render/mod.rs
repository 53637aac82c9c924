//! Makes the files of a delivery from its secrets: one file per field, or what the templates say.
//!
//! A template is text with `{{ expressions }}`, in the language of Jinja as minijinja has it. It sees the delivery's secrets and nothing
//! else: no environment, no other file, no clock. Everything it can do is bounded, in steps and in bytes, and no error quotes a value.

mod buffer;
mod context;
mod engine;
mod failure;
mod filters;
mod plan;
mod scan;
mod template;

pub use self::plan::{FilePlan, FileSpec, RenderInput};
pub use self::template::{Template, is_variable_name};
