//! The entries under `rotations:`.

#![allow(dead_code, reason = "the types are described, and never made")]

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::values::{Count, Flag, Reference, Span, Text};
use crate::config::format_duration;
use crate::registry::Registry;
use crate::rotation::RotationConfig;

/// One secret that is replaced at its source: where, when and how.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Rotation {
    /// Its name, for messages and the command line: letters, digits, `-`, `_` and `.`; none of `serve`, `status` and `rollback`.
    name: Text,
    /// Where the tested value is published: a whole secret. With a strategy that publishes nothing, what is replaced.
    target: Reference,
    /// When.
    schedule: Schedule,
    /// How: one key names the strategy.
    strategy: AnyStrategy,
    /// What the strategy's fields are called at the target. Left out: as the strategy calls them. The target's other fields stay.
    fields: Option<BTreeMap<String, Text>>,
    /// For a strategy that publishes nothing: the secret that the course of the rotation is written down in.
    record: Option<Reference>,
    /// How long the old value stays valid after the new one is published, where the strategy can leave it valid.
    #[schemars(extend("default" = format_duration(RotationConfig::DEFAULT_OVERLAP)))]
    overlap: Option<Span>,
    /// Whom the old value stays valid for beyond that.
    acknowledge: Option<Acknowledge>,
}

/// When a secret is rotated: by `cron`, or `every` so often.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("oneOf" = [{"required": ["cron"]}, {"required": ["every"]}]))]
struct Schedule {
    /// A pattern of five fields, or of six with seconds before them, such as `0 3 * * 0`.
    cron: Option<Text>,
    /// So long after the last rotation, such as `30d`.
    every: Option<Span>,
    /// With `cron`: how long after each of its times a rotation may begin. Left out: what was missed is made up for, once.
    window: Option<Span>,
    /// By how much at most a rotation is put off, by a part that all replicas agree on.
    #[schemars(extend("default" = "0s"))]
    jitter: Option<Span>,
    /// How old a value may become, whatever `cron` and `window` say.
    max_age: Option<Span>,
    /// The zone of `cron` and `blackout`.
    #[schemars(extend("default" = "UTC"))]
    time_zone: Option<Text>,
    /// Times at which nothing but `--now` rotates.
    blackout: Option<Vec<Blackout>>,
    /// Whether nothing but `--now` rotates.
    #[schemars(extend("default" = false))]
    paused: Option<Flag>,
}

/// A time at which nothing is rotated.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Blackout {
    /// A date, such as `2026-12-20`, which is the beginning of its day, or a time, such as `2026-12-20T18:00`, also with an offset.
    from: Text,
    /// Likewise.
    until: Text,
}

/// The replicas that the old value stays valid for.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Acknowledge {
    /// How many have to say that they work with the new one.
    expect: Count<1, 4096>,
    /// Until when they are waited for, from the publication on; not shorter than `overlap`.
    deadline: Span,
}

/// A strategy, of whatever kind the program knows.
struct AnyStrategy;

impl JsonSchema for AnyStrategy {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Strategy".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"$ref": "#/definitions/Strategy"})
    }
}

/// Returns the schema of `strategy:`, which has one key.
pub(super) fn strategy(registry: &Registry, generator: &mut SchemaGenerator) -> Schema {
    let mut properties = Map::new();
    for kind in registry.each_strategy() {
        let schema = Value::from(kind.schema(generator));
        let name = format!("Strategy-{}", kind.name());
        generator.definitions_mut().insert(name.clone(), schema);
        for name_of_it in std::iter::once(kind.name()).chain(kind.aliases().iter().copied()) {
            properties.insert(name_of_it.into(), json!({"$ref": format!("#/definitions/{name}")}));
        }
    }
    json_schema!({
        "description": "How a secret is replaced: one key names the strategy, and its settings are below it.",
        "type": "object", "properties": properties, "additionalProperties": false, "minProperties": 1, "maxProperties": 1,
    })
}
