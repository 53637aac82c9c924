//! Reads secrets, one or many with a call.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueOutput;
use aws_sdk_secretsmanager::types::SecretValueEntry;
use jiff::Timestamp;
use keywheel_core::{Error, ErrorKind, Result, Secret, SecretValue, Value, Version};
use serde::de::IgnoredAny;

use super::account::Account;
use super::error::Refusal;
use super::ferry::Answers;
use super::target::{Form, Target, Wanted, is_named};

/// One version of a secret as Secrets Manager holds it; wiped when dropped.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) version: Version,
    pub(super) arn: Option<String>,
    pub(super) created_at: Option<Timestamp>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Text(SecretValue),
    Binary(SecretValue),
}

/// Reads one secret.
///
/// # Errors
/// A refusal, or no answer.
pub(super) async fn one(account: &Account, client: &Client, target: &Target<'_>) -> Result<Arc<Fetched>> {
    let call = client.get_secret_value().secret_id(target.id);
    let call = match target.version {
        Wanted::Current => call,
        Wanted::Stage(stage) => call.version_stage(stage),
        Wanted::Id(id) => call.version_id(id),
    };
    let answer = account.ask("read", || Box::pin(call.clone().send())).await?;
    Fetched::of_answer(answer).map(Arc::new)
}

/// Reads the current versions of up to [`AT_ONCE`] secrets; each has an answer or an error of its own.
pub(super) async fn many(account: &Account, client: &Client, ids: Vec<String>) -> Answers<Fetched> {
    let mut answers = HashMap::new();
    let mut next = None;
    for _ in 0..MOST_PAGES {
        let call = client.batch_get_secret_value().set_secret_id_list(Some(ids.clone())).set_next_token(next);
        let answer = match account.ask("read", || Box::pin(call.clone().send())).await {
            Ok(answer) => answer,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return None,
            // One id that AWS does not take spoils the call for all: each is asked for by itself.
            Err(error) if !error.is_temporary() && error.kind() != ErrorKind::Unauthenticated => break,
            Err(error) => return Some(ids.into_iter().map(|id| (id, Err(error.clone()))).collect()),
        };
        for entry in answer.secret_values.unwrap_or_default() {
            note(&ids, entry, &mut answers);
        }
        for refusal in answer.errors.unwrap_or_default() {
            let Some(id) = refusal.secret_id.filter(|id| ids.contains(id)) else { continue };
            let refusal = Refusal {
                operation: "read",
                code: refusal.error_code.as_deref().unwrap_or_default(),
                message: refusal.message.as_deref().unwrap_or_default(),
                status: None,
            };
            answers.insert(id, Err(refusal.error()));
        }
        next = answer.next_token.filter(|token| !token.is_empty());
        if next.is_none() {
            break;
        }
    }
    Some(answers)
}

/// Takes one entry of an answer down for all ids that name it.
fn note(ids: &[String], entry: SecretValueEntry, answers: &mut HashMap<String, Result<Arc<Fetched>>>) {
    let (name, arn) = (entry.name.clone(), entry.arn.clone());
    let named = ids.iter().filter(|id| is_named(id, name.as_deref(), arn.as_deref()));
    let fetched = Fetched::of_entry(entry).map(Arc::new);
    for id in named {
        answers.insert(id.clone(), fetched.clone());
    }
}

impl Fetched {
    fn of_answer(answer: GetSecretValueOutput) -> Result<Self> {
        let GetSecretValueOutput { secret_string: text, secret_binary: binary, created_date, .. } = answer;
        let created_at = created_date.and_then(|date| Timestamp::from_second(date.secs()).ok());
        let fetched =
            Self::new(answer.version_id, answer.arn, text, binary.map(|binary| binary.into_inner()))?;
        Ok(Self { created_at, ..fetched })
    }

    fn of_entry(entry: SecretValueEntry) -> Result<Self> {
        let SecretValueEntry { secret_string: text, secret_binary: binary, .. } = entry;
        Self::new(entry.version_id, entry.arn, text, binary.map(|binary| binary.into_inner()))
    }

    fn new(
        version: Option<String>,
        arn: Option<String>,
        text: Option<String>,
        binary: Option<Vec<u8>>,
    ) -> Result<Self> {
        let content = match (text, binary) {
            (Some(text), _) => Content::Text(text.into()),
            (None, Some(binary)) => Content::Binary(binary.into()),
            (None, None) => return Err(incomplete("the version holds no value")),
        };
        let version = version.ok_or_else(|| incomplete("the answer names no version"))?;
        Ok(Self { version: Version::new(version), arn, created_at: None, content })
    }

    /// Makes a secret of it, with the fields that it has in this form. Bytes are no text, and have keys only where they must.
    ///
    /// # Errors
    /// No object where there must be one; more or larger fields than a secret may have.
    pub(super) fn secret(&self, form: Form) -> Result<Secret> {
        let fields = match (&self.content, form) {
            (Content::Binary(bytes), Form::AsFound) => whole(bytes),
            (Content::Text(value) | Content::Binary(value), form) => fields_of(value, form)?,
        };
        Secret::try_new(fields, self.version.clone())
    }

    pub(super) fn is_binary(&self) -> bool {
        matches!(self.content, Content::Binary(_))
    }

    /// Tells whether it is one text and no object.
    pub(super) fn is_one_text(&self) -> bool {
        let Content::Text(text) = &self.content else { return false };
        serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(text.expose_secret()).is_err()
    }
}

/// Reads the fields that a value has in this form.
///
/// # Errors
/// No object where there must be one.
pub(super) fn fields_of(value: &SecretValue, form: Form) -> Result<BTreeMap<String, Value>> {
    let bytes = value.expose_secret();
    let is_object = form != Form::Text && bytes.trim_ascii_start().starts_with(b"{");
    let keys = is_object.then(|| serde_json::from_slice(bytes).ok()).flatten();
    match (keys, form) {
        (Some(keys), _) => Ok(keys),
        (None, Form::Object) => Err(incomplete("the value is no JSON object, whose keys were asked for")),
        (None, Form::AsFound | Form::Text) => Ok(whole(value)),
    }
}

fn whole(value: &SecretValue) -> BTreeMap<String, Value> {
    BTreeMap::from([("value".to_owned(), Value::Bytes(SecretValue::copy_of(value.expose_secret())))])
}

fn incomplete(reason: &str) -> Error {
    Error::new(ErrorKind::Invalid, "read", reason)
}

/// How many secrets one call reads (the API's own bound).
pub(super) const AT_ONCE: usize = 20;
/// An answer for twenty secrets that has more pages than secrets does not end.
const MOST_PAGES: usize = AT_ONCE;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let fetched = Fetched::new(Some("v".into()), None, Some(text.into()), None).unwrap();
        let names = |form| {
            let secret: Result<Secret> = fetched.secret(form);
            secret.map(|secret| secret.fields().keys().map(str::to_owned).collect::<Vec<String>>())
        };
        assert_eq!(names(Form::Text).unwrap(), ["value"]);
        let found = names(Form::AsFound).unwrap();
        match names(Form::Object) {
            Ok(keys) => assert_eq!(keys, found),
            Err(error) => {
                assert_eq!(found, ["value"]);
                assert!(error.to_string().contains("no JSON object"), "{error}");
            }
        }
        found
    }

    #[test]
    fn an_object_gives_its_keys_and_anything_else_is_whole() {
        assert_eq!(names(r#" {"user": "a", "password": {"x": 1}}"#), ["password", "user"]);
        for text in ["", "plain", "{not json", r#"["a"]"#, "17", "null", r#""text""#, r#"{"a": 1} x"#] {
            assert_eq!(names(text), ["value"], "{text}");
        }
        assert!(names("{}").is_empty());
        let binary = Fetched::new(Some("v".into()), None, None, Some(br#"{"a": 1}"#.to_vec())).unwrap();
        for (form, name) in [(Form::AsFound, "value"), (Form::Text, "value"), (Form::Object, "a")] {
            assert!(binary.secret(form).unwrap().fields().keys().eq([name]), "{form:?}");
        }
    }

    #[test]
    fn nothing_is_shown_of_a_value() {
        let fetched = Fetched::new(Some("v".into()), None, Some("c4n4ry".into()), None).unwrap();
        assert!(!format!("{fetched:?}").contains("c4n4ry"));
        assert!(Fetched::new(Some("v".into()), None, None, None).is_err());
    }
}
