//! The configuration as a whole.

#![allow(dead_code, reason = "the types are described, and never made")]

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::delivery::Delivery;
use super::incidents::Incidents;
use super::rotation::Rotation;
use super::values::{AbsolutePath, Count, Flag, Text};

/// Keywheel's configuration: where secrets come from, where they are delivered, and what is rotated.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Configuration {
    /// The providers by the names that references begin with. A kind's own name (`vault`, `bao`, `aws`, `ssm`, `file`, `env`) needs no entry: its settings are then the environment's.
    providers: Option<BTreeMap<String, AnyProvider>>,
    /// What is delivered where.
    deliveries: Option<Vec<Delivery>>,
    /// What `keywheel rotate` replaces at its source.
    rotations: Option<Vec<Rotation>>,
    /// Who may report incidents to `keywheel rotate serve` (`POST /incidents` of `admin`, which it needs), and what is done about them.
    incidents: Option<Incidents>,
    /// The endpoint with `/livez`, `/readyz`, `/status` and `/metrics`, `POST /refresh` and `POST /quit`. Without it there is none.
    admin: Option<Admin>,
    /// Where programs of this host ask for secrets. Without it nowhere.
    api: Option<Api>,
    /// A memory-backed directory that is private to the program: a restart goes on with its logins, leases and certificates. It lies in no delivery's directory, and holds none.
    state_directory: Option<AbsolutePath>,
    /// Whether logins and leases are given back when the program ends.
    #[schemars(extend("default" = true))]
    revoke_on_shutdown: Option<Flag>,
}

/// The endpoint with `/livez`, `/readyz`, `/status` and `/metrics`, `POST /refresh` and `POST /quit`; of `rotate serve`, `POST /incidents`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Admin {
    /// `ADDRESS:PORT`, such as `127.0.0.1:9464`, or `unix:/PATH`.
    listen: Text,
}

/// Where programs of this host ask for secrets, and which.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Api {
    /// `unix:/PATH`, or an address and port on loopback, such as `127.0.0.1:2773`.
    listen: Text,
    /// A file with the token that every request presents, of 20 characters or more; needed for a port. It is read again each time.
    token_file: Option<Text>,
    /// For a socket: the users (UIDs) that may ask beside the program's own.
    users: Option<Vec<Count<0, { u32::MAX }>>>,
}

/// A provider, of whatever kind the program knows.
struct AnyProvider;

impl JsonSchema for AnyProvider {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Provider".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"$ref": "#/definitions/Provider"})
    }
}
