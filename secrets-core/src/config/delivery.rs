//! The entries under `deliveries:`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::change::{self, ChangeConfig};
use super::read_text;
use super::section::{Item, Section, Setting};
use crate::deliver::Settings;
use crate::environment::Environment;
use crate::error::Result;
use crate::payload::{FilePath, FilePaths, Mode, Owner};
use crate::reference::SecretRef;
use crate::render::{FieldsSpec, FilePlan, FileSpec, Template};

/// One directory, and what is delivered into it.
#[derive(Clone, Debug)]
pub struct DeliveryConfig {
    /// Its name, for messages and metrics.
    pub name: String,
    /// The directory, absolute.
    pub directory: PathBuf,
    /// Whether the directory may be on a disk.
    pub allow_disk: bool,
    /// Who owns the files.
    pub owner: Option<Owner>,
    /// The secrets by the name that templates and the default layout use.
    pub secrets: BTreeMap<String, SecretConfig>,
    /// The files that are made of the secrets.
    pub files: FilePlan,
    /// The files that the templates of `files` are in.
    pub template_files: Vec<PathBuf>,
    /// What happens around a change.
    pub change: ChangeConfig,
}

impl DeliveryConfig {
    /// Returns where and how it is written.
    pub fn settings(&self) -> Settings {
        Settings {
            name: self.name.clone(),
            directory: self.directory.clone(),
            owner: self.owner,
            allow_disk: self.allow_disk,
            overlap: self.change.overlap(),
        }
    }
}

/// One secret of a delivery.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SecretConfig {
    /// What it refers to.
    pub reference: SecretRef,
    /// How often it is asked whether it changed.
    pub refresh: Duration,
    /// For how long the last good value serves while its source does not answer; for ever when it is not given.
    pub max_stale: Option<Duration>,
    /// What happens when the source says that this identity may not read it any more.
    pub on_forbidden: OnForbidden,
    /// Whether it is written down beside the secret which version the application works with, for the rotation that replaces it.
    pub acknowledge: bool,
}

/// What a delivery does when the source of one of its secrets refuses: the identity is known, and may not read it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnForbidden {
    /// Keeps what was delivered, as in any other outage.
    #[default]
    Keep,
    /// Takes the files away, all of the delivery's at once, until the secret can be read again.
    Delete,
    /// Ends the program.
    Exit,
}

impl SecretConfig {
    /// How often a secret is asked for when nothing is said.
    pub const DEFAULT_REFRESH: Duration = Duration::from_secs(30);
    /// The interval of a secret that is read once: `refresh: never`.
    pub const NEVER: Duration = Duration::MAX;
    /// The shortest interval that may be asked for.
    pub const MIN_REFRESH: Duration = Duration::from_millis(100);

    /// Returns what is done with a secret of which nothing is said.
    pub fn new(reference: SecretRef) -> Self {
        let (refresh, on_forbidden) = (Self::DEFAULT_REFRESH, OnForbidden::Keep);
        Self { reference, refresh, max_stale: None, on_forbidden, acknowledge: false }
    }
}

/// What reading a delivery needs to know beside its own section.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    pub(super) folder: &'a Path,
    pub(super) providers: &'a BTreeSet<String>,
    pub(super) environment: &'a Environment,
}

pub(super) fn read(list: &Item<'_>, around: Around<'_>) -> Vec<DeliveryConfig> {
    let items = list.list();
    let mut deliveries: Vec<DeliveryConfig> = Vec::new();
    for item in &items {
        let Some(delivery) = item.section().and_then(|section| read_one(section, around)) else {
            continue;
        };
        for other in &deliveries {
            if other.name == delivery.name {
                item.mistake(format!("two deliveries have the name `{}`", delivery.name));
            }
            if delivery.directory.starts_with(&other.directory)
                || other.directory.starts_with(&delivery.directory)
            {
                item.mistake(format!("its directory is, holds or lies in that of `{}`", other.name));
            }
        }
        deliveries.push(delivery);
    }
    deliveries
}

fn read_one(mut section: Section<'_>, around: Around<'_>) -> Option<DeliveryConfig> {
    let Around { folder, providers, environment } = around;
    let name: Option<Name> = section.required("name");
    let directory = section.item("directory");
    if directory.is_none() {
        section.mistake("needs `directory`");
    }
    let directory = directory.and_then(|item| read_directory(&item));
    let allow_disk = section.optional("allow_disk").unwrap_or(false);
    let owner = section.section("owner").map(read_owner);
    let secrets = match section.section("secrets") {
        Some(secrets) => read_secrets(secrets, providers),
        None => {
            section.mistake("needs `secrets`");
            BTreeMap::new()
        }
    };
    let mut template_files = Vec::new();
    let files = match section.item("files") {
        Some(files) => {
            let templates = Templates { folder, secrets: secrets.keys().cloned().collect() };
            read_files(&files, &templates, &mut template_files)
        }
        None => FilePlan::per_field(),
    };
    let change = change::read(&mut section, name.as_ref().map_or("", |name| &name.0), environment);
    for path in change.validate.iter().flat_map(|validator| validator.files()) {
        if !files.may_make(path.as_str()) {
            section.mistake(format!("`validate` names {:?}, which is not one of `files`", path.as_str()));
        }
    }
    section.finish();
    Some(DeliveryConfig {
        name: name?.0,
        directory: directory?,
        allow_disk,
        owner,
        secrets,
        files,
        template_files,
        change,
    })
}

/// Reads the path of a directory that Keywheel makes and writes into.
pub(super) fn read_directory(item: &Item<'_>) -> Option<PathBuf> {
    let path: PathBuf = item.parse()?;
    let plain = path.is_absolute()
        && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
        && path.components().count() > 1;
    if !plain {
        item.mistake("must be absolute, below `/`, and without `..`");
    }
    plain.then_some(path)
}

fn read_owner(mut section: Section<'_>) -> Owner {
    let owner = Owner { uid: section.optional("uid"), gid: section.optional("gid") };
    section.finish();
    owner
}

fn read_secrets(section: Section<'_>, providers: &BTreeSet<String>) -> BTreeMap<String, SecretConfig> {
    let mut secrets = BTreeMap::new();
    for (name, item) in section.named() {
        if !is_secret_name(name) {
            item.mistake("a secret's name has letters, digits, `_` and `-`, and begins with a letter or `_`");
        }
        let secret = match item.is_section() {
            true => item.section().and_then(|section| read_secret(section, providers)),
            false => read_reference(&item, providers).map(SecretConfig::new),
        };
        secrets.extend(secret.map(|secret| (name.to_owned(), secret)));
    }
    secrets
}

fn read_secret(mut section: Section<'_>, providers: &BTreeSet<String>) -> Option<SecretConfig> {
    let reference = section.item("ref");
    if reference.is_none() {
        section.mistake("needs `ref`");
    }
    let refresh = match section.item("refresh") {
        Some(item) if item.text() == Some("never") => Some(SecretConfig::NEVER),
        item => item.and_then(|item| item.parse()),
    };
    let refresh = refresh.unwrap_or(SecretConfig::DEFAULT_REFRESH);
    if refresh < SecretConfig::MIN_REFRESH {
        section.mistake("`refresh` must be at least 100ms");
    }
    let max_stale = section.optional("max_stale");
    let on_forbidden = section.optional("on_forbidden").unwrap_or_default();
    let acknowledge = section.optional("acknowledge").unwrap_or(false);
    section.finish();
    let reference = read_reference(&reference?, providers)?;
    Some(SecretConfig { reference, refresh, max_stale, on_forbidden, acknowledge })
}

fn read_reference(item: &Item<'_>, providers: &BTreeSet<String>) -> Option<SecretRef> {
    let reference: SecretRef = item.parse()?;
    if !providers.contains(reference.provider()) {
        let known: Vec<&str> = providers.iter().map(String::as_str).collect();
        let unknown = reference.provider();
        item.mistake(format!("there is no provider `{unknown}`; known: {}", known.join(", ")));
    }
    Some(reference)
}

fn is_secret_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.len() <= 100
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

/// What reading a template needs to know.
struct Templates<'a> {
    folder: &'a Path,
    secrets: BTreeSet<String>,
}

/// Reads the list of files; the files that their templates are in go to `read`.
fn read_files(list: &Item<'_>, templates: &Templates<'_>, read: &mut Vec<PathBuf>) -> FilePlan {
    let (mut files, mut paths) = (Vec::new(), FilePaths::default());
    let mut spread = Vec::new();
    for item in list.list() {
        let Some(mut section) = item.section() else { continue };
        if let Some(secret) = section.item("fields_of") {
            spread.extend(read_fields(section, &secret, &templates.secrets));
            continue;
        }
        let Some(file) = read_file(section, templates, read) else { continue };
        if let Err(clash) = paths.add(&file.path) {
            item.mistake(clash.to_string());
        }
        files.push(file);
    }
    // What it refuses was noted above, with its place.
    FilePlan::try_new(files).unwrap_or_else(|_| FilePlan::per_field()).with_fields_of(spread)
}

fn read_fields(
    mut section: Section<'_>,
    secret: &Item<'_>,
    secrets: &BTreeSet<String>,
) -> Option<FieldsSpec> {
    let name: Option<String> = secret.parse();
    if let Some(unknown) = name.as_ref().filter(|name| !secrets.contains(*name)) {
        secret.mistake(format!("there is no secret {unknown:?} in the delivery"));
    }
    let mode = section.optional("mode").unwrap_or_default();
    section.finish();
    Some(FieldsSpec { secret: name?, mode })
}

fn read_file(
    mut section: Section<'_>,
    templates: &Templates<'_>,
    read: &mut Vec<PathBuf>,
) -> Option<FileSpec> {
    let path: Option<FilePath> = section.required("path");
    let mode = section.optional("mode").unwrap_or_default();
    let value = section.item("value");
    let template_file = section.item("template_file");
    let template = match (value, template_file) {
        (Some(value), None) => match value.scalar() {
            Some(text) => {
                let template = parse_template(value.name().to_owned(), text, &templates.secrets);
                template.map_err(|error| value.mistake(error.to_string())).ok()
            }
            None => {
                value.mistake(format!("must be a template text, and is {}", value.describe()));
                None
            }
        },
        (None, Some(file)) => read_template(&file, templates, read),
        _ => {
            section.mistake("needs either `value` or `template_file`");
            None
        }
    };
    section.finish();
    Some(FileSpec { path: path?, template: template?, mode })
}

fn read_template(item: &Item<'_>, templates: &Templates<'_>, read: &mut Vec<PathBuf>) -> Option<Template> {
    let file = templates.folder.join(item.parse::<PathBuf>()?);
    read.push(file.clone());
    let text = read_text(&file)
        .map_err(|error| item.mistake(format!("the template file {} {error}", file.display())));
    let template = parse_template(file.display().to_string(), text.ok()?, &templates.secrets);
    template.map_err(|error| item.mistake_elsewhere(error.to_string())).ok()
}

fn parse_template(name: String, text: String, secrets: &BTreeSet<String>) -> Result<Template> {
    let template = Template::parse(name, text)?;
    template.check(secrets)?;
    Ok(template)
}

impl Setting for OnForbidden {
    fn parse(value: &Item<'_>) -> std::result::Result<Self, String> {
        match String::parse(value)?.as_str() {
            "keep" => Ok(Self::Keep),
            "delete" => Ok(Self::Delete),
            "exit" => Ok(Self::Exit),
            _ => Err("must be keep, delete or exit".into()),
        }
    }
}

struct Name(String);

impl Setting for Name {
    fn parse(value: &Item<'_>) -> std::result::Result<Self, String> {
        let text = String::parse(value)?;
        let plain = text.len() <= 63
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        plain
            .then_some(Self(text))
            .ok_or_else(|| "must have at most 63 letters, digits, `-`, `_` and `.`".into())
    }
}

impl Setting for SecretRef {
    fn parse(value: &Item<'_>) -> std::result::Result<Self, String> {
        String::parse(value)?.parse().map_err(|error: crate::reference::ReferenceError| error.to_string())
    }
}

impl Setting for FilePath {
    fn parse(value: &Item<'_>) -> std::result::Result<Self, String> {
        String::parse(value)?.parse().map_err(|error: crate::payload::FilePathError| error.to_string())
    }
}

impl Setting for Mode {
    fn parse(value: &Item<'_>) -> std::result::Result<Self, String> {
        let text = value.text().ok_or_else(|| crate::payload::ModeError.to_string())?;
        text.parse().map_err(|error: crate::payload::ModeError| error.to_string())
    }
}
