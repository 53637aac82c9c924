//! `keywheel get` with nothing but the variables and files that the SDK's users have already.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::fs;

use keywheel_tests::moto::REGION;
use keywheel_tests::{Cloud, Fault, Launch};

const KEYS: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", "AKIAENV"), ("AWS_SECRET_ACCESS_KEY", "env-secret-key")];

/// Begins a `get` that asks through the proxy; nobody asks this machine who it is.
fn get(cloud: &Cloud, reference: &str) -> Launch {
    Launch::new("get")
        .arg(reference)
        .env("AWS_ENDPOINT_URL", cloud.faults.address())
        .env("AWS_REGION", REGION)
        .env("AWS_EC2_METADATA_DISABLED", "true")
}

fn with(launch: Launch, variables: &[(&str, &str)]) -> Launch {
    variables.iter().fold(launch, |launch, (name, value)| launch.env(name, value))
}

/// Returns whose credentials the last read was signed with.
fn signer(cloud: &Cloud) -> String {
    let arrived = cloud.faults.arrived();
    let (_, credential) = arrived.last().unwrap().headers["authorization"].split_once("Credential=").unwrap();
    credential.split('/').next().unwrap().to_owned()
}

#[test]
fn the_sdks_default_chain_finds_who_it_is() {
    let cloud = Cloud::start();
    cloud.moto.put("prod/db", r#"{"password": "hunter2"}"#);
    let reads = |launch: Launch| {
        let finished = launch.output();
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), "hunter2"), "{}", finished.stderr);
        signer(&cloud)
    };
    let reference = "aws://prod/db#password";
    assert_eq!(reads(with(get(&cloud, reference), &KEYS)), "AKIAENV");

    let token_file = cloud.token_file();
    let irsa = get(&cloud, reference)
        .env("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/orders")
        .env("AWS_WEB_IDENTITY_TOKEN_FILE", &token_file);
    assert_ne!(reads(irsa), "AKIAENV");
    assert_eq!(cloud.faults.count_of("AssumeRoleWithWebIdentity"), 1);

    let pod = get(&cloud, reference)
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", cloud.agent.address())
        .env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token_file);
    assert_eq!(reads(pod), "POD1");

    let profile = get(&cloud, reference).env("AWS_PROFILE", "orders");
    fs::create_dir(profile.folder().join(".aws")).unwrap();
    let text = "[orders]\naws_access_key_id = AKIAPROFILE\naws_secret_access_key = profile-secret-key\n";
    fs::write(profile.folder().join(".aws/credentials"), text).unwrap();
    assert_eq!(reads(profile), "AKIAPROFILE");
}

#[test]
fn a_configured_identity_counts_more_than_the_environment() {
    let cloud = Cloud::start();
    cloud.moto.put("db", "hunter2");
    let configured = |auth: &str| {
        let text = format!("providers:\n  aws: {{kind: aws, {}, auth: {auth}}}\n", cloud.settings());
        with(get(&cloud, "aws://db#value").config(&text), &KEYS)
    };
    let profile = configured("{method: profile, profile: orders}");
    fs::create_dir(profile.folder().join(".aws")).unwrap();
    let text = "[orders]\naws_access_key_id = AKIAPROFILE\naws_secret_access_key = profile-secret-key\n";
    fs::write(profile.folder().join(".aws/credentials"), text).unwrap();
    assert_eq!(profile.output().stdout, "hunter2");
    assert_eq!(signer(&cloud), "AKIAPROFILE");

    let role = "arn:aws:iam::123456789012:role/reader";
    let assumed = configured(&format!(
        "{{method: assume_role, role_arn: \"{role}\", external_id: ours, session_name: pod-1}}"
    ));
    assert_eq!(assumed.output().stdout, "hunter2");
    let arrived = cloud.faults.arrived();
    let login = arrived.iter().find(|seen| seen.operation().as_deref() == Some("AssumeRole")).unwrap();
    let body = String::from_utf8(login.body.clone()).unwrap();
    assert!(body.contains("ExternalId=ours") && body.contains("RoleSessionName=pod-1"), "{body}");
    assert!(login.headers["authorization"].contains("Credential=AKIAENV/"));
    assert_ne!(signer(&cloud), "AKIAENV");
}

#[test]
fn what_is_missing_is_said_with_its_exit_code() {
    let cloud = Cloud::start();
    cloud.moto.put("db", "hunter2");
    let refused = |launch: Launch, code: i32, parts: &[&str]| {
        let finished = launch.output();
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(code), ""), "{}", finished.stderr);
        for part in parts {
            assert!(finished.stderr.contains(part), "{part}: {}", finished.stderr);
        }
        assert!(!finished.stderr.contains("env-secret-key"), "{}", finished.stderr);
    };
    refused(get(&cloud, "aws://db"), 77, &["finds no credentials", "AWS_PROFILE", "aws://db"]);
    let nowhere = with(get(&cloud, "aws://db"), &KEYS).env("AWS_REGION", "");
    refused(nowhere, 64, &["no region is configured", "AWS_REGION"]);
    let clear = with(get(&cloud, "aws://db"), &KEYS).env("AWS_ENDPOINT_URL", "http://aws.test");
    refused(clear, 64, &["AWS_ENDPOINT_URL", "in the clear"]);
    refused(with(get(&cloud, "aws://none"), &KEYS), 1, &["not found", "aws://none", "eu-west-1"]);
    let denied = Fault::Aws { status: 400, code: "AccessDeniedException".into(), message: "no".into() };
    cloud.faults.show(denied);
    refused(with(get(&cloud, "aws://db"), &KEYS), 77, &["permission denied"]);
    cloud.faults.show(Fault::Sealed);
    refused(with(get(&cloud, "aws://db"), &KEYS), 69, &["unavailable", "503"]);
}

#[test]
fn a_parameter_is_read_in_the_same_way() {
    let cloud = Cloud::start();
    cloud.moto.put_parameter("/prod/db", "SecureString", "hunter2");
    let finished = with(get(&cloud, "ssm:///prod/db"), &KEYS).output();
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), "hunter2"), "{}", finished.stderr);
}
