//! What is changed, as a JSON patch (RFC 6902): nothing is removed, and nothing replaced but a command that is wrapped.

use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;
use serde_json::{Map, Value};

use super::containers::Containers;
use super::names;
use super::plan::{Plan, Target};

/// A list of operations, in the order in which they are done.
pub type Patch = Vec<Operation>;

/// One operation of a patch: `add`, which makes a member or an item.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Operation {
    op: &'static str,
    path: String,
    value: Value,
}

impl Operation {
    fn add(path: String, value: Value) -> Self {
        Self { op: "add", path, value }
    }
}

/// Writes the patch that makes the plan true.
pub(super) fn write(
    pod: &Pod,
    plan: &Plan,
    containers: Containers,
    volumes: Vec<Value>,
    generated: Option<String>,
) -> Patch {
    let spec = pod.spec.as_ref();
    let mut patch = annotations(pod, generated);
    patch.extend(append("/spec/volumes", spec.and_then(|spec| spec.volumes.as_ref()), volumes));
    for target in &plan.targets {
        let path = place(target);
        if let (Some(command), false) = (&target.container.command, containers.wrapper.is_empty()) {
            let wrapped: Vec<&String> = containers.wrapper.iter().chain(command).collect();
            // `add` of a member that is there replaces it.
            patch.push(Operation::add(format!("{path}/command"), serde_json::json!(wrapped)));
        }
        let own = target.container.env.as_ref();
        let is_own =
            |added: &Value| own.into_iter().flatten().any(|variable| added["name"] == variable.name.as_str());
        let added = containers.environment.iter().filter(|added| !is_own(added)).cloned().collect();
        patch.extend(append(&format!("{path}/env"), own, added));
        let mounts = target.container.volume_mounts.as_ref();
        patch.extend(append(&format!("{path}/volumeMounts"), mounts, containers.mounts.clone()));
    }
    patch.extend(append("/spec/containers", spec.map(|spec| &spec.containers), containers.main));
    let init = spec.and_then(|spec| spec.init_containers.as_ref());
    match init.filter(|init| !init.is_empty()) {
        None => patch.extend(append("/spec/initContainers", init, containers.init)),
        // After the targets, whose places these move.
        Some(_) => patch.extend(containers.init.into_iter().enumerate().map(|(number, container)| {
            Operation::add(format!("/spec/initContainers/{}", plan.first + number), container)
        })),
    }
    patch
}

fn annotations(pod: &Pod, generated: Option<String>) -> Patch {
    let status = (names::STATUS, names::INJECTED.to_owned());
    let added = generated.map(|text| (names::GENERATED, text)).into_iter().chain([status]);
    match &pod.metadata.annotations {
        Some(_) => added.map(|(key, value)| Operation::add(escaped(key), value.into())).collect(),
        None => {
            let all: Map<_, _> = added.map(|(key, value)| (key.to_owned(), value.into())).collect();
            vec![Operation::add("/metadata/annotations".into(), all.into())]
        }
    }
}

/// Returns the place of an annotation; in a JSON pointer (RFC 6901), `/` is written `~1`.
fn escaped(key: &str) -> String {
    format!("/metadata/annotations/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Adds items to the end of a list, or makes the list.
fn append<T>(path: &str, list: Option<&Vec<T>>, items: Vec<Value>) -> Patch {
    match list {
        _ if items.is_empty() => Vec::new(),
        Some(list) if !list.is_empty() => {
            items.into_iter().map(|item| Operation::add(format!("{path}/-"), item)).collect()
        }
        _ => vec![Operation::add(path.into(), items.into())],
    }
}

fn place(target: &Target) -> String {
    let list = if target.is_init { "initContainers" } else { "containers" };
    format!("/spec/{list}/{}", target.index)
}
