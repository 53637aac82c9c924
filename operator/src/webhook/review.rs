//! The AdmissionReview of `admission.k8s.io/v1`: a question in, an answer out, both as bytes.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::inject::{Answer, Injector, Verdict};

/// The answer to a review, and what it says.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The review with its response, as JSON.
    pub body: Vec<u8>,
    /// `injected`, `untouched` or `refused`.
    pub verdict: &'static str,
    /// The pod, as far as it has a name: `NAMESPACE/NAME`.
    pub pod: String,
}

/// Why something is no review that can be answered; nothing of it is quoted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem(pub String);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    api_version: String,
    kind: String,
    request: Option<Request>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    uid: String,
    operation: String,
    resource: Resource,
    sub_resource: Option<String>,
    #[serde(default)]
    namespace: String,
    object: Option<Pod>,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(default)]
    group: String,
    resource: String,
}

/// Answers a review.
///
/// # Errors
/// What is no review of version 1 of a pod.
pub fn answer(body: &[u8], injector: &Injector) -> Result<Reply, Problem> {
    let review: Review = serde_json::from_slice(body).map_err(|error| unreadable(&error))?;
    if review.api_version != API_VERSION || review.kind != KIND {
        return Err(Problem(format!(
            "this is no {KIND} of {API_VERSION}; set `admissionReviewVersions: [v1]`"
        )));
    }
    let request = review.request.ok_or_else(|| Problem("the review has no request".into()))?;
    let is_new =
        request.operation == "CREATE" && request.sub_resource.as_deref().unwrap_or_default().is_empty();
    let is_pod = request.resource.group.is_empty() && request.resource.resource == "pods";
    let answer = match &request.object {
        Some(pod) if is_new && is_pod => injector.inject(pod),
        _ => Answer { verdict: Verdict::Untouched, warnings: Vec::new() },
    };
    let (verdict, mut response) = match &answer.verdict {
        Verdict::Untouched => ("untouched", json!({"allowed": true})),
        Verdict::Injected(patch) => {
            let patch = serde_json::to_vec(patch).map_err(|error| unreadable(&error))?;
            ("injected", json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(patch)}))
        }
        Verdict::Refused(reason) => {
            // Of an `Invalid`, kubectl would not show the message.
            let status = json!({"code": 400, "reason": "BadRequest", "message": cut(reason, MAX_REASON)});
            ("refused", json!({"allowed": false, "status": status}))
        }
    };
    response["uid"] = request.uid.as_str().into();
    if !answer.warnings.is_empty() {
        response["warnings"] = warnings(&answer.warnings);
    }
    let review = json!({"apiVersion": API_VERSION, "kind": KIND, "response": response});
    let name = request.object.and_then(|pod| pod.metadata.name.or(pod.metadata.generate_name));
    let pod = format!("{}/{}", request.namespace, name.unwrap_or_default());
    Ok(Reply { body: review.to_string().into_bytes(), verdict, pod: cut(&pod, MAX_WARNING).to_owned() })
}

/// Writes warnings as the API server passes them on: not many, and not long.
fn warnings(all: &[String]) -> Value {
    let mut warnings: Vec<Value> =
        all.iter().take(MAX_WARNINGS).map(|warning| cut(warning, MAX_WARNING).into()).collect();
    if all.len() > MAX_WARNINGS {
        warnings.push(format!("and {} more of these", all.len() - MAX_WARNINGS).into());
    }
    warnings.into()
}

/// Cuts a text down to at most `bytes`.
fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or_default()]
}

/// Says where something cannot be read. What the library says may quote a pod's values.
fn unreadable(error: &serde_json::Error) -> Problem {
    let reason = if error.is_data() { "is no review of a pod" } else { "is not JSON" };
    Problem(format!("the body {reason} (line {}, column {})", error.line(), error.column()))
}

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";
const MAX_WARNINGS: usize = 16;
/// The API server cuts a warning that is longer.
const MAX_WARNING: usize = 256;
const MAX_REASON: usize = 2048;
