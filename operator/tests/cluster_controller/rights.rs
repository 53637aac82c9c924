//! What each service account may do in the cluster, asked as that account.

use std::collections::BTreeSet;

use k8s_openapi::api::authorization::v1::{SelfSubjectRulesReview, SelfSubjectRulesReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::{Value, json};

use super::support::{ACCOUNT, CONTROLLER, Stage};

/// Returns the rules that an account has in a namespace, beyond those of an account that nobody gave any.
async fn rules(stage: &Stage, account: &str, namespace: &str) -> BTreeSet<String> {
    let of = async |account: &str| -> BTreeSet<String> {
        let mut config = stage.cluster.config.clone();
        config.auth_info.impersonate = Some(format!("system:serviceaccount:{}:{account}", stage.namespace));
        config.auth_info.impersonate_groups = Some(
            [
                "system:serviceaccounts",
                &format!("system:serviceaccounts:{}", stage.namespace),
                "system:authenticated",
            ]
            .map(str::to_owned)
            .to_vec(),
        );
        let api: Api<SelfSubjectRulesReview> = Api::all(Client::try_from(config).unwrap());
        let spec = SelfSubjectRulesReviewSpec { namespace: Some(namespace.to_owned()) };
        let review = SelfSubjectRulesReview { spec, ..SelfSubjectRulesReview::default() };
        let answer =
            serde_json::to_value(api.create(&PostParams::default(), &review).await.unwrap()).unwrap();
        let status = &answer["status"];
        assert_eq!(status["incomplete"], false, "{status}");
        let lists = ["resourceRules", "nonResourceRules"]
            .map(|list| status[list].as_array().cloned().unwrap_or_default());
        lists.iter().flatten().map(Value::to_string).collect()
    };
    &of(account).await - &of("nobody").await
}

fn rule(group: &str, resource: &str, names: &[&str], verbs: &[&str]) -> String {
    let mut rule = json!({"apiGroups": [group], "resources": [resource], "verbs": verbs});
    if !names.is_empty() {
        rule["resourceNames"] = json!(names);
    }
    rule.to_string()
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn each_account_may_do_what_it_needs_and_nothing_else() {
    let stage = Stage::set("rights").await;
    let everywhere = BTreeSet::from([
        rule("keywheel.dev", "rotationschedules", &[], &["get", "list", "watch"]),
        rule("keywheel.dev", "rotationschedules/status", &[], &["patch"]),
        rule("events.k8s.io", "events", &[], &["create"]),
    ]);
    assert_eq!(rules(&stage, CONTROLLER, "default").await, everywhere);
    let lease = rule("coordination.k8s.io", "leases", &[CONTROLLER], &["get", "update"]);
    let own = &everywhere | &BTreeSet::from([lease]);
    assert_eq!(rules(&stage, CONTROLLER, &stage.namespace).await, own);
    stage.opt_in().await;
    let token = rule("", "serviceaccounts/token", &[ACCOUNT], &["create"]);
    assert_eq!(rules(&stage, CONTROLLER, &stage.namespace).await, &own | &BTreeSet::from([token]));
    assert_eq!(rules(&stage, CONTROLLER, "default").await, everywhere, "one namespace has opted in");
    // The account that rotates, and a sidecar's, need no right in the cluster at all.
    for account in [ACCOUNT, "default"] {
        assert_eq!(rules(&stage, account, &stage.namespace).await, BTreeSet::new(), "{account}");
    }
    stage.install_webhook().await;
    let webhook = rule(
        "admissionregistration.k8s.io",
        "mutatingwebhookconfigurations",
        &["keywheel-operator"],
        &["get", "patch"],
    );
    for namespace in ["default", &stage.namespace] {
        assert_eq!(rules(&stage, "keywheel-operator", namespace).await, BTreeSet::from([webhook.clone()]));
    }
    stage.end().await;
}
