//! The cluster: as a pod of it, or as a kubeconfig says.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::exit::Failure;

/// Makes a client; asks nobody yet.
///
/// # Errors
/// No way to the cluster is known.
pub(crate) async fn client(kubeconfig: Option<&Path>) -> Result<Client, Failure> {
    let config = match kubeconfig {
        None => Config::incluster().map_err(|_| {
            Failure::usage(
                "this is no pod of a cluster, or one without a service account's token; name a --kubeconfig",
            )
        })?,
        Some(file) => {
            let wrong = || Failure::usage(format!("{} is no kubeconfig that can be used", file.display()));
            let read = Kubeconfig::read_from(file).map_err(|_| wrong())?;
            Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.map_err(|_| wrong())?
        }
    };
    Client::try_from(config).map_err(|_| Failure::usage("the way to the cluster's API server cannot be used"))
}

/// Refuses an audience that is the cluster's own: whoever gets a token for that can be the account there.
///
/// # Errors
/// It is one of the names that API servers have by themselves, or this pod's own token is for it.
pub(crate) fn refuse_own(audience: &str) -> Result<(), Failure> {
    let token = std::fs::read_to_string(TOKEN).map(Zeroizing::new).unwrap_or_default();
    if is_own(audience, &audiences(&token)) {
        return Err(Failure::usage(format!(
            "--token-audience: {audience:?} is the cluster's own; name one that the provider's role expects, such as `vault`"
        )));
    }
    Ok(())
}

fn is_own(audience: &str, own: &[String]) -> bool {
    let host = audience.strip_prefix("https://").unwrap_or(audience);
    let is_default = host
        .strip_prefix("kubernetes.default.svc")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '/', ':']));
    is_default || own.iter().any(|own| own == audience)
}

/// Returns whom a token is for (RFC 7519, section 4.1.3); nobody where it does not say.
fn audiences(token: &str) -> Vec<String> {
    let payload = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let claims: Option<Value> = payload.and_then(|payload| serde_json::from_slice(&payload).ok());
    match claims.map(|mut claims| claims["aud"].take()) {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// Where the kubelet puts a pod's own token.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Asks the cluster whether it has native sidecars.
///
/// # Errors
/// It does not answer.
pub(crate) async fn knows_native_sidecars(client: &Client) -> Result<bool, Failure> {
    let version = client.apiserver_version().await.map_err(|_| {
        Failure::unavailable("the cluster does not tell its version; say --native-sidecars on or off")
    })?;
    Ok(is_native(&version.major, &version.minor))
}

/// Tells whether that version has them without being asked to. Some clusters write `29+`.
fn is_native(major: &str, minor: &str) -> bool {
    let number = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0);
    (number(major), number(minor)) >= (1_u32, 29)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audience_of_the_cluster_is_none_for_providers() {
        let claims =
            URL_SAFE_NO_PAD.encode(r#"{"aud":["https://container.googleapis.com/v1/x","k3s"],"sub":"a"}"#);
        let own = audiences(&format!("e30.{claims}.c2ln"));
        for audience in [
            "k3s",
            "https://container.googleapis.com/v1/x",
            "https://kubernetes.default.svc",
            "https://kubernetes.default.svc.cluster.local",
            "kubernetes.default.svc",
        ] {
            assert!(is_own(audience, &own), "{audience}");
        }
        for audience in ["vault", "https://kubernetes.default.svcs", "https://vault.test"] {
            assert!(!is_own(audience, &own), "{audience}");
        }
        let one = URL_SAFE_NO_PAD.encode(r#"{"aud":"vault"}"#);
        assert_eq!(audiences(&format!("e30.{one}.c2ln")), ["vault"]);
        assert!(audiences("none").is_empty());
    }

    #[test]
    fn versions_are_read_as_clusters_write_them() {
        for (major, minor, native) in [
            ("1", "29", true),
            ("1", "29+", true),
            ("1", "28", false),
            ("1", "9", false),
            ("2", "0", true),
            ("", "", false),
        ] {
            assert_eq!(is_native(major, minor), native, "{major}.{minor}");
        }
    }
}
