//! Has the transit engine of Vault or OpenBao make a new version of a key, with which it encrypts and signs from then on.
//!
//! The rotation's `target` is the key, `vault://transit/keys/NAME`. Nothing is published: the key never leaves the engine.
//!
//! | Key | Meaning |
//! |---|---|
//! | `keep` | how many versions decrypt and verify when `overlap` is over, the new one counted (all, if left out); what older ones encrypted has to be rewrapped until then |
//!
//! The number of the newest version is looked at before the engine is asked, so that a repeated request makes one version. `keep` counts from
//! the version that the rotation made: one that somebody else made since has not had its time, and takes none away. A
//! `min_decryption_version` that is higher already stays. An emergency retires no more than `keep` says, and does so at once.
//!
//! The policy needs `read` on `transit/keys/NAME` and `update` on `transit/keys/NAME/rotate`, and with `keep` on `transit/keys/NAME/config`.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use keywheel_core::client::Client;
use keywheel_core::config::Section;
use keywheel_core::rotation::{
    Document, Fields, Plan, Revision, Strategy, StrategyContext, StrategyKind, Turn,
};
#[cfg(feature = "schema")]
use keywheel_core::schema::{JsonSchema, Schema, SchemaGenerator};
use keywheel_core::{Error, ErrorKind, Result, SecretRef, Value};

/// The strategy `vault-transit-key`.
#[derive(Clone, Copy, Debug, Default)]
pub struct VaultTransitKeyStrategy;

#[derive(Clone, Copy, Debug)]
struct Settings {
    keep: Option<u32>,
}

#[derive(Debug)]
struct Key {
    client: Client,
    key: SecretRef,
    keep: Option<u32>,
}

/// What the engine says of a key.
#[derive(Debug)]
struct Standing {
    newest: u64,
    made_at: Option<Timestamp>,
    oldest_that_decrypts: u64,
}

impl StrategyKind for VaultTransitKeyStrategy {
    fn name(&self) -> &'static str {
        "vault-transit-key"
    }

    #[cfg(feature = "schema")]
    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        super::schema::TransitKey::json_schema(generator)
    }

    fn configure(&self, mut settings: Section<'_>) -> Option<Box<dyn Plan>> {
        let keep = settings.optional("keep");
        if keep == Some(0) {
            settings.mistake("`keep` is 1 at least: the new version is one of them");
        }
        settings.finish();
        Some(Box::new(Settings { keep }))
    }
}

impl Plan for Settings {
    fn fields(&self) -> Vec<&str> {
        Vec::new()
    }

    fn leaves_old(&self) -> bool {
        self.keep.is_some()
    }

    fn build(&self, context: StrategyContext) -> Result<Arc<dyn Strategy>> {
        let StrategyContext { target, client, .. } = context;
        client.validate(&target)?;
        let is_key = target
            .path()
            .trim_matches('/')
            .rsplit_once("/keys/")
            .is_some_and(|(_, name)| !name.contains('/'));
        match is_key && target.parameters().is_empty() {
            true => Ok(Arc::new(Key { client, key: target, keep: self.keep })),
            false => Err(Error::config("check target", "the target is a key of transit, MOUNT/keys/NAME")),
        }
    }
}

impl Key {
    async fn standing(&self) -> Result<Standing> {
        let fields = self.client.read(&self.key).await?.into_fields();
        Standing::of(&fields)
            .ok_or_else(|| Error::new(ErrorKind::Invalid, "rotate", "the answer describes no key of transit"))
    }

    fn below(&self, operation: &str) -> Result<SecretRef> {
        self.key.at(&format!("{}/{operation}", self.key.path().trim_matches('/')))
    }
}

impl Standing {
    fn of(fields: &Fields) -> Option<Self> {
        let newest = number(fields.get("latest_version")?)?;
        let Value::Map(versions) = fields.get("keys")? else { return None };
        // A key pair's version says more of itself than a symmetric key's.
        let made_at = match versions.get(&newest.to_string()) {
            Some(Value::Map(version)) => version.get("creation_time").and_then(time),
            Some(version) => number(version).and_then(|at| Timestamp::from_second(at.try_into().ok()?).ok()),
            None => None,
        };
        Some(Self { newest, made_at, oldest_that_decrypts: number(fields.get("min_decryption_version")?)? })
    }
}

/// Returns the oldest of `keep` versions, of which the newest is the one after `base`.
fn oldest_kept(base: &Revision, keep: u32) -> Option<u64> {
    let made = base.as_str().parse::<u64>().ok()?.saturating_add(1);
    Some(made.saturating_add(1).saturating_sub(u64::from(keep)))
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.expose_text()?.parse().ok(),
        _ => None,
    }
}

fn time(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Bytes(text) => text.expose_text()?.parse().ok(),
        _ => None,
    }
}

#[async_trait]
impl Strategy for Key {
    /// Older versions decrypt until they are retired.
    fn is_gapless(&self) -> bool {
        true
    }

    async fn look(&self) -> Result<Document> {
        let Standing { newest, made_at, .. } = self.standing().await?;
        Ok(Document { fields: Some(Fields::new()), revision: Revision::new(newest), written_at: made_at })
    }

    async fn create(&self, _: Option<&Fields>) -> Result<Fields> {
        Ok(Fields::new())
    }

    async fn check(&self, _: Turn<'_>) -> Result<()> {
        Ok(())
    }

    async fn set(&self, turn: Turn<'_>) -> Result<()> {
        match Revision::new(self.standing().await?.newest) == *turn.base {
            true => self.client.invoke(&self.below("rotate")?, &Fields::new()).await.map(drop),
            false => Ok(()),
        }
    }

    async fn test(&self, turn: Turn<'_>) -> Result<()> {
        match Revision::new(self.standing().await?.newest) == *turn.base {
            true => Err(Error::new(
                ErrorKind::Rejected,
                "test",
                "the server does not say that there is a new version",
            )),
            false => Ok(()),
        }
    }

    /// A version is not taken back: what it encrypted meanwhile would be lost.
    async fn undo(&self, _: Turn<'_>) -> Result<()> {
        Ok(())
    }

    async fn retire(&self, turn: Turn<'_>) -> Result<()> {
        let Some(keep) = self.keep else { return Ok(()) };
        let oldest = oldest_kept(turn.base, keep).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "rotate", "the record does not say at which version it began")
        })?;
        if oldest <= self.standing().await?.oldest_that_decrypts {
            return Ok(());
        }
        let fields = [("min_decryption_version".to_owned(), Value::Number(oldest.to_string().into()))].into();
        self.client.invoke(&self.below("config")?, &fields).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_that_are_kept_count_from_the_one_that_was_made() {
        let oldest = |base: &str, keep| oldest_kept(&Revision::new(base), keep);
        assert_eq!((oldest("1", 1), oldest("1", 2), oldest("7", 3)), (Some(2), Some(1), Some(6)));
        assert_eq!((oldest("1", 9), oldest("", 1)), (Some(0), None));
    }

    #[test]
    fn symmetric_keys_and_pairs_tell_their_versions() {
        let of = |json: &str| Standing::of(&serde_json::from_str(json).unwrap());
        let symmetric = of(r#"{"latest_version": 2, "min_decryption_version": 1, "keys": {"1": 1700000000, "2": 1700000100}}"#).unwrap();
        assert_eq!((symmetric.newest, symmetric.oldest_that_decrypts), (2, 1));
        assert_eq!(symmetric.made_at, Some(Timestamp::from_second(1_700_000_100).unwrap()));
        let pair = of(
            r#"{"latest_version": 1, "min_decryption_version": 1, "keys": {"1": {"creation_time": "2026-11-29T14:00:00Z"}}}"#,
        );
        assert_eq!(pair.unwrap().made_at, Some("2026-11-29T14:00:00Z".parse().unwrap()));
        assert!(
            of(r#"{"keys": {}}"#).is_none()
                && of(r#"{"latest_version": 1, "min_decryption_version": 1}"#).is_none()
        );
    }
}
