//! Whether the application works with what is visible, and the way back where it does not.

use tracing::{Span, debug, error, info};

use super::Delivery;
use crate::clock::later;
use crate::error::{Error, Result};
use crate::trace;
use crate::transaction::{Event, Outcome};

impl Delivery {
    /// Looks whether the application works with what is visible.
    pub(super) async fn probe(&mut self) {
        let Some(probe) = self.config.change.verify.clone() else {
            let outcome = self.note(Event::Verified).await;
            return self.conclude(outcome).await;
        };
        let generation = self.state.borrow().generation.clone().unwrap_or_default();
        let seen = probe.look(&self.event(&generation)).await;
        let now = self.clock.now();
        self.effort.retry_at = Some(later(now, probe.interval));
        match seen {
            Ok(()) => {
                self.effort.good_looks += 1;
                if self.effort.good_looks >= probe.successes {
                    self.succeeded();
                    info!(delivery = self.name(), generation, "the application works with it");
                    let outcome = self.note(Event::Verified).await;
                    self.conclude(outcome).await;
                }
            }
            Err(error) => {
                let error = self.here(error);
                self.effort.good_looks = 0;
                trace::failed(&Span::current(), &error);
                debug!(delivery = self.name(), %error, "the application does not work yet");
                self.state.send_modify(|state| state.error = Some(error.clone()));
                let outcome = self.note(Event::NotVerified).await;
                self.lament(outcome, &error);
                self.conclude(outcome).await;
            }
        }
    }

    /// Makes what the application works with visible again.
    pub(super) async fn revert(&mut self) -> Result<()> {
        let generation = self.target.revert().await.map_err(|error| self.here(error))?;
        let now = self.clock.now();
        self.values.go_back();
        self.state.send_modify(|state| {
            state.rollbacks += 1;
            (state.generation, state.delivered_at) = (Some(generation.clone()), Some(now));
        });
        self.note(Event::Reverted).await;
        error!(
            delivery = self.name(),
            generation, "rolled back to the generation that the application worked with"
        );
        self.audit(&self.values.versions(), "rolled back");
        Ok(())
    }

    /// Says loudly what the application does not work with.
    pub(super) fn lament(&self, outcome: Option<Outcome>, error: &Error) {
        if let (Some(Outcome::Failed | Outcome::Unproven), Some(change)) = (outcome, &self.effort.change) {
            trace::failed(change, error);
        }
        match outcome {
            Some(Outcome::Failed) => error!(
                delivery = self.name(),
                generation = self.state.borrow().generation,
                %error,
                "the application does not work with the new generation; it is rolled back, and its versions are not tried again"
            ),
            Some(Outcome::Unproven) => error!(
                delivery = self.name(),
                generation = self.state.borrow().generation,
                %error,
                "the application does not work with the new generation, and what it worked with has ended: there is no way back"
            ),
            _ => {}
        }
    }
}
