//! Tokens that a real cluster issues, and a login with one; no node is needed. What a server does not answer is shown by a proxy.

#![cfg(feature = "kubernetes")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]
#![allow(clippy::disallowed_methods, reason = "the test plays the kubelet")]

mod kubernetes_support;

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keywheel_core::ErrorKind;
use keywheel_core::identity::{TokenIssuer, TokenSource};
use keywheel_providers::kubernetes::{AccountTokens, TokenRequest};
use keywheel_tests::wait::until_async as until;
use keywheel_tests::{Fault, Faults, OpenBao, Tmpfs, built};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::core::DynamicObject;
use kube::{Api, Client, Config};
use serde_json::{Value, json};

use self::kubernetes_support::{Stage, ca, resource};

fn request(stage: &Stage) -> TokenRequest {
    TokenRequest {
        service_account: "orders".into(),
        namespace: Some(stage.namespace.clone()),
        audience: "vault".into(),
        expiration: TokenRequest::SHORTEST,
    }
}

/// The right that it takes.
fn rule() -> Value {
    json!({"apiGroups": [""], "resources": ["serviceaccounts/token"], "resourceNames": ["orders"], "verbs": ["create"]})
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_token_is_the_account_s_for_the_audience_and_ten_minutes() {
    let stage = Stage::new("token").await;
    stage.account("orders").await;
    let agent = stage.account("agent").await;
    let tokens = AccountTokens::of(agent.clone(), request(&stage));

    let refused = tokens.issue().await.unwrap_err();
    assert_eq!((refused.kind(), refused.is_temporary()), (ErrorKind::Unauthenticated, false));
    let said = refused.to_string();
    assert!(said.contains("403") && said.contains("`create` on serviceaccounts/token"), "{said}");

    stage.allow("agent", rule()).await;
    let source = TokenSource::Issued(std::sync::Arc::new(tokens.clone()));
    let token = until("the role to count", async || source.token().await.ok()).await;
    let text = token.expose_text().unwrap();
    let payload = text.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    assert_eq!(claims["aud"], json!(["vault"]));
    assert_eq!(claims["sub"], json!(format!("system:serviceaccount:{}:orders", stage.namespace)));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
    let own: Api<DynamicObject> = Api::namespaced_with(
        stage.client_with(text),
        &stage.namespace,
        &resource("", "v1", "ServiceAccount"),
    );
    let kube::Error::Api(answer) = own.list(&ListParams::default()).await.unwrap_err() else {
        panic!("no answer");
    };
    assert_eq!(answer.code, 401, "the cluster's own API takes no token for another audience");

    let other = TokenRequest { service_account: "other".into(), ..request(&stage) };
    let missing = AccountTokens::of(stage.admin.clone(), other).issue().await.unwrap_err().to_string();
    assert!(missing.contains("there is no service account other") && missing.contains("404"), "{missing}");
    let stranger = AccountTokens::of(stage.client_with("nonsense"), request(&stage));
    let unknown = stranger.issue().await.unwrap_err();
    assert!(unknown.is_temporary() && unknown.to_string().contains("401"), "{unknown}");
    stage.end().await;
}

/// Runs `keywheel` where the files of a pod's service account are, in a mount namespace of its own.
fn in_pod(stage: &Stage, account: &Path, arguments: &[&str]) -> Output {
    const PLACE: &str = "mount -t tmpfs none \"$(readlink -f /var/run)\" && mkdir -p /var/run/secrets/kubernetes.io/serviceaccount \
                         && cp \"$1\"/* /var/run/secrets/kubernetes.io/serviceaccount/ && shift && exec \"$@\"";
    let server = &stage.config.cluster_url;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", PLACE, "sh"]).arg(account);
    command.arg(built::program("keywheel")).args(arguments).env_clear().env("PATH", "/usr/bin:/bin:/sbin");
    command.env("KUBERNETES_SERVICE_HOST", server.host().unwrap());
    command.env("KUBERNETES_SERVICE_PORT", server.port_u16().unwrap().to_string());
    command.output().unwrap()
}

/// Lets `auth/kubernetes` of a server ask the cluster about tokens.
async fn trust(bao: &OpenBao, stage: &Stage) -> Api<DynamicObject> {
    stage.account("reviewer").await;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": stage.namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"},
        "subjects": [{"kind": "ServiceAccount", "name": "reviewer", "namespace": stage.namespace}],
    });
    let kind = resource("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding");
    let bindings: Api<DynamicObject> = Api::all_with(stage.admin.clone(), &kind);
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    bao.write("sys/auth/kubernetes", &json!({"type": "kubernetes"}));
    let cluster = json!({
        "kubernetes_host": stage.config.cluster_url.to_string().trim_end_matches('/'),
        "kubernetes_ca_cert": ca(),
        "token_reviewer_jwt": stage.token("reviewer", &[], 3600).await,
        "disable_local_ca_jwt": true,
    });
    bao.write("auth/kubernetes/config", &cluster);
    bindings
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster"]
async fn a_pod_logs_in_with_a_token_that_it_has_the_cluster_issue() {
    let (stage, bao, volume) = (Stage::new("login").await, OpenBao::start(), Tmpfs::mount(1 << 20));
    for account in ["orders", "agent"] {
        stage.account(account).await;
    }
    let bindings = trust(&bao, &stage).await;
    bao.kv_put("secret", "orders", &json!({"password": "issued-1"}));
    bao.policy("orders", "path \"secret/*\" { capabilities = [\"read\"] }");
    let role = json!({
        "bound_service_account_names": ["orders"],
        "bound_service_account_namespaces": [stage.namespace],
        "audience": "vault",
        "token_policies": ["orders"],
    });
    bao.write("auth/kubernetes/role/orders", &role);

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), stage.token("agent", &[], 3600).await).unwrap();
    std::fs::write(folder.path().join("ca.crt"), ca()).unwrap();
    std::fs::write(folder.path().join("namespace"), &stage.namespace).unwrap();
    let configuration = format!(
        "providers:\n  vault: {{kind: vault, address: \"{}\", ca_file: {}, auth: {{method: kubernetes, role: orders, token_request: {{service_account: orders}}}}}}\ndeliveries:\n  - {{name: orders, directory: {}, secrets: {{orders: vault://secret/orders}}}}\n",
        bao.address(),
        bao.ca_file().display(),
        volume.path().join("orders").display(),
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), configuration).unwrap();
    let config = file.path().to_str().unwrap();
    let once = ["agent", "--once", "--sandbox", "on", "--config", config];

    let refused = in_pod(&stage, folder.path(), &once);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(77), "{said}");
    assert!(said.contains("`create` on serviceaccounts/token with the name orders"), "{said}");

    stage.allow("agent", rule()).await;
    let delivered = until("the role to count", async || {
        let once = in_pod(&stage, folder.path(), &once);
        once.status.success().then(|| std::fs::read(volume.path().join("orders/orders/password")).unwrap())
    });
    assert_eq!(delivered.await, b"issued-1");
    let reference = "vault://secret/orders#password";
    let got = in_pod(&stage, folder.path(), &["get", reference, "--config", config]);
    assert_eq!(got.stdout, b"issued-1", "{}", String::from_utf8_lossy(&got.stderr));
    bindings.delete(&stage.namespace, &DeleteParams::default()).await.unwrap();
    stage.end().await;
}

#[tokio::test]
async fn an_answer_that_is_no_token_shows_nothing_of_itself() {
    let faults = Faults::before("http://127.0.0.1:1");
    let client = || Client::try_from(Config::new(faults.address().parse().unwrap())).unwrap();
    let request = TokenRequest {
        service_account: "orders".into(),
        namespace: None,
        audience: "vault".into(),
        expiration: Duration::from_secs(900),
    };
    let tokens = AccountTokens::of(client(), request);
    for (status, body, kind, temporary) in [
        (201, "c4n4ry", ErrorKind::Unauthenticated, true),
        (201, r#"{"status": {}, "x": "c4n4ry"}"#, ErrorKind::Unauthenticated, true),
        (500, r#"{"message": "c4n4ry", "code": 500}"#, ErrorKind::Unavailable, true),
        (403, "c4n4ry", ErrorKind::Unauthenticated, false),
    ] {
        faults.show(Fault::Answer { status, body: body.into() });
        let error = tokens.issue().await.unwrap_err();
        assert_eq!((error.kind(), error.is_temporary()), (kind, temporary), "{body}");
        assert!(!format!("{error} {error:?}").contains("c4n4ry"), "{error}");
    }
    let asked = &faults.arrived()[0];
    assert_eq!(asked.path, "/api/v1/namespaces/default/serviceaccounts/orders/token");
    faults.show(Fault::Answer { status: 201, body: r#"{"status": {"token": "a b"}}"#.into() });
    let source = TokenSource::Issued(std::sync::Arc::new(tokens));
    assert!(source.token().await.unwrap_err().to_string().contains("characters that no token has"));
}

#[tokio::test]
async fn a_cluster_that_is_away_refuses_nobody() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = Faults::before("http://127.0.0.1:1");
    silent.show(Fault::Hang);
    for (address, kind) in
        [(format!("http://{closed}"), ErrorKind::Unavailable), (silent.address(), ErrorKind::Timeout)]
    {
        let client = Client::try_from(Config::new(address.parse().unwrap())).unwrap();
        let request = TokenRequest {
            service_account: "orders".into(),
            namespace: None,
            audience: "vault".into(),
            expiration: TokenRequest::SHORTEST,
        };
        let tokens = AccountTokens::of(client, request);
        if kind == ErrorKind::Timeout {
            // Nothing but the bound itself is waited for.
            tokio::time::pause();
        }
        let error = tokens.issue().await.unwrap_err();
        assert_eq!((error.kind(), error.is_temporary()), (kind, true), "{error}");
    }
}
