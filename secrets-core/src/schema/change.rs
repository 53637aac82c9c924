//! What a delivery does around a change.

#![allow(dead_code, reason = "the types are described, and never made")]

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::values::{Count, Either, Flag, Span, Text, words};
use crate::config::format_duration;
use crate::http::Request as HttpRequest;
use crate::probe::Probe;
use crate::program::Program as HookProgram;

/// A check of the new files, before they become visible. Files that do not pass it never do.
#[derive(JsonSchema)]
#[schemars(
    deny_unknown_fields,
    extend("oneOf" = [
        {"required": ["exec"]}, {"required": ["not_empty"]}, {"required": ["json"]}, {"required": ["yaml"]}, {"required": ["dotenv"]},
        {"required": ["certificate"]},
    ])
)]
pub(super) struct Validate {
    /// A program, and its arguments; `{directory}` in them is the folder with the new files. Exit code 0 passes.
    exec: Option<Vec<Text>>,
    /// How long the program may take.
    #[schemars(extend("default" = format_duration(HookProgram::DEFAULT_TIMEOUT)))]
    timeout: Option<Span>,
    /// Whether what the program prints goes to the log; it is discarded otherwise.
    #[schemars(extend("default" = false))]
    log_output: Option<Flag>,
    /// A file that has to hold something.
    not_empty: Option<Text>,
    /// A file that has to be JSON.
    json: Option<Text>,
    /// A file that has to be YAML.
    yaml: Option<Text>,
    /// A file that has to be lines of `NAME=value`.
    dotenv: Option<Text>,
    /// A file whose certificates, in PEM, have to be valid now.
    certificate: Option<Text>,
    /// A file with the private key that has to be the certificate's.
    key: Option<Text>,
}

/// Somebody who is told of a new generation.
#[derive(JsonSchema)]
#[schemars(
    deny_unknown_fields,
    extend("oneOf" = [
        {"required": ["signal"]}, {"required": ["exec"]}, {"required": ["http"]}, {"required": ["restart"]}, {"required": ["rollout"]},
    ])
)]
pub(super) struct OnChange {
    /// A signal to a process.
    signal: Option<Signal>,
    /// A program.
    exec: Option<Hook>,
    /// A request; a text is its URL, and the method POST. Any answer from 200 to 299 is good.
    http: Option<Either<Text, Request>>,
    /// A restart of the command of `keywheel run`, under which alone it works.
    restart: Option<Restart>,
    /// A rollout of a workload of the cluster: its pods are replaced at the pace of its own strategy.
    rollout: Option<Rollout>,
    /// Whether the delivery is not ready while this one could not be told.
    #[schemars(extend("default" = false))]
    required: Option<Flag>,
}

/// A signal to a process.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("oneOf" = [{"required": ["process"]}, {"required": ["pid_file"]}]))]
struct Signal {
    /// The name of the processes.
    process: Option<Text>,
    /// The file with the process's number.
    pid_file: Option<Text>,
    /// Which, such as `SIGHUP`.
    signal: Text,
    /// Of several processes with that name `all`, or the `oldest`.
    #[schemars(default, schema_with = "which", extend("default" = "all"))]
    which: Option<Text>,
}

/// A program that is run without a shell, in a process group of its own.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Hook {
    /// The program and its arguments.
    command: Vec<Text>,
    /// How long it may take.
    #[schemars(extend("default" = format_duration(HookProgram::DEFAULT_TIMEOUT)))]
    timeout: Option<Span>,
    /// Whether what it prints goes to the log; it is discarded otherwise.
    #[schemars(extend("default" = false))]
    log_output: Option<Flag>,
}

/// A request to the application.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Request {
    /// Where to, such as `http://127.0.0.1:8080/-/reload`.
    url: Text,
    /// Left out: POST in `on_change`, GET in `verify`.
    #[schemars(default, schema_with = "method")]
    method: Option<Text>,
    /// The socket that the request goes through.
    unix_socket: Option<Text>,
    /// How long it may take.
    #[schemars(extend("default" = format_duration(HttpRequest::DEFAULT_TIMEOUT)))]
    timeout: Option<Span>,
}

/// A restart of the command of `keywheel run`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Restart {
    /// How long it has to end by itself, before it is killed. Left out: `--grace` of `run`.
    grace: Option<Span>,
}

/// A rollout of a workload.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Rollout {
    /// What the workload is.
    #[schemars(schema_with = "workload")]
    kind: Text,
    /// Its name.
    name: Text,
    /// Its namespace. Left out: the pod's own.
    namespace: Option<Text>,
}

/// How the application proves that it works.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("oneOf" = [{"required": ["http"]}, {"required": ["tcp"]}, {"required": ["exec"]}]))]
pub(super) struct Verify {
    /// A request that has to be answered with a status from 200 to 399; a text is its URL.
    http: Option<Either<Text, Request>>,
    /// `HOST:PORT`, where somebody has to listen.
    tcp: Option<Text>,
    /// A program that has to end with code 0.
    exec: Option<Vec<Text>>,
    /// How long one attempt may take. Left out: 5s, of `exec` 10s.
    timeout: Option<Span>,
    /// How long the application has in all, from the moment at which the files are visible.
    #[schemars(extend("default" = format_duration(Probe::DEFAULT_WITHIN)))]
    within: Option<Span>,
    /// How long it is left alone first.
    #[schemars(extend("default" = "0s"))]
    delay: Option<Span>,
    /// How long to wait between two attempts.
    #[schemars(extend("default" = format_duration(Probe::DEFAULT_INTERVAL)))]
    interval: Option<Span>,
    /// How many attempts in a row have to succeed.
    #[schemars(extend("default" = 1))]
    successes: Option<Count<1, { u32::MAX }>>,
}

/// When a change that is not urgent may be applied. The first generation, a credential that would end before, and `keywheel refresh` do not wait.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Window {
    /// When it opens: a cron pattern of five fields, such as `0 2 * * *`.
    schedule: Text,
    /// How long it is open; at least 1m.
    duration: Span,
    /// The zone of the pattern, such as `Europe/Berlin`.
    #[schemars(extend("default" = "UTC"))]
    time_zone: Option<Text>,
}

fn which(_: &mut SchemaGenerator) -> Schema {
    words(&["all", "oldest"])
}

fn method(_: &mut SchemaGenerator) -> Schema {
    words(&["GET", "HEAD", "POST", "PUT"])
}

fn workload(_: &mut SchemaGenerator) -> Schema {
    words(&["Deployment", "StatefulSet", "DaemonSet"])
}
