//! What the settings of a `file` provider are.

#![allow(dead_code, reason = "the type is described, and never made")]

use keywheel_core::schema::{AbsolutePath, JsonSchema, Text};

/// Files of this host. All may be left out.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct File {
    /// The folder that relative references are below.
    root: Option<AbsolutePath>,
    /// A file with the age identities that `….age` files are decrypted with.
    identity_file: Option<AbsolutePath>,
    /// Whom else an `….age` file is encrypted to when a rotation replaces it: recipients of age, `age1…`.
    recipients: Option<Vec<Text>>,
}
