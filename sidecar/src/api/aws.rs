//! The request forms of AWS Secrets Manager: that of its agent (`GET /secretsmanager/get`), and that of the service (`POST /` for `GetSecretValue`), so that
//! programs that were written for these can ask here.

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use keywheel_core::Value;
use keywheel_core::engine::{Given, Offered};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::admit::{Parameters, Refusal};
use super::answer;
use super::catalogue::{Wanted, source_name, stage_of};

/// What somebody asks for, in the words of Secrets Manager.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "PascalCase")]
pub struct Asked {
    /// A name, here or at the source, or an ARN.
    #[serde(rename = "SecretId")]
    pub id: String,
    #[serde(rename = "VersionStage")]
    stage: Option<String>,
    #[serde(rename = "VersionId")]
    version: Option<String>,
    /// Whether the source is to be asked first.
    #[serde(skip)]
    pub refresh: bool,
}

/// Which of both forms it is: they differ in how they say when a value was made, and what type their answer has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    Agent,
    Service,
}

impl Asked {
    /// Reads the query of the agent's form.
    ///
    /// # Errors
    /// It is none, or names no secret.
    pub(super) fn of_query(query: &str) -> Result<Self, Refusal> {
        let mut query = Parameters::parse(query, &["secretId", "versionStage", "versionId", "refreshNow"])?;
        let refresh = query.flag("refreshNow")?;
        let id = query.take("secretId").unwrap_or_default();
        Self { id, stage: query.take("versionStage"), version: query.take("versionId"), refresh }.checked()
    }

    /// Reads the body of the service's form.
    ///
    /// # Errors
    /// It is none, or names no secret.
    pub fn of_call(body: &[u8]) -> Result<Self, Refusal> {
        let asked: Self =
            serde_json::from_slice(body).map_err(|_| Refusal::Malformed("the body is no GetSecretValue"))?;
        asked.checked()
    }

    fn checked(self) -> Result<Self, Refusal> {
        match self.id.len() {
            0 => Err(Refusal::Malformed("the request names no secret")),
            1..=LONGEST_ID => Ok(self),
            _ => Err(Refusal::Malformed("the name of the secret is too long")),
        }
    }

    /// Returns which version is asked for.
    pub fn wanted(&self) -> Wanted<'_> {
        Wanted { stage: self.stage.as_deref(), version: self.version.as_deref() }
    }
}

/// Checks that a call is the one that is answered here.
///
/// # Errors
/// It is another one.
pub(super) fn check_target(headers: &HeaderMap) -> Result<(), Refusal> {
    match headers.get("x-amz-target").map(|target| target.as_bytes()) {
        Some(b"secretsmanager.GetSecretValue") => Ok(()),
        _ => Err(Refusal::Malformed("of Secrets Manager, GetSecretValue alone is answered here")),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Output<'a> {
    #[serde(rename = "ARN")]
    arn: String,
    name: &'a str,
    version_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_string: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_binary: Option<&'a str>,
    version_stages: [&'a str; 1],
    created_date: Option<Created>,
}

/// Seconds since the epoch: a number in the service's form, its text in the agent's.
#[derive(Serialize)]
#[serde(untagged)]
enum Created {
    Number(f64),
    Text(String),
}

/// Writes a secret as `GetSecretValue` answers; `name` is `DELIVERY/NAME`.
///
/// # Errors
/// It has another version than the one that was asked for, or cannot be written in this form.
pub(super) fn secret(
    offered: &Offered,
    given: &Given,
    asked: &Asked,
    form: Form,
    name: &str,
) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let version = given.version().as_str();
    if asked.version.as_deref().is_some_and(|wanted| wanted != version) {
        return Err(Refusal::Unknown(
            "the secret has another version now, and older ones are not kept".into(),
        ));
    }
    let reference = offered.reference();
    let content = content(offered, given)?;
    let text = std::str::from_utf8(&content).ok();
    let binary = match text {
        Some(_) => None,
        None => Some(Zeroizing::new(STANDARD.encode(&*content))),
    };
    let output = Output {
        arn: arn(reference.path(), name),
        name: source_name(reference),
        version_id: version,
        secret_string: text,
        secret_binary: binary.as_ref().map(|text| text.as_str()),
        version_stages: [stage_of(reference)],
        created_date: given.made_at().map(|at| Created::of(at, form)),
    };
    answer::json(&output, content.len())
}

/// Undoes how fields are made of what Secrets Manager holds: the field `value`, or the only one that is offered, is the value itself; others are an object.
fn content(offered: &Offered, given: &Given) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let fields = offered.fields(given).map_err(|error| Refusal::Unknown(error.reason().to_owned()))?;
    let is_whole = |name: &str| name == "value" || offered.reference().field().is_some();
    if let [(name, value)] = fields[..]
        && is_whole(name)
    {
        let bytes =
            value.to_bytes().ok_or(Refusal::Malformed("the secret holds bytes that JSON cannot hold"))?;
        return Ok(Zeroizing::new(bytes.expose_secret().to_vec()));
    }
    let size = fields.iter().map(|(name, value)| name.len() + value.size()).sum();
    let object: std::collections::BTreeMap<&str, _> =
        fields.into_iter().map(|(name, value): (&str, &Value)| (name, value.expose())).collect();
    answer::json(&object, size)
}

fn arn(path: &str, name: &str) -> String {
    match path.starts_with("arn:") {
        true => path.to_owned(),
        false => format!("arn:keywheel:secretsmanager:local:000000000000:secret:{name}"),
    }
}

impl Created {
    fn of(at: Timestamp, form: Form) -> Self {
        let seconds = at.as_millisecond() as f64 / 1000.0;
        match form {
            Form::Service => Self::Number(seconds),
            Form::Agent => Self::Text(seconds.to_string()),
        }
    }
}

impl Form {
    /// Returns which form a request for `path` has, if one of both.
    pub(super) fn of_path(path: &str) -> Option<Self> {
        match path {
            "/" => Some(Self::Service),
            "/secretsmanager/get" => Some(Self::Agent),
            _ => None,
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Service => "application/x-amz-json-1.1",
            Self::Agent => answer::JSON,
        }
    }

    /// Says why there is nothing, as Secrets Manager does.
    pub(super) fn refuse(self, refusal: &Refusal) -> Response {
        #[derive(Serialize)]
        struct Failure<'a> {
            #[serde(rename = "__type")]
            kind: &'a str,
            message: String,
        }
        let (status, kind) = match refusal {
            Refusal::Unknown(_) => (StatusCode::BAD_REQUEST, "ResourceNotFoundException"),
            Refusal::Ambiguous(_) | Refusal::Malformed(_) => {
                (StatusCode::BAD_REQUEST, "InvalidRequestException")
            }
            refusal if refusal.is_of_sender() => (refusal.status(), "AccessDeniedException"),
            refusal => (refusal.status(), "ServiceUnavailableException"),
        };
        let body = answer::json(&Failure { kind, message: refusal.to_string() }, 256);
        answer::respond(status, self.content_type(), body.unwrap_or_default())
    }
}

/// Longer than any ARN.
const LONGEST_ID: usize = 2048;
