//! The provider: a reference becomes a mount and a path, and these a secret.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use keywheel_core::clock::until;
use keywheel_core::examine::Finding;
use keywheel_core::fingerprint::Fingerprint;
use keywheel_core::layer::Budget;
use keywheel_core::provider::{Ending, Leases};
use keywheel_core::registry::Context;
use keywheel_core::rotation::{Fields, Store};
use keywheel_core::{Clock, Error, ErrorKind, Provider, Result, Secret, SecretRef, Version};

use super::examine;
use super::kv::{self, Found, Newest};
use super::logical::{self, Minting, Request};
use super::mount::{Engine, Mount, Mounts};
use super::session::Session;
use super::settings::Settings;
use super::survey::Survey;
use super::target::{Target, Way};
use super::transport::Transport;
use super::wrapped::Wrapped;
use super::written::Written;

/// Reads secrets of one Vault or OpenBao server, in one namespace, as one identity.
#[derive(Debug)]
pub(super) struct VaultProvider {
    name: String,
    pub(super) clock: Clock,
    pub(super) session: Session,
    budget: Arc<Budget>,
    mounts: Mounts,
    survey: Survey,
    pub(super) fingerprint: Fingerprint,
    written: Written,
    minting: Minting,
    wrapped: Wrapped,
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
            name: context.name.clone(),
            clock: context.clock.clone(),
            budget: Arc::clone(&context.budget),
            mounts: Mounts::default(),
            survey: Survey::new(context.clock.clone()),
            fingerprint: Fingerprint::default(),
            written: Written::default(),
            minting: Minting::default(),
            wrapped: Wrapped::default(),
            session: Session::new(transport, Arc::clone(settings), context),
        })
    }

    async fn read_target(&self, target: &Target<'_>) -> Result<Secret> {
        if let Way::Unwrap(file) = target.way {
            return self.wrapped.read(self.session.transport(), target.path, file).await;
        }
        let mount = self.mount(target).await?;
        let mut found = self.read_at(&mount, target).await?;
        if matches!(found, Found::Nothing) && target.engine().is_none() {
            // Perhaps another engine was mounted in the meantime.
            self.mounts.forget(&mount);
            let now = self.mounts.find(&self.session, target.path).await?;
            if (&now.path, &now.engine) != (&mount.path, &mount.engine) {
                found = self.read_at(&now, target).await?;
            }
        }
        match found {
            Found::Secret(secret, written) => {
                if let (Some(written), None) = (written, target.version()) {
                    self.written.note(target.path, &written);
                }
                Ok(secret)
            }
            Found::Nothing => Err(nothing(&mount, target)),
        }
    }

    async fn read_if_newer(&self, target: &Target<'_>, known: &Version) -> Result<Option<Secret>> {
        if target.version().is_some_and(|version| Version::new(version) == *known) {
            return Ok(None);
        }
        if let Way::Unwrap(file) = target.way {
            return self.wrapped.read_if_other(self.session.transport(), target.path, file, known).await;
        }
        if matches!(target.way, Way::Write(_)) || self.minting.of(&target.name()) == Some(true) {
            // Another read would make another value.
            return Ok(None);
        }
        let mount = self.mount(target).await?;
        let before = self.written.at(target.path);
        let identity = self.session.identity();
        let mut hidden = false;
        if mount.engine == Engine::Kv2 && target.version().is_none() && !mount.hides_metadata() {
            match self.survey.newest(&self.session, &mount, below(&mount, target)?).await? {
                Newest::Version(version, written) if version == *known => {
                    if before.is_none_or(|before| before == self.written.moment(&written)) {
                        return Ok(None);
                    }
                }
                Newest::Hidden => hidden = true,
                Newest::Version(..) | Newest::Unclear => {}
            }
        }
        // Boxed: most polls find nothing new, and a thousand of them may wait at once.
        let secret = Box::pin(self.read_target(target)).await?;
        if hidden && identity.is_some() && identity == self.session.identity() {
            // The same token may read the value: so it is the policy, and not the token's end.
            mount.note_hidden_metadata();
        }
        let rewritten = before.is_some() && before != self.written.at(target.path);
        Ok((secret.version() != known || rewritten).then_some(secret))
    }

    pub(super) async fn mount(&self, target: &Target<'_>) -> Result<Arc<Mount>> {
        match target.engine() {
            Some(engine) => Ok(self.mounts.given(target.path, engine)),
            None => self.mounts.find(&self.session, target.path).await,
        }
    }

    async fn read_at(&self, mount: &Mount, target: &Target<'_>) -> Result<Found> {
        match (&mount.engine, &target.way) {
            (engine, Way::Write(_)) if engine.stores_what_is_written() => {
                let reason = "parameters make the read a write, which would replace the secret at this path";
                Err(Error::config("read", reason).with("mount", &mount.path))
            }
            (Engine::Kv2, _) => {
                let read = kv::read2(&self.session, mount, below(mount, target)?, target.version());
                read.await.map_err(|error| match error.kind() {
                    ErrorKind::PermissionDenied => with_advice(error, mount, target),
                    _ => error,
                })
            }
            (_, _) if target.version().is_some() => {
                let reason = "`version` is for KV version 2, and this mount is another engine";
                Err(Error::config("read", reason).with("mount", &mount.path))
            }
            (Engine::Kv1, _) => {
                kv::read1(&self.session, mount, below(mount, target)?, &self.fingerprint).await
            }
            (Engine::Other(_), way) => {
                let none = BTreeMap::new();
                let parameters = if let Way::Write(parameters) = way { parameters } else { &none };
                self.make(target, Request { path: target.path, parameters }).await
            }
        }
    }

    /// Reads what may be another value with each read.
    async fn make(&self, target: &Target<'_>, request: Request<'_>) -> Result<Found> {
        let name = target.name();
        if self.minting.of(&name) != Some(false) {
            self.budget.mint(&name)?;
        }
        let at = self.clock.now();
        match logical::read(&self.session, request, &self.fingerprint, at).await? {
            Some(secret) => {
                self.minting.note(&name, secret.upkeep.is_minted());
                if let Some(end) = secret.upkeep.deadline(None) {
                    self.budget.minted(&name, until(at, end));
                }
                Ok(Found::Secret(secret, None))
            }
            None => Ok(Found::Nothing),
        }
    }

    /// Adds the provider to an error.
    pub(super) fn named(&self, error: Error) -> Error {
        error.with("provider", &self.name)
    }

    pub(super) fn place(&self, error: Error, reference: &SecretRef) -> Error {
        self.named(error).with("reference", reference.whole())
    }
}

#[async_trait]
impl Provider for VaultProvider {
    fn validate(&self, reference: &SecretRef) -> Result<()> {
        Target::of(reference).map(drop).map_err(|error| self.place(error, reference))
    }

    async fn read(&self, reference: &SecretRef) -> Result<Secret> {
        let read = async { self.read_target(&Target::of(reference)?).await };
        read.await.map_err(|error| self.place(error, reference))
    }

    async fn read_if_changed(&self, reference: &SecretRef, known: &Version) -> Result<Option<Secret>> {
        let read = async { self.read_if_newer(&Target::of(reference)?, known).await };
        read.await.map_err(|error| self.place(error, reference))
    }

    /// Secrets of a KV version 2 folder are asked for together.
    fn group(&self, reference: &SecretRef) -> Option<String> {
        let target = Target::of(reference).ok()?;
        let mount = match target.engine() {
            Some(engine) => self.mounts.given(target.path, engine),
            None => self.mounts.known(target.path)?,
        };
        let is_polled = mount.engine == Engine::Kv2
            && matches!(target.way, Way::Read { version: None, .. })
            && !mount.hides_metadata();
        if is_polled { self.survey.group(&mount.path, mount.below(target.path)?) } else { None }
    }

    async fn invoke(&self, reference: &SecretRef, fields: &Fields) -> Result<Fields> {
        self.invoke_at(reference, fields).await.map_err(|error| self.place(error, reference))
    }

    fn leases(&self) -> Option<&dyn Leases> {
        Some(self)
    }

    fn store(&self) -> Option<&dyn Store> {
        Some(self)
    }

    fn realm(&self) -> String {
        self.session.realm()
    }

    async fn examine(&self) -> Vec<Finding> {
        examine::examine(&self.session, &self.clock).await
    }

    fn uses_up(&self, reference: &SecretRef) -> Option<&'static str> {
        match Target::of(reference).ok()?.way {
            Way::Unwrap(_) => Some("a read uses the wrapping token up"),
            _ => self.session.settings().method.uses_up(),
        }
    }

    async fn maintain(&self) {
        self.session.maintain().await;
    }

    async fn close(&self, ending: Ending) -> Result<()> {
        self.session.close(ending).await.map_err(|error| self.named(error))
    }
}

pub(super) fn below<'a>(mount: &Mount, target: &Target<'a>) -> Result<&'a str> {
    mount.below(target.path).ok_or_else(|| {
        let reason = "the path names a mount and nothing below it";
        Error::config("read", reason).with("mount", &mount.path)
    })
}

fn nothing(mount: &Mount, target: &Target<'_>) -> Error {
    let reason = match target.version() {
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
