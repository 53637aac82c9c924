//! The cluster that a pod runs in: rolls out the workload that the pod is of, and has tokens of service accounts issued.

mod rollout;
mod token;

use std::net::{IpAddr, SocketAddr};

use http::Uri;
use keywheel_core::environment::Environment;
use keywheel_core::needs::Needs;
use keywheel_core::{Error, ErrorKind, Result, names};
use kube::{Client, Config};

pub use self::rollout::Pod;
pub use self::token::{AccountTokens, TokenRequest};

/// What an error of a request to the cluster is.
#[derive(Clone, Copy, Debug)]
struct Purpose {
    kind: ErrorKind,
    operation: &'static str,
}

impl Purpose {
    fn failed(self, reason: impl Into<String>) -> Error {
        Error::new(self.kind, self.operation, reason)
    }

    /// Says that the cluster is away, or wants to be left alone: that says nothing about who asks. What fails to be told fails to be told, whatever it is.
    fn away(self, kind: ErrorKind, reason: impl Into<String>) -> Error {
        let kind = if self.kind == ErrorKind::Notify { self.kind } else { kind };
        Error::new(kind, self.operation, reason).with_temporary(true)
    }

    /// Finds the way to the cluster as it is at this moment: nothing is read before, and nothing is kept.
    ///
    /// # Errors
    /// This is no pod, or its API server's host is not found.
    async fn connect(self) -> Result<Client> {
        let outside = || {
            let reason = "this is no pod of a cluster, or one without a service account's token";
            self.failed(reason).with_help("it takes a pod whose `automountServiceAccountToken` is true")
        };
        let read = tokio::task::spawn_blocking(Config::incluster).await;
        let mut config = read.ok().and_then(std::result::Result::ok).ok_or_else(outside)?;
        self.find(&mut config).await?;
        Client::try_from(config).map_err(|_| outside())
    }

    /// Puts an address in the place of the API server's name, which the client would ask the C library for; the certificate is still looked at for the
    /// name.
    async fn find(self, config: &mut Config) -> Result<()> {
        let server = config.cluster_url.clone();
        let Some(name) =
            server.host().filter(|host| host.parse::<IpAddr>().is_err() && !host.starts_with('['))
        else {
            return Ok(());
        };
        let unknown = || {
            let reason = "the host of the cluster's API server was not found";
            self.away(ErrorKind::Unavailable, reason).with("host", name)
        };
        let found = names::addresses(name).await.map_err(|_| unknown())?;
        let address = found.first().ok_or_else(unknown)?;
        let mut parts = server.clone().into_parts();
        let authority = SocketAddr::new(*address, server.port_u16().unwrap_or(443)).to_string();
        parts.authority = Some(authority.parse().map_err(|_| unknown())?);
        config.cluster_url = Uri::from_parts(parts).map_err(|_| unknown())?;
        config.tls_server_name = Some(name.to_owned());
        Ok(())
    }

    /// Says what the cluster answered, in words of our own: `allow` is what a refusal is answered with, and `missing` what there is not.
    fn refused(self, error: &kube::Error, allow: String, missing: String) -> Error {
        let kube::Error::Api(status) = error else {
            return self.away(ErrorKind::Unavailable, "the cluster's API server cannot be reached");
        };
        match status.code {
            401 => self
                .failed("the API server does not know this pod's service account (401)")
                .with_temporary(true),
            403 => self.failed("the API server refuses (403)").with_help(allow),
            404 => self.failed(format!("there is no {missing} (404)")),
            429 => self.away(ErrorKind::RateLimited, "the API server wants to be asked less often (429)"),
            code if code >= 500 => {
                self.away(ErrorKind::Unavailable, format!("the API server answered {code}"))
            }
            code => self.failed(format!("the API server answered {code}")).with_temporary(code == 409),
        }
    }
}

/// Returns what reaching the cluster takes.
fn needs(environment: &Environment) -> Needs {
    let port = environment.first(&["KUBERNETES_SERVICE_PORT", "KUBERNETES_SERVICE_PORT_HTTPS"]);
    let port = port.and_then(|port| port.parse().ok()).unwrap_or(443);
    Needs::default().with_ports([port]).with_trees([SERVICE_ACCOUNT])
}

/// Where the kubelet puts the token, the namespace and the authority of the cluster.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_none_of_those_who_ask() {
        let refused = |kind, code| {
            let status = kube::core::Status::failure("c4n4ry", "c4n4ry").with_code(code).boxed();
            let purpose = Purpose { kind, operation: "ask" };
            let error = purpose.refused(&kube::Error::Api(status), String::new(), String::new());
            assert!(!error.to_string().contains("c4n4ry"), "{error}");
            (error.kind(), error.is_temporary())
        };
        use ErrorKind::{Notify, RateLimited, Unauthenticated, Unavailable};
        for (code, kind, is_temporary) in [
            (401, Unauthenticated, true),
            (403, Unauthenticated, false),
            (404, Unauthenticated, false),
            (409, Unauthenticated, true),
            (429, RateLimited, true),
            (500, Unavailable, true),
            (503, Unavailable, true),
        ] {
            assert_eq!(refused(Unauthenticated, code), (kind, is_temporary), "{code}");
            assert_eq!(refused(Notify, code), (Notify, is_temporary), "{code}");
        }
    }

    #[tokio::test]
    async fn an_address_takes_the_place_of_a_name_and_the_certificate_stays_the_name_s() {
        let purpose = Purpose { kind: ErrorKind::Notify, operation: "roll out" };
        let found = async |url: &str| {
            let mut config = Config::new(url.parse().unwrap());
            purpose.find(&mut config).await.unwrap();
            (config.cluster_url.to_string(), config.tls_server_name)
        };
        let (url, name) = found("https://localhost:6443").await;
        assert!(matches!(url.as_str(), "https://127.0.0.1:6443/" | "https://[::1]:6443/"), "{url}");
        assert_eq!(name.as_deref(), Some("localhost"));
        assert!(found("https://localhost").await.0.ends_with(":443/"));
        for address in ["https://10.0.0.1/", "https://[fd00::1]:6443/"] {
            assert_eq!(found(address).await, (address.into(), None));
        }
    }
}
