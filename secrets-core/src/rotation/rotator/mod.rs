//! Performs the steps of one rotation, and writes down what came of each.

mod advance;
mod audit;
mod awaited;
mod ledger;
mod standing;
mod steps;

use std::sync::Arc;

use tokio::sync::OnceCell;

pub use self::awaited::Acknowledged;
pub use self::standing::{Progress, Standing};
use super::acknowledge::Acknowledge;
use super::config::{Names, RotationConfig};
use super::course::Rules;
use super::hold::Holder;
use super::store::Store;
use super::strategy::{Strategy, StrategyContext};
use super::timing::RotationTiming;
use crate::client::{Client, named};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::Provider;
use crate::reference::SecretRef;

/// Rotates one secret.
#[derive(Debug)]
pub struct Rotator {
    rotation: Rotation,
    strategy: Arc<dyn Strategy>,
    /// Writes the record, and the target, if anything is published.
    provider: Arc<dyn Provider>,
    record_at: OnceCell<SecretRef>,
    clock: Clock,
    me: Holder,
}

#[derive(Debug)]
struct Rotation {
    name: String,
    target: SecretRef,
    timing: RotationTiming,
    strategy: &'static str,
    names: Names,
    rules: Rules,
    acknowledge: Option<Acknowledge>,
}

/// What somebody wants beside what the schedule says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ask {
    /// Rotate whatever the schedule says.
    pub now: bool,
    /// Give the old value no time: it is known to somebody whom it is not for.
    pub revoke_old: bool,
    /// Publish the value before the last rotation again.
    pub roll_back: bool,
    /// Why, for the audit.
    pub reason: Option<String>,
}

impl Rotator {
    /// Builds what `config` describes; asks no server.
    ///
    /// # Errors
    /// A target that cannot be written to, or a strategy that cannot be built.
    pub fn build(config: RotationConfig, client: &Client, clock: &Clock) -> Result<Self> {
        let named = |error: Error| named(error, &config.target).with("rotation", &config.name);
        let provider = Arc::clone(client.provider(config.record.as_ref().unwrap_or(&config.target))?);
        let checked = store_of(&provider).and_then(|store| match &config.record {
            Some(record) => provider.validate(record),
            None => store.validate(&config.target),
        });
        checked.map_err(named)?;
        let context =
            StrategyContext { target: config.target.clone(), client: client.clone(), clock: clock.clone() };
        let strategy = config.plan.build(context).map_err(named)?;
        let rules = Rules { overlap: config.overlap, is_gapless: strategy.is_gapless() };
        let RotationConfig { name, target, timing, strategy: kind, names, record, acknowledge, .. } = config;
        let rotation = Rotation { name, target, timing, strategy: kind, names, rules, acknowledge };
        let (record_at, me) = (OnceCell::new_with(record), Holder::of_process());
        Ok(Self { rotation, strategy, provider, record_at, clock: clock.clone(), me })
    }

    /// Returns the rotation's name.
    pub fn name(&self) -> &str {
        &self.rotation.name
    }

    /// Returns the secret that is rotated.
    pub fn target(&self) -> &SecretRef {
        &self.rotation.target
    }

    /// Returns the strategy's name.
    pub fn strategy(&self) -> &'static str {
        self.rotation.strategy
    }

    /// Tells whether there is a value to publish; else the source keeps it itself.
    fn publishes(&self) -> bool {
        !self.rotation.names.is_empty()
    }

    /// Asks how the rotation stands, and changes nothing.
    ///
    /// # Errors
    /// The store does not answer, or refuses.
    pub async fn look(&self) -> Result<Standing> {
        let open = self.open().await?;
        self.standing(&open.record).await
    }

    /// Does everything that there is to be done now, and what `ask` wants.
    ///
    /// # Errors
    /// What failed first, unless something was published after it. What has to be done about it later is written down.
    ///
    /// # Cancel safety
    /// What was begun is gone on with by the next call, of whatever rotator.
    pub async fn advance(&self, ask: &Ask) -> Result<Progress> {
        self.advance_telling(ask).await.1
    }
}

fn store_of(provider: &Arc<dyn Provider>) -> Result<&dyn Store> {
    provider.store().ok_or_else(|| {
        Error::new(ErrorKind::Config, "rotate", "nothing can be published there: the provider only reads")
    })
}
