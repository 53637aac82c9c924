//! Has AWS Secrets Manager rotate a secret by the function that it has there, and waits until the new version is current.
//!
//! The rotation's `target` is the secret (`aws://…`). Nothing is published: the function does that, and Secrets Manager keeps the value. There are
//! no settings: `aws: {}`. How long a rotation may take is the provider's `rotate_within`.
//!
//! The new version has the rotation's token as its id. Whoever goes on with what a killed rotator began finds that version, and asks for no
//! second one.
//!
//! The version before keeps the stage `AWSPREVIOUS`, and whether it still works is the function's affair, also in an emergency: the log says so.
//!
//! Needs `secretsmanager:RotateSecret` and `secretsmanager:DescribeSecret`; the value is never read.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use keywheel_core::client::Client;
use keywheel_core::config::Section;
use keywheel_core::rotation::{
    Document, Fields, Plan, Revision, Strategy, StrategyContext, StrategyKind, Turn,
};
#[cfg(feature = "schema")]
use keywheel_core::schema::{Schema, SchemaGenerator};
use keywheel_core::{Result, SecretRef};
use tracing::warn;

/// The strategy `aws`.
#[derive(Clone, Copy, Debug, Default)]
pub struct AwsStrategy;

#[derive(Debug)]
struct Aws {
    client: Client,
    secret: SecretRef,
}

impl StrategyKind for AwsStrategy {
    fn name(&self) -> &'static str {
        "aws"
    }

    #[cfg(feature = "schema")]
    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        let _ = generator;
        keywheel_core::schema::without_settings(
            "The secret, by the rotation function that Secrets Manager has for it.",
        )
    }

    fn configure(&self, settings: Section<'_>) -> Option<Box<dyn Plan>> {
        settings.finish();
        Some(Box::new(Self))
    }
}

impl Plan for AwsStrategy {
    fn fields(&self) -> Vec<&str> {
        Vec::new()
    }

    /// The function decides what becomes of the old value.
    fn leaves_old(&self) -> bool {
        false
    }

    fn build(&self, context: StrategyContext) -> Result<Arc<dyn Strategy>> {
        context.client.validate(&context.target)?;
        Ok(Arc::new(Aws { client: context.client, secret: context.target }))
    }
}

#[async_trait]
impl Strategy for Aws {
    /// What is between is the function's affair: it is given all the time that it needs.
    fn is_gapless(&self) -> bool {
        true
    }

    fn longest_step(&self) -> Duration {
        LONGEST_STEP
    }

    async fn look(&self) -> Result<Document> {
        let (version, written_at) = self.client.provider(&self.secret)?.rotated(&self.secret).await?;
        let revision = Revision::new(version.as_str());
        Ok(Document { fields: Some(Fields::new()), revision, written_at })
    }

    async fn create(&self, _: Option<&Fields>) -> Result<Fields> {
        Ok(Fields::new())
    }

    async fn check(&self, _: Turn<'_>) -> Result<()> {
        Ok(())
    }

    async fn set(&self, turn: Turn<'_>) -> Result<()> {
        self.client.provider(&self.secret)?.rotate(&self.secret, turn.token).await.map(drop)
    }

    /// The function has tested it.
    async fn test(&self, _: Turn<'_>) -> Result<()> {
        Ok(())
    }

    /// What the function did not finish stays pending, for whoever looks into it: the old version is current.
    async fn undo(&self, _: Turn<'_>) -> Result<()> {
        Ok(())
    }

    async fn retire(&self, turn: Turn<'_>) -> Result<()> {
        if turn.is_emergency {
            warn!(secret = %self.secret, "the version before (AWSPREVIOUS) may still work: its rotation function alone can end it");
        }
        Ok(())
    }
}

/// Functions take minutes. One that takes longer is gone on waiting for at the next attempt.
const LONGEST_STEP: Duration = Duration::from_secs(600);
