//! The cluster: as a pod of it, or as a kubeconfig says.

use std::path::Path;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

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
