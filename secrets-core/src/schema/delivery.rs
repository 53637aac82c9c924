//! The entries under `deliveries:`.

#![allow(dead_code, reason = "the types are described, and never made")]

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::change::{OnChange, Validate, Verify, Window};
use super::values::{AbsolutePath, Count, Either, Flag, Mode, Reference, Span, Text, words};
use crate::config::{ChangeConfig, SecretConfig, format_duration};

/// One directory, and what is delivered into it: all of it changes at once.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Delivery {
    /// Its name, for messages, metrics and `keywheel refresh`: up to 63 letters, digits, `-`, `_` and `.` (54 with `rollout`).
    name: Text,
    /// The directory, absolute. It is made where it is missing, and lies in no other delivery's.
    directory: AbsolutePath,
    /// Whether the directory may be on a disk; else it must be on tmpfs or ramfs.
    #[schemars(extend("default" = false))]
    allow_disk: Option<Flag>,
    /// Who owns the files. Left out: who runs the program.
    owner: Option<Owner>,
    /// The secrets by the names that templates use: a reference, or a mapping that says more. A name has letters, digits, `_` and `-`, and begins with a letter or `_`; a template cannot say one with `-`.
    secrets: BTreeMap<String, Either<Reference, Secret>>,
    /// The files that are made of the secrets. Left out: one file for each field, named `SECRET/FIELD`.
    files: Option<Vec<File>>,
    /// What has to hold of the new files before they become visible.
    validate: Option<Vec<Validate>>,
    /// Who is told of a new generation, in this order. Each is tried again until it is told.
    on_change: Option<Vec<OnChange>>,
    /// How the application proves that it works with the new generation. One that does not gets the one before back.
    verify: Option<Verify>,
    /// How long a replaced generation, and the leases of its values, stay after their successors are proved.
    #[schemars(extend("default" = format_duration(ChangeConfig::DEFAULT_OVERLAP)))]
    overlap: Option<Span>,
    /// When a change that is not urgent may be applied. Left out: at once.
    window: Option<Window>,
    /// Over how long the replicas spread a change; each has a part of its own.
    #[schemars(extend("default" = "0s"))]
    splay: Option<Span>,
}

/// Who owns the delivered files.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Owner {
    /// The user's number. Left out: the program's own.
    uid: Option<Count<0, { u32::MAX }>>,
    /// The group's number. Left out: the directory's, or the program's own.
    gid: Option<Count<0, { u32::MAX }>>,
}

/// One secret of a delivery.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Secret {
    /// What is read: `PROVIDER://PATH[?PARAM=VALUE&…][#FIELD]`.
    #[schemars(rename = "ref")]
    reference: Reference,
    /// How often its source is asked whether it changed, with jitter; at least 100ms. `never`: it is read once. A lease sets its own pace beside that.
    #[schemars(default, schema_with = "refresh", extend("default" = format_duration(SecretConfig::DEFAULT_REFRESH)))]
    refresh: Option<Span>,
    /// For how long the last good value serves while its source does not answer, before `/readyz` says so. Left out: for ever.
    max_stale: Option<Span>,
    /// What happens when its source says that this identity may not read it any more: `keep` what was delivered, `delete` all files of the delivery until it can be read again, or `exit` with code 77.
    #[schemars(default, schema_with = "on_forbidden", extend("default" = "keep"))]
    on_forbidden: Option<Text>,
    /// Whether it is written down beside the secret which version the application works with, for a rotation with `acknowledge`. KV version 2 alone.
    #[schemars(extend("default" = false))]
    acknowledge: Option<Flag>,
}

/// One file, or the files of all fields of a secret.
#[derive(JsonSchema)]
#[schemars(
    deny_unknown_fields,
    extend("oneOf" = [
        {"required": ["path", "value"]},
        {"required": ["path", "template_file"]},
        {"required": ["fields_of"], "not": {"anyOf": [{"required": ["path"]}, {"required": ["value"]}, {"required": ["template_file"]}]}},
    ])
)]
struct File {
    /// Its path below the directory.
    path: Option<Text>,
    /// A template with the secrets' names as variables, such as `{{ db.password }}`.
    value: Option<Text>,
    /// A file with the template; a relative path is beside the configuration.
    template_file: Option<Text>,
    /// A secret, each of whose fields is a file at the top, named as the key of a Kubernetes Secret would be.
    fields_of: Option<Text>,
    /// The mode, in octal and in quotation marks.
    #[schemars(extend("default" = crate::payload::Mode::default().to_string()))]
    mode: Option<Mode>,
}

fn on_forbidden(_: &mut SchemaGenerator) -> Schema {
    words(&["keep", "delete", "exit"])
}

fn refresh(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({"anyOf": [{"enum": ["never"]}, Span::json_schema(generator)]})
}
