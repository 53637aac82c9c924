//! Has the database engine of Vault or OpenBao give an account another password.
//!
//! | The rotation's `target` | What is replaced |
//! |---|---|
//! | `vault://database/static-roles/NAME` | the password of a static role (`rotate-role`); readers find it at `database/static-creds/NAME` |
//! | `vault://database/config/NAME` | the password that the engine itself logs in to the database with (`rotate-root`); nobody but the engine knows it from then on |
//!
//! There are no settings: `vault-database: {}`. Nothing is published: the engine keeps the password.
//!
//! A static role says when it was last rotated, by whomever. That counts for the schedule, and is looked at before the engine is asked again, so
//! that a repeated request rotates once. A connection says nothing of the kind: a rotator that was killed between the request and the note of it
//! has that password replaced twice, which nobody notices, since nobody but the engine has it.
//!
//! The policy needs `update` on `database/rotate-role/NAME` (or `rotate-root`) and `read` on the target.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use keywheel_core::client::Client;
use keywheel_core::config::Section;
use keywheel_core::rotation::{
    Document, Fields, Plan, Revision, Strategy, StrategyContext, StrategyKind, Turn, text,
};
#[cfg(feature = "schema")]
use keywheel_core::schema::{Schema, SchemaGenerator};
use keywheel_core::{Error, ErrorKind, Result, SecretRef};

/// The strategy `vault-database`.
#[derive(Clone, Copy, Debug, Default)]
pub struct VaultDatabaseStrategy;

#[derive(Debug)]
struct Account {
    client: Client,
    target: SecretRef,
    /// What is written to, to have the password replaced.
    rotate: SecretRef,
    is_static_role: bool,
}

impl StrategyKind for VaultDatabaseStrategy {
    fn name(&self) -> &'static str {
        "vault-database"
    }

    #[cfg(feature = "schema")]
    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        let _ = generator;
        keywheel_core::schema::without_settings(
            "The password of a static role, or of the engine itself, by the database secrets engine.",
        )
    }

    fn configure(&self, settings: Section<'_>) -> Option<Box<dyn Plan>> {
        settings.finish();
        Some(Box::new(Self))
    }
}

impl Plan for VaultDatabaseStrategy {
    fn fields(&self) -> Vec<&str> {
        Vec::new()
    }

    /// An account has one password.
    fn leaves_old(&self) -> bool {
        false
    }

    fn build(&self, context: StrategyContext) -> Result<Arc<dyn Strategy>> {
        let StrategyContext { target, client, .. } = context;
        client.validate(&target)?;
        let path = target.path().trim_matches('/');
        let found = OPERATIONS.iter().find_map(|(folder, operation)| {
            let (mount, name) = path.rsplit_once(folder)?;
            (!mount.is_empty() && !name.contains('/')).then(|| format!("{mount}{operation}{name}"))
        });
        let Some(operation) = found.filter(|_| target.parameters().is_empty()) else {
            let reason =
                "the target is MOUNT/static-roles/NAME, or MOUNT/config/NAME for the engine's own account";
            return Err(Error::config("check target", reason));
        };
        let is_static_role = operation.contains(ROTATE_ROLE);
        Ok(Arc::new(Account { rotate: target.at(&operation)?, client, target, is_static_role }))
    }
}

#[async_trait]
impl Strategy for Account {
    /// There is no way back from a request that was made, and so no hurry after it.
    fn is_gapless(&self) -> bool {
        true
    }

    async fn look(&self) -> Result<Document> {
        let fields = self.client.read(&self.target).await?.into_fields();
        let last = match self.is_static_role {
            true => Some(text(&fields, "last_vault_rotation")?),
            false => None,
        };
        let written_at = last.and_then(|last| last.parse::<Timestamp>().ok());
        Ok(Document {
            fields: Some(Fields::new()),
            revision: Revision::new(last.unwrap_or(UNTOLD)),
            written_at,
        })
    }

    async fn create(&self, _: Option<&Fields>) -> Result<Fields> {
        Ok(Fields::new())
    }

    async fn check(&self, _: Turn<'_>) -> Result<()> {
        Ok(())
    }

    async fn set(&self, turn: Turn<'_>) -> Result<()> {
        if self.is_static_role && self.look().await?.revision != *turn.base {
            return Ok(());
        }
        self.client.invoke(&self.rotate, &Fields::new()).await.map(drop)
    }

    async fn test(&self, turn: Turn<'_>) -> Result<()> {
        match self.is_static_role && self.look().await?.revision == *turn.base {
            true => Err(Error::new(
                ErrorKind::Rejected,
                "test",
                "the server does not say that it rotated the role",
            )),
            false => Ok(()),
        }
    }

    /// The engine goes back to no password.
    async fn undo(&self, _: Turn<'_>) -> Result<()> {
        Ok(())
    }

    async fn retire(&self, _: Turn<'_>) -> Result<()> {
        Ok(())
    }
}

const ROTATE_ROLE: &str = "/rotate-role/";
const OPERATIONS: [(&str, &str); 2] = [("/static-roles/", ROTATE_ROLE), ("/config/", "/rotate-root/")];
/// The revision of what does not say when it was rotated.
const UNTOLD: &str = "untold";
