//! The provider `vault` of a store.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::manifest::{Annotations, SERVICE_ACCOUNT, read_plain};
use super::remote::{Backend, Kv};
use super::write::{copied, map, text};
use crate::config::node::{Node, Place};
use crate::config::section::{Item, Section};

type Entries = Vec<(&'static str, Node)>;

/// Reads the provider into how its secrets are named, and the provider of a configuration.
pub(super) fn read(
    mut section: Section<'_>,
    annotations: &mut Annotations<'_>,
    place: Place,
) -> Option<(Backend, Node)> {
    let server = section.item("server");
    if server.is_none() {
        section.mistake("needs `server`");
    }
    let mount = section.optional::<String>("path").map(|path| path.trim_matches('/').to_owned());
    let kv = match section.item("version").as_ref().map(|item| (item, item.text())) {
        None | Some((_, Some("v2"))) => Kv::V2,
        Some((_, Some("v1"))) => Kv::V1,
        Some((item, _)) => {
            item.mistake("must be v1 or v2");
            Kv::V2
        }
    };
    let namespace = section.item("namespace");
    let mut provider: Entries = vec![("kind", text(place, "vault"))];
    provider.extend(server.as_ref().and_then(|server| copied("address", server)));
    provider.extend(namespace.as_ref().and_then(|namespace| copied("namespace", namespace)));
    provider.extend(authorities(&mut section, annotations));
    // For `PushSecret`.
    section.item("checkAndSet");
    section.refuse("tls", "the client certificate is in a Secret of the cluster, which Keywheel does not read: write the provider in Keywheel's own form, with `client_cert_file` and `client_key_file`");
    for key in ["headers", "readYourWrites", "forwardInconsistent"] {
        section.refuse(key, "Keywheel does not do this; leave it out");
    }
    let auth = section.section("auth");
    if auth.is_none() && section.item("auth").is_none() {
        section.mistake("needs `auth`");
    }
    section.finish();
    let auth = auth.and_then(|auth| read_auth(auth, annotations, namespace.as_ref().and_then(Item::text)));
    provider.extend(auth.map(|auth| ("auth", auth)));
    Some((Backend::Vault { mount, kv }, map(place, provider)))
}

/// Reads whom to trust.
fn authorities(section: &mut Section<'_>, annotations: &mut Annotations<'_>) -> Option<(&'static str, Node)> {
    let file = annotations.item("ca-file");
    let bundle = section.item("caBundle");
    let provider = section.item("caProvider");
    if let Some(provider) = &provider {
        read_plain(provider, &["type", "name", "key", "namespace"]);
        if file.is_none() {
            provider.mistake("is an object of the cluster, which Keywheel does not read: mount it, and name its file in the annotation keywheel.dev/ca-file");
        }
    }
    let Some(bundle) = bundle else {
        return file.and_then(|file| copied("ca_file", &file));
    };
    if let Some(other) = file.or(provider) {
        other.mistake("names authorities beside `caBundle`; leave one of them out");
        return None;
    }
    let encoded: String = bundle.parse()?;
    let packed: String = encoded.split_ascii_whitespace().collect();
    let pem = STANDARD.decode(packed).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let Some(pem) = pem.filter(|pem| pem.contains("-----BEGIN CERTIFICATE-----")) else {
        bundle.mistake("must be certificates in PEM, in base64");
        return None;
    };
    Some(("ca_pem", text(bundle.place(), pem)))
}

fn read_auth(
    mut auth: Section<'_>,
    annotations: &mut Annotations<'_>,
    namespace: Option<&str>,
) -> Option<Node> {
    if let Some(item) = auth.item("namespace").filter(|item| item.text() != namespace) {
        item.mistake(
            "Keywheel logs in where the secrets are; leave it out, or make it the provider's `namespace`",
        );
    }
    let kubernetes = auth.section("kubernetes");
    let jwt = auth.section("jwt");
    let app_role = auth.section("appRole");
    let token = auth.item("tokenSecretRef");
    for key in ["cert", "iam", "ldap", "userPass", "gcp"] {
        auth.refuse(
            key,
            "Keywheel has no such login; use `kubernetes`, `jwt`, `appRole` or `tokenSecretRef`",
        );
    }
    let has_other = auth.entries().iter().any(|(name, _)| *name != "namespace");
    let place = auth.place();
    let entries = match (kubernetes, jwt, app_role, token) {
        (Some(section), None, None, None) => read_kubernetes(section, annotations),
        (None, Some(section), None, None) => read_jwt(section, annotations),
        (None, None, Some(section), None) => read_app_role(section, annotations),
        (None, None, None, Some(item)) => {
            let file = file_of(&item, annotations, "token-file");
            Some(vec![("method", text(item.place(), "token")), ("token_file", file?)])
        }
        (None, None, None, None) => {
            if !has_other {
                auth.mistake("needs `kubernetes`, `jwt`, `appRole` or `tokenSecretRef`");
            }
            None
        }
        _ => {
            auth.mistake("needs one of `kubernetes`, `jwt`, `appRole` and `tokenSecretRef`");
            None
        }
    };
    auth.finish();
    Some(map(place, entries?))
}

fn read_kubernetes(mut section: Section<'_>, annotations: &mut Annotations<'_>) -> Option<Entries> {
    let mut entries = vec![("method", text(section.place(), "kubernetes"))];
    if let Some(account) = section.item("serviceAccountRef") {
        read_plain(&account, &SERVICE_ACCOUNT);
    }
    let secret = section.item("secretRef");
    entries.push(("token_file", token_file(&section, secret.as_ref(), annotations)?));
    let (mount, role) = (section.item("mountPath"), section.item("role"));
    entries.extend(mount.as_ref().and_then(|mount| copied("mount", mount)));
    if role.is_none() {
        section.mistake("needs `role`");
    }
    entries.extend(role.as_ref().and_then(|role| copied("role", role)));
    section.finish();
    Some(entries)
}

fn read_jwt(mut section: Section<'_>, annotations: &mut Annotations<'_>) -> Option<Entries> {
    let mut entries = vec![("method", text(section.place(), "jwt"))];
    let account = section.section("kubernetesServiceAccountToken");
    let secret = section.item("secretRef");
    match (account, &secret) {
        (Some(mut account), None) => {
            // What the token is for, and for how long, the pod says that it is projected into.
            for (key, _) in account.entries() {
                if !["serviceAccountRef", "audiences", "expirationSeconds"].contains(&key) {
                    account.mistake(format!("unknown key `{key}`"));
                }
            }
            if let Some(account) = account.item("serviceAccountRef") {
                read_plain(&account, &SERVICE_ACCOUNT);
            }
        }
        (None, Some(_)) => {}
        _ => section.mistake("needs either `kubernetesServiceAccountToken` or `secretRef`"),
    }
    entries.push(("token_file", token_file(&section, secret.as_ref(), annotations)?));
    entries.extend(section.item("path").as_ref().and_then(|mount| copied("mount", mount)));
    entries.extend(section.item("role").as_ref().and_then(|role| copied("role", role)));
    section.finish();
    Some(entries)
}

fn read_app_role(mut section: Section<'_>, annotations: &mut Annotations<'_>) -> Option<Entries> {
    let mut entries = vec![("method", text(section.place(), "approle"))];
    entries.extend(section.item("path").as_ref().and_then(|mount| copied("mount", mount)));
    match (section.item("roleId"), section.item("roleRef")) {
        (Some(id), None) => entries.extend(copied("role_id", &id)),
        (None, Some(reference)) => {
            let file = file_of(&reference, annotations, "role-id-file");
            entries.extend(file.map(|file| ("role_id_file", file)));
        }
        _ => section.mistake("needs either `roleId` or `roleRef`"),
    }
    match section.item("secretRef") {
        Some(reference) => {
            let file = file_of(&reference, annotations, "secret-id-file");
            entries.extend(file.map(|file| ("secret_id_file", file)));
        }
        None => section.mistake("needs `secretRef`"),
    }
    section.finish();
    Some(entries)
}

/// Returns the file of the token to log in with: the one that is projected into the pod, unless an annotation names another.
fn token_file(
    section: &Section<'_>,
    secret: Option<&Item<'_>>,
    annotations: &mut Annotations<'_>,
) -> Option<Node> {
    match secret {
        Some(secret) => file_of(secret, annotations, "token-file"),
        None => match annotations.item("token-file") {
            Some(file) => copied("token_file", &file).map(|(_, node)| node),
            None => Some(text(section.place(), TOKEN_FILE)),
        },
    }
}

/// Returns the file that an annotation names for what is in a `Secret` of the cluster.
fn file_of(
    reference: &Item<'_>,
    annotations: &mut Annotations<'_>,
    annotation: &'static str,
) -> Option<Node> {
    read_plain(reference, &["name", "key", "namespace"]);
    let Some(file) = annotations.item(annotation) else {
        reference.mistake(format!(
            "is in a Secret of the cluster, which Keywheel does not read: mount it, and name its file in the annotation keywheel.dev/{annotation}"
        ));
        return None;
    };
    copied("", &file).map(|(_, node)| node)
}

/// Where the token is that the operator has projected into a pod.
const TOKEN_FILE: &str = "/var/run/secrets/keywheel/token";
