//! `keywheel get`: one secret at a terminal, or in a script.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::Duration;

use futures_util::future::join_all;
use keywheel_core::client::Client;
use keywheel_core::config::{Config, add_from_environment};
use keywheel_core::environment::Environment;
use keywheel_core::provider::Ending;
use keywheel_core::quote;
use keywheel_core::{Secret, SecretRef, SecretValue, State};
use tracing::info;
use zeroize::Zeroizing;

use super::clock;
use crate::cli::{Format, GetArgs};
use crate::exit::Failure;
use crate::output;
use crate::terminal;
use crate::variables::{same_variable, variable_name};

pub(crate) async fn get(args: GetArgs) -> Result<(), Failure> {
    if args.format == Format::Raw && args.references.len() > 1 {
        return Err(Failure::usage("--format raw prints one value; give one reference, or another format"));
    }
    let client = client(&args)?;
    let fetched = fetch(&client, &args.references).await;
    let leased = fetched.iter().flatten().filter_map(|(_, secret)| secret.upkeep.lease()).next();
    if let Some(lease) = leased {
        info!(seconds = lease.term.ttl.as_secs(), "the value has a lease, which nobody renews");
    }
    // A lease ends with the login that it was made with: whoever fetched it wants to use it.
    client.close(if leased.is_some() { Ending::Keep } else { Ending::Revoke }, CLOSE_LIMIT).await;
    let printed = print(&fetched?, args.format)?;
    match &args.output {
        Some(path) => output::write_file(path, &printed, args.mode),
        None => write_stdout(&printed, args.format),
    }
}

/// How long ending the session may take: the value is there already, and nobody wants to wait.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

fn client(args: &GetArgs) -> Result<Client, Failure> {
    let registry = keywheel_providers::registry();
    let environment = Environment::of_process();
    let mut providers = match &args.config {
        Some(path) => Config::load(path, &registry, &environment)?.providers,
        None => BTreeMap::new(),
    };
    for reference in &args.references {
        add_from_environment(&mut providers, reference, &registry, &environment)?;
    }
    Ok(Client::build(&providers, &clock(), &State::in_memory())?)
}

type Fetched<'a> = Vec<(&'a SecretRef, Secret)>;

async fn fetch<'a>(client: &Client, references: &'a [SecretRef]) -> Result<Fetched<'a>, Failure> {
    let reads = join_all(references.iter().map(|reference| client.read(reference))).await;
    references.iter().zip(reads).map(|(reference, read)| Ok((reference, read?))).collect()
}

fn print(fetched: &Fetched<'_>, format: Format) -> Result<SecretValue, Failure> {
    if let (Format::Raw, [(reference, secret)]) = (format, fetched.as_slice()) {
        return Ok(secret.value(reference.field()).map_err(|error| error.with("reference", reference))?);
    }
    let mut text = Zeroizing::new(Vec::new());
    let values = by_name(fetched)?;
    if format == Format::Json {
        let map: BTreeMap<_, _> = values.iter().map(|(name, value)| (name, value.expose())).collect();
        serde_json::to_writer(&mut *text, &map).map_err(|_| not_text())?;
        text.push(b'\n');
        return Ok(SecretValue::copy_of(&text));
    }
    let mut variables = BTreeSet::new();
    for (name, value) in values {
        if format == Format::Yaml {
            // A JSON text is a YAML flow scalar (YAML 1.2, section 1.3).
            let name = serde_json::to_string(&name).map_err(|_| not_text())?;
            text.extend_from_slice(name.as_bytes());
            text.extend_from_slice(b": ");
            serde_json::to_writer(&mut *text, &value.expose()).map_err(|_| not_text())?;
        } else {
            let value = value.to_bytes().ok_or_else(not_text)?;
            let value = value.expose_text().ok_or_else(not_text)?;
            let variable = variable_name(&name)?;
            text.extend_from_slice(line(&variable, value, format)?.as_bytes());
            if let Some(variable) = variables.replace(variable) {
                return Err(same_variable(&variable));
            }
        }
        text.push(b'\n');
    }
    Ok(SecretValue::copy_of(&text))
}

fn line(name: &str, value: &str, format: Format) -> Result<Zeroizing<String>, Failure> {
    let quote = if format == Format::Env { quote::shell } else { quote::dotenv };
    let nul = || Failure::other(format!("{name} has a NUL byte, which no variable can hold"));
    let quoted = Zeroizing::new(quote(value).ok_or_else(nul)?);
    let export = if format == Format::Env { "export " } else { "" };
    Ok(Zeroizing::new(format!("{export}{name}={}", *quoted)))
}

/// Names each value: by its field, or without one by every field of the secret.
fn by_name<'a>(fetched: &'a Fetched<'_>) -> Result<BTreeMap<String, &'a keywheel_core::Value>, Failure> {
    let mut values = BTreeMap::new();
    for (reference, secret) in fetched {
        let found: Vec<(String, &keywheel_core::Value)> = match reference.field() {
            Some(field) => {
                let value = secret.field(field).map_err(|error| error.with("reference", reference))?;
                vec![(field.as_str().rsplit(['/', '.']).next().unwrap_or_default().to_owned(), value)]
            }
            None => secret.fields().iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        };
        for (name, value) in found {
            if values.insert(name.clone(), value).is_some() {
                return Err(Failure::usage(format!(
                    "two of the references have a field {name:?}; fetch them one by one"
                )));
            }
        }
    }
    Ok(values)
}

const SHOWN: &str = "keywheel: a secret is shown on this screen, and stays where it can be scrolled back to; --output FILE writes it to a file";

fn not_text() -> Failure {
    Failure::other("a value is not UTF-8 text, which this format needs; use --format raw")
}

fn write_stdout(printed: &SecretValue, format: Format) -> Result<(), Failure> {
    if terminal::is_output() {
        // Nobody is kept from it: who reads no warnings has asked for the value all the same.
        writeln!(std::io::stderr(), "{SHOWN}").ok();
    }
    output::print(printed.expose_secret())?;
    let ends = printed.expose_secret().ends_with(b"\n");
    if format == Format::Raw && terminal::is_output() && !ends { output::print(b"\n") } else { Ok(()) }
}
