//! Rotation at the source: a new credential is made, installed, proved, published, and the old one retired, by a schedule.
//!
//! ```text
//! Timing -> Rotator -> Strategy: create, set, test, retire      (an account of a database, a generated value, …)
//!  when       |    \-> Store: publish by compare-and-set        (a secret of Vault's KV, …)
//!             v
//!           Course, in the record beside the secret
//! ```
//!
//! The steps have the words that AWS Secrets Manager gave them: *create* a value, *set* it at the system that it is for, *test* it there, and
//! *finish* by publishing it. Readers never see a value that was not tested. What is next follows from the [`Course`] alone, a value without
//! I/O; it is written down between two steps, in the store itself, so that a rotator that is killed at any of them, or another one elsewhere,
//! goes on with it. Every step may be done twice.
//!
//! A strategy without fields has a source replace what it keeps itself: nothing is published, and the strategy says what the source is at. Replicas may
//! [acknowledge](Acknowledge) what was published, which gives the old value more time. A [`Server`] runs schedules, and takes emergencies in between.
//!
//! Two rotators at once do no harm: the record is written by compare-and-set, so that one of them begins a rotation and the other one finds it
//! begun; it is held while somebody is at it.

mod acknowledge;
mod config;
mod course;
mod desk;
mod hold;
mod measures;
mod pace;
pub mod policy;
mod record;
mod rotator;
mod serve;
mod store;
mod strategy;
pub mod timing;

pub use self::acknowledge::Acknowledge;
pub(crate) use self::acknowledge::acknowledge;
pub(crate) use self::config::read as read_config;
pub use self::config::{Names, RotationConfig};
pub use self::course::{Attempt, Course, Event, Phase, Rules, Step, Trouble};
pub use self::desk::Look;
pub use self::measures::{MEASURES, Measure};
pub use self::pace::Pace;
pub use self::rotator::{Acknowledged, Ask, Progress, Rotator, Standing};
pub use self::serve::{Server, ServerHandle};
pub use self::store::{Document, Fields, Revision, Store, copy};
pub use self::strategy::{Plan, Strategy, StrategyContext, StrategyKind, Turn, text};
