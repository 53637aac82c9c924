//! AWS Secrets Manager.
//!
//! ```text
//! Settings -> Account (region, credentials) -> Http (one connector for all of the SDK)
//!                 ^ identity: chain, sts, pod      ^ budget, time-outs, bounds
//! SecretRef -> Target -> Ferry (twenty secrets a call) | one call -> Value -> Secret
//! ```
//!
//! The SDK writes, signs and reads the requests; it sends none and retries none by itself. A refusal becomes an error in one place, `error`.
//!
//! # Settings
//!
//! | Key | Meaning |
//! |---|---|
//! | `region` | the region to ask; if left out, what the SDK finds: `AWS_REGION`, the profile, the instance |
//! | `endpoint_url` | where Secrets Manager is, if not where the region has it |
//! | `sts_endpoint_url` | where STS is, if not where the region has it |
//! | `allow_insecure` | lets an endpoint be `http://` on another host than this one: everything is sent in the clear |
//! | `ca_file` | the authorities to trust, and no others; the system's, if left out |
//! | `auth` | who to be; if left out, what the SDK's default chain finds |
//! | `rotate_within` | how long a rotation may take (`5m`) |
//!
//! Under `auth`, `method` is one of:
//!
//! | Method | Keys |
//! |---|---|
//! | `default` | none: environment, profile, web identity, container and instance, in the SDK's order |
//! | `profile` | `profile`: its name in the SDK's files |
//! | `web_identity` (IRSA) | `role_arn`, `token_file`, `session_name`; each as the SDK's variables have it, if left out |
//! | `pod_identity` | `endpoint`, `token_file`; each as EKS sets the variables, if left out |
//! | `assume_role` | `role_arn`; `session_name`, `external_id`, and `profile` for who assumes it, else the default chain |
//!
//! Token files are read again at every login. Credentials are renewed when three quarters of their life are over; while that fails, those that
//! are there go on to their end. From the environment: the variables of the SDK, `AWS_CA_BUNDLE`, and `AWS_ENDPOINT_URL_SECRETS_MANAGER`,
//! `AWS_ENDPOINT_URL_STS`, `AWS_ENDPOINT_URL`.
//!
//! # References
//!
//! A path is a secret's name, or its ARN, whole or without the six characters at its end. `stage` and `version-id` ask for another version than
//! `AWSCURRENT`. The keys of a JSON object are the fields, unless `text=true` asks for the text; any other text, and `SecretBinary`, is the field `value`, unless `text=false` refuses what has no keys.
//!
//! # Requests
//!
//! Secrets that are asked for together are read with `BatchGetSecretValue`, twenty with one call, and an interval has all of its secrets asked for
//! together; a version id tells what changed. Where that call is not allowed, and for other stages, each secret is read by itself. What is
//! throttled waits, and so does all else of the provider.
//!
//! # Rotations
//!
//! What rotations of ours publish needs `DescribeSecret`, `GetSecretValue`, `PutSecretValue` and `UpdateSecretVersionStage` on the secret, and all but
//! the last on its record, `keywheel/rotation/NAME`; and `CreateSecret` where one of them is not there yet. A secret whose rotation is Secrets Manager's
//! own is left to that.

mod account;
mod error;
mod ferry;
mod http;
mod identity;
mod needs;
mod provider;
mod read;
mod rotate;
#[cfg(feature = "schema")]
mod schema;
mod settings;
#[cfg(feature = "aws-ssm")]
pub mod ssm;
mod stages;
mod store;
mod target;
mod throttle;

use std::sync::Arc;

use keywheel_core::config::Section;
use keywheel_core::environment::Environment;
use keywheel_core::needs::Needs;
use keywheel_core::registry::{Blueprint, Context, Kind};
#[cfg(feature = "schema")]
use keywheel_core::schema::{JsonSchema, Schema, SchemaGenerator};
use keywheel_core::{Provider, Result, SecretRef};

use self::provider::AwsProvider;
use self::settings::Settings;

/// The kind `aws`.
#[derive(Clone, Debug)]
pub struct AwsKind {
    environment: Environment,
}

impl AwsKind {
    /// Makes the kind; what a configuration leaves out comes from `environment`, but for what the SDK's default chain takes from the process.
    pub fn new(environment: Environment) -> Self {
        Self { environment }
    }
}

impl Default for AwsKind {
    /// Makes the kind with this process's environment.
    fn default() -> Self {
        Self::new(Environment::of_process())
    }
}

impl Kind for AwsKind {
    fn name(&self) -> &'static str {
        "aws"
    }

    #[cfg(feature = "schema")]
    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        schema::Aws::json_schema(generator)
    }

    fn configure(&self, section: &mut Section<'_>) -> Option<Box<dyn Blueprint>> {
        let settings = Settings::parse(section, &self.environment, Service::SecretsManager)?;
        Some(Box::new(AwsBlueprint(settings)))
    }

    fn configure_from(&self, environment: &Environment) -> Result<Box<dyn Blueprint>> {
        let settings = Settings::from_environment(environment, Service::SecretsManager)?;
        Ok(Box::new(AwsBlueprint(settings)))
    }
}

#[derive(Clone, Debug)]
struct AwsBlueprint(Settings);

impl Blueprint for AwsBlueprint {
    fn build(&self, context: Context) -> Result<Arc<dyn Provider>> {
        Ok(Arc::new(AwsProvider::new(self.0.clone(), &context)))
    }

    fn needs(&self, _: &[&SecretRef]) -> Needs {
        needs::of(&self.0)
    }
}

/// A service of AWS that secrets are read from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Service {
    SecretsManager,
    #[cfg(feature = "aws-ssm")]
    ParameterStore,
}
