//! What the settings of the strategies are.

#![allow(dead_code, reason = "the types are described, and never made")]

use keywheel_core::schema;

#[cfg(any(feature = "mysql", feature = "postgres"))]
use crate::authorities::AuthoritiesSchema;

/// The password of one PostgreSQL role, or of two that take turns.
#[cfg(feature = "postgres")]
#[derive(schema::JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Postgres {
    /// The database that is logged in to.
    database: schema::Text,
    #[schemars(flatten)]
    server: Server,
}

/// The password of one account of MariaDB or MySQL, or of two that take turns.
#[cfg(feature = "mysql")]
#[derive(schema::JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Mysql {
    /// The database that is logged in to. Left out: none.
    database: Option<schema::Text>,
    /// The host part of the accounts, such as `10.%` or `localhost`.
    #[schemars(extend("default" = "%"))]
    user_host: Option<schema::Text>,
    #[schemars(flatten)]
    server: Server,
}

/// A database, its administrator, and the accounts.
#[cfg(any(feature = "mysql", feature = "postgres"))]
#[derive(schema::JsonSchema)]
struct Server {
    /// `HOST:PORT`.
    address: schema::Text,
    #[schemars(flatten)]
    authorities: AuthoritiesSchema,
    /// Whether the connection is encrypted and the server's certificate verified. Left out: `verify`, but for this host without an authority.
    #[schemars(default, schema_with = "tls")]
    tls: Option<schema::Text>,
    /// The administrator's login: a whole secret with the fields `username` and `password`.
    admin: schema::Reference,
    /// One account, whose password is replaced in place, or two, which take turns.
    #[schemars(length(min = 1, max = 2))]
    users: Vec<schema::Text>,
    /// What a new password looks like.
    password: Option<schema::GeneratedValue>,
}

/// Whatever a program replaces. It gets the step as its last argument and the values as JSON on its standard input.
#[cfg(feature = "exec")]
#[derive(schema::JsonSchema)]
#[schemars(deny_unknown_fields, extend("oneOf" = [{"required": ["command"]}, {"required": ["commands"]}]))]
pub(super) struct Exec {
    /// The program and its arguments, for all steps.
    #[schemars(length(min = 1))]
    command: Option<Vec<schema::Text>>,
    /// A program for each step.
    commands: Option<Commands>,
    /// The fields that the new value has.
    #[schemars(extend("default" = ["password"]))]
    fields: Option<Vec<schema::Text>>,
    /// What the field `password` looks like, where Keywheel makes it. Left out: the step `create` makes the value.
    password: Option<schema::GeneratedValue>,
    /// Whether the old value works beside the new one until it is retired.
    #[schemars(extend("default" = false))]
    gapless: Option<schema::Flag>,
    /// How long a step may take; 40s at most.
    #[schemars(extend("default" = "30s"))]
    timeout: Option<schema::Span>,
    /// Whether what it prints to standard error goes to the log.
    #[schemars(extend("default" = false))]
    log_output: Option<schema::Flag>,
}

/// A program and its arguments for each step.
#[cfg(feature = "exec")]
#[derive(schema::JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Commands {
    /// Makes a new value, and changes nothing.
    create: Option<Vec<schema::Text>>,
    /// Checks that the other steps can be done.
    check: Option<Vec<schema::Text>>,
    /// Makes the system accept the new value.
    set: Vec<schema::Text>,
    /// Uses the new value.
    test: Vec<schema::Text>,
    /// Undoes `set`.
    undo: Vec<schema::Text>,
    /// Has the system not accept the old value any more.
    retire: Vec<schema::Text>,
}

/// A generated value, the field `value`; or a pair of keys, the fields `private_key` and `public_key`.
#[cfg(feature = "random")]
#[derive(schema::JsonSchema)]
#[schemars(untagged)]
pub(super) enum Random {
    /// A value.
    Value(schema::GeneratedValue),
    /// A pair of keys.
    Key(Key),
}

/// A pair of keys.
#[cfg(feature = "random")]
#[derive(schema::JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
pub(super) struct Key {
    /// The kind of the pair.
    #[schemars(schema_with = "kinds")]
    key: schema::Text,
}

#[cfg(feature = "random")]
fn kinds(_: &mut schema::SchemaGenerator) -> schema::Schema {
    use crate::keys::KeyKind;

    schemars::json_schema!({"enum": KeyKind::ALL.map(KeyKind::as_str)})
}

/// The secret id of an AppRole: the field `secret_id`.
#[cfg(feature = "vault")]
#[derive(schema::JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct AppRole {
    /// The role, such as `vault://auth/approle/role/orders`.
    role: schema::Reference,
}

/// The version that a key of transit encrypts and signs with.
#[cfg(feature = "vault")]
#[derive(schema::JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct TransitKey {
    /// How many versions still decrypt once the overlap is over, the new one among them. Left out: all.
    keep: Option<schema::Count<1, { u32::MAX }>>,
}

#[cfg(any(feature = "mysql", feature = "postgres"))]
fn tls(_: &mut schema::SchemaGenerator) -> schema::Schema {
    // `off` is a truth value to readers of YAML 1.1.
    schemars::json_schema!({"enum": ["verify", "off", false]})
}
