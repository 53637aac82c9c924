//! The provider: a reference becomes a mount and a path, and these a secret.

use std::sync::Arc;

use async_trait::async_trait;
use keywheel_core::fingerprint::Fingerprint;
use keywheel_core::provider::only_parameters;
use keywheel_core::registry::Context;
use keywheel_core::{Error, ErrorKind, Provider, Result, Secret, SecretRef, Version};

use super::kv::{self, Found, Newest};
use super::mount::{Engine, Mount, Mounts};
use super::session::Session;
use super::settings::Settings;
use super::transport::Transport;
use super::written::Written;

/// Reads secrets of one Vault or OpenBao server, in one namespace, as one identity.
#[derive(Debug)]
pub(super) struct VaultProvider {
    name: String,
    session: Session,
    mounts: Mounts,
    fingerprint: Fingerprint,
    written: Written,
}

/// What a reference asks of this provider.
#[derive(Debug)]
struct Target<'a> {
    path: &'a str,
    version: Option<u64>,
    engine: Option<Engine>,
}

impl VaultProvider {
    /// Makes the provider; asks no server.
    ///
    /// # Errors
    /// A certificate or key file that cannot be read or does not parse.
    pub(super) fn try_new(settings: &Arc<Settings>, context: Context) -> Result<Self> {
        let transport =
            Transport::try_new(settings, &context).map_err(|error| error.with("provider", &context.name))?;
        Ok(Self {
            session: Session::new(&context.name, transport, Arc::clone(settings), context.clock),
            name: context.name,
            mounts: Mounts::default(),
            fingerprint: Fingerprint::default(),
            written: Written::default(),
        })
    }

    async fn read_target(&self, target: &Target<'_>) -> Result<Secret> {
        let mount = self.mount(target).await?;
        let mut found = self.read_at(&mount, target).await?;
        if matches!(found, Found::Nothing) && target.engine.is_none() {
            // Perhaps another engine was mounted in the meantime.
            self.mounts.forget(&mount);
            let now = self.mounts.find(&self.session, target.path).await?;
            if (&now.path, &now.engine) != (&mount.path, &mount.engine) {
                found = self.read_at(&now, target).await?;
            }
        }
        match found {
            Found::Secret(secret, written) => {
                if let (Some(written), None) = (written, target.version) {
                    self.written.note(target.path, written);
                }
                Ok(secret)
            }
            Found::Nothing => Err(nothing(&mount, target)),
        }
    }

    async fn read_if_newer(&self, target: &Target<'_>, known: &Version) -> Result<Option<Secret>> {
        if target.version.is_some_and(|version| Version::new(version) == *known) {
            return Ok(None);
        }
        let mount = self.mount(target).await?;
        let before = self.written.at(target.path);
        let identity = self.session.identity();
        let mut hidden = false;
        if mount.engine == Engine::Kv2 && target.version.is_none() && !mount.hides_metadata() {
            match kv::newest(&self.session, &mount, below(&mount, target)?).await? {
                Newest::Version(version, written) if version == *known => {
                    if before.as_ref().is_none_or(|before| *before == written) {
                        return Ok(None);
                    }
                }
                Newest::Hidden => hidden = true,
                Newest::Version(..) | Newest::Unclear => {}
            }
        }
        let secret = self.read_target(target).await?;
        if hidden && identity.is_some() && identity == self.session.identity() {
            // The same token may read the value: so it is the policy, and not the token's end.
            mount.note_hidden_metadata();
        }
        let rewritten = before.is_some() && before != self.written.at(target.path);
        Ok((secret.version() != known || rewritten).then_some(secret))
    }

    async fn mount(&self, target: &Target<'_>) -> Result<Arc<Mount>> {
        match &target.engine {
            Some(engine) => Ok(self.mounts.given(target.path, engine.clone())),
            None => self.mounts.find(&self.session, target.path).await,
        }
    }

    async fn read_at(&self, mount: &Mount, target: &Target<'_>) -> Result<Found> {
        match &mount.engine {
            Engine::Kv2 => {
                let read = kv::read2(&self.session, mount, below(mount, target)?, target.version);
                read.await.map_err(|error| match error.kind() {
                    ErrorKind::PermissionDenied => with_advice(error, mount, target),
                    _ => error,
                })
            }
            Engine::Kv1 if target.version.is_some() => {
                let reason = "`version` is for KV version 2, and this mount is version 1";
                Err(Error::config("read", reason).with("mount", &mount.path))
            }
            Engine::Kv1 => kv::read1(&self.session, mount, below(mount, target)?, &self.fingerprint).await,
            Engine::Other(kind) => {
                let reason = format!("secrets of the engine {kind:?} cannot be read yet; kv can");
                Err(Error::new(ErrorKind::Unsupported, "read", reason).with("mount", &mount.path))
            }
        }
    }

    fn place(&self, error: Error, reference: &SecretRef) -> Error {
        error.with("provider", &self.name).with("reference", reference.whole())
    }
}

#[async_trait]
impl Provider for VaultProvider {
    fn validate(&self, reference: &SecretRef) -> Result<()> {
        only_parameters(reference, &["kv", "version"])?;
        Target::of(reference).map(drop).map_err(|error| self.place(error, reference))
    }

    async fn read(&self, reference: &SecretRef) -> Result<Secret> {
        self.validate(reference)?;
        let read = async { self.read_target(&Target::of(reference)?).await };
        read.await.map_err(|error| self.place(error, reference))
    }

    async fn read_if_changed(&self, reference: &SecretRef, known: &Version) -> Result<Option<Secret>> {
        self.validate(reference)?;
        let read = async { self.read_if_newer(&Target::of(reference)?, known).await };
        read.await.map_err(|error| self.place(error, reference))
    }

    async fn maintain(&self) {
        self.session.maintain().await;
    }

    async fn close(&self) -> Result<()> {
        self.session.close().await.map_err(|error| error.with("provider", &self.name))
    }
}

impl<'a> Target<'a> {
    fn of(reference: &'a SecretRef) -> Result<Self> {
        let wrong = |reason: &str| Err(Error::config("check reference", reason));
        let path = reference.path().trim_matches('/');
        if path.split('/').any(str::is_empty) {
            return wrong("the path has an empty segment");
        }
        if !path.contains('/') {
            return wrong("the path names a mount and nothing below it");
        }
        let version = match reference.parameters().get("version").map(|text| text.parse()) {
            None => None,
            Some(Ok(version)) if version > 0 => Some(version),
            Some(_) => return wrong("`version` must be a whole number from 1"),
        };
        let engine = match reference.parameters().get("kv").map(String::as_str) {
            None => None,
            Some("1") if version.is_some() => return wrong("`version` is for KV version 2"),
            Some("1") => Some(Engine::Kv1),
            Some("2") => Some(Engine::Kv2),
            Some(_) => return wrong("`kv` must be 1 or 2"),
        };
        Ok(Self { path, version, engine })
    }
}

fn below<'a>(mount: &Mount, target: &Target<'a>) -> Result<&'a str> {
    mount.below(target.path).ok_or_else(|| {
        let reason = "the path names a mount and nothing below it";
        Error::config("read", reason).with("mount", &mount.path)
    })
}

fn nothing(mount: &Mount, target: &Target<'_>) -> Error {
    let reason = match target.version {
        Some(version) => format!("there is no such secret, or no version {version} of it"),
        None => "there is no such secret".to_owned(),
    };
    with_advice(Error::new(ErrorKind::NotFound, "read", reason), mount, target)
}

/// Adds the mount, and what to write instead of a path that was taken from the API.
fn with_advice(error: Error, mount: &Mount, target: &Target<'_>) -> Error {
    let error = error.with("mount", &mount.path);
    let data = mount.below(target.path).and_then(|path| path.strip_prefix("data/"));
    match (&mount.engine, data) {
        (Engine::Kv2, Some(path)) => error.with_help(format!(
            "the path is written as the command line takes it, without `data/`: {}/{path}",
            mount.path
        )),
        _ => error,
    }
}
