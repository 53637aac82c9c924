//! The Pod Security Standard `restricted`, read off its page: <https://kubernetes.io/docs/concepts/security/pod-security-standards/>.

use serde_json::Value;

use super::pods::containers;

/// Returns what of a pod the standard refuses; nothing, if the pod may run in a restricted namespace.
pub(crate) fn violations(pod: &Value) -> Vec<String> {
    let spec = &pod["spec"];
    let own = &spec["securityContext"];
    let mut found = Vec::new();
    for host in ["hostNetwork", "hostPID", "hostIPC"] {
        if spec[host] == true {
            found.push(host.to_owned());
        }
    }
    let volumes = spec["volumes"].as_array().into_iter().flatten();
    for volume in volumes {
        let kinds = volume.as_object().unwrap().keys().filter(|key| *key != "name");
        found.extend(
            kinds
                .filter(|kind| !VOLUMES.contains(&kind.as_str()))
                .map(|kind| format!("{} {kind}", volume["name"])),
        );
    }
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in containers(pod, list) {
            found.extend(
                of_container(container, own).into_iter().map(|what| format!("{} {what}", container["name"])),
            );
        }
    }
    if own["runAsUser"] == 0 {
        found.push("runAsUser".into());
    }
    found
}

fn of_container(container: &Value, pod: &Value) -> Vec<&'static str> {
    let own = &container["securityContext"];
    let capabilities = &own["capabilities"];
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let either = |key: &str| if own[key].is_null() { &pod[key] } else { &own[key] };
    let seccomp = &either("seccompProfile")["type"];
    let ports = list(&container["ports"]);
    let rules = [
        ("privileged", own["privileged"] == true),
        ("allowPrivilegeEscalation", own["allowPrivilegeEscalation"] != false),
        ("capabilities.drop", !list(&capabilities["drop"]).contains(&"ALL".into())),
        ("capabilities.add", list(&capabilities["add"]).iter().any(|added| added != "NET_BIND_SERVICE")),
        ("runAsNonRoot", either("runAsNonRoot") != true),
        ("runAsUser", own["runAsUser"] == 0),
        ("seccompProfile", seccomp != "RuntimeDefault" && seccomp != "Localhost"),
        ("procMount", !own["procMount"].is_null() && own["procMount"] != "Default"),
        ("hostPort", ports.iter().any(|port| !port["hostPort"].is_null() && port["hostPort"] != 0)),
    ];
    rules.into_iter().filter(|(_, is_broken)| *is_broken).map(|(rule, _)| rule).collect()
}

const VOLUMES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

#[test]
fn the_rules_find_what_they_are_for() {
    let bad = serde_json::json!({"spec": {
        "hostPID": true,
        "volumes": [{"name": "v", "hostPath": {"path": "/"}}],
        "containers": [{"name": "c", "securityContext": {"privileged": true, "runAsUser": 0, "capabilities": {"add": ["SYS_ADMIN"]}}}],
    }});
    let found = violations(&bad).join(", ");
    for rule in [
        "hostPID",
        "\"v\" hostPath",
        "privileged",
        "capabilities.drop",
        "capabilities.add",
        "runAsNonRoot",
        "runAsUser",
        "seccompProfile",
    ] {
        assert!(found.contains(rule), "{rule}: {found}");
    }
}
