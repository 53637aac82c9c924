//! Mistakes in the settings of `aws` providers and in references to them: found before anybody is asked, each with its place.

#![cfg(feature = "aws")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

mod aws_support;

use aws_support::{configured_with, context, parse, reference};
use keywheel_core::ErrorKind;

fn mistakes(settings: &str) -> String {
    parse(settings, &[]).map(drop).unwrap_err().to_string()
}

#[test]
fn good_settings_of_each_method_are_taken() {
    for settings in [
        "",
        "  region: eu-west-1\n  endpoint_url: https://vpce.test\n  sts_endpoint_url: http://127.0.0.1:1\n  ca_file: /ca.pem\n",
        "  endpoint_url: http://elsewhere.test\n  allow_insecure: true\n",
        "  rotate_within: 10m\n  budget: {requests_per_second: 5, burst: 5}\n",
        "  auth: {method: default}\n",
        "  auth: {method: profile, profile: orders}\n",
        "  auth: {method: web_identity, role_arn: \"arn:aws:iam::1:role/x\", token_file: /token}\n",
        "  auth: {method: pod_identity, endpoint: \"http://169.254.170.23/v1/credentials\", token_file: /token}\n",
        "  auth: {method: assume_role, role_arn: \"arn:aws:iam::1:role/x\", external_id: a, session_name: b-c, profile: d}\n",
    ] {
        parse(settings, &[]).unwrap_or_else(|error| panic!("{settings}: {error}"));
    }
    let irsa = [("AWS_ROLE_ARN", "arn:aws:iam::1:role/x"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token")];
    parse("  auth: {method: web_identity}\n", &irsa).unwrap();
    let pod = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials")];
    parse("  auth: {method: pod_identity}\n", &pod).unwrap();
}

#[test]
fn each_mistake_is_named_with_its_place() {
    for (settings, setting, message) in [
        ("  region: Ireland\n", "providers.aws.region", "eu-west-1"),
        ("  endpoint_url: aws.test\n", "providers.aws.endpoint_url", "must be a URL"),
        ("  endpoint_url: http://aws.test\n", "providers.aws.endpoint_url", "allow_insecure"),
        ("  sts_endpoint_url: http://aws.test\n", "providers.aws.sts_endpoint_url", "in the clear"),
        ("  endpoint_url: https://u:p@aws.test\n", "providers.aws.endpoint_url", "user or a password"),
        ("  regoin: eu-west-1\n", "providers.aws", "did you mean `region`?"),
        ("  auth: {method: irsa}\n", "providers.aws.auth.method", "web_identity"),
        ("  auth: {method: profile}\n", "providers.aws.auth", "needs `profile`"),
        ("  auth: {method: web_identity}\n", "providers.aws.auth", "needs `role_arn`"),
        (
            "  auth: {method: web_identity, role_arn: orders, token_file: /t}\n",
            "auth.role_arn",
            "ARN of a role",
        ),
        ("  auth: {method: assume_role}\n", "providers.aws.auth", "needs `role_arn`"),
        (
            "  auth: {method: assume_role, role_arn: \"arn:aws:iam::1:role/x\", session_name: \"a b\"}\n",
            "auth.session_name",
            "2 to 64",
        ),
        ("  auth: {method: pod_identity}\n", "providers.aws.auth", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        (
            "  auth: {method: pod_identity, endpoint: \"http://a.test/\"}\n",
            "providers.aws.auth",
            "169.254.170.23",
        ),
        ("  auth: {method: default, role_arn: x}\n", "providers.aws.auth", "unknown key `role_arn`"),
    ] {
        let text = mistakes(settings);
        assert!(text.contains(setting) && text.contains(message), "{settings}: {text}");
        assert!(text.starts_with("keywheel.yaml:"), "{text}");
    }
    let wrong = parse("", &[("AWS_ENDPOINT_URL", "http://aws.test")]).map(drop).unwrap_err().to_string();
    assert!(wrong.contains("AWS_ENDPOINT_URL") && wrong.contains("in the clear"), "{wrong}");
}

#[test]
fn references_are_checked_without_asking_anybody() {
    let aws = configured_with("  region: eu-west-1\n", &[], context());
    for good in [
        "aws://prod/db",
        "aws://arn:aws:secretsmanager:eu-west-1:1:secret:prod/db-a1b2c3?stage=AWSPREVIOUS#x",
    ] {
        aws.validate(&reference(good)).unwrap();
    }
    for (bad, message) in [
        (
            "aws://prod/db?stage=AWSPREVIOUS&version-id=0123456789abcdef0123456789abcdef",
            "leave one of them out",
        ),
        ("aws://arn:aws:secretsmanager:us-east-1:1:secret:db", "us-east-1"),
        ("aws://arn:aws:s3:::bucket", "ARN of a secret"),
        ("aws://prod/d b", "letters, digits"),
        ("aws://prod/db?version=3", "known here: stage, version-id"),
    ] {
        let error = aws.validate(&reference(bad)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(
            error.to_string().contains(message) && error.to_string().contains("provider: aws"),
            "{error}"
        );
    }
}
