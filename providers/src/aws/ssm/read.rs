//! Reads parameters, one, many with a call, or all below a path.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use aws_sdk_ssm::Client;
use aws_sdk_ssm::types::Parameter;
use keywheel_core::fingerprint::digest;
use keywheel_core::{Error, ErrorKind, Result, Secret, SecretValue, Value, Version};

use crate::aws::account::Account;
use crate::aws::error::Refusal;
use crate::aws::ferry::Answers;
use crate::aws::read::fields_of;
use crate::aws::target::Form;

/// One version of a parameter; wiped when dropped.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) version: Version,
    value: SecretValue,
}

/// Reads one parameter.
///
/// # Errors
/// A refusal, or no answer.
pub(super) async fn one(account: &Account, client: &Client, id: &str) -> Result<Arc<Fetched>> {
    let call = client.get_parameter().name(id).with_decryption(true);
    let answer = account.ask("read", || Box::pin(call.clone().send())).await?;
    let parameter = answer.parameter.ok_or_else(|| incomplete("the answer holds no parameter"))?;
    Fetched::of(parameter).map(Arc::new)
}

/// Reads up to [`AT_ONCE`] parameters; each has an answer or an error of its own.
pub(super) async fn many(account: &Account, client: &Client, ids: Vec<String>) -> Answers<Fetched> {
    let call = client.get_parameters().set_names(Some(ids.clone())).with_decryption(true);
    let answer = match account.ask("read", || Box::pin(call.clone().send())).await {
        Ok(answer) => answer,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return None,
        // One that AWS does not take spoils the call for all: each is asked for by itself.
        Err(error) if !error.is_temporary() && error.kind() != ErrorKind::Unauthenticated => {
            return Some(HashMap::new());
        }
        Err(error) => return Some(ids.into_iter().map(|id| (id, Err(error.clone()))).collect()),
    };
    let mut answers = HashMap::new();
    for id in answer.invalid_parameters.unwrap_or_default() {
        let refusal = Refusal { operation: "read", code: "ParameterNotFound", message: "", status: None };
        answers.insert(id, Err(refusal.error()));
    }
    for parameter in answer.parameters.unwrap_or_default() {
        let (name, arn) =
            (parameter.name.clone().unwrap_or_default(), parameter.arn.clone().unwrap_or_default());
        let selector = parameter.selector.clone().unwrap_or_default();
        let is_named = |id: &&String| {
            [&name, &arn]
                .into_iter()
                .any(|own| id.strip_prefix(own.as_str()).is_some_and(|rest| rest == selector))
        };
        let named: Vec<&String> = ids.iter().filter(is_named).collect();
        let fetched = Fetched::of(parameter).map(Arc::new);
        answers.extend(named.into_iter().map(|id| (id.clone(), fetched.clone())));
    }
    Some(answers)
}

/// Reads all parameters below `path`; each is a field.
///
/// # Errors
/// A refusal, no answer, or [`ErrorKind::NotFound`] where there is nothing.
pub(super) async fn below(account: &Account, client: &Client, path: &str) -> Result<Secret> {
    let (mut fields, mut versions) = (BTreeMap::new(), BTreeMap::new());
    let mut next = None;
    loop {
        let call = client.get_parameters_by_path().path(path).recursive(true).with_decryption(true);
        let call = call.set_next_token(next);
        let answer = account.ask("read", || Box::pin(call.clone().send())).await?;
        for parameter in answer.parameters.unwrap_or_default() {
            let name = parameter.name.clone().unwrap_or_default();
            let Some(name) = name.strip_prefix(path).map(str::to_owned) else { continue };
            let fetched = Fetched::of(parameter)?;
            versions.insert(name.clone(), fetched.version);
            fields.insert(name, Value::Bytes(fetched.value));
        }
        next = answer.next_token.filter(|token| !token.is_empty());
        // More fields than a secret may have are refused below; there is no need to read them all for that.
        if next.is_none() || fields.len() > Secret::MAX_FIELDS {
            break;
        }
    }
    if fields.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, "read", "there is no parameter below this path"));
    }
    let all: Vec<String> = versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    Secret::try_new(fields, Version::new(digest(all.join("\n").as_bytes())))
}

impl Fetched {
    fn of(parameter: Parameter) -> Result<Self> {
        let value = parameter.value.ok_or_else(|| incomplete("the parameter holds no value"))?;
        // A parameter that was deleted and made again counts from 1 again.
        let modified = parameter.last_modified_date.and_then(|at| at.to_millis().ok()).unwrap_or_default();
        Ok(Self {
            version: Version::new(format_args!("{}-{modified}", parameter.version)),
            value: value.into(),
        })
    }

    /// Makes a secret of it, with the fields that it has in this form.
    ///
    /// # Errors
    /// No object where there must be one; more or larger fields than a secret may have.
    pub(super) fn secret(&self, form: Form) -> Result<Secret> {
        Secret::try_new(fields_of(&self.value, form)?, self.version.clone())
    }
}

fn incomplete(reason: &str) -> Error {
    Error::new(ErrorKind::Invalid, "read", reason)
}

/// How many parameters one call reads (the API's own bound).
pub(super) const AT_ONCE: usize = 10;
