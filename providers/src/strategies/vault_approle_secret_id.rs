//! Replaces the secret id of an AppRole of Vault or OpenBao.
//!
//! | Key | Meaning |
//! |---|---|
//! | `role` | the role, `vault://auth/approle/role/NAME` |
//!
//! The field `secret_id` is published in the target. The new one is made here and written down before the server is told of it
//! (`custom-secret-id`), so that no secret id is left behind that nobody knows, whenever the rotator is killed. It is tested by a real login, whose
//! token is given back at once; that login is one of its `secret_id_num_uses`. One that was tested more often, because an answer was lost, has not
//! enough of them left and is replaced by another. The old one is destroyed when the overlap is over.
//!
//! Tokens that somebody got with the old secret id live on to their own end, also in an emergency: the server has no list of them by secret id.
//! The log says so, and `sys/leases/revoke-prefix/auth/approle/login` ends those of the whole login.
//!
//! The policy needs `read` on `auth/approle/role/NAME` and `…/role-id`, and `update` on `…/custom-secret-id`, `…/secret-id/lookup` and
//! `…/secret-id-accessor/destroy`.

use std::sync::Arc;

use async_trait::async_trait;
use keywheel_core::client::Client;
use keywheel_core::config::Section;
use keywheel_core::rotation::policy::Policy;
use keywheel_core::rotation::{Fields, Plan, Strategy, StrategyContext, StrategyKind, Turn, text};
#[cfg(feature = "schema")]
use keywheel_core::schema::{JsonSchema, Schema, SchemaGenerator};
use keywheel_core::{Error, ErrorKind, Result, SecretRef, Value};
use tracing::{info, warn};

/// The strategy `vault-approle-secret-id`.
#[derive(Clone, Copy, Debug, Default)]
pub struct VaultAppRoleSecretIdStrategy;

#[derive(Clone, Debug)]
struct Settings {
    role: SecretRef,
}

#[derive(Debug)]
struct Role {
    client: Client,
    role: SecretRef,
    /// Where the role logs in.
    login: SecretRef,
}

impl StrategyKind for VaultAppRoleSecretIdStrategy {
    fn name(&self) -> &'static str {
        "vault-approle-secret-id"
    }

    #[cfg(feature = "schema")]
    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        super::schema::AppRole::json_schema(generator)
    }

    fn configure(&self, mut settings: Section<'_>) -> Option<Box<dyn Plan>> {
        let role: Option<SecretRef> = settings.required("role");
        settings.finish();
        Some(Box::new(Settings { role: role? }))
    }
}

impl Plan for Settings {
    fn references(&self) -> Vec<&SecretRef> {
        vec![&self.role]
    }

    fn fields(&self) -> Vec<&str> {
        vec![SECRET_ID]
    }

    fn build(&self, context: StrategyContext) -> Result<Arc<dyn Strategy>> {
        let (role, client) = (self.role.clone(), context.client);
        client.validate(&role)?;
        let is_plain = role.parameters().is_empty() && role.field().is_none();
        let parts = role.path().trim_matches('/').rsplit_once("/role/");
        let mount =
            parts.filter(|(mount, name)| is_plain && mount.starts_with("auth/") && !name.contains('/'));
        let Some((mount, _)) = mount else {
            let reason = "`role` is a role of AppRole, such as vault://auth/approle/role/NAME";
            return Err(Error::config("check role", reason));
        };
        Ok(Arc::new(Role { login: role.at(&format!("{mount}/login"))?, client, role }))
    }
}

impl Role {
    fn below(&self, operation: &str) -> Result<SecretRef> {
        self.role.at(&format!("{}/{operation}", self.role.path().trim_matches('/')))
    }

    /// Returns what the server says of a secret id; none where it does not know it.
    async fn look_up(&self, secret_id: &Fields) -> Result<Option<Fields>> {
        match self.client.invoke(&self.below("secret-id/lookup")?, secret_id).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            found => found.map(|found| Some(found).filter(|found| found.contains_key(ACCESSOR))),
        }
    }

    async fn accessor(&self, secret_id: &Fields) -> Result<Option<String>> {
        let found = self.look_up(secret_id).await?;
        Ok(found.and_then(|found| text(&found, ACCESSOR).ok().map(str::to_owned)))
    }

    /// Checks that a secret id of a role with `limit` has as many logins left as one that was tested once.
    async fn check_uses(&self, secret_id: &Fields, limit: u64) -> Result<()> {
        let left = self.look_up(secret_id).await?.and_then(|found| uses(&found));
        match left {
            // No limit was set when it was made.
            Some(0) => Ok(()),
            Some(left) if left + 1 >= limit => Ok(()),
            _ => Err(Error::new(
                ErrorKind::Rejected,
                "test",
                "the test has used up more than one login of the new secret id",
            )
            .with("role", &self.role)
            .with_help("another one is made at the next attempt")),
        }
    }

    async fn destroy(&self, secret_id: &Fields) -> Result<()> {
        let Some(accessor) = self.accessor(secret_id).await? else { return Ok(()) };
        let by_accessor = [(ACCESSOR.to_owned(), accessor.as_str().into())].into();
        self.client.invoke(&self.below("secret-id-accessor/destroy")?, &by_accessor).await?;
        info!(role = %self.role, accessor, "the secret id is destroyed");
        Ok(())
    }
}

#[async_trait]
impl Strategy for Role {
    /// A role has any number of secret ids.
    fn is_gapless(&self) -> bool {
        true
    }

    async fn create(&self, _: Option<&Fields>) -> Result<Fields> {
        Ok([(SECRET_ID.to_owned(), Value::Bytes(Policy::default().generate()?))].into())
    }

    async fn check(&self, turn: Turn<'_>) -> Result<()> {
        let role = self.client.read(&self.role).await?.into_fields();
        let wrong = |reason: &str, help: &str| {
            Err(Error::new(ErrorKind::Rejected, "check", reason).with("role", &self.role).with_help(help))
        };
        if matches!(role.get("bind_secret_id"), Some(Value::Bool(false))) {
            return wrong("the role logs in without a secret id", "set `bind_secret_id`");
        }
        if uses(&role) == Some(1) {
            return wrong(
                "its secret ids are for one login, which the test would use up",
                "set `secret_id_num_uses` to 0, or one more than it has to be",
            );
        }
        // Whatever else the policy lacks, what is made could be found again.
        self.accessor(secret_id(turn.new)?).await.map(drop)
    }

    async fn set(&self, turn: Turn<'_>) -> Result<()> {
        let new = secret_id(turn.new)?;
        let accessor = match self.client.invoke(&self.below("custom-secret-id")?, new).await {
            Ok(made) => text(&made, ACCESSOR).ok().map(str::to_owned),
            // One that is there already is answered as a failure of the server's.
            Err(error) => Some(self.accessor(new).await?.ok_or(error)?),
        };
        info!(role = %self.role, accessor, token = turn.token, "there is a new secret id");
        Ok(())
    }

    async fn test(&self, turn: Turn<'_>) -> Result<()> {
        let role_id = self.client.read(&self.below("role-id")?).await?.into_fields();
        let mut login: Fields = keywheel_core::rotation::copy(secret_id(turn.new)?);
        login.insert(ROLE_ID.to_owned(), text(&role_id, ROLE_ID)?.into());
        self.client.invoke(&self.login, &login).await?;
        match uses(&self.client.read(&self.role).await?.into_fields()) {
            Some(limit) if limit > 0 => self.check_uses(secret_id(turn.new)?, limit).await,
            _ => Ok(()),
        }
    }

    async fn undo(&self, turn: Turn<'_>) -> Result<()> {
        self.destroy(secret_id(turn.new)?).await
    }

    async fn retire(&self, turn: Turn<'_>) -> Result<()> {
        let Some(old) = turn.old else { return Ok(()) };
        self.destroy(secret_id(old)?).await?;
        if turn.is_emergency {
            warn!(role = %self.role, "tokens of the old secret id live on to their own end; revoke those of the whole login where that matters");
        }
        Ok(())
    }
}

/// Returns how many logins a role gives its secret ids, or a secret id has left; 0 is no limit.
fn uses(fields: &Fields) -> Option<u64> {
    match fields.get("secret_id_num_uses")? {
        Value::Number(uses) => uses.expose_text()?.parse().ok(),
        _ => None,
    }
}

/// Checks that the fields are the one that the server knows.
fn secret_id(fields: &Fields) -> Result<&Fields> {
    text(fields, SECRET_ID).map(|_| fields)
}

const SECRET_ID: &str = "secret_id";
const ROLE_ID: &str = "role_id";
const ACCESSOR: &str = "secret_id_accessor";
