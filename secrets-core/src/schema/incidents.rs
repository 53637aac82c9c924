//! The section `incidents:`.

#![allow(dead_code, reason = "the types are described, and never made")]

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::values::{Count, Text, words};
use crate::incident::{IncidentsConfig, Priority};

/// Who may report that a secret has leaked, and which are replaced then.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Incidents {
    /// A file with the token that a report has to present, of 20 characters or more. It is read again each time.
    token_file: Text,
    /// How many emergencies a rotation may have in an hour.
    #[schemars(extend("default" = IncidentsConfig::DEFAULT_PER_HOUR))]
    per_hour: Option<Count<1, { u32::MAX }>>,
    /// Which reports ask for which rotations; every rule that fits counts.
    #[schemars(length(min = 1))]
    rules: Vec<Rule>,
}

/// A rule fits a report when all that it says is so.
#[derive(JsonSchema)]
#[schemars(
    deny_unknown_fields,
    extend("anyOf" = [{"required": ["rule"]}, {"required": ["priority"]}, {"required": ["tags"]}, {"required": ["fields"]}])
)]
struct Rule {
    /// The name of Falco's rule; `*` stands for any text.
    rule: Option<Text>,
    /// The least priority.
    #[schemars(default, schema_with = "priority")]
    priority: Option<Text>,
    /// Tags that the report has, all of them.
    tags: Option<Vec<Text>>,
    /// Output fields, such as `k8s.ns.name`, and what they are; `*` stands for any text.
    fields: Option<BTreeMap<String, Text>>,
    /// Which rotations are made.
    #[schemars(length(min = 1))]
    rotations: Vec<Text>,
}

fn priority(_: &mut SchemaGenerator) -> Schema {
    let mut schema = words(&Priority::names().map(str::to_ascii_lowercase).collect::<Vec<_>>());
    // As Falco writes them.
    let pattern = format!("^({})$", Priority::names().collect::<Vec<_>>().join("|"));
    if let Some(alternatives) = schema.get_mut("anyOf").and_then(serde_json::Value::as_array_mut) {
        alternatives.push(serde_json::json!({"type": "string", "pattern": pattern}));
    }
    schema
}
