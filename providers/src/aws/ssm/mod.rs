//! SSM Parameter Store.
//!
//! The settings are those of [`aws`](crate::aws), and so is the way to AWS; the endpoint's variable is `AWS_ENDPOINT_URL_SSM`.
//!
//! # References
//!
//! `ssm://NAME` is one parameter: `ssm:///prod/orders/db` (or without the third slash), or an ARN. `version=3` and `label=NAME` ask for another
//! version than the newest. A value that is a JSON object gives its keys as fields, unless `text=true` asks for the text; any other is the field `value`, unless `text=false` refuses what has no keys.
//! A `SecureString` is decrypted.
//!
//! `ssm:///prod/orders/`, with a slash at the end, is all parameters below the path: each is a field, by its name from there on.
//!
//! # Requests
//!
//! Parameters that are asked for together are read with `GetParameters`, ten with one call; where that is not allowed, each by itself. What is
//! below a path is one call of `GetParametersByPath` for each ten.

mod name;
mod provider;
mod read;

use std::sync::Arc;

use keywheel_core::config::Section;
use keywheel_core::environment::Environment;
use keywheel_core::needs::Needs;
use keywheel_core::registry::{Blueprint, Context, Kind};
#[cfg(feature = "schema")]
use keywheel_core::schema::{JsonSchema, Schema, SchemaGenerator};
use keywheel_core::{Provider, Result, SecretRef};

use self::provider::SsmProvider;
use super::settings::Settings;
use super::{Service, needs};

/// The kind `ssm`.
#[derive(Clone, Debug)]
pub struct SsmKind {
    environment: Environment,
}

impl SsmKind {
    /// Makes the kind; what a configuration leaves out comes from `environment`, but for what the SDK's default chain takes from the process.
    pub fn new(environment: Environment) -> Self {
        Self { environment }
    }
}

impl Default for SsmKind {
    /// Makes the kind with this process's environment.
    fn default() -> Self {
        Self::new(Environment::of_process())
    }
}

impl Kind for SsmKind {
    fn name(&self) -> &'static str {
        "ssm"
    }

    #[cfg(feature = "schema")]
    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        super::schema::Aws::json_schema(generator)
    }

    fn configure(&self, section: &mut Section<'_>) -> Option<Box<dyn Blueprint>> {
        let settings = Settings::parse(section, &self.environment, Service::ParameterStore)?;
        Some(Box::new(SsmBlueprint(settings)))
    }

    fn configure_from(&self, environment: &Environment) -> Result<Box<dyn Blueprint>> {
        let settings = Settings::from_environment(environment, Service::ParameterStore)?;
        Ok(Box::new(SsmBlueprint(settings)))
    }
}

#[derive(Clone, Debug)]
struct SsmBlueprint(Settings);

impl Blueprint for SsmBlueprint {
    fn build(&self, context: Context) -> Result<Arc<dyn Provider>> {
        Ok(Arc::new(SsmProvider::new(self.0.clone(), &context)))
    }

    fn needs(&self, _: &[&SecretRef]) -> Needs {
        needs::of(&self.0)
    }
}
