//! What the settings of a `vault` provider are.

#![allow(dead_code, reason = "the types are described, and never made")]

use keywheel_core::schema::{JsonSchema, Schema, Span, Text, make_default};

use crate::authorities::AuthoritiesSchema;

/// Vault or OpenBao.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Vault {
    /// Where the server is, such as `https://vault.company.com`; also with a path that it is mounted below.
    address: Text,
    /// The namespace that all paths are in.
    namespace: Option<Text>,
    #[schemars(flatten)]
    authorities: AuthoritiesSchema,
    /// A file with the client certificate of the connection, in PEM.
    client_cert_file: Option<Text>,
    /// A file with its private key, in PEM.
    client_key_file: Option<Text>,
    /// The host that the server's certificate has to be for. Left out: that of `address`.
    server_name: Option<Text>,
    /// How to log in. Left out: with the token that the `vault` command would take (`VAULT_TOKEN`, or `~/.vault-token`).
    auth: Option<Auth>,
}

/// How to log in to Vault or OpenBao. Files are read again at every login.
#[derive(JsonSchema)]
#[schemars(rename = "VaultAuth", tag = "method", rename_all = "lowercase", deny_unknown_fields, transform = token_is_the_default)]
enum Auth {
    /// A token that somebody else obtained.
    #[schemars(extend("oneOf" = [{"required": ["token"]}, {"required": ["token_file"]}]))]
    Token {
        /// The token itself; better a file, or `${NAME}`.
        token: Option<Text>,
        /// A file with it, such as the sink of an agent.
        token_file: Option<Text>,
    },
    /// The token of a service account, which the server has the cluster review.
    Kubernetes {
        /// The role.
        role: Text,
        /// Where the method is mounted.
        #[schemars(extend("default" = "kubernetes"))]
        mount: Option<Text>,
        /// The file with the token. Left out: the pod's own.
        #[schemars(extend("default" = super::login::SERVICE_ACCOUNT_TOKEN))]
        token_file: Option<Text>,
        /// In place of a file, have the cluster issue a token at every login.
        token_request: Option<TokenRequest>,
    },
    /// A signed token that the server verifies by itself.
    Jwt {
        /// The role. Left out: the method's default role.
        role: Option<Text>,
        /// Where the method is mounted.
        #[schemars(extend("default" = "jwt"))]
        mount: Option<Text>,
        /// The token itself; better a file, or `${NAME}`.
        token: Option<Text>,
        /// The file with the token.
        token_file: Option<Text>,
        /// In place of both, have the cluster issue a token at every login.
        token_request: Option<TokenRequest>,
    },
    /// A role's id with a secret id.
    Approle {
        /// Where the method is mounted.
        #[schemars(extend("default" = "approle"))]
        mount: Option<Text>,
        /// The role's id itself.
        role_id: Option<Text>,
        /// A file with it.
        role_id_file: Option<Text>,
        /// The secret id itself; better a file, or `${NAME}`.
        secret_id: Option<Text>,
        /// A file with it.
        secret_id_file: Option<Text>,
        /// What is given as the secret id is a wrapping token, made by a request to this path.
        secret_id_response_wrapping_path: Option<Text>,
    },
    /// The client certificate of the connection: `client_cert_file` and `client_key_file` of the provider.
    Cert {
        /// The role. Left out: the first that the certificate fits.
        role: Option<Text>,
        /// Where the method is mounted.
        #[schemars(extend("default" = "cert"))]
        mount: Option<Text>,
    },
}

/// Whose token the cluster is asked for. The pod's own account needs the verb `create` on `serviceaccounts/token` of that name.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct TokenRequest {
    /// The service account.
    service_account: Text,
    /// Its namespace. Left out: the pod's own.
    namespace: Option<Text>,
    /// Who is to accept the token; never the cluster's own API.
    #[schemars(extend("default" = "vault"))]
    audience: Option<Text>,
    /// How long it is to be valid: from 10m to 1h.
    #[schemars(extend("default" = "10m"))]
    expiration: Option<Span>,
}

fn token_is_the_default(auth: &mut Schema) {
    make_default(auth, "method", "token");
}
