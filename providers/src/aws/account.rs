//! Who asks which region: what the clients of one provider have in common, found out when it is first needed.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use aws_config::identity::IdentityCache;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use futures_util::future::BoxFuture;
use keywheel_core::examine::Finding;
use keywheel_core::registry::Context;
use keywheel_core::{Clock, Error, ErrorKind, Result};
use tokio::sync::OnceCell;

use super::error;
use super::http::Http;
use super::identity::Identity;
use super::settings::Settings;
use super::throttle::Throttle;

/// The account and region that a provider asks, and the identity that it asks as.
pub(super) struct Account {
    settings: Settings,
    clock: Clock,
    http: Http,
    identity: Arc<Identity>,
    throttle: Throttle,
    config: OnceCell<SdkConfig>,
}

impl Account {
    /// Makes the account; asks nobody, and reads nothing.
    pub(super) fn new(settings: Settings, context: &Context) -> Self {
        let http = Http::new(&settings, context);
        Self {
            clock: context.clock.clone(),
            identity: Arc::new(Identity::new(&settings, http.clone(), context.clock.clone())),
            throttle: Throttle::new(context.clock.clone()),
            config: OnceCell::new(),
            settings,
            http,
        }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Adds to an error which region was asked, once that is known.
    pub(super) fn place(&self, error: Error) -> Error {
        let found = self.config.get().and_then(SdkConfig::region).map(AsRef::as_ref);
        match found.or(self.settings.region.as_deref()) {
            Some(region) => error.with("region", region),
            None => error,
        }
    }

    /// Keeps the credentials fresh until it is dropped.
    pub(super) async fn maintain(&self) {
        self.identity.maintain().await;
    }

    /// Goes the way to the account: the region, then credentials.
    pub(super) async fn examine(&self) -> Vec<Finding> {
        let region = self.config().await.map(|config| config.region().map(ToString::to_string));
        let region = Finding::new("region", region.map(Option::unwrap_or_default));
        if region.is_bad() {
            return vec![region];
        }
        let credentials = self.identity.credentials().await.map(|held| held.describe(self.clock.now()));
        vec![region, Finding::new("credentials", credentials)]
    }

    /// Returns what clients of the SDK are made from: they send through our connector, with our credentials, and retry nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when no region is to be found.
    pub(super) async fn config(&self) -> Result<&SdkConfig> {
        self.config
            .get_or_try_init(|| async {
                let region = match &self.settings.region {
                    Some(region) => Region::new(region.clone()),
                    None => self.found_region().await?,
                };
                self.identity.set_region(region.clone());
                let identity: Arc<dyn ProvideCredentials> = self.identity.clone();
                let mut config = base(&self.settings, &self.http, region)
                    .into_builder()
                    .credentials_provider(SharedCredentialsProvider::from(identity));
                config.set_endpoint_url(self.settings.endpoint.as_ref().map(origin));
                Ok(config.build())
            })
            .await
    }

    /// Asks the SDK's chain for the region: the profile, and the instance.
    async fn found_region(&self) -> Result<Region> {
        let loader = ConfigLoader::default().behavior_version(behavior()).http_client(self.http.clone());
        let loader = match self.settings.method.profile() {
            Some(profile) => loader.profile_name(profile),
            None => loader,
        };
        let loading: BoxFuture<'_, SdkConfig> = Box::pin(loader.load());
        // A variable that is set and empty is a region without a name to the SDK.
        let found = loading.await.region().cloned().filter(|region| !region.as_ref().is_empty());
        found.ok_or_else(|| {
            Error::config("find region", "no region is configured")
                .with_help("set `region` of the provider, AWS_REGION, or `region` in the profile")
        })
    }

    /// Makes one call of the SDK: lets it wait while the account is throttled, and repeats it once with new credentials where AWS does not take
    /// those that were there. The call is boxed: the SDK's futures are large, and hundreds of polls may wait for one of them.
    ///
    /// # Errors
    /// What failed, classified.
    pub(super) async fn ask<T, E>(
        &self,
        operation: &'static str,
        call: impl Fn() -> BoxFuture<'static, Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T>
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        loop {
            let passed_at = self.throttle.pass(operation)?;
            // Before the call, so that a login's failure is told as what it is.
            let credentials = self.identity.credentials().await?;
            let failure = match call().await {
                Ok(answer) => {
                    self.throttle.answered(passed_at);
                    return Ok(answer);
                }
                Err(failure) => error::of(operation, &failure, self.clock.now()),
            };
            match failure.kind() {
                ErrorKind::RateLimited => {
                    let wait = self.throttle.refused(passed_at, failure.retry_after());
                    return Err(failure.with_retry_after(Some(wait)));
                }
                ErrorKind::Unauthenticated if self.identity.reject(&credentials) => {}
                _ => return Err(failure),
            }
        }
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Returns a configuration without credentials, whose clients send through `http` and leave retries, times and caches to us.
pub(super) fn base(settings: &Settings, http: &Http, region: Region) -> SdkConfig {
    SdkConfig::builder()
        .region(region)
        .identity_cache(IdentityCache::no_cache())
        .behavior_version(behavior())
        .http_client(http.clone())
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .use_fips(settings.variants.fips)
        .use_dual_stack(settings.variants.dual_stack)
        .build()
}

/// Returns what the SDK's own sources of credentials are configured with.
pub(super) fn sources(settings: &Settings, http: &Http, region: Region) -> ProviderConfig {
    ProviderConfig::without_region()
        .with_region(Some(region))
        .with_http_client(http.clone())
        .with_retry_config(RetryConfig::disabled())
        .with_timeout_config(TimeoutConfig::disabled())
        .with_use_fips(Some(settings.variants.fips))
        .with_use_dual_stack(Some(settings.variants.dual_stack))
        .with_behavior_version(Some(behavior()))
}

/// Returns an endpoint as the SDK takes it.
pub(super) fn origin(url: &url::Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

fn behavior() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}
