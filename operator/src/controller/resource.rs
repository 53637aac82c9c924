//! `RotationSchedule`, as the cluster knows it: what platform teams write, and what they are told.
//!
//! The fields are those of an entry under `rotations:` in `keywheel.yaml`, in the cluster's spelling, and mean the same. What a pattern can refuse, the API
//! server does; the rest is the configuration's own reader's, whose mistakes are in the condition `Ready`.

#![allow(clippy::duplicated_attributes, reason = "each column of the table has its type")]

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One secret that is rotated: where, when, how, and as whom.
#[derive(Clone, CustomResource, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "keywheel.dev",
    version = "v1alpha1",
    kind = "RotationSchedule",
    namespaced,
    status = "RotationScheduleStatus",
    derive = "PartialEq",
    doc = "Replaces a secret at its source by a schedule.",
    shortname = "rots",
    category = "keywheel",
    label("app.kubernetes.io/part-of", "keywheel"),
    printcolumn(name = "Target", type_ = "string", json_path = ".spec.target"),
    printcolumn(name = "Schedule", type_ = "string", json_path = ".status.schedule"),
    printcolumn(name = "Last", type_ = "date", json_path = ".status.lastRotation"),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.nextRotation"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = "1",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct RotationScheduleSpec {
    /// Where the tested value is published, such as `vault://secret/orders/db`. References name the provider `vault`.
    #[schemars(regex(pattern = r"^vault://[^#\s]+$"), length(max = 1024))]
    pub target: String,
    /// When it is rotated.
    pub schedule: Timing,
    /// How: one key names the strategy (`postgres`, `mysql`, `random`, `vault-database`, …), and its settings are below it, as in `keywheel.yaml`.
    #[schemars(schema_with = "strategy")]
    pub strategy: Map<String, Value>,
    /// What the strategy's fields are called at the target.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
    /// Where the course of a strategy that publishes nothing is written down.
    #[schemars(regex(pattern = r"^vault://[^#\s]+$"), length(max = 1024))]
    pub record: Option<String>,
    /// How long the old value stays valid after the new one is published, such as `10m`.
    #[schemars(regex(pattern = SPAN), length(max = 32))]
    pub overlap: Option<String>,
    /// For whom it stays valid beyond that.
    pub acknowledge: Option<Acknowledge>,
    /// The Vault or OpenBao that references call `vault`.
    pub provider: Provider,
    /// The service account of this namespace that the controller is there. It has to be allowed to ask for this account's tokens.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"), length(max = 253))]
    pub service_account_name: String,
}

/// When a secret is rotated: `cron`, or `every`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend(
    // For every server; one that knows CEL says it in words, too.
    "oneOf" = [{"required": ["cron"]}, {"required": ["every"]}],
    "x-kubernetes-validations" = [
        {"rule": "has(self.cron) != has(self.every)", "message": "needs one of cron and every"},
        {"rule": "!has(self.window) || has(self.cron)", "message": "window goes with cron"},
    ],
))]
pub struct Timing {
    /// Minute, hour, day of the month, month and day of the week, such as `0 3 * * 0`; perhaps the second before them.
    #[schemars(regex(pattern = r"^[0-9A-Za-z*?/,#-]+([ \t]+[0-9A-Za-z*?/,#-]+){4,5}$"), length(max = 128))]
    pub cron: Option<String>,
    /// A span after the last rotation, such as `30d`.
    #[schemars(regex(pattern = SPAN), length(max = 32))]
    pub every: Option<String>,
    /// The time zone of `cron` and `blackout`, such as `Europe/Berlin`; UTC if left out.
    #[schemars(regex(pattern = r"^[A-Za-z0-9_+/-]+$"), length(max = 64))]
    pub time_zone: Option<String>,
    /// How long after a time of `cron` a rotation may still begin.
    #[schemars(regex(pattern = SPAN), length(max = 32))]
    pub window: Option<String>,
    /// A part of this span, another one for each rotation, is added to its time.
    #[schemars(regex(pattern = SPAN), length(max = 32))]
    pub jitter: Option<String>,
    /// The age at which the value is replaced whatever `cron` and `window` say.
    #[schemars(regex(pattern = SPAN), length(max = 32))]
    pub max_age: Option<String>,
    /// Whether nothing is begun.
    #[serde(default)]
    pub paused: bool,
    /// Spans in which nothing is begun.
    #[serde(default)]
    pub blackout: Vec<Blackout>,
}

/// A span in which no rotation is begun.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Blackout {
    /// A date, or a time in the schedule's time zone, or with an offset.
    pub from: String,
    /// A date, which is the beginning of its day, or a time.
    pub until: String,
}

/// Whom a rotation waits for before the old value goes.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Acknowledge {
    /// How many replicas have to say that they use the new value.
    #[schemars(range(min = 1, max = 1000))]
    pub expect: i32,
    /// For how long they are waited for, from the publication on.
    #[schemars(regex(pattern = SPAN), length(max = 32))]
    pub deadline: String,
}

/// A Vault or OpenBao, and how to log in there.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Provider {
    /// `https://HOST[:PORT][/PREFIX]`.
    #[schemars(regex(pattern = r"^https?://[^\s@]+$"), length(max = 1024))]
    pub address: String,
    /// The namespace there that all paths are below.
    #[schemars(length(max = 256))]
    pub namespace: Option<String>,
    /// The authorities to trust, and no others, as PEM certificates; the system's, if left out.
    #[schemars(length(max = 65536))]
    pub ca_pem: Option<String>,
    /// The name that the server's certificate has, where it is not the address's host.
    #[schemars(length(max = 253))]
    pub server_name: Option<String>,
    /// The login.
    pub auth: Auth,
}

/// A login with a token of the service account, which is issued for it alone.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Auth {
    /// Whether the server asks the cluster about a token, or verifies it by itself.
    #[serde(default)]
    #[schemars(schema_with = "method")]
    pub method: Method,
    /// The mount of the method, if it is not called after it.
    #[schemars(regex(pattern = r"^[^\s?#]+$"), length(max = 256))]
    pub mount: Option<String>,
    /// The role to log in as.
    #[schemars(length(min = 1, max = 256))]
    pub role: String,
}

/// How a server finds out whose a token is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// It asks the cluster.
    #[default]
    Kubernetes,
    /// By the cluster's public key.
    Jwt,
}

/// How a rotation stands. Nothing of a value is in it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RotationScheduleStatus {
    /// The generation of the resource that this is about.
    pub observed_generation: Option<i64>,
    /// `Ready`: whether the schedule is kept, and if not, why.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The schedule in a few words.
    pub schedule: Option<String>,
    /// When the value was last replaced.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub last_rotation: Option<Timestamp>,
    /// When the next rotation is due.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub next_rotation: Option<Timestamp>,
    /// The version that was last published.
    pub version: Option<String>,
    /// How far the rotation is that is under way; `idle` where there is none.
    pub phase: Option<String>,
}

/// One condition, as the API conventions of Kubernetes have it.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// The generation of the resource that it is about.
    pub observed_generation: Option<i64>,
    /// When `status` changed last.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub last_transition_time: Timestamp,
    /// Why, in one word.
    pub reason: String,
    /// Why, for people.
    pub message: String,
}

fn strategy(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    })
}

fn method(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": ["kubernetes", "jwt"], "default": "kubernetes"})
}

/// Durations as the configuration writes them.
const SPAN: &str = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$";
