//! The entries under `providers:`: what all kinds have, and what each has of its own.

#![allow(dead_code, reason = "the types are described, and never made")]

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::values::{Count, Flag, Number, Span};
use crate::config::{ProviderConfig, format_duration};
use crate::layer::BudgetLimits;
use crate::registry::{Kind, Registry};

/// What every kind of provider has.
#[derive(JsonSchema)]
struct Common {
    /// How many requests it may send.
    budget: Option<Budget>,
    /// How long one request may take.
    #[schemars(extend("default" = format_duration(ProviderConfig::DEFAULT_TIMEOUT)))]
    timeout: Option<Span>,
    /// Whether its login, and the leases made with it, are given back when the program ends. Left out: what the whole configuration says.
    revoke_on_shutdown: Option<Flag>,
}

/// How many requests a provider may send: a bound that an outage or a mistake does not break.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Budget {
    /// At this rate, over time; 0.01 at least.
    #[schemars(extend("default" = BudgetLimits::default().requests_per_second))]
    requests_per_second: Option<Number>,
    /// So many at once.
    #[schemars(extend("default" = BudgetLimits::default().burst))]
    burst: Option<Count<1, { u32::MAX }>>,
    /// So many new credentials of each dynamic secret in an hour; two in the life of each, where it lives too short for that.
    #[schemars(extend("default" = BudgetLimits::default().mints_per_hour))]
    mints_per_hour: Option<Count<1, { u32::MAX }>>,
}

pub(super) fn schema(registry: &Registry, generator: &mut SchemaGenerator) -> Schema {
    let common = properties(&Common::json_schema(generator));
    let kinds: Vec<Value> = registry
        .each_kind()
        .map(|kind| {
            let name = format!("Provider-{}", kind.name());
            let schema = one(kind, &common, generator);
            generator.definitions_mut().insert(name.clone(), schema.into());
            json!({"$ref": format!("#/definitions/{name}")})
        })
        .collect();
    json_schema!({"description": "A provider; `kind` says which settings it has.", "oneOf": kinds})
}

/// Puts what all kinds have beside the settings of one.
fn one(kind: &dyn Kind, common: &Map<String, Value>, generator: &mut SchemaGenerator) -> Schema {
    let mut schema = kind.schema(generator);
    let mut all = properties(&schema);
    all.extend(common.clone());
    let names: Vec<&str> = std::iter::once(kind.name()).chain(kind.aliases().iter().copied()).collect();
    all.insert("kind".into(), json!({"description": "What it is.", "enum": names}));
    let own = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let required: Vec<Value> = std::iter::once("kind".into()).chain(own).collect();
    schema.insert("properties".into(), all.into());
    schema.insert("required".into(), required.into());
    schema
}

fn properties(schema: &Schema) -> Map<String, Value> {
    schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default()
}
