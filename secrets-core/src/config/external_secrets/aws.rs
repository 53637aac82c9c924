//! The provider `aws` of a store.

use super::manifest::{SERVICE_ACCOUNT, read_plain};
use super::remote::Backend;
use super::write::{copied, map, text};
use crate::config::node::{Node, Place};
use crate::config::section::Section;

/// Reads the provider into how its secrets are named, and the provider of a configuration.
pub(super) fn read(mut section: Section<'_>, place: Place) -> Option<(Backend, Node)> {
    let service = section.item("service");
    let prefix = section.optional::<String>("prefix").unwrap_or_default();
    let chosen = match service.as_ref().map(|item| (item, item.text())) {
        Some((_, Some("SecretsManager"))) => Some(("aws", Backend::SecretsManager { prefix })),
        Some((_, Some("ParameterStore"))) => Some(("ssm", Backend::ParameterStore { prefix })),
        Some((item, _)) => {
            item.mistake("must be SecretsManager or ParameterStore");
            None
        }
        None => {
            section.mistake("needs `service`");
            None
        }
    };
    let region = section.item("region");
    if region.is_none() {
        section.mistake("needs `region`");
    }
    if let Some(mut auth) = section.section("auth") {
        // A pod has the identity of its own account, which the SDK's default chain finds.
        if let Some(mut jwt) = auth.section("jwt") {
            if let Some(account) = jwt.item("serviceAccountRef") {
                read_plain(&account, &SERVICE_ACCOUNT);
            }
            jwt.finish();
        }
        auth.refuse("secretRef", "are keys in a Secret of the cluster, which Keywheel does not read: give the pod a role (web identity, Pod Identity), or set the SDK's variables");
        auth.finish();
    }
    let (role, external_id) = (section.item("role"), section.item("externalID"));
    // For `PushSecret`.
    section.item("secretsManager");
    for key in ["additionalRoles", "sessionTags", "transitiveTagKeys", "customSessionTags"] {
        section.refuse(key, "Keywheel does not do this; leave it out");
    }
    if let Some(policy) = section.item("sessionTagsPolicy").filter(|policy| policy.text() != Some("None")) {
        policy.mistake("must be None: Keywheel adds no session tags");
    }
    section.finish();
    let auth = match (role, external_id) {
        (Some(role), external_id) => {
            let method = ("method", text(role.place(), "assume_role"));
            let own = copied("role_arn", &role).into_iter();
            let external = external_id.as_ref().and_then(|id| copied("external_id", id));
            Some(map(role.place(), [method].into_iter().chain(own).chain(external)))
        }
        (None, Some(external_id)) => {
            external_id.mistake("goes with `role`");
            None
        }
        (None, None) => None,
    };
    let (kind, backend) = chosen?;
    let region = region.as_ref().and_then(|region| copied("region", region));
    let entries =
        [("kind", text(place, kind))].into_iter().chain(region).chain(auth.map(|auth| ("auth", auth)));
    Some((backend, map(place, entries)))
}
