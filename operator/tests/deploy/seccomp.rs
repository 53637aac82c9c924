//! The profile of system calls for a container, beside the filter that the agent sets for itself.

use std::collections::BTreeSet;

use serde_json::Value;

use super::manifests::text;

const FILTER: &str = include_str!("../../../sidecar/src/sandbox/seccomp.rs");
const CALLS: &str = include_str!("../../../sidecar/src/sandbox/seccomp/calls.rs");

/// What a start takes before the filter is set, and the filter itself.
const START: [&str; 6] = [
    "arch_prctl",
    "execve",
    "landlock_add_rule",
    "landlock_create_ruleset",
    "landlock_restrict_self",
    "seccomp",
];

#[test]
fn it_allows_what_the_agent_allows_itself_and_its_start() {
    let profile: Value = serde_json::from_str(&text("seccomp/keywheel.json")).unwrap();
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    assert_eq!(profile["defaultErrnoRet"], 38, "ENOSYS");
    let of = |action: &str| -> BTreeSet<&str> {
        let blocks = profile["syscalls"].as_array().unwrap().iter();
        let blocks = blocks.filter(|block| block["action"] == action);
        blocks
            .flat_map(|block| block["names"].as_array().unwrap())
            .map(|name| name.as_str().unwrap())
            .collect()
    };
    let start = BTreeSet::from(START);
    let mut allowed = &calls(list("ALLOWED")) | &calls(list("OLD"));
    allowed.extend(calls(FILTER));
    allowed.extend(&start);
    assert_eq!(of("SCMP_ACT_ALLOW"), allowed);
    assert_eq!(of("SCMP_ACT_ERRNO"), &calls(list("FORBIDDEN")) - &start);
}

/// Returns the source of a list of calls.
fn list(name: &str) -> &'static str {
    let (_, list) = CALLS.split_once(&format!("const {name}: &[c_long] = &[\n")).unwrap();
    list.split_once("\n];").unwrap().0
}

/// Returns the names after `SYS_`.
fn calls(source: &'static str) -> BTreeSet<&'static str> {
    let parts = source.split("SYS_").skip(1);
    parts.filter_map(|part| part.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next()).collect()
}
