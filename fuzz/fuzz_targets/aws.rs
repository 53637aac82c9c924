//! Answers of AWS, read by its SDK: the first byte says to which question, the second the status.

#![no_main]

use std::sync::LazyLock;

use http::Response;
use keywheel_core::SecretRef;
use keywheel_core::config::Config;
use keywheel_fuzz::{client, parse, run};
use keywheel_providers::fuzzing::answering;
use libfuzzer_sys::{Corpus, fuzz_target};

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let token = concat!(env!("CARGO_MANIFEST_DIR"), "/wrapping-token.txt");
    let aws = "region: eu-west-1, endpoint_url: \"http://127.0.0.1:1/service\", sts_endpoint_url: \"http://127.0.0.1:1/sts\"";
    let pod =
        format!("auth: {{method: pod_identity, endpoint: \"http://127.0.0.1:1/pod\", token_file: {token}}}");
    let web = format!(
        "auth: {{method: web_identity, role_arn: \"arn:aws:iam::1:role/r\", token_file: {token}, session_name: fuzz}}"
    );
    let text = format!(
        "providers:\n  aws: {{kind: aws, {aws}, {pod}}}\n  web: {{kind: aws, {aws}, {web}}}\n\
         admin: {{listen: \"127.0.0.1:1\"}}\n"
    );
    parse(&text).expect("a configuration")
});

/// A question: what is read, and the request whose answer is the input.
const QUESTIONS: [(&str, &str); 4] = [
    ("aws://a", "/service"),
    ("aws://a?stage=AWSPREVIOUS", "/service"),
    ("aws://a", "/pod"),
    ("web://a", "/sts"),
];

const STATUSES: [u16; 6] = [200, 400, 403, 429, 500, 503];

const CREDENTIALS: &str =
    r#"{"AccessKeyId": "a", "SecretAccessKey": "s", "Token": "t", "Expiration": "2099-01-01T00:00:00Z"}"#;

fuzz_target!(|input: &[u8]| -> Corpus {
    let [question, status, body @ ..] = input else { return Corpus::Reject };
    let Some((reference, asked)) = QUESTIONS.get(usize::from(question.wrapping_sub(b'0'))) else {
        return Corpus::Reject;
    };
    let Some(status) = STATUSES.get(usize::from(status.wrapping_sub(b'0'))) else { return Corpus::Reject };
    let body = body.to_vec();
    let answer = move |url: &str| {
        let path = url.trim_start_matches("http://127.0.0.1:1");
        if path.starts_with("/pod") && *asked != "/pod" {
            return Response::new(CREDENTIALS.as_bytes().to_vec());
        }
        let answer = Response::builder().status(*status).header("x-amzn-requestid", "1");
        answer.body(body.clone()).expect("an answer")
    };
    let reference: SecretRef = reference.parse().expect("a reference");
    answering(answer, || {
        run(async {
            let client = client(&CONFIG);
            client.provider(&reference).expect("a provider").read(&reference).await.ok();
        });
    });
    Corpus::Keep
});
