//! A generated value: a password, a token, a key pair. Nobody has to be told of it but its readers.

use std::sync::Arc;

use async_trait::async_trait;
use keywheel_core::config::Section;
use keywheel_core::rotation::policy::Policy;
use keywheel_core::rotation::{Fields, Plan, Strategy, StrategyContext, StrategyKind, Turn};
#[cfg(feature = "schema")]
use keywheel_core::schema::{JsonSchema, Schema, SchemaGenerator};
use keywheel_core::{Result, Value};

use crate::keys::KeyKind;

/// The strategy `random`: the keys of a policy make the field `value`; `key` instead makes `private_key` and `public_key`.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomStrategy;

#[derive(Clone, Debug)]
enum Random {
    Value(Policy),
    Key(KeyKind),
}

impl StrategyKind for RandomStrategy {
    fn name(&self) -> &'static str {
        "random"
    }

    #[cfg(feature = "schema")]
    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        super::schema::Random::json_schema(generator)
    }

    fn configure(&self, mut settings: Section<'_>) -> Option<Box<dyn Plan>> {
        let random = match settings.item("key") {
            Some(kind) => {
                settings.finish();
                Random::Key(kind.parse()?)
            }
            None => Random::Value(Policy::parse(settings)?),
        };
        Some(Box::new(random))
    }
}

impl Plan for Random {
    fn fields(&self) -> Vec<&'static str> {
        match self {
            Self::Value(_) => vec![VALUE],
            Self::Key(_) => vec![PRIVATE_KEY, PUBLIC_KEY],
        }
    }

    fn build(&self, _: StrategyContext) -> Result<Arc<dyn Strategy>> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
impl Strategy for Random {
    /// Whoever has the old value has nothing that anybody would refuse.
    fn is_gapless(&self) -> bool {
        true
    }

    async fn create(&self, _: Option<&Fields>) -> Result<Fields> {
        Ok(match self {
            Self::Value(policy) => [(VALUE.to_owned(), Value::Bytes(policy.generate()?))].into(),
            Self::Key(kind) => {
                let pair = kind.generate()?;
                let public: Value = pair.public_key.as_str().into();
                [(PRIVATE_KEY.to_owned(), Value::Bytes(pair.private_key)), (PUBLIC_KEY.to_owned(), public)]
                    .into()
            }
        })
    }

    async fn check(&self, _: Turn<'_>) -> Result<()> {
        Ok(())
    }

    async fn set(&self, _: Turn<'_>) -> Result<()> {
        Ok(())
    }

    async fn test(&self, _: Turn<'_>) -> Result<()> {
        Ok(())
    }

    async fn undo(&self, _: Turn<'_>) -> Result<()> {
        Ok(())
    }

    async fn retire(&self, _: Turn<'_>) -> Result<()> {
        Ok(())
    }
}

const VALUE: &str = "value";
const PRIVATE_KEY: &str = "private_key";
const PUBLIC_KEY: &str = "public_key";
