//! Sets up the ways to log in, and logs in as a client would.

use serde_json::{Value, json};

use super::OpenBao;
use crate::TokenReview;
use crate::http::{Answer, Method};
use crate::service_account::{Issuer, ServiceAccount};

impl OpenBao {
    /// Enables jwt auth at `auth/MOUNT`, bound to `issuer`'s key.
    pub fn enable_jwt(&self, mount: &str, issuer: &Issuer) {
        self.write(&format!("sys/auth/{mount}"), &json!({"type": "jwt"}));
        let keys = json!({"jwt_validation_pubkeys": [issuer.public_key_pem()]});
        self.write(&format!("auth/{mount}/config"), &keys);
    }

    /// Lets `account` log in at `auth/MOUNT` as `role`, without leeway for its token's end.
    ///
    /// `token` holds the issued token's parameters: `token_policies`, `token_ttl`, `token_max_ttl`, `token_type`, ….
    pub fn jwt_role(&self, mount: &str, role: &str, account: &ServiceAccount, token: &Value) {
        let mut body = json!({
            "role_type": "jwt",
            "user_claim": "sub",
            "bound_subject": account.subject(),
            "bound_audiences": [account.audience],
            "expiration_leeway": -1,
            "clock_skew_leeway": -1,
        });
        extend(&mut body, token);
        self.write(&format!("auth/{mount}/role/{role}"), &body);
    }

    /// Logs in at `auth/MOUNT`, jwt or kubernetes, with a service-account token, and returns whatever is answered.
    pub fn jwt_login(&self, mount: &str, role: &str, jwt: &str) -> Answer {
        self.send(Method::POST, &format!("auth/{mount}/login"), Some(&json!({"role": role, "jwt": jwt})))
    }

    /// Enables kubernetes auth at `auth/MOUNT`; `review` reviews the tokens.
    pub fn enable_kubernetes(&self, mount: &str, review: &TokenReview) {
        self.write(&format!("sys/auth/{mount}"), &json!({"type": "kubernetes"}));
        let cluster = json!({
            "kubernetes_host": review.address(),
            "token_reviewer_jwt": review.reviewer_token(),
            // Must be given, and is not used: there is no TLS in between.
            "kubernetes_ca_cert": self.authority().pem(),
            "disable_local_ca_jwt": true,
        });
        self.write(&format!("auth/{mount}/config"), &cluster);
    }

    /// Lets `account` log in at `auth/MOUNT` as `role`; `token` is as in [`OpenBao::jwt_role`].
    pub fn kubernetes_role(&self, mount: &str, role: &str, account: &ServiceAccount, token: &Value) {
        let mut body = json!({
            "bound_service_account_names": [account.name],
            "bound_service_account_namespaces": [account.namespace],
            "audience": account.audience,
        });
        extend(&mut body, token);
        self.write(&format!("auth/{mount}/role/{role}"), &body);
    }

    /// Enables approle auth at `auth/MOUNT`.
    pub fn enable_approle(&self, mount: &str) {
        self.write(&format!("sys/auth/{mount}"), &json!({"type": "approle"}));
    }

    /// Makes the approle `role`; returns its role id and a secret id. `token` is as in [`OpenBao::jwt_role`].
    pub fn approle(&self, mount: &str, role: &str, token: &Value) -> (String, String) {
        let path = format!("auth/{mount}/role/{role}");
        self.write(&path, token);
        let text =
            |answer: Value, at: &str| answer.pointer(at).and_then(Value::as_str).expect("an id").to_owned();
        let role_id = self.read(&format!("{path}/role-id")).expect("the role just made");
        let secret_id = self.write(&format!("{path}/secret-id"), &json!({}));
        (text(role_id, "/data/role_id"), text(secret_id, "/data/secret_id"))
    }
}

fn extend(body: &mut Value, more: &Value) {
    let more = more.as_object().expect("an object of token parameters").clone();
    body.as_object_mut().expect("an object").extend(more);
}
