//! What the SDK finds: the default chain, or one profile of its files.

use std::time::Duration;

use aws_config::Region;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use keywheel_core::{Error, ErrorKind, Result};

use crate::aws::account::sources;
use crate::aws::error::ours;
use crate::aws::http::Http;
use crate::aws::settings::Settings;

/// Asks the default chain, or `profile` alone. Nothing of an earlier time counts: files and variables are read again.
///
/// # Errors
/// [`ErrorKind::Unauthenticated`] when nobody is found.
pub(super) async fn credentials(
    settings: &Settings,
    http: &Http,
    region: Region,
    profile: Option<String>,
) -> Result<Credentials> {
    let sources = sources(settings, http, region.clone());
    let found = async {
        match &profile {
            Some(profile) => {
                let builder = ProfileFileCredentialsProvider::builder().configure(&sources);
                builder.profile_name(profile).build().provide_credentials().await
            }
            None => {
                let builder = DefaultCredentialsChain::builder().configure(sources).region(region);
                builder.build().await.provide_credentials().await
            }
        }
    };
    match tokio::time::timeout(LONGEST, found).await {
        Ok(Ok(credentials)) => Ok(credentials),
        Ok(Err(error)) => Err(refused(&error, profile.as_deref())),
        Err(_) => {
            let reason = format!("the SDK's chain found nobody within {LONGEST:?}");
            Err(Error::new(ErrorKind::Timeout, "log in", reason))
        }
    }
}

fn refused(error: &CredentialsError, profile: Option<&str>) -> Error {
    if let Some(own) = ours(error) {
        return own.clone().in_operation("log in");
    }
    let unknown = |reason: String| Error::new(ErrorKind::Unauthenticated, "log in", reason);
    match (error, profile) {
        (CredentialsError::CredentialsNotLoaded(_), None) => {
            unknown("the SDK's default chain finds no credentials".into()).with_help(
                "give the pod a role (IRSA, Pod Identity), set AWS_PROFILE or AWS_ACCESS_KEY_ID, or name one under `auth`",
            )
        }
        (CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_), Some(profile)) => {
            unknown(format!("the profile {profile:?} is not there, or holds no credentials"))
                .with_help("look into ~/.aws/config and ~/.aws/credentials")
        }
        (CredentialsError::InvalidConfiguration(_), None) => {
            unknown("the SDK's files or variables are not right".into())
        }
        (CredentialsError::ProviderTimedOut(_), _) => {
            Error::new(ErrorKind::Timeout, "log in", "whom the SDK asked did not answer in time")
        }
        _ => unknown("whom the SDK asked does not give credentials".into()).with_temporary(true),
    }
}

/// The chain ends with the instance's metadata, which is asked several times where nothing answers.
const LONGEST: Duration = Duration::from_secs(20);
