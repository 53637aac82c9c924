//! What a delivery does around a change: what has to hold before it, when it may be, who is told, and how the application proves that it works.

use std::path::PathBuf;
use std::time::Duration;

use super::section::{Item, Section, Setting};
use crate::audit;
use crate::environment::Environment;
use crate::http::{Method, Request};
use crate::notify::{Mark, Notifier, Restart, Rollout, Signal, SignalNumber, Target, Workload, WorkloadKind};
use crate::probe::{Check, Probe};
use crate::program::Program;
use crate::schedule::{Cron, Timing, Window, splay};
use crate::validate::Validator;

/// The keys of a delivery that are about its changes.
#[derive(Clone, Debug, Default)]
pub struct ChangeConfig {
    /// What has to hold of the files before they become visible.
    pub validate: Vec<Validator>,
    /// When a change that is not urgent may be applied.
    pub timing: Timing,
    /// Who is told of a change, in this order.
    pub on_change: Vec<OnChange>,
    /// How the application proves that it works with the change.
    pub verify: Option<Probe>,
    /// How long a generation, and the leases of its secrets, stay after it was replaced, where this is set; see [`overlap`](Self::overlap).
    pub overlap_set: Option<Duration>,
    /// What tells this process from its replicas.
    pub replica: String,
}

/// One who is told of a change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OnChange {
    /// How.
    pub notifier: Notifier,
    /// Whether the delivery is not ready while this one could not be told.
    pub required: bool,
}

impl ChangeConfig {
    /// How long a replaced generation stays when nothing is said.
    pub const DEFAULT_OVERLAP: Duration = Duration::from_secs(10);

    /// Returns how long a generation stays after it was replaced, for readers that still hold it.
    pub fn overlap(&self) -> Duration {
        self.overlap_set.unwrap_or(Self::DEFAULT_OVERLAP)
    }
}

/// Reads the keys out of a delivery's `section`; `name` is the delivery's.
pub(super) fn read(section: &mut Section<'_>, name: &str, environment: &Environment) -> ChangeConfig {
    let validate = section.list("validate").iter().filter_map(read_validator).collect();
    let on_change: Vec<OnChange> = section.list("on_change").iter().filter_map(read_on_change).collect();
    let rolls_out = on_change.iter().any(|told| matches!(told.notifier, Notifier::Rollout(_)));
    if rolls_out && !Mark::can_name(name) {
        section.mistake("a delivery with `rollout` needs a `name` of at most 54 characters that ends with a letter or digit");
    }
    let verify = section.section("verify").and_then(read_probe);
    let overlap_set = section.optional("overlap");
    let window = section.section("window").and_then(read_window);
    let spread: Duration = section.optional("splay").unwrap_or_default();
    let replica = identity(environment);
    let offset = splay(spread, &format!("{name}@{replica}"));
    ChangeConfig { validate, timing: Timing { window, offset }, on_change, verify, overlap_set, replica }
}

/// Returns what tells this process from its replicas and stays the same when it is started again: the pod's UID, where the environment has it, else
/// the name of the host, which is the pod's.
fn identity(environment: &Environment) -> String {
    let name = environment.first(&["KEYWHEEL_POD_UID", "POD_UID"]).map_or_else(audit::host, str::to_owned);
    name.trim().to_owned()
}

fn read_validator(item: &Item<'_>) -> Option<Validator> {
    let mut section = item.section()?;
    let exec = section.optional::<Vec<String>>("exec");
    let timeout = section.optional("timeout");
    let log_output = section.optional("log_output");
    let certificates = section.optional("certificate");
    let key = section.optional("key");
    let of_file: Vec<Validator> = [
        section.optional("not_empty").map(Validator::NotEmpty),
        section.optional("json").map(Validator::Json),
        section.optional("yaml").map(Validator::Yaml),
        section.optional("dotenv").map(Validator::Dotenv),
    ]
    .into_iter()
    .flatten()
    .collect();
    if exec.is_none() && (timeout.is_some() || log_output.is_some()) {
        section.mistake("`timeout` and `log_output` go with `exec`");
    }
    if certificates.is_none() && key.is_some() {
        section.mistake("`key` goes with `certificate`");
    }
    let exec = exec.map(|command| {
        let program = program(&section, command, timeout, log_output);
        Validator::Exec(Program { names_directory: true, ..program })
    });
    let certificate = certificates.map(|certificates| Validator::Certificate { certificates, key });
    let mut all: Vec<Validator> = of_file.into_iter().chain(exec).chain(certificate).collect();
    if all.len() != 1 {
        section.mistake("needs one of `exec`, `not_empty`, `json`, `yaml`, `dotenv` and `certificate`");
    }
    section.finish();
    if all.len() == 1 { all.pop() } else { None }
}

fn read_on_change(item: &Item<'_>) -> Option<OnChange> {
    let mut section = item.section()?;
    let signal = section.section("signal");
    let exec = section.section("exec");
    let http = section.item("http");
    let restart = section.section("restart");
    let required = section.optional("required").unwrap_or(false);
    let rollout = section.section("rollout");
    let notifier = match (signal, exec, http, restart, rollout) {
        (Some(signal), None, None, None, None) => read_signal(signal).map(Notifier::Signal),
        (None, Some(exec), None, None, None) => read_exec(exec).map(Notifier::Exec),
        (None, None, Some(http), None, None) => read_request(&http, Method::Post).map(Notifier::Http),
        (None, None, None, Some(restart), None) => Some(Notifier::Restart(read_restart(restart))),
        (None, None, None, None, Some(rollout)) => read_rollout(rollout).map(Notifier::Rollout),
        _ => {
            section.mistake("needs one of `signal`, `exec`, `http`, `restart` and `rollout`");
            None
        }
    };
    section.finish();
    Some(OnChange { notifier: notifier?, required })
}

fn read_signal(mut section: Section<'_>) -> Option<Signal> {
    let process: Option<String> = section.optional("process");
    let pid_file: Option<PathBuf> = section.optional("pid_file");
    let number: Option<SignalNumber> = section.required("signal");
    let which: Option<Which> = section.optional("which");
    if which.is_some() && process.is_none() {
        section.mistake("`which` goes with `process`");
    }
    let target = match (process, pid_file) {
        (Some(process), None) => Some(which.unwrap_or(Which::All).of(process)),
        (None, Some(pid_file)) => Some(Target::PidFile(pid_file)),
        _ => {
            section.mistake("needs either `process` or `pid_file`");
            None
        }
    };
    section.finish();
    Some(Signal { target: target?, number: number? })
}

fn read_exec(mut section: Section<'_>) -> Option<Program> {
    let program = Program::parse(&mut section);
    section.finish();
    program
}

impl Program {
    /// Reads `command`, `timeout` and `log_output`.
    pub fn parse(section: &mut Section<'_>) -> Option<Self> {
        let command: Option<Vec<String>> = section.required("command");
        let (timeout, log_output) = (section.optional("timeout"), section.optional("log_output"));
        command.map(|command| program(section, command, timeout, log_output))
    }
}

fn read_restart(mut section: Section<'_>) -> Restart {
    let restart = Restart::new(section.optional("grace"));
    section.finish();
    restart
}

fn read_rollout(mut section: Section<'_>) -> Option<Rollout> {
    let kind: Option<WorkloadKind> = section.required("kind");
    let name: Option<String> = section.required("name");
    let namespace: Option<String> = section.optional("namespace");
    if [&name, &namespace].into_iter().flatten().any(|name| !Workload::is_name(name)) {
        section.mistake("`name` and `namespace` have lower-case letters, digits, `-` and `.`");
    }
    section.finish();
    Some(Rollout::new(Workload { kind: kind?, name: name?, namespace }))
}

fn program(
    section: &Section<'_>,
    command: Vec<String>,
    timeout: Option<Duration>,
    log_output: Option<bool>,
) -> Program {
    if command.is_empty() {
        section.mistake("`command` needs a program");
    }
    let timeout = timeout.unwrap_or(Program::DEFAULT_TIMEOUT);
    Program { log_output: log_output.unwrap_or(false), ..Program::new(command, timeout) }
}

/// Reads a request: its URL, or a mapping with `url`.
fn read_request(item: &Item<'_>, method: Method) -> Option<Request> {
    let checked = |url: String, method, socket, timeout: Option<Duration>| {
        let timeout = timeout.unwrap_or(Request::DEFAULT_TIMEOUT);
        Request::try_new(method, &url, socket, timeout).map_err(|error| item.mistake(error)).ok()
    };
    if !item.is_section() {
        return checked(item.parse()?, method, None, None);
    }
    let mut section = item.section()?;
    let url: Option<String> = section.required("url");
    let method = section.optional("method").unwrap_or(method);
    let socket = section.optional("unix_socket");
    let timeout = section.optional("timeout");
    section.finish();
    checked(url?, method, socket, timeout)
}

fn read_probe(mut section: Section<'_>) -> Option<Probe> {
    let http = section.item("http");
    let tcp: Option<String> = section.optional("tcp");
    let exec: Option<Vec<String>> = section.optional("exec");
    let timeout: Option<Duration> = section.optional("timeout");
    let within = section.optional("within").unwrap_or(Probe::DEFAULT_WITHIN);
    let delay = section.optional("delay").unwrap_or_default();
    let interval = section.optional("interval").unwrap_or(Probe::DEFAULT_INTERVAL);
    let successes = section.optional("successes").unwrap_or(1);
    let check = match (http, tcp, exec) {
        (Some(http), None, None) => read_request(&http, Method::Get).map(|request| {
            Check::Http(timeout.map_or(request.clone(), |timeout| request.with_timeout(timeout)))
        }),
        (None, Some(address), None) if is_address(&address) => {
            Some(Check::Tcp { address, timeout: timeout.unwrap_or(Request::DEFAULT_TIMEOUT) })
        }
        (None, Some(_), None) => {
            section.mistake("`tcp` must be HOST:PORT");
            None
        }
        (None, None, Some(command)) => Some(Check::Exec(program(&section, command, timeout, None))),
        _ => {
            section.mistake("needs one of `http`, `tcp` and `exec`");
            None
        }
    };
    if within.is_zero() || interval.is_zero() || successes == 0 {
        section.mistake("`within`, `interval` and `successes` must be more than zero");
    }
    if within <= delay {
        section.mistake("`within` must be longer than `delay`");
    }
    section.finish();
    Some(Probe { check: check?, within, delay, interval, successes })
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

fn read_window(mut section: Section<'_>) -> Option<Window> {
    let schedule: Option<String> = section.required("schedule");
    let duration: Option<Duration> = section.required("duration");
    let zone = section.optional("time_zone").unwrap_or_else(|| "UTC".to_owned());
    if duration.is_some_and(|duration| duration < SHORTEST_WINDOW) {
        section.mistake("`duration` must be at least 1m");
    }
    let opens = schedule.and_then(|schedule| {
        let opens = Cron::try_new(&schedule, &zone);
        opens.map_err(|error| section.mistake(format!("the window {error}"))).ok()
    });
    section.finish();
    Some(Window { opens: opens?, duration: duration? })
}

/// A shorter window could open and close between two looks.
const SHORTEST_WINDOW: Duration = Duration::from_secs(60);

/// Which processes of a name a signal is for.
#[derive(Clone, Copy, Debug)]
enum Which {
    All,
    Oldest,
}

impl Which {
    fn of(self, process: String) -> Target {
        match self {
            Self::All => Target::Process(process),
            Self::Oldest => Target::Oldest(process),
        }
    }
}

impl Setting for Which {
    fn parse(value: &Item<'_>) -> Result<Self, String> {
        match String::parse(value)?.as_str() {
            "all" => Ok(Self::All),
            "oldest" => Ok(Self::Oldest),
            _ => Err("must be all or oldest".into()),
        }
    }
}

impl Setting for SignalNumber {
    fn parse(value: &Item<'_>) -> Result<Self, String> {
        String::parse(value)?.parse().map_err(|error: crate::notify::SignalNameError| error.to_string())
    }
}

impl Setting for WorkloadKind {
    fn parse(value: &Item<'_>) -> Result<Self, String> {
        String::parse(value)?.parse()
    }
}

impl Setting for Method {
    fn parse(value: &Item<'_>) -> Result<Self, String> {
        String::parse(value)?.parse()
    }
}
