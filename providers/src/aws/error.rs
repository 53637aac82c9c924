//! The one place that turns what the SDK returns into an error: kinds, words and advice of our own. What AWS says is looked at and not passed on.

use std::error::Error as StdError;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use jiff::Timestamp;
use keywheel_core::{Error, ErrorKind};

use crate::https::retry_after;

/// Returns the error that a call's failure means.
pub(super) fn of<E: ProvideErrorMetadata + StdError + 'static>(
    operation: &'static str,
    failure: &SdkError<E, HttpResponse>,
    now: Timestamp,
) -> Error {
    match failure {
        SdkError::ServiceError(refusal) => {
            let raw = refusal.raw();
            let error = Refusal {
                operation,
                code: refusal.err().code().unwrap_or_default(),
                message: refusal.err().message().unwrap_or_default(),
                status: Some(raw.status().as_u16()),
            }
            .error();
            let request_id = raw.headers().get("x-amzn-requestid").filter(|id| is_plain(id));
            let wait = raw.headers().get("retry-after").and_then(|text| retry_after(text, now));
            let error = error.with_retry_after(wait);
            match request_id {
                Some(id) => error.with("request_id", id),
                None => error,
            }
        }
        SdkError::ResponseError(answer) => {
            let status = answer.raw().status().as_u16();
            let (kind, reason) = match status {
                500.. => (ErrorKind::Unavailable, "AWS failed"),
                _ => (ErrorKind::Invalid, "the answer is not what was expected"),
            };
            Error::new(kind, operation, reason).with("status", status)
        }
        SdkError::TimeoutError(_) => Error::new(ErrorKind::Timeout, operation, "there was no answer in time"),
        other => match ours(other) {
            // A login has said what it was; the connector cannot know what its request was part of.
            Some(error) if error.operation() == CONNECT => error.clone().in_operation(operation),
            Some(error) => error.clone(),
            None => Error::new(ErrorKind::Invalid, operation, "the request could not be made"),
        },
    }
}

/// Finds the error of ours that travelled through the SDK.
pub(super) fn ours<'a>(failure: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    let mut next = Some(failure);
    while let Some(failure) = next {
        if let Some(found) = failure.downcast_ref::<Error>() {
            return Some(found);
        }
        next = failure.source();
    }
    None
}

/// What AWS answered instead of what it was asked for, as a whole or of one secret.
#[derive(Clone, Copy)]
pub(super) struct Refusal<'a> {
    pub(super) operation: &'static str,
    pub(super) code: &'a str,
    /// AWS's own words: they may quote the request.
    pub(super) message: &'a str,
    /// The answer's status; none where it is of one secret of many.
    pub(super) status: Option<u16>,
}

impl Refusal<'_> {
    /// Returns the error that it means.
    pub(super) fn error(self) -> Error {
        // The services spell some codes with the word and some without.
        let code = self.code.strip_suffix("Exception").unwrap_or(self.code);
        let error = match code {
            "ResourceNotFound" | "ParameterNotFound" | "ParameterVersionNotFound" => self.missing(),
            "InvalidRequest" if self.says("delet") => self
                .failure(ErrorKind::Deleted, "the secret is scheduled for deletion")
                .with_help("`aws secretsmanager restore-secret` brings it back"),
            "InvalidRequest" => {
                self.failure(ErrorKind::Invalid, "the secret is in a state that does not allow this")
            }
            "DecryptionFailure" | "InvalidKeyId" => self.no_key(),
            _ if code.starts_with("KMS") => self.no_key(),
            "AccessDenied" if self.says("kms") => self.no_key(),
            "AccessDenied" | "UnauthorizedOperation" => {
                self.failure(ErrorKind::PermissionDenied, NOT_ALLOWED)
            }
            "ResourceExists" => {
                self.failure(ErrorKind::Conflict, "there is such a secret, or such a version, by now")
            }
            "OptInRequired" | "RegionDisabled" => {
                self.failure(ErrorKind::PermissionDenied, "the account does not use this region")
            }
            "InvalidParameter" | "Validation" | "ValidationError" | "InvalidParameterValue" => {
                self.failure(ErrorKind::Invalid, "AWS does not accept the request")
            }
            _ if THROTTLED.contains(&code) => {
                self.failure(ErrorKind::RateLimited, "AWS asks to be asked less often")
            }
            _ => self.of_identity(code).unwrap_or_else(|| self.of_status()),
        };
        let error = match self.status {
            Some(status) => error.with("status", status),
            None => error,
        };
        if is_plain(self.code) { error.with("code", self.code) } else { error }
    }

    fn missing(self) -> Error {
        let reason = match () {
            () if self.says("staging label") => "the secret has no version with this label",
            () if self.says("versionid") || self.code.contains("Version") => "there is no such version",
            () if self.code.starts_with("Parameter") => {
                "there is no such parameter in this region and account"
            }
            () => "there is no such secret in this region and account",
        };
        self.failure(ErrorKind::NotFound, reason)
    }

    fn no_key(self) -> Error {
        self.failure(ErrorKind::PermissionDenied, "the key that encrypts the secret (KMS) cannot be used")
            .with_help("allow `kms:Decrypt` (and `kms:GenerateDataKey`, to write) on the secret's key, and see that it is enabled")
    }

    /// Returns the error of a refusal that is about who asks.
    fn of_identity(self, code: &str) -> Option<Error> {
        let unknown = |reason| self.failure(ErrorKind::Unauthenticated, reason);
        Some(match code {
            // Somebody else keeps a projected token fresh, and credentials are asked for again.
            "ExpiredToken" | "RequestExpired" => unknown("the credentials have expired").with_temporary(true),
            "UnrecognizedClient" | "InvalidClientTokenId" | "InvalidAccessKeyId" | "AuthFailure" => {
                unknown("AWS does not know the credentials")
            }
            "InvalidSignature" | "SignatureDoesNotMatch" | "RequestTimeTooSkewed"
                if self.says("expired") || self.says("not yet current") || code.contains("Skewed") =>
            {
                unknown("this machine's clock and AWS's are too far apart").with_help("set the clock")
            }
            "InvalidSignature" | "SignatureDoesNotMatch" | "IncompleteSignature" => {
                unknown("the signature is wrong: the secret key does not belong to the access key")
            }
            "MissingAuthenticationToken" => unknown("the request was not signed"),
            "InvalidIdentityToken" => unknown("the identity token is not one that the account trusts"),
            "IDPRejectedClaim" => unknown("the identity provider does not accept the token's claims"),
            "IDPCommunicationError" => {
                self.failure(ErrorKind::Unavailable, "AWS cannot reach the identity provider")
            }
            _ => return None,
        })
    }

    fn of_status(self) -> Error {
        let (kind, reason) = match self.status.unwrap_or_default() {
            200..=299 => (ErrorKind::Invalid, "the answer is not what was expected"),
            401 => (ErrorKind::Unauthenticated, "AWS does not know the credentials"),
            403 => (ErrorKind::PermissionDenied, "AWS does not allow it"),
            404 => (ErrorKind::NotFound, "there is nothing at this endpoint"),
            408 => (ErrorKind::Timeout, "AWS waited too long for the request"),
            429 => (ErrorKind::RateLimited, "AWS asks to be asked less often"),
            500.. => (ErrorKind::Unavailable, "AWS failed"),
            300..=399 => (ErrorKind::Unavailable, "the endpoint points elsewhere, which is not followed"),
            _ if self.code.contains("Internal") => (ErrorKind::Unavailable, "AWS failed"),
            _ => (ErrorKind::Invalid, "AWS refused the request"),
        };
        let error = self.failure(kind, reason);
        if self.status.is_some_and(|status| (300..400).contains(&status)) {
            error.with_temporary(false)
        } else {
            error
        }
    }

    fn failure(self, kind: ErrorKind, reason: &str) -> Error {
        Error::new(kind, self.operation, reason)
    }

    fn says(self, text: &str) -> bool {
        self.message.to_ascii_lowercase().contains(text)
    }
}

/// Tells whether a text of AWS's may be shown: a code or an id, and nothing that a request could have put there.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Why something is refused that a policy could allow.
pub(super) const NOT_ALLOWED: &str = "the policy does not allow it";
/// What a request is part of, until somebody who knows better says so.
pub(super) const CONNECT: &str = "connect";

/// What the services call it when they are asked too often.
const THROTTLED: [&str; 9] = [
    "LimitExceeded",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceeded",
    "RequestLimitExceeded",
    "RequestThrottled",
    "SlowDown",
    "Throttling",
    "ThrottledException",
    "TooManyRequests",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: &str, message: &str, status: u16) -> Error {
        Refusal { operation: "read", code, message, status: Some(status) }.error()
    }

    #[test]
    fn what_is_different_to_an_administrator_is_told_apart() {
        let deleted = "You can't perform this operation on the secret because it was marked for deletion.";
        let kms = "Access to KMS is not allowed";
        for (code, message, status, kind, part) in [
            ("ResourceNotFoundException", "can't find it", 400, ErrorKind::NotFound, "no such secret"),
            (
                "ResourceNotFoundException",
                "for staging label: X",
                400,
                ErrorKind::NotFound,
                "no version with this label",
            ),
            ("ResourceNotFoundException", "for VersionId: X", 400, ErrorKind::NotFound, "no such version"),
            ("InvalidRequestException", deleted, 400, ErrorKind::Deleted, "restore-secret"),
            ("InvalidRequestException", "no", 400, ErrorKind::Invalid, "state"),
            ("DecryptionFailure", "no", 400, ErrorKind::PermissionDenied, "kms:Decrypt"),
            ("AccessDeniedException", kms, 400, ErrorKind::PermissionDenied, "kms:Decrypt"),
            ("AccessDeniedException", "not authorized", 400, ErrorKind::PermissionDenied, "policy"),
            ("ResourceExistsException", "already in use", 400, ErrorKind::Conflict, "by now"),
            ("ExpiredTokenException", "", 400, ErrorKind::Unauthenticated, "have expired"),
            ("ExpiredToken", "", 403, ErrorKind::Unauthenticated, "have expired"),
            ("UnrecognizedClientException", "", 400, ErrorKind::Unauthenticated, "does not know"),
            ("InvalidSignatureException", "Signature expired: 1", 400, ErrorKind::Unauthenticated, "clock"),
            ("InvalidSignatureException", "no match", 400, ErrorKind::Unauthenticated, "secret key"),
            ("ThrottlingException", "Rate exceeded", 400, ErrorKind::RateLimited, "less often"),
            ("Throttling", "Rate exceeded", 400, ErrorKind::RateLimited, "less often"),
            ("", "", 429, ErrorKind::RateLimited, "less often"),
            ("InternalServiceError", "", 500, ErrorKind::Unavailable, "failed"),
            ("", "", 503, ErrorKind::Unavailable, "failed"),
            ("", "", 418, ErrorKind::Invalid, "refused"),
        ] {
            let error = error(code, message, status);
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn nothing_of_awss_own_is_shown_but_a_plain_code() {
        let error = error("c4n4ry here", "c4n4ry", 400);
        assert!(!format!("{error} {error:?}").contains("c4n4ry"), "{error}");
    }
}
