use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use keywheel_core::config::ProviderConfig;
use keywheel_core::memory::{Lending, Memory};
use keywheel_core::provider::Leases;
use keywheel_core::registry::{Blueprint, Context};
use keywheel_core::{Provider, Secret, SecretRef, Value, Version};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// An engine that makes credentials as Vault's does: every read is another pair, with a lease.
#[derive(Debug)]
struct Engine<T>(T);

impl Blueprint for Engine<Memory> {
    fn build(&self, context: Context) -> Result<Arc<dyn Provider>> {
        Ok(Arc::new(Engine(self.0.build(context)?)))
    }
}

#[async_trait]
impl Provider for Engine<Arc<dyn Provider>> {
    fn validate(&self, reference: &SecretRef) -> Result<()> {
        self.0.validate(reference)
    }

    async fn read(&self, reference: &SecretRef) -> Result<Secret> {
        let made = self.0.read(reference).await?;
        let names = [("access_key", "username"), ("secret_key", "password")];
        let mut fields = BTreeMap::new();
        for (name, from) in names {
            fields.insert(name.to_owned(), Value::Bytes(made.fields()[from].to_bytes().unwrap()));
        }
        let mut secret = Secret::try_new(fields, made.version().clone())?;
        secret.upkeep = made.upkeep.clone();
        Ok(secret)
    }

    async fn read_if_changed(&self, _: &SecretRef, _: &Version) -> Result<Option<Secret>> {
        Ok(None)
    }

    fn leases(&self) -> Option<&dyn Leases> {
        self.0.leases()
    }
}

#[tokio::test(start_paused = true)]
async fn credentials_before_a_change_live_as_long_as_the_sdk_may_keep_them() {
    let memory = Memory::new();
    let life = Duration::from_secs(3600);
    memory.lend("aws/creds/orders", Lending { ttl: life, max_ttl: life, renewable: false });
    let clock = Clock::paused(Timestamp::UNIX_EPOCH);
    let engine = ProviderConfig::new(Box::new(Engine(memory.clone())));
    let client = Client::builder().clock(clock.clone()).provider("vault", engine).build().unwrap();
    let watched =
        WatchedCredentials::watch_at(&client, "vault://aws/creds/orders", clock.clone()).await.unwrap();
    let given = watched.provide_credentials().await.unwrap();
    assert_eq!(given.access_key_id(), "aws/creds/orders/1");
    assert_eq!(given.expiry(), Some(SystemTime::UNIX_EPOCH + WatchedCredentials::KEPT));

    tokio::time::sleep(life - 60 * SECOND).await;
    let mut changed_at = clock.now();
    while watched.provide_credentials().await.unwrap().access_key_id() == "aws/creds/orders/1" {
        tokio::time::sleep(SECOND).await;
        changed_at = clock.now();
    }
    let is_live = || memory.loans().live.contains_key("aws/creds/orders/1");
    while clock.now() < later(changed_at, WatchedCredentials::KEPT - SECOND) {
        watched.provide_credentials().await.unwrap();
        tokio::time::sleep(SECOND).await;
        assert!(is_live(), "a request may still be signed with the old one");
    }
    tokio::time::sleep(SECOND).await;
    watched.provide_credentials().await.unwrap();
    tokio::time::sleep(SECOND).await;
    assert!(!is_live(), "nobody can have the old one any more");
    assert!(!format!("{watched:?}").contains("of no worth"));
}

#[cfg(feature = "aws")]
mod with_the_sdk {
    use aws_config::identity::IdentityCache;
    use aws_config::{BehaviorVersion, Region, SdkConfig};
    use aws_credential_types::provider::SharedCredentialsProvider;
    use aws_smithy_runtime_api::client::http::{
        HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
    };
    use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use aws_smithy_types::body::SdkBody;
    use keywheel_tests::{Moto, moto};

    use super::*;

    /// The shortest way to a server in the clear.
    #[derive(Clone, Debug, Default)]
    struct Plain(reqwest::Client);

    impl HttpConnector for Plain {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            let client = self.0.clone();
            HttpConnectorFuture::new(async move {
                let request = request.try_into_http1x().unwrap();
                let request = request.map(|body| body.bytes().unwrap_or_default().to_vec());
                let answer = client.execute(request.try_into().unwrap()).await;
                let answer = answer.map_err(|error| ConnectorError::other(Box::new(error), None))?;
                let status = answer.status();
                let body = SdkBody::from(answer.bytes().await.unwrap());
                Ok(HttpResponse::new(status.into(), body))
            })
        }
    }

    #[tokio::test]
    async fn the_sdk_signs_as_whom_the_secret_names() {
        let moto = Moto::start();
        let users = ["one", "two"].map(|name| moto.make_user(name));
        let source = Memory::new();
        let publish = |(access_key, secret_key): &(String, String)| {
            source.set(
                "aws/creds/orders",
                [("access_key", access_key), ("secret_key", secret_key)]
                    .map(|(name, value)| (name, value.as_str())),
            );
        };
        publish(&users[0]);
        let client = Client::builder().own_provider("vault", source.clone()).build().unwrap();
        let credentials = WatchedCredentials::watch(&client, "vault://aws/creds/orders").await.unwrap();
        let connector = SharedHttpConnector::new(Plain::default());
        let config = SdkConfig::builder()
            .region(Region::new(moto::REGION))
            .behavior_version(BehaviorVersion::v2026_01_12())
            .identity_cache(IdentityCache::no_cache())
            .retry_config(aws_config::retry::RetryConfig::disabled())
            .timeout_config(aws_config::timeout::TimeoutConfig::disabled())
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(moto.address())
            .build();
        let sts = aws_sdk_sts::Client::new(&config);
        let who = async || sts.get_caller_identity().send().await.unwrap().arn.unwrap();
        assert!(who().await.ends_with(":user/one"));
        publish(&users[1]);
        keywheel_tests::wait::until_async("the second user", async || {
            who().await.ends_with(":user/two").then_some(())
        })
        .await;
    }
}
