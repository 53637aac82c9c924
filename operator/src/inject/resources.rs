//! What a container of Keywheel's may use, and is sure to get.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use serde_json::{Value, json};

use super::form::amount;

/// Quantities by `requests-cpu`, `limits-memory` and so on.
pub(super) type Quantities = BTreeMap<&'static str, String>;

/// Makes the resources: what the pod wishes, else the cluster's. Where one of a pair alone is wished, the other makes room for it.
///
/// In a pod that is guaranteed what it has (<https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>), requests are the limits, so that it stays so.
pub(super) fn resources(wishes: &Quantities, settings: &Quantities, is_guaranteed: bool) -> Value {
    let mut resources = json!({});
    for (resource, request, limit) in
        [("cpu", "requests-cpu", "limits-cpu"), ("memory", "requests-memory", "limits-memory")]
    {
        let wished = (wishes.get(request), wishes.get(limit));
        let given = (settings.get(request), settings.get(limit));
        let guaranteed = || given.1.map_or(GUARANTEED_CPU, String::as_str);
        let pair = match wished {
            (Some(request), Some(limit)) => (Some(request.as_str()), Some(limit.as_str())),
            (Some(one), None) | (None, Some(one)) if is_guaranteed => {
                (Some(one.as_str()), Some(one.as_str()))
            }
            (None, None) if is_guaranteed => (Some(guaranteed()), Some(guaranteed())),
            (_, limit) => fitting(wished.0.or(given.0), limit.or(given.1), limit.is_some()),
        };
        for (kind, quantity) in [("requests", pair.0), ("limits", pair.1)] {
            if let Some(quantity) = quantity {
                resources[kind][resource] = quantity.into();
            }
        }
    }
    resources
}

/// Returns a request that is not above its limit: the limit is the one that counts, or the one that is lifted.
fn fitting<'a>(
    request: Option<&'a String>,
    limit: Option<&'a String>,
    limit_counts: bool,
) -> (Option<&'a str>, Option<&'a str>) {
    let (request, limit) = (request.map(String::as_str), limit.map(String::as_str));
    match (request, limit) {
        (Some(asked), Some(most)) if amount(asked) > amount(most) => {
            if limit_counts {
                (limit, limit)
            } else {
                (request, request)
            }
        }
        pair => pair,
    }
}

/// Tells whether every container is guaranteed what it may use: of processor and memory, no less than its limits.
pub(super) fn is_guaranteed(spec: &PodSpec) -> bool {
    let guaranteed = |container: &Container| {
        ["cpu", "memory"].iter().all(|resource| {
            let resources = container.resources.as_ref();
            let limit = resources.and_then(|resources| resources.limits.as_ref()?.get(*resource));
            let request = resources.and_then(|resources| resources.requests.as_ref()?.get(*resource));
            // A request that is left out is the limit.
            limit.is_some() && request.is_none_or(|request| Some(request) == limit)
        })
    };
    spec.containers.iter().chain(spec.init_containers.iter().flatten()).all(guaranteed)
}

/// Enough to start with; what is asked for without a limit would be too little as one.
const GUARANTEED_CPU: &str = "100m";

#[cfg(test)]
mod tests {
    use super::*;

    fn made(wishes: &[(&'static str, &str)], is_guaranteed: bool) -> String {
        let quantities = |all: &[(&'static str, &str)]| -> Quantities {
            all.iter().map(|(name, quantity)| (*name, (*quantity).to_owned())).collect()
        };
        let settings = [("requests-cpu", "5m"), ("requests-memory", "16Mi"), ("limits-memory", "64Mi")];
        let made = resources(&quantities(wishes), &quantities(&settings), is_guaranteed);
        let of = |kind: &str, resource: &str| made[kind][resource].as_str().unwrap_or("-").to_owned();
        [("requests", "cpu"), ("limits", "cpu"), ("requests", "memory"), ("limits", "memory")]
            .map(|(kind, resource)| of(kind, resource))
            .join(" ")
    }

    #[test]
    fn one_of_a_pair_makes_room_for_the_other() {
        assert_eq!(made(&[], false), "5m - 16Mi 64Mi");
        assert_eq!(made(&[("requests-memory", "128Mi")], false), "5m - 128Mi 128Mi");
        assert_eq!(made(&[("requests-memory", "0.5Gi")], false), "5m - 0.5Gi 0.5Gi");
        assert_eq!(made(&[("requests-memory", "32Mi")], false), "5m - 32Mi 64Mi");
        assert_eq!(made(&[("limits-memory", "8M"), ("limits-cpu", "4m")], false), "4m 4m 8M 8M");
        assert_eq!(made(&[("limits-memory", "1Gi"), ("limits-cpu", "1")], false), "5m 1 16Mi 1Gi");
        assert_eq!(made(&[("requests-memory", "2Mi"), ("limits-memory", "1Mi")], false), "5m - 2Mi 1Mi");
    }

    #[test]
    fn what_is_guaranteed_has_its_limits_as_requests() {
        assert_eq!(made(&[], true), "100m 100m 64Mi 64Mi");
        assert_eq!(made(&[("requests-cpu", "20m"), ("limits-memory", "32Mi")], true), "20m 20m 32Mi 32Mi");
        assert_eq!(made(&[("requests-cpu", "1m"), ("limits-cpu", "2m")], true), "1m 2m 64Mi 64Mi");
    }
}
