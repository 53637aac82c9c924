//! Roles that STS lets somebody become.

use std::error::Error as StdError;
use std::path::Path;
use std::time::SystemTime;

use aws_config::Region;
use aws_credential_types::Credentials;
use aws_sdk_sts::types::Credentials as Given;
use aws_sdk_sts::{Client, config};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use keywheel_core::identity::TokenSource;
use keywheel_core::{Clock, Error, ErrorKind, Result};

use super::method::Role;
use crate::aws::account::{base, origin};
use crate::aws::error;
use crate::aws::http::Http;
use crate::aws::settings::Settings;

/// The STS of one region.
pub(super) struct Sts {
    config: config::Builder,
    clock: Clock,
}

impl Sts {
    pub(super) fn new(settings: &Settings, http: &Http, region: Region, clock: Clock) -> Self {
        let mut config = config::Builder::from(&base(settings, http, region));
        config.set_endpoint_url(settings.sts_endpoint.as_ref().map(origin));
        Self { config, clock }
    }

    /// Becomes `role` with the token that is in the file at this moment.
    ///
    /// # Errors
    /// A file that cannot be read (which is temporary: the kubelet writes it), no answer, or a refusal.
    pub(super) async fn with_web_identity(self, role: &Role, token: &Path) -> Result<Credentials> {
        let source = TokenSource::File(token.into());
        let token = source.token().await.map_err(|error| error.in_operation(OPERATION))?;
        let client = Client::from_conf(self.config.build());
        let call = client
            .assume_role_with_web_identity()
            .role_arn(&role.arn)
            .role_session_name(&role.session)
            .web_identity_token(token.expose_text().unwrap_or_default());
        let answer = call.send().await.map_err(|failure| refused(&failure, role, &self.clock))?;
        credentials(answer.credentials)
    }

    /// Becomes `role` as whoever `own` are the credentials of.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub(super) async fn with_role(
        self,
        role: &Role,
        external_id: Option<&str>,
        own: Credentials,
    ) -> Result<Credentials> {
        let config = self.config.credentials_provider(own);
        let client = Client::from_conf(config.build());
        let call = client
            .assume_role()
            .role_arn(&role.arn)
            .role_session_name(&role.session)
            .set_external_id(external_id.map(str::to_owned));
        let answer = call.send().await.map_err(|failure| refused(&failure, role, &self.clock))?;
        credentials(answer.credentials)
    }
}

fn refused<E: ProvideErrorMetadata + StdError + 'static>(
    failure: &SdkError<E, HttpResponse>,
    role: &Role,
    clock: &Clock,
) -> Error {
    let error = error::of(OPERATION, failure, clock.now()).with("role", &role.arn);
    match error.kind() {
        ErrorKind::PermissionDenied => error.with_help(
            "the role's trust policy must name this identity (for a pod, its issuer and service account), and the external id, if it wants one",
        ),
        _ => error,
    }
}

fn credentials(given: Option<Given>) -> Result<Credentials> {
    let Some(given) = given else {
        return Err(Error::new(ErrorKind::Invalid, OPERATION, "the answer holds no credentials"));
    };
    let expiration = SystemTime::try_from(given.expiration)
        .map_err(|_| Error::new(ErrorKind::Invalid, OPERATION, "the answer's time of expiry is none"))?;
    Ok(Credentials::new(
        given.access_key_id,
        given.secret_access_key,
        Some(given.session_token),
        Some(expiration),
        "sts",
    ))
}

const OPERATION: &str = "log in";
