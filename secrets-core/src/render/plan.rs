//! Which files a delivery has, and how each is made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::payload::{FilePath, FilePathError, FilePaths, Mode, Payload, PayloadFile};
use crate::reference::FieldPath;
use crate::render::keys;
use crate::render::template::Template;
use crate::secret::{Secret, SecretValue};
use crate::value::Value;

/// One file that a template makes.
#[derive(Clone, Debug)]
pub struct FileSpec {
    /// Where it is, below the delivery directory.
    pub path: FilePath,
    /// What is in it.
    pub template: Template,
    /// Its permissions.
    pub mode: Mode,
}

/// A secret of the delivery as it was read last, and the field that its reference names.
#[derive(Clone, Debug)]
pub struct RenderInput {
    /// The secret with all of its fields.
    pub secret: Arc<Secret>,
    /// The field after `#`; it makes the variable that value itself.
    pub field: Option<FieldPath>,
}

/// A secret whose fields are files at the top of the delivery directory.
///
/// A field's file has the name that the key of a Kubernetes `Secret` would have: what is no ASCII letter or digit, `-`, `_` or `.` is `_` there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FieldsSpec {
    /// The secret; where its reference names a field, that is a structure or a text that is a JSON object, and its fields are meant.
    pub secret: String,
    /// The files' permissions.
    pub mode: Mode,
}

/// The files of a delivery: those that are listed, or one per field.
#[derive(Clone, Debug)]
pub struct FilePlan {
    /// Left out, there is one per field of every secret.
    files: Option<Vec<FileSpec>>,
    spread: Vec<FieldsSpec>,
}

impl FilePlan {
    /// Plans the default layout: `SECRET/FIELD` for each field of a secret, and `SECRET` for one whose reference names a field.
    ///
    /// A text is delivered byte for byte, a structure as compact JSON; the mode is [`Mode::DEFAULT`].
    pub fn per_field() -> Self {
        Self { files: None, spread: Vec::new() }
    }

    /// Plans the files that are listed.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when two files have one path, or one is where another has its directory.
    pub fn try_new(files: Vec<FileSpec>) -> Result<Self> {
        let mut paths = FilePaths::default();
        for file in &files {
            paths.add(&file.path).map_err(|clash| Error::config("plan files", clash.to_string()))?;
        }
        Ok(Self { files: Some(files), spread: Vec::new() })
    }

    /// Adds the fields of those secrets to the files that are listed. A file that is listed takes the place of a field of its name, and a field that
    /// of an earlier secret's.
    #[must_use]
    pub fn with_fields_of(self, spread: Vec<FieldsSpec>) -> Self {
        Self { spread, ..self }
    }

    /// Finds every use of a secret that the delivery does not have.
    ///
    /// Each error is one of [`Template::check`], in the order of the files.
    pub fn check(&self, names: &BTreeSet<String>) -> Vec<Error> {
        let files = self.files.iter().flatten();
        files.filter_map(|file| file.template.check(names).err()).collect()
    }

    /// Tells whether a generation is one that this plan makes of the secrets `names`: `made` has the path of each of its files, and the secrets that
    /// it was made of.
    ///
    /// It has the files that are listed and no others; or, where there is one per field, something of every secret. Files of fields stand beside those
    /// that are listed, at least one of each secret whose fields are files: which fields it had, nobody knows any more.
    pub fn makes<'a>(
        &self,
        made: &BTreeMap<&str, BTreeSet<&str>>,
        mut names: impl Iterator<Item = &'a str>,
    ) -> bool {
        let Some(files) = &self.files else {
            return names.all(|name| made.keys().any(|path| path.split('/').next() == Some(name)));
        };
        let listed: BTreeSet<_> = files.iter().map(|file| file.path.as_str()).collect();
        let (of_list, of_fields): (Vec<_>, Vec<_>) =
            made.iter().partition(|(path, _)| listed.contains(*path));
        let spread: BTreeSet<_> = self.spread.iter().map(|spread| spread.secret.as_str()).collect();
        let sources: BTreeSet<_> = of_fields.iter().flat_map(|(_, secrets)| (*secrets).clone()).collect();
        let is_field = |path: &str, secrets: &BTreeSet<&str>| !path.contains('/') && secrets.len() == 1;
        of_list.len() == listed.len()
            && of_fields.iter().all(|(path, secrets)| is_field(path, secrets))
            && sources == spread
    }

    /// Tells whether a file at `path` may be among those that it makes.
    pub fn may_make(&self, path: &str) -> bool {
        let is_listed = |files: &Vec<FileSpec>| files.iter().any(|file| file.path.as_str() == path);
        !self.spread.is_empty() || self.files.as_ref().is_none_or(is_listed)
    }

    /// Makes all files of one generation, or none.
    ///
    /// It is bounded work without I/O: at most about a second for a template that uses up all its steps, some microseconds for an
    /// ordinary one. The part of the stack that values passed through is wiped afterwards.
    ///
    /// # Errors
    /// - [`ErrorKind::Render`] with the template and the line where a template fails.
    /// - [`ErrorKind::MissingField`] when a secret does not have the field that its reference names.
    /// - [`ErrorKind::Invalid`] when, in the default layout, a field cannot be a file: its name would lead elsewhere, or its structure
    ///   holds bytes that JSON cannot.
    pub fn render(&self, inputs: &BTreeMap<String, RenderInput>) -> Result<Payload> {
        for (name, input) in inputs {
            if let Some(field) = &input.field {
                input.secret.field(field).map_err(|error| error.with("secret", name))?;
            }
        }
        let files = match &self.files {
            Some(files) => render_spread(&self.spread, inputs).and_then(|mut made| {
                made.retain(|path, _| files.iter().all(|file| file.path.top() != path.as_str()));
                made.extend(render_templates(files, inputs)?);
                Ok(made)
            }),
            None => render_fields(inputs),
        };
        wipe_stack();
        Ok(Payload { files: files? })
    }
}

type Files = BTreeMap<FilePath, PayloadFile>;

fn render_templates(files: &[FileSpec], inputs: &BTreeMap<String, RenderInput>) -> Result<Files> {
    let inputs = Arc::new(inputs.clone());
    let make = |file: &FileSpec| {
        let content = file.template.render(&inputs).map_err(|error| error.with("file", &file.path))?;
        let secrets = file.template.secrets(|name| inputs.contains_key(name));
        let made = PayloadFile { content, mode: file.mode, secrets };
        Ok((file.path.clone(), made))
    };
    files.iter().map(make).collect()
}

fn render_fields(inputs: &BTreeMap<String, RenderInput>) -> Result<Files> {
    let mut files = Files::new();
    for (name, input) in inputs {
        let mut add = |path: FilePath, value: &Value| {
            let content =
                content_of(value).map_err(|error| error.with("secret", name).with("file", &path))?;
            let made = PayloadFile { content, mode: Mode::DEFAULT, secrets: [name.clone()].into() };
            files.insert(path, made);
            Ok::<(), Error>(())
        };
        match &input.field {
            Some(field) => add(one_component(name, "secret")?, input.secret.field(field)?)?,
            None => {
                let directory = one_component(name, "secret")?;
                for (field, value) in input.secret.fields() {
                    let file = one_component(field, "field").map_err(|error| error.with("secret", name))?;
                    add(join(&directory, &file)?, value)?;
                }
            }
        }
    }
    Ok(files)
}

fn render_spread(spread: &[FieldsSpec], inputs: &BTreeMap<String, RenderInput>) -> Result<Files> {
    let mut files = Files::new();
    for FieldsSpec { secret: name, mode } in spread {
        let Some(input) = inputs.get(name) else { continue };
        let fields = match input.field.as_ref().map(|field| input.secret.field(field)).transpose()? {
            None => keys::of_fields(input.secret.fields()),
            Some(value) => keys::of(value),
        };
        let fields = fields.map_err(|why| {
            let reason = format!("the secret's fields cannot be files: {why}");
            Error::new(ErrorKind::Invalid, "render", reason).with("secret", name)
        })?;
        for (field, value) in &fields {
            let path = one_component(field, "field").map_err(|error| error.with("secret", name))?;
            let content =
                content_of(value).map_err(|error| error.with("secret", name).with("file", &path))?;
            files.insert(path, PayloadFile { content, mode: *mode, secrets: [name.clone()].into() });
        }
    }
    Ok(files)
}

fn content_of(value: &Value) -> Result<SecretValue> {
    let invalid = |reason: String| Err(Error::new(ErrorKind::Invalid, "render", reason));
    match value.to_bytes() {
        Some(bytes) if bytes.len() > Secret::MAX_BYTES => {
            invalid(format!("the file would be larger than {} bytes", Secret::MAX_BYTES))
        }
        Some(bytes) => Ok(bytes),
        None => invalid("the structure holds bytes that are not UTF-8 text, which JSON cannot carry".into()),
    }
}

/// Takes the name of a secret or a field as one component of a path, so that no name can lead out of its directory.
fn one_component(name: &str, what: &str) -> Result<FilePath> {
    let refused = |reason: String| {
        let reason = format!("the name of a {what} cannot be a file's: {reason}");
        Error::new(ErrorKind::Invalid, "render", reason)
            .with_help("list the delivery's `files`, and give each a path of its own")
    };
    let path: FilePath = name.parse().map_err(|error: FilePathError| refused(error.to_string()))?;
    match path.components().count() {
        1 => Ok(path),
        _ => Err(refused(format!("{:?} has a `/`", path.as_str()))),
    }
}

fn join(directory: &FilePath, file: &FilePath) -> Result<FilePath> {
    let path = format!("{directory}/{file}");
    path.parse()
        .map_err(|_| Error::new(ErrorKind::Invalid, "render", "the path is too long").with("file", path))
}

/// Overwrites the stack below the caller: short texts pass through it by value.
#[inline(never)]
fn wipe_stack() {
    let mut below = [0xa5_u8; 128 * 1024];
    zeroize::Zeroize::zeroize(&mut below[..]);
    std::hint::black_box(&below);
}
