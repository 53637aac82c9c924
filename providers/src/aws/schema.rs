//! What the settings of an `aws` provider are.

#![allow(dead_code, reason = "the types are described, and never made")]

use keywheel_core::config::format_duration;
use keywheel_core::schema::{Flag, JsonSchema, Schema, Span, Text, make_default};

/// AWS Secrets Manager (`aws`), or SSM Parameter Store (`ssm`). What is left out is the SDK's: its variables and files.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Aws {
    /// The region, such as `eu-west-1`. Left out: `AWS_REGION`, the profile's, or the instance's.
    region: Option<Text>,
    /// Where the service is, if not where the region has it.
    endpoint_url: Option<Text>,
    /// Where STS is, if not where the region has it.
    sts_endpoint_url: Option<Text>,
    /// Whether an `endpoint_url` on another host may be without TLS.
    #[schemars(extend("default" = false))]
    allow_insecure: Option<Flag>,
    /// The authorities to trust, and no others, in PEM. Left out: `AWS_CA_BUNDLE`, or the system's.
    ca_file: Option<Text>,
    /// How long a rotation by Secrets Manager's own function may take.
    #[schemars(extend("default" = format_duration(super::settings::ROTATE_WITHIN)))]
    rotate_within: Option<Span>,
    /// Who to be. Left out: whom the SDK's default chain finds.
    auth: Option<Auth>,
}

/// Who to be in AWS. Files are read again at every login.
#[derive(JsonSchema)]
#[schemars(rename = "AwsAuth", tag = "method", rename_all = "snake_case", deny_unknown_fields, transform = default_is_the_default)]
enum Auth {
    /// Whom the SDK's own chain finds: environment, profile, IRSA, Pod Identity or ECS, instance.
    Default {},
    /// A profile of the SDK's files.
    Profile {
        /// Its name.
        profile: Text,
    },
    /// A role, by the token of a service account (IRSA).
    WebIdentity {
        /// The role. Left out: `AWS_ROLE_ARN`.
        role_arn: Option<Text>,
        /// What the session is called. Left out: `AWS_ROLE_SESSION_NAME`.
        #[schemars(extend("default" = super::identity::SESSION))]
        session_name: Option<Text>,
        /// The file with the token. Left out: `AWS_WEB_IDENTITY_TOKEN_FILE`.
        token_file: Option<Text>,
    },
    /// Whom the agent on the node says (EKS Pod Identity, ECS).
    PodIdentity {
        /// Where the agent is. Left out: `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
        endpoint: Option<Text>,
        /// The file with the token. Left out: `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`.
        token_file: Option<Text>,
    },
    /// A role that another identity becomes.
    AssumeRole {
        /// The role.
        role_arn: Text,
        /// What the session is called. Left out: `AWS_ROLE_SESSION_NAME`.
        #[schemars(extend("default" = super::identity::SESSION))]
        session_name: Option<Text>,
        /// What the role's policy asks for.
        external_id: Option<Text>,
        /// The profile that becomes it. Left out: whom the default chain finds.
        profile: Option<Text>,
    },
}

fn default_is_the_default(auth: &mut Schema) {
    make_default(auth, "method", "default");
}
