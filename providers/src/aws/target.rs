//! What a reference asks of Secrets Manager.

use std::fmt;

use keywheel_core::provider::only_parameters;
use keywheel_core::{Error, Result, SecretRef};

/// A secret, and which of its versions.
#[derive(Debug, PartialEq)]
pub(super) struct Target<'a> {
    /// The secret's name or ARN, as it is sent.
    pub(super) id: &'a str,
    pub(super) version: Wanted<'a>,
    pub(super) form: Form,
}

/// What the fields of a value are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    /// The keys of a JSON object; of anything else the one field `value`.
    AsFound,
    /// The one field `value`, also where it is a JSON object.
    Text,
    /// The keys of a JSON object, which it must be.
    Object,
}

/// Which version of a secret is wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wanted<'a> {
    /// The one with `AWSCURRENT`.
    Current,
    /// The one with this label, which moves.
    Stage(&'a str),
    /// The one with this id, for ever.
    Id(&'a str),
}

impl<'a> Target<'a> {
    /// Reads a reference; asks nobody. `region` is the provider's, where it is known.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](keywheel_core::ErrorKind::Config) with what is wrong.
    pub(super) fn of(reference: &'a SecretRef, region: Option<&str>) -> Result<Self> {
        let wrong = |reason: String| Error::config("check reference", reason);
        only_parameters(reference, &["stage", "version-id", "text"])?;
        let id = reference.path();
        match id.strip_prefix("arn:") {
            Some(rest) => check_arn(rest, region).map_err(wrong)?,
            None => check_name(id).map_err(wrong)?,
        }
        let parameter = |name| reference.parameters().get(name).map(String::as_str);
        let version = match (parameter("stage"), parameter("version-id")) {
            (Some(_), Some(_)) => {
                let reason = "`stage` and `version-id` each name a version; leave one of them out";
                return Err(wrong(reason.into()));
            }
            (Some("AWSCURRENT"), None) | (None, None) => Wanted::Current,
            (Some(""), None) => return Err(wrong("`stage` is empty, as in `stage=AWSPREVIOUS`".into())),
            (Some(stage), None) => Wanted::Stage(stage),
            (None, Some(id)) if (32..=64).contains(&id.len()) => Wanted::Id(id),
            (None, Some(_)) => {
                return Err(wrong("`version-id` must have 32 to 64 characters; a label is `stage`".into()));
            }
        };
        Ok(Self { id, version, form: Form::of(reference)? })
    }
}

impl Form {
    /// Returns the form that a reference asks for.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](keywheel_core::ErrorKind::Config) where it asks for anything else.
    pub(super) fn of(reference: &SecretRef) -> Result<Self> {
        match reference.parameters().get("text").map(String::as_str) {
            None => Ok(Self::AsFound),
            Some("true") => Ok(Self::Text),
            Some("false") => Ok(Self::Object),
            Some(_) => Err(Error::config("check reference", "`text` must be true or false, or left out")),
        }
    }
}

impl fmt::Display for Wanted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("AWSCURRENT"),
            Self::Stage(stage) => f.write_str(stage),
            Self::Id(id) => f.write_str(id),
        }
    }
}

/// Tells whether `id` is an ARN whose end looks like the six random characters of a whole one.
pub(super) fn looks_whole(id: &str) -> bool {
    id.starts_with("arn:") && without_suffix(id).is_some()
}

/// Tells whether the secret with this name and ARN is the one that `id` names: by its name, or its ARN, whole or partial.
pub(super) fn is_named(id: &str, name: Option<&str>, arn: Option<&str>) -> bool {
    name == Some(id) || arn == Some(id) || arn.and_then(without_suffix) == Some(id)
}

/// Cuts a hyphen and six characters off.
fn without_suffix(arn: &str) -> Option<&str> {
    let (start, suffix) = arn.rsplit_once('-')?;
    let is_random = suffix.len() == SUFFIX && suffix.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_random && !start.is_empty()).then_some(start)
}

/// Checks what follows `arn:`: `PARTITION:secretsmanager:REGION:ACCOUNT:secret:NAME`.
fn check_arn(rest: &str, region: Option<&str>) -> Result<(), String> {
    const FORM: &str =
        "is not the ARN of a secret, as in arn:aws:secretsmanager:eu-west-1:123456789012:secret:NAME";
    let wrong = |why: &str| Err(format!("the path {FORM}: {why}"));
    let parts: Vec<&str> = rest.split(':').collect();
    let [partition, service, of_region, account, kind, name] = parts[..] else {
        return match parts.len() {
            0..6 => wrong("it has too few parts"),
            _ => wrong(
                "it has too many parts; a field is written #FIELD, and a version ?stage= or ?version-id=",
            ),
        };
    };
    match () {
        () if !partition.starts_with("aws") => wrong("its partition is not aws, aws-cn or the like"),
        () if service != "secretsmanager" => wrong("it is of another service"),
        () if of_region.is_empty() => wrong("it names no region"),
        () if account.is_empty() || !account.bytes().all(|byte| byte.is_ascii_digit()) => {
            wrong("its account is not a number")
        }
        () if kind != "secret" => wrong("it is not of a secret"),
        () => match region {
            Some(region) if region != of_region => Err(format!(
                "the ARN is of the region {of_region}, and the provider's is {region}; name a provider for {of_region}"
            )),
            _ => check_name(name),
        },
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "/_+=.@!-".contains(c);
    if name.is_empty() || name.len() > LONGEST_NAME {
        return Err(format!("a secret's name has 1 to {LONGEST_NAME} characters"));
    }
    match name.chars().find(|c| !is_allowed(*c)) {
        Some(other) => Err(format!("a secret's name has letters, digits and /_+=.@!-, and not {other:?}")),
        None => Ok(()),
    }
}

const LONGEST_NAME: usize = 512;
/// How many characters Secrets Manager adds to a name, after a hyphen, to make the ARN.
const SUFFIX: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<String, String> {
        let reference: SecretRef = format!("aws://{text}").parse().unwrap();
        let target = Target::of(&reference, Some("eu-west-1"));
        target.map(|target| format!("{} {}", target.id, target.version)).map_err(|error| error.to_string())
    }

    #[test]
    fn takes_names_arns_and_versions() {
        const ARN: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db";
        let id = "0123456789abcdef0123456789abcdef";
        for (text, expected) in [
            ("prod/orders/db", "prod/orders/db AWSCURRENT".to_owned()),
            ("/prod/db", "/prod/db AWSCURRENT".into()),
            ("rds!cluster-1?stage=AWSPREVIOUS", "rds!cluster-1 AWSPREVIOUS".into()),
            ("db?stage=AWSCURRENT", "db AWSCURRENT".into()),
            (&format!("db?version-id={id}"), format!("db {id}")),
            (ARN, format!("{ARN} AWSCURRENT")),
            (&format!("{ARN}-a1b2c3?stage=AWSPENDING#password"), format!("{ARN}-a1b2c3 AWSPENDING")),
        ] {
            assert_eq!(check(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refuses_what_cannot_be_a_secret_and_says_why() {
        for (text, why) in [
            ("arn:aws:secretsmanager:eu-west-1:1:secret", "too few"),
            ("arn:aws:secretsmanager:eu-west-1:1:secret:db-a1b2c3:password::", "#FIELD"),
            ("arn:aws:ssm:eu-west-1:1:parameter:db", "another service"),
            ("arn:gcp:secretsmanager:eu-west-1:1:secret:db", "partition"),
            ("arn:aws:secretsmanager::1:secret:db", "no region"),
            ("arn:aws:secretsmanager:eu-west-1:me:secret:db", "account"),
            ("arn:aws:secretsmanager:eu-west-1:1:key:db", "not of a secret"),
            ("arn:aws:secretsmanager:us-east-1:1:secret:db", "us-east-1"),
            ("arn:aws:secretsmanager:eu-west-1:1:secret:", "1 to 512"),
            ("prod db", "' '"),
            ("db?stage=AWSPREVIOUS&version-id=0123456789abcdef0123456789abcdef", "leave one of them out"),
            ("db?version-id=AWSPREVIOUS", "32 to 64"),
            ("db?stage=", "empty"),
            ("db?versionid=x", "stage, version-id"),
            ("db?text=no", "must be true or false"),
        ] {
            let error = check(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn an_answer_is_found_by_name_and_by_arn_whole_or_not() {
        let arn = "arn:aws:secretsmanager:eu-west-1:1:secret:prod/db-a1b2c3";
        for id in ["prod/db", arn, arn.trim_end_matches("-a1b2c3")] {
            assert!(is_named(id, Some("prod/db"), Some(arn)), "{id}");
        }
        for id in ["prod", "db", "prod/db-a1b2c3", "arn:aws:secretsmanager:eu-west-1:1:secret:prod/d"] {
            assert!(!is_named(id, Some("prod/db"), Some(arn)), "{id}");
        }
        assert!(looks_whole(arn) && !looks_whole("prod/db-a1b2c3"));
        assert!(!looks_whole("arn:aws:secretsmanager:eu-west-1:1:secret:prod/db-a1b2c"));
    }
}
