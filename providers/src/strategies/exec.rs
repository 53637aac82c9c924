//! Has a program replace a credential, step by step.
//!
//! | Key | Meaning |
//! |---|---|
//! | `command` | the program and its arguments; one more at the end is the step |
//! | `commands` | instead of `command`, one for each step: `set`, `test`, `undo` and `retire`, and where there is something to do, `create` and `check` |
//! | `fields` | the names of the credential's fields (`[password]`) |
//! | `password` | what the field `password` looks like, where the program makes none itself |
//! | `gapless` | whether the old credential works beside the new one until it is retired (`false`) |
//! | `timeout` | how long a step may take (`30s`); the program is killed then, with its group |
//! | `log_output` | whether the beginning of what it writes to its standard error goes to the log (`false`) |
//!
//! The steps are `create`, `check`, `set`, `test`, `undo` and `retire`, in the meaning that [`Strategy`] gives them; each may come twice, and
//! `undo` without a `set`. The program reads one JSON object:
//!
//! ```json
//! {"step": "set", "token": "…", "emergency": false, "new": {"password": "…"}, "old": {"password": "…"}}
//! ```
//!
//! `token` is the same for all steps of one rotation; `old` is null where nothing was published before. For `create`, `token` is null and `new` is
//! empty: it changes nothing, and may write the new fields as a JSON object. A field that it does not write is made by `password`, or else is the
//! old one. What is written for other steps is not looked at.
//!
//! A program ends with the rotator that runs it, also where that is killed, if it was given a [guard](keywheel_core::program::Guard), as `keywheel rotate` gives it.
//!
//! Exit code 0 is done, 75 (`EX_TEMPFAIL`) is to be tried again, and any other is a failure: the rotation is undone. Nothing that the program
//! writes is in an error, and no value is in its arguments or its environment, which holds no credentials of this process either.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use keywheel_core::config::{Item, Section};
use keywheel_core::program::{Failure, Program};
use keywheel_core::rotation::policy::Policy;
use keywheel_core::rotation::{Fields, Plan, Strategy, StrategyContext, StrategyKind, Turn};
#[cfg(feature = "schema")]
use keywheel_core::schema::{JsonSchema, Schema, SchemaGenerator};
use keywheel_core::value::Exposed;
use keywheel_core::{Error, ErrorKind, Result, SecretValue, Value};
use serde::Serialize;

/// The strategy `exec`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExecStrategy;

#[derive(Clone, Debug)]
struct Exec {
    /// By the step; there may be none for `create` and `check`.
    programs: BTreeMap<&'static str, Program>,
    fields: Vec<String>,
    password: Option<Policy>,
    is_gapless: bool,
}

impl StrategyKind for ExecStrategy {
    fn name(&self) -> &'static str {
        "exec"
    }

    #[cfg(feature = "schema")]
    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        super::schema::Exec::json_schema(generator)
    }

    fn configure(&self, mut settings: Section<'_>) -> Option<Box<dyn Plan>> {
        let programs = read_programs(&mut settings);
        let fields = settings.optional::<Vec<String>>("fields").unwrap_or_else(|| vec![PASSWORD.to_owned()]);
        let distinct: BTreeSet<&String> = fields.iter().filter(|field| !field.is_empty()).collect();
        if fields.is_empty() || distinct.len() < fields.len() {
            settings.mistake("`fields` needs names, each once");
        }
        let password = settings.section("password").map(Policy::parse);
        if password.is_some() && !fields.iter().any(|field| field == PASSWORD) {
            settings.mistake("`password` makes the field `password`, which `fields` does not have");
        }
        if password.is_none() && programs.as_ref().is_some_and(|programs| !programs.contains_key(CREATE)) {
            settings
                .mistake("needs `password`, or `create` in `commands`: something has to make a new value");
        }
        let is_gapless = settings.optional("gapless").unwrap_or(false);
        settings.finish();
        let password = match password {
            Some(policy) => Some(policy?),
            None => None,
        };
        Some(Box::new(Exec { programs: programs?, fields, password, is_gapless }))
    }
}

/// Reads `command`, or `commands`; the other settings of programs are the same for all.
fn read_programs(settings: &mut Section<'_>) -> Option<BTreeMap<&'static str, Program>> {
    let timeout = settings.optional("timeout").unwrap_or(TIMEOUT);
    if timeout > LONGEST {
        settings.mistake(format!("`timeout` is {LONGEST:?} at most"));
    }
    let log_output = settings.optional("log_output").unwrap_or(false);
    let read = |item: &Item<'_>| {
        let command: Vec<String> = item.parse()?;
        if command.is_empty() {
            item.mistake("needs a program");
            return None;
        }
        let mut program = Program::new(command, timeout);
        program.log_output = log_output;
        Some(program)
    };
    match (settings.item("command"), settings.item("commands")) {
        (Some(one), None) => {
            let program = read(&one)?;
            Some(STEPS.map(|step| (step, program.clone())).into())
        }
        (None, Some(each)) => read_steps(each.section()?, read),
        (Some(_), Some(_)) => {
            settings.mistake(
                "`command` does every step, and `commands` names one for each: leave one of them out",
            );
            None
        }
        (None, None) => {
            settings.mistake("needs `command` for all steps, or `commands` with one for each");
            None
        }
    }
}

/// Reads the program of each step; none of them where one is wrong.
fn read_steps(
    mut commands: Section<'_>,
    read: impl Fn(&Item<'_>) -> Option<Program>,
) -> Option<BTreeMap<&'static str, Program>> {
    let (mut programs, mut is_whole) = (BTreeMap::new(), true);
    for step in STEPS {
        match commands.item(step) {
            Some(item) => match read(&item) {
                Some(program) => drop(programs.insert(step, program)),
                None => is_whole = false,
            },
            None if [CREATE, CHECK].contains(&step) => {}
            None => {
                commands.mistake(format!("needs `{step}`"));
                is_whole = false;
            }
        }
    }
    commands.finish();
    is_whole.then_some(programs)
}

impl Plan for Exec {
    fn fields(&self) -> Vec<&str> {
        self.fields.iter().map(String::as_str).collect()
    }

    fn programs(&mut self) -> Vec<&mut Program> {
        self.programs.values_mut().collect()
    }

    fn build(&self, _: StrategyContext) -> Result<Arc<dyn Strategy>> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
impl Strategy for Exec {
    fn is_gapless(&self) -> bool {
        self.is_gapless
    }

    async fn create(&self, old: Option<&Fields>) -> Result<Fields> {
        let nothing = Fields::new();
        let told = Told {
            step: CREATE,
            token: None,
            emergency: false,
            new: exposed(&nothing),
            old: old.map(exposed),
        };
        let answer = self.tell(&told).await?;
        self.complete(self.parse(&answer)?, old)
    }

    async fn check(&self, turn: Turn<'_>) -> Result<()> {
        self.step(CHECK, turn).await
    }

    async fn set(&self, turn: Turn<'_>) -> Result<()> {
        self.step("set", turn).await
    }

    async fn test(&self, turn: Turn<'_>) -> Result<()> {
        self.step("test", turn).await
    }

    async fn undo(&self, turn: Turn<'_>) -> Result<()> {
        self.step("undo", turn).await
    }

    async fn retire(&self, turn: Turn<'_>) -> Result<()> {
        self.step("retire", turn).await
    }
}

impl Exec {
    async fn step(&self, step: &'static str, turn: Turn<'_>) -> Result<()> {
        let told = Told {
            step,
            token: Some(turn.token),
            emergency: turn.is_emergency,
            new: exposed(turn.new),
            old: turn.old.map(exposed),
        };
        self.tell(&told).await.map(drop)
    }

    /// Has the step's program do it; without one there is nothing to do.
    async fn tell(&self, told: &Told<'_>) -> Result<SecretValue> {
        let Some(program) = self.programs.get(told.step) else { return Ok(SecretValue::copy_of(b"")) };
        let input = serde_json::to_vec(told)
            .map_err(|_| wrong("a field holds bytes that JSON cannot").with("program", program))?;
        let answer = program.ask(told.step, &SecretValue::from(input)).await;
        answer.map_err(|failure| error(failure).with("program", program))
    }

    /// Reads what `create` wrote.
    fn parse(&self, answer: &SecretValue) -> Result<Fields> {
        let bytes = answer.expose_secret();
        if bytes.trim_ascii().is_empty() {
            return Ok(Fields::new());
        }
        let made: Fields = serde_json::from_slice(bytes)
            .map_err(|_| self.wrong("what it wrote for `create` is no JSON object"))?;
        match made.keys().all(|name| self.fields.contains(name)) {
            true => Ok(made),
            false => Err(self.wrong("what it wrote for `create` has a field that `fields` does not name")),
        }
    }

    /// Adds the fields that the program did not make.
    fn complete(&self, mut made: Fields, old: Option<&Fields>) -> Result<Fields> {
        for name in &self.fields {
            if made.contains_key(name) {
                continue;
            }
            let value = match (&self.password, old.and_then(|old| old.get(name))) {
                (Some(policy), _) if name == PASSWORD => Value::Bytes(policy.generate()?),
                (_, Some(old)) => old.copy(),
                _ => {
                    let reason = format!("it made no field `{name}`, and there is no old one");
                    return Err(self.wrong(reason));
                }
            };
            made.insert(name.clone(), value);
        }
        let is_old = |(name, value): (&String, &Value)| {
            old.and_then(|old| old.get(name)).is_some_and(|old| old.is_same(value))
        };
        match made.iter().all(is_old) {
            true => Err(self
                .wrong("it made no new value for `create`")
                .with_help("give `password` a policy, and it is made for it")),
            false => Ok(made),
        }
    }

    /// Makes the error for what `create` came to.
    fn wrong(&self, reason: impl Into<String>) -> Error {
        match self.programs.get(CREATE) {
            Some(program) => wrong(reason).with("program", program),
            None => wrong(reason),
        }
    }
}

fn wrong(reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, "rotate", reason)
}

/// What the program reads.
#[derive(Serialize)]
struct Told<'a> {
    step: &'static str,
    token: Option<&'a str>,
    emergency: bool,
    new: BTreeMap<&'a str, Exposed<'a>>,
    old: Option<BTreeMap<&'a str, Exposed<'a>>>,
}

fn exposed(fields: &Fields) -> BTreeMap<&str, Exposed<'_>> {
    fields.iter().map(|(name, value)| (name.as_str(), value.expose())).collect()
}

fn error(failure: Failure) -> Error {
    let kind = match failure {
        Failure { code: Some(AGAIN), .. } => ErrorKind::Unavailable,
        Failure { said_no: true, .. } => ErrorKind::Rejected,
        Failure { temporary: true, .. } => ErrorKind::Timeout,
        _ => ErrorKind::Config,
    };
    Error::new(kind, "rotate", failure.reason)
}

const STEPS: [&str; 6] = [CREATE, CHECK, "set", "test", "undo", "retire"];
const CREATE: &str = "create";
const CHECK: &str = "check";
const PASSWORD: &str = "password";
/// `EX_TEMPFAIL` of sysexits.h.
const AGAIN: i32 = 75;
const TIMEOUT: Duration = Duration::from_secs(30);
/// Shorter than a rotator gives a step, so that it is the program that is found to hang.
const LONGEST: Duration = Duration::from_secs(40);
