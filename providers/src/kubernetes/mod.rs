//! The cluster that a pod runs in: rolls out the workload that the pod is of, and has tokens of service accounts issued.

mod connect;
mod rollout;
mod token;

use std::path::Path;

use keywheel_core::environment::Environment;
use keywheel_core::needs::Needs;
use keywheel_core::{Error, ErrorKind, Result};
use kube::Client;

use self::connect::Way;

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
    /// This is no pod, or what the kubelet gave it cannot be used.
    async fn connect(self) -> Result<Client> {
        let read = || Way::read(&Environment::of_process(), Path::new(SERVICE_ACCOUNT))?.client();
        let client = tokio::task::spawn_blocking(read).await.ok().flatten();
        client.ok_or_else(|| {
            let reason = "this is no pod of a cluster, or one without a service account's token";
            self.failed(reason).with_help("it takes a pod whose `automountServiceAccountToken` is true")
        })
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
    let port = connect::port(environment).unwrap_or(443);
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
}
