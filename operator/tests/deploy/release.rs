//! The workflow that makes a release.

use serde_json::{Value, json};

use super::manifests::document;

fn steps() -> Vec<Value> {
    document("ci/release.yaml")["jobs"]["image"]["steps"].as_array().unwrap().clone()
}

#[test]
fn every_action_is_of_one_version() {
    let uses = steps().into_iter().filter_map(|step| step["uses"].as_str().map(str::to_owned));
    let uses: Vec<String> = uses.collect();
    assert!(uses.len() > 5);
    for action in uses {
        let version = action.split_once('@').unwrap().1;
        let numbers = version.strip_prefix('v').unwrap_or(version).split('.');
        assert_eq!(numbers.filter(|number| number.parse::<u32>().is_ok()).count(), 3, "{action}");
    }
}

#[test]
fn what_is_signed_was_scanned_and_is_what_was_built() {
    let steps = steps();
    let at = |is_it: &dyn Fn(&Value) -> bool| steps.iter().position(is_it).unwrap();
    let gate = at(&|step| step["with"]["exit-code"] == "1");
    let sign = at(&|step| step["run"].as_str().is_some_and(|run| run.contains("cosign sign")));
    assert!(gate < sign);
    assert_eq!(steps[gate]["with"]["severity"], "HIGH,CRITICAL");
    let digest = json!("${{ env.IMAGE }}@${{ steps.build.outputs.digest }}");
    assert_eq!((&steps[gate]["with"]["image-ref"], &steps[sign]["env"]["SUBJECT"]), (&digest, &digest));
    let run = steps[sign]["run"].as_str().unwrap();
    assert!(run.contains("cosign attest --yes --type cyclonedx --predicate sbom.cdx.json"));
    let file = at(&|step| step["with"]["output"] == "sbom.cdx.json");
    assert!(file < sign && steps[file]["with"]["format"] == "cyclonedx");
    let permissions = &document("ci/release.yaml")["jobs"]["image"]["permissions"];
    assert_eq!(*permissions, json!({"contents": "read", "packages": "write", "id-token": "write"}));
}
