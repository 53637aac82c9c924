//! Which kinds of providers there are, and how each is configured and built.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::Section;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::layer::Budget;
use crate::needs::Needs;
use crate::provider::Provider;
use crate::reference::SecretRef;
use crate::rotation::StrategyKind;
use crate::state::Slot;

/// A kind of provider, such as `vault`: it reads its settings and hands out a [`Blueprint`].
pub trait Kind: fmt::Debug + Send + Sync {
    /// Returns the name that `kind:` in the configuration and a bare reference use.
    fn name(&self) -> &'static str;

    /// Returns other names that a bare reference may use.
    fn aliases(&self) -> &'static [&'static str] {
        &[]
    }

    /// Describes its own settings, for [`schema`](crate::schema); those of a kind that says nothing may be any.
    #[cfg(feature = "schema")]
    fn schema(&self, generator: &mut crate::schema::SchemaGenerator) -> crate::schema::Schema {
        let _ = generator;
        crate::schema::open()
    }

    /// Reads the settings of one entry under `providers:`; mistakes go to the section, which then makes the whole configuration fail.
    fn configure(&self, settings: &mut Section<'_>) -> Option<Box<dyn Blueprint>>;

    /// Takes the settings from the variables that users of this kind set already; a missing one is found out when it is needed.
    ///
    /// # Errors
    /// A variable that is set and makes no sense.
    fn configure_from(&self, environment: &Environment) -> Result<Box<dyn Blueprint>>;
}

/// The parsed settings of one provider, from which it can be built.
pub trait Blueprint: fmt::Debug + Send + Sync {
    /// Builds the provider. Reads files that the settings name (a CA, say), and asks no server.
    ///
    /// # Errors
    /// A file that is missing or does not parse.
    fn build(&self, context: Context) -> Result<Arc<dyn Provider>>;

    /// Returns what the provider needs of the system to read `references`; it is all that it gets in a sandbox. Looks at nothing but the settings.
    fn needs(&self, references: &[&SecretRef]) -> Needs {
        let _ = references;
        Needs::default()
    }
}

/// What every provider is given when it is built.
#[derive(Clone, Debug)]
pub struct Context {
    /// The provider's name in the configuration, for messages.
    pub name: String,
    /// The only source of time.
    pub clock: Clock,
    /// What every single request has to take from before it is sent.
    pub budget: Arc<Budget>,
    /// How long a single request may take.
    pub timeout: Duration,
    /// Where what the provider logged in for outlives it.
    pub slot: Slot,
}

/// The kinds of providers and of rotation strategies that a program was built with.
#[derive(Debug, Default)]
pub struct Registry {
    kinds: Vec<Box<dyn Kind>>,
    strategies: Vec<Box<dyn StrategyKind>>,
}

impl Registry {
    /// Adds a kind.
    #[must_use]
    pub fn with(mut self, kind: impl Kind + 'static) -> Self {
        self.kinds.push(Box::new(kind));
        self
    }

    /// Returns the kind of that name or alias.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config); the message names the known ones.
    pub fn kind(&self, name: &str) -> Result<&dyn Kind> {
        let found = self.kinds.iter().find(|kind| kind.name() == name || kind.aliases().contains(&name));
        found.map(|kind| &**kind).ok_or_else(|| {
            let known: Vec<&str> = self.kinds.iter().map(|kind| kind.name()).collect();
            Error::config(
                "find provider",
                format!("unknown provider kind {name:?}; known: {}", known.join(", ")),
            )
        })
    }

    /// Returns the kinds of providers.
    #[cfg(feature = "schema")]
    pub(crate) fn each_kind(&self) -> impl Iterator<Item = &dyn Kind> {
        self.kinds.iter().map(|kind| &**kind)
    }

    /// Adds a kind of rotation strategy.
    #[must_use]
    pub fn with_strategy(mut self, strategy: impl StrategyKind + 'static) -> Self {
        self.strategies.push(Box::new(strategy));
        self
    }

    /// Returns the strategy of that name or alias.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config); the message names the known ones.
    pub fn strategy(&self, name: &str) -> Result<&dyn StrategyKind> {
        self.strategies
            .iter()
            .find(|strategy| strategy.name() == name || strategy.aliases().contains(&name))
            .map(|strategy| &**strategy)
            .ok_or_else(|| {
                let known = self.strategies().join(", ");
                Error::config("find strategy", format!("unknown strategy {name:?}; known: {known}"))
            })
    }

    /// Returns the kinds of strategies.
    #[cfg(feature = "schema")]
    pub(crate) fn each_strategy(&self) -> impl Iterator<Item = &dyn StrategyKind> {
        self.strategies.iter().map(|strategy| &**strategy)
    }

    /// Returns the names of the strategies.
    pub fn strategies(&self) -> Vec<&'static str> {
        self.strategies.iter().map(|strategy| strategy.name()).collect()
    }

    /// Returns the names that a reference may use without a configured provider: the kinds' own and their aliases.
    pub fn names(&self) -> Vec<&'static str> {
        self.kinds
            .iter()
            .flat_map(|kind| [kind.name()].into_iter().chain(kind.aliases().iter().copied()))
            .collect()
    }
}
