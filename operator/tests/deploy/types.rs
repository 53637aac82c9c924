//! Objects of Kubernetes' own kinds are what its types say: no field that they do not have, no value that they do not take.

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::manifests::{base, documents, folder};

/// Returns what an object is to a type.
///
/// # Errors
/// A value that the type does not take.
fn as_type<T: DeserializeOwned + Serialize>(object: &Value) -> serde_json::Result<Value> {
    serde_json::to_value(serde_json::from_value::<T>(object.clone())?)
}

/// Returns what an object is to Kubernetes, if it is of one of its own kinds.
pub(crate) fn as_known(object: &Value) -> Option<serde_json::Result<Value>> {
    let of_kind = match object["kind"].as_str().unwrap() {
        "ClusterRole" => as_type::<ClusterRole>,
        "ClusterRoleBinding" => as_type::<ClusterRoleBinding>,
        "CronJob" => as_type::<CronJob>,
        "CustomResourceDefinition" => as_type::<CustomResourceDefinition>,
        "Deployment" => as_type::<Deployment>,
        "Lease" => as_type::<Lease>,
        "MutatingWebhookConfiguration" => as_type::<MutatingWebhookConfiguration>,
        "Namespace" => as_type::<Namespace>,
        "NetworkPolicy" => as_type::<NetworkPolicy>,
        "PodDisruptionBudget" => as_type::<PodDisruptionBudget>,
        "PriorityClass" => as_type::<PriorityClass>,
        "Role" => as_type::<Role>,
        "RoleBinding" => as_type::<RoleBinding>,
        "Service" => as_type::<Service>,
        "ServiceAccount" => as_type::<ServiceAccount>,
        "ValidatingAdmissionPolicy" => as_type::<ValidatingAdmissionPolicy>,
        "ValidatingAdmissionPolicyBinding" => as_type::<ValidatingAdmissionPolicyBinding>,
        _ => return None,
    };
    Some(of_kind(object))
}

#[test]
fn objects_of_kubernetes_are_what_its_types_say() {
    let mut objects = base();
    for name in ["overlays/cert-manager", "overlays/monitoring"] {
        objects.extend(folder(name));
    }
    objects.extend(documents("policies/kubernetes.yaml"));
    let mut others = std::collections::BTreeSet::new();
    for object in &objects {
        let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
        match as_known(object) {
            Some(known) => {
                assert_eq!(&known.unwrap_or_else(|error| panic!("{name}: {error}")), object, "{name}")
            }
            None => drop(others.insert(object["kind"].as_str().unwrap())),
        }
    }
    // Those of others have tests of their own.
    assert_eq!(Vec::from_iter(others), ["Certificate", "Issuer", "PrometheusRule", "ServiceMonitor"]);
}
