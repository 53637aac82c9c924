//! The configuration file, `keywheel.yaml`: read once, checked whole, every mistake reported with its place.
//!
//! The file becomes a tree that knows its places (`node`), the tree is read key by key ([`Section`]), and what comes out is typed and
//! valid: a [`Config`] that exists can be run. Manifests of the External Secrets Operator become such a tree first (`external_secrets`).

mod api;
mod change;
mod delivery;
mod duration;
mod external_secrets;
mod node;
mod provider;
mod section;
#[cfg_attr(not(feature = "yaml"), path = "no_yaml.rs")]
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use self::api::ApiConfig;
pub use self::change::{ChangeConfig, OnChange};
pub use self::delivery::{DeliveryConfig, OnForbidden, SecretConfig};
pub use self::duration::{DurationError, format_duration, parse_duration};
pub use self::node::Place;
use self::node::{Content, Node};
pub use self::provider::{ProviderConfig, add_from_environment};
pub use self::section::{Item, Mistake, Mistakes, Section, Setting};
use crate::environment::Environment;
use crate::incident::{self, IncidentsConfig};
use crate::registry::Registry;
use crate::rotation::{self, RotationConfig};

/// A whole configuration, valid in itself.
#[derive(Debug)]
pub struct Config {
    /// The providers that the deliveries use or the file configures, by name.
    pub providers: BTreeMap<String, ProviderConfig>,
    /// What is delivered where; a configuration for `keywheel get` needs none.
    pub deliveries: Vec<DeliveryConfig>,
    /// What is rotated at its source; only `keywheel rotate` does it.
    pub rotations: Vec<RotationConfig>,
    /// Who may report incidents to the rotations, and what is done about them.
    pub incidents: Option<IncidentsConfig>,
    /// Where the admin endpoint listens; nowhere when it is left out.
    pub admin: Option<Listen>,
    /// Where programs of this host are given secrets; nowhere when it is left out.
    pub api: Option<ApiConfig>,
    /// The directory that lets a restarted program keep its logins and leases; absolute, and below `/`.
    pub state_directory: Option<PathBuf>,
    /// Whether logins and leases are given back when the program ends, where their provider says nothing else.
    pub revoke_on_shutdown: bool,
}

/// Where an endpoint listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Listen {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// Everything that is wrong with a configuration.
#[derive(Debug)]
pub struct ConfigError {
    file: PathBuf,
    mistakes: Vec<Mistake>,
}

impl ConfigError {
    /// Returns the mistakes, in the order of the file.
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> =
            self.mistakes.iter().map(|mistake| format!("{}:{mistake}", self.file.display())).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Returns the configuration that a program has without a file: these providers, and no deliveries.
    pub fn of_providers(providers: BTreeMap<String, ProviderConfig>) -> Self {
        Self {
            providers,
            deliveries: Vec::new(),
            rotations: Vec::new(),
            incidents: None,
            admin: None,
            api: None,
            state_directory: None,
            revoke_on_shutdown: true,
        }
    }

    /// Reads and checks the file at `path`, and the template files that it names (relative ones beside it).
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn load(path: &Path, registry: &Registry, environment: &Environment) -> Result<Self, ConfigError> {
        match read_text(path) {
            Ok(text) => Self::parse(path, &text, registry, environment),
            Err(message) => Err(ConfigError {
                file: path.into(),
                mistakes: vec![mistake(Place { line: 1, column: 1 }, message)],
            }),
        }
    }

    /// Checks the text of a configuration file that is, or would be, at `path`. It may have several documents where some are manifests of the External
    /// Secrets Operator; one other document says what these cannot.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn parse(
        path: &Path,
        text: &str,
        registry: &Registry,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let read = |item: &Item<'_>| read_root(item, folder, registry, environment);
        match yaml::documents(text) {
            Ok(documents) if documents.iter().any(external_secrets::is_manifest) => {
                let mistakes = Mistakes::default();
                let root = read_manifests(documents, environment, &mistakes);
                let value = read(&Item::new(&root, String::new(), &mistakes));
                whole(path, value, mistakes)
            }
            Ok(mut one) if one.len() == 1 => read_tree(path, one.remove(0), environment, read),
            // None, or several: the parser of one has the words.
            Ok(_) => read_text_with(path, text, environment, read),
            Err(error) => Err(ConfigError { file: path.into(), mistakes: vec![error] }),
        }
    }
}

impl ProviderConfig {
    /// Reads the settings of one provider from YAML, as they are under its name in `providers:`.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn parse(text: &str, registry: &Registry, environment: &Environment) -> Result<Self, ConfigError> {
        read_text_with(Path::new("provider"), text, environment, |item| {
            provider::read_one("provider", item, registry)
        })
    }
}

/// Reads `text` of the file at `path` into what `read` makes of it.
fn read_text_with<T>(
    path: &Path,
    text: &str,
    environment: &Environment,
    read: impl FnOnce(&Item<'_>) -> Option<T>,
) -> Result<T, ConfigError> {
    let failed = |mistake| ConfigError { file: path.into(), mistakes: vec![mistake] };
    let root: Node = yaml::document(text).map_err(failed)?;
    if matches!(root.content, Content::Null) {
        return Err(failed(mistake(root.place, "the configuration is empty")));
    }
    read_tree(path, root, environment, read)
}

fn read_tree<T>(
    path: &Path,
    mut root: Node,
    environment: &Environment,
    read: impl FnOnce(&Item<'_>) -> Option<T>,
) -> Result<T, ConfigError> {
    let mistakes = Mistakes::default();
    expand(&mut root, environment, &mistakes);
    let value = read(&Item::new(&root, String::new(), &mistakes));
    whole(path, value, mistakes)
}

/// Makes one configuration of manifests and of what is said beside them. Of these, variables are filled in; a manifest is taken as it is.
fn read_manifests(documents: Vec<Node>, environment: &Environment, mistakes: &Mistakes) -> Node {
    let (manifests, own): (Vec<Node>, Vec<Node>) =
        documents.into_iter().partition(external_secrets::is_manifest);
    let mut own = own.into_iter();
    let empty =
        Node { content: Content::Map(Vec::new()), place: Place { line: 1, column: 1 }, expanded: false };
    let mut root = own.next().unwrap_or(empty);
    for second in own {
        let reason = "is a second document without `apiVersion`; one may stand beside the manifests";
        mistakes.push(second.place, String::new(), reason);
    }
    expand(&mut root, environment, mistakes);
    external_secrets::translate(&mut root, &manifests, mistakes);
    root
}

fn expand(root: &mut Node, environment: &Environment, mistakes: &Mistakes) {
    for (place, name) in root.expand(environment) {
        mistakes.push(
            place,
            String::new(),
            format!("the variable {name:?} is not set (write $${{ for a plain ${{)"),
        );
    }
}

/// Returns what was read, unless there is a mistake.
fn whole<T>(path: &Path, value: Option<T>, mistakes: Mistakes) -> Result<T, ConfigError> {
    let mistakes = mistakes.into_sorted();
    match value {
        Some(value) if mistakes.is_empty() => Ok(value),
        _ => Err(ConfigError { file: path.into(), mistakes }),
    }
}

fn read_root(
    item: &Item<'_>,
    folder: &Path,
    registry: &Registry,
    environment: &Environment,
) -> Option<Config> {
    let mut root = item.section()?;
    let mut providers =
        root.section("providers").map(|names| provider::read(names, registry)).unwrap_or_default();
    let admin = root.section("admin").and_then(|mut admin| {
        let listen = admin.required("listen");
        admin.finish();
        listen
    });
    let api = root.section("api").and_then(|section| api::read(section, admin.as_ref()));
    let mut known: BTreeSet<String> = providers.keys().cloned().collect();
    known.extend(registry.names().into_iter().map(str::to_owned));
    let around = delivery::Around { folder, providers: &known, environment };
    let deliveries = root.item("deliveries").map(|list| delivery::read(&list, around)).unwrap_or_default();
    let rotations =
        root.item("rotations").map(|list| rotation::read_config(&list, registry, &known)).unwrap_or_default();
    let names = rotations.iter().map(|rotation| rotation.name.as_str()).collect();
    let incidents = root.section("incidents").and_then(|section| incident::read_config(section, &names));
    let references = deliveries
        .iter()
        .flat_map(|delivery| delivery.secrets.values())
        .map(|secret| &secret.reference)
        .chain(rotations.iter().flat_map(RotationConfig::references));
    for reference in references.filter(|reference| known.contains(reference.provider())) {
        if let Err(error) = provider::add_from_environment(&mut providers, reference, registry, environment) {
            root.mistake(error.reason());
        }
    }
    let state_directory = root.item("state_directory").and_then(|item| delivery::read_directory(&item));
    for delivery in &deliveries {
        if state_directory.as_ref().is_some_and(|state| {
            state.starts_with(&delivery.directory) || delivery.directory.starts_with(state)
        }) {
            root.mistake(format!(
                "`state_directory` is, holds or lies in the directory of `{}`",
                delivery.name
            ));
        }
    }
    let revoke_on_shutdown = root.optional("revoke_on_shutdown").unwrap_or(true);
    root.finish();
    Some(Config {
        providers,
        deliveries,
        rotations,
        incidents,
        admin,
        api,
        state_directory,
        revoke_on_shutdown,
    })
}

impl Setting for Listen {
    fn parse(value: &Item<'_>) -> Result<Self, String> {
        let text = String::parse(value)?;
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.into()));
        }
        text.parse()
            .map(Self::Tcp)
            .map_err(|_| "must be ADDRESS:PORT, such as 127.0.0.1:9464, or unix:/PATH".into())
    }
}

/// The largest configuration or template file, in bytes.
const MAX_BYTES: u64 = 4 << 20;

fn read_text(path: &Path) -> Result<String, String> {
    let metadata = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        return Err("cannot be read: it is not a regular file of at most 4 MiB".into());
    }
    let bytes = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        format!("is not UTF-8 text (line {line})")
    })
}

fn mistake(place: Place, message: impl Into<String>) -> Mistake {
    Mistake { place, setting: String::new(), message: message.into() }
}

/// Reads one value of a configuration, for the tests of what is read elsewhere; returns every mistake as a configuration would report it.
#[cfg(test)]
pub(crate) fn read_item<T>(text: &str, read: impl FnOnce(&Item<'_>) -> Option<T>) -> Result<T, Vec<String>> {
    let root = yaml::document(text).map_err(|mistake| vec![mistake.to_string()])?;
    let mistakes = Mistakes::default();
    let value = read(&Item::new(&root, String::new(), &mistakes));
    let mistakes: Vec<String> = mistakes.into_sorted().iter().map(Mistake::to_string).collect();
    value.filter(|_| mistakes.is_empty()).ok_or(mistakes)
}
