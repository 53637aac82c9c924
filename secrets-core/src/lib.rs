//! Keywheel's engine: takes secrets from where they live, delivers them into memory-backed directories, keeps them fresh, and tells the
//! application.
//!
//! Data flows one way, and each stage takes the type that the one before returns:
//!
//! ```text
//! identity ----> fetch -------> render ----> deliver ----> notify
//! TokenSource    Provider       FilePlan     AtomicDir     Notifier
//!                -> Secret      -> Payload   -> Written    -> Event
//! ```
//!
//! Deciding is apart from doing: [`schedule`] says what is next and when, from values alone; [`keeper::Keepers`] keep each secret fresh at
//! that pace, and tend its [`lease`]; the [`engine`] has a loop for each delivery directory. A [`client::Client`] reads single secrets.
//! [`state`] lets the next engine, or the next process, go on where this one ends.
//!
//! The kinds of providers are in `keywheel-providers`; here is only [`memory`], which tests use. [`docs`] has the decisions and their reasons.

pub mod audit;
pub mod client;
pub mod clock;
pub mod config;
pub mod deliver;
pub mod docs;
pub mod engine;
pub mod environment;
pub mod error;
pub mod examine;
pub mod fields;
pub mod fingerprint;
pub mod http;
pub mod identity;
pub mod incident;
pub mod keeper;
pub mod layer;
pub mod lease;
mod locked;
pub mod memory;
pub mod meter;
#[cfg(feature = "http")]
pub mod names;
pub mod needs;
pub mod notify;
pub mod payload;
pub mod probe;
pub mod program;
pub mod provider;
pub mod quote;
pub mod reference;
pub mod registry;
pub mod render;
pub mod rotation;
pub mod schedule;
#[cfg(feature = "schema")]
pub mod schema;
pub mod secret;
pub mod state;
pub mod trace;
pub mod transaction;
pub mod typed;
pub mod validate;
pub mod value;
pub mod watch;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use secrecy::{ExposeSecret, SecretString};

pub use crate::client::Client;
pub use crate::clock::Clock;
pub use crate::deliver::AtomicDir;
pub use crate::error::{Error, ErrorKind, Result};
pub use crate::fields::FieldMap;
pub use crate::provider::Provider;
pub use crate::reference::SecretRef;
pub use crate::secret::{Secret, SecretValue, Upkeep, Version};
pub use crate::state::State;
pub use crate::value::Value;
pub use crate::watch::{Versioned, Watched};
