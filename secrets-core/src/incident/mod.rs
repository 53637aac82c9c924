//! Alerts of Falco, and the rotations that they ask for: a credential that somebody has whom it is not for is replaced at once.
//!
//! An [`Alert`] is what falcosidekick posts (<https://github.com/falcosecurity/falcosidekick>, output `webhook`). Which rotations it asks for follows
//! from the configuration's rules and nothing else ([`IncidentsConfig::rotations`]): an alert names no rotation.

mod alert;
mod limit;
mod rules;

pub use self::alert::{Alert, AlertError, Priority};
pub use self::limit::Limit;
pub use self::rules::IncidentsConfig;
pub(crate) use self::rules::read as read_config;
