//! Has Secrets Manager rotate a secret, and waits until it did.
//!
//! The secret's rotation function makes a version with the label `AWSPENDING`, sets and tests it, and moves `AWSCURRENT` to it at the end. The call
//! only begins that. What reads see follows a moment later.

use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretOutput;
use jiff::Timestamp;
use keywheel_core::{Error, ErrorKind, Result, Version};
use tracing::info;

use super::account::Account;
use super::stages::{CURRENT, PENDING, PREVIOUS, Stages, describe};

/// Returns the version that is current, and when Secrets Manager last rotated the secret.
///
/// # Errors
/// A refusal, no answer, or a secret without a value.
pub(super) async fn rotated(
    account: &Account,
    client: &Client,
    id: &str,
) -> Result<(Version, Option<Timestamp>)> {
    let secret = describe("rotate", account, client, id).await?;
    let Some(current) = Stages::of(&secret).holder(CURRENT) else {
        return Err(Error::new(ErrorKind::NotFound, "rotate", "the secret has no value yet"));
    };
    let at = secret.last_rotated_date.and_then(|date| Timestamp::from_second(date.secs()).ok());
    Ok((Version::new(current), at))
}

/// Rotates the secret `id`; returns the version that is current then. The new version is named `token`: one that was begun before is waited for.
///
/// # Errors
/// Why it was not begun, or that it is not over in time, and what to do then.
pub(super) async fn rotate(account: &Account, client: &Client, id: &str, token: &str) -> Result<Version> {
    let clock = account.clock();
    let secret = describe("rotate", account, client, id).await?;
    let is_begun = secret.version_ids_to_stages().is_some_and(|versions| versions.contains_key(token));
    let new = if is_begun { token.to_owned() } else { begin(account, client, id, token).await? };
    let (begun_at, mut wait) = (clock.instant(), FIRST_LOOK);
    loop {
        clock.sleep_until(clock.instant() + wait).await;
        match describe("rotate", account, client, id).await {
            Ok(secret) => {
                let stages = Stages::of(&secret);
                if stages.has(&new, CURRENT) || stages.has(&new, PREVIOUS) {
                    let current = stages.holder(CURRENT).unwrap_or(&new);
                    return Ok(Version::new(current));
                }
                if clock.instant() - begun_at >= account.settings().rotate_within {
                    return Err(not_over(account.settings().rotate_within, &secret, id, &new));
                }
            }
            // The rotation goes on without us.
            Err(error)
                if error.is_temporary() && clock.instant() - begun_at < account.settings().rotate_within =>
            {
                wait = wait.max(error.retry_after().unwrap_or_default());
            }
            Err(error) => return Err(error),
        }
        wait = (wait * 2).min(LAST_LOOK);
    }
}

/// Returns the name of the new version, which may not be there yet.
async fn begin(account: &Account, client: &Client, id: &str, token: &str) -> Result<String> {
    // The same for a repeated call, which then is no second rotation.
    let begin = client.rotate_secret().secret_id(id).client_request_token(token);
    match account.ask("rotate", || Box::pin(begin.clone().send())).await {
        Ok(begun) => {
            let new = begun.version_id.unwrap_or_else(|| token.to_owned());
            info!(secret = id, version = new, "the rotation has begun");
            Ok(new)
        }
        Err(error) if error.kind() == ErrorKind::Invalid => {
            let secret = describe("rotate", account, client, id).await?;
            Err(not_begun(error, &secret, id))
        }
        Err(error) => Err(error),
    }
}

/// Returns why Secrets Manager did not begin.
fn not_begun(error: Error, secret: &DescribeSecretOutput, id: &str) -> Error {
    let stages = Stages::of(secret);
    if let Some(pending) = stages.pending() {
        return still_pending("rotate", secret, id, pending);
    }
    if secret.rotation_lambda_arn.is_none() && secret.owning_service.is_none() {
        let reason = "the secret has no rotation function";
        return Error::new(ErrorKind::Unsupported, "rotate", reason)
            .with_help("set one up in Secrets Manager, or rotate it with a strategy of Keywheel's");
    }
    error
}

/// Makes the error for a secret whose version `pending` waits for a rotation of Secrets Manager's.
pub(super) fn still_pending(
    operation: &'static str,
    secret: &DescribeSecretOutput,
    id: &str,
    pending: &str,
) -> Error {
    let reason = "the last rotation is not over: another version than the current one is AWSPENDING";
    let error = Error::new(ErrorKind::Invalid, operation, reason);
    error.with("version", pending).with_help(way_out(secret, id, pending))
}

fn not_over(within: Duration, secret: &DescribeSecretOutput, id: &str, new: &str) -> Error {
    let stages = Stages::of(secret);
    let reason = match stages.has(new, PENDING) {
        true => format!("the new version is still AWSPENDING after {within:?}; the old one stays current"),
        false => format!("there is no new version after {within:?}; the old one stays current"),
    };
    // Not a time-out of ours that asking again would mend.
    let error = Error::new(ErrorKind::Timeout, "rotate", reason).with_temporary(false).with("version", new);
    error.with_help(way_out(secret, id, new))
}

/// Says how to find out what the function does, and how to let go of what it left.
fn way_out(secret: &DescribeSecretOutput, id: &str, pending: &str) -> String {
    let function = secret.rotation_lambda_arn.as_deref().and_then(|arn| arn.rsplit(':').next());
    let log = match function {
        Some(name) => format!("see the log of its function (/aws/lambda/{name})"),
        None => "see what the service that owns the secret says".to_owned(),
    };
    format!(
        "{log}; once it does not run any more, `aws secretsmanager update-secret-version-stage --secret-id {id} \
         --version-stage AWSPENDING --remove-from-version-id {pending}` lets the next one begin"
    )
}

/// The function takes seconds at least; looking costs one small request.
const FIRST_LOOK: Duration = Duration::from_millis(500);
const LAST_LOOK: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(stages: &[(&str, &[&str])], function: Option<&str>) -> DescribeSecretOutput {
        let stages = stages.iter().map(|(version, labels)| {
            ((*version).to_owned(), labels.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>())
        });
        DescribeSecretOutput::builder()
            .set_version_ids_to_stages(Some(stages.collect()))
            .set_rotation_lambda_arn(function.map(str::to_owned))
            .build()
    }

    fn refusal() -> Error {
        Error::new(ErrorKind::Invalid, "rotate", "no")
    }

    #[test]
    fn a_version_that_was_left_pending_is_named_with_the_way_out() {
        let arn = Some("arn:aws:lambda:eu-west-1:1:function:rotate-db");
        let stuck = secret(&[("v1", &[CURRENT]), ("v2", &[PENDING])], arn);
        let error = not_begun(refusal(), &stuck, "prod/db").to_string();
        for part in
            ["not over", "v2", "/aws/lambda/rotate-db", "--remove-from-version-id v2", "--secret-id prod/db"]
        {
            assert!(error.contains(part), "{part}: {error}");
        }
        let done = secret(&[("v1", &[PREVIOUS]), ("v2", &[CURRENT, PENDING])], arn);
        assert_eq!(not_begun(refusal(), &done, "prod/db").reason(), "no");
        let none = secret(&[("v1", &[CURRENT])], None);
        assert_eq!(not_begun(refusal(), &none, "prod/db").kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn one_that_is_not_over_says_which_value_is_current() {
        let within = Duration::from_secs(300);
        let pending = secret(&[("v1", &[CURRENT]), ("v2", &[PENDING])], None);
        let error = not_over(within, &pending, "db", "v2");
        assert!(!error.is_temporary() && error.to_string().contains("old one stays current"), "{error}");
        let nothing = secret(&[("v1", &[CURRENT])], None);
        assert!(not_over(within, &nothing, "db", "v2").to_string().contains("no new version"));
    }
}
