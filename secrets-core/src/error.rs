//! The one error type of every trait boundary: what failed, on what, why, and what to do.

use std::fmt;
use std::time::Duration;

/// The result of every fallible operation of the engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as far as a caller may act on it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting, a reference or a template is wrong; only an edit helps.
    Config,
    /// The server does not know the identity, or its credential has ended.
    Unauthenticated,
    /// The identity is known and may not do this.
    PermissionDenied,
    /// There is no such secret, or its wanted version was deleted.
    NotFound,
    /// The secret is marked for deletion at its source, which can still bring it back.
    Deleted,
    /// The secret is there; the wanted field is not.
    MissingField,
    /// The server asks to be asked less often.
    RateLimited,
    /// The source cannot be reached, is sealed, or answers that it is not ready.
    Unavailable,
    /// No answer came within the time that was given.
    Timeout,
    /// The answer or the file is not what its format promises, or breaks a bound of size.
    Invalid,
    /// A template asked for something that the secrets do not have.
    Render,
    /// The files could not be put into the delivery directory.
    Deliver,
    /// The application could not be told.
    Notify,
    /// What was to be delivered is not valid, or the application does not work with it.
    Rejected,
    /// Somebody else changed it since it was looked at; nothing was changed by this.
    Conflict,
    /// The source has no such operation.
    Unsupported,
    /// A token for one use was used up by somebody else, or was not made for what it should hold: what it held may be known to others.
    Intercepted,
}

impl ErrorKind {
    /// Returns the words that messages begin their reason with, and metrics use as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "invalid configuration",
            Self::Unauthenticated => "not authenticated",
            Self::PermissionDenied => "permission denied",
            Self::NotFound => "not found",
            Self::Deleted => "deleted",
            Self::MissingField => "missing field",
            Self::RateLimited => "rate limited",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timed out",
            Self::Invalid => "invalid data",
            Self::Render => "template failed",
            Self::Deliver => "delivery failed",
            Self::Notify => "notification failed",
            Self::Rejected => "rejected",
            Self::Conflict => "changed meanwhile",
            Self::Unsupported => "not supported",
            Self::Intercepted => "possibly intercepted",
        }
    }

    fn is_temporary(self) -> bool {
        matches!(self, Self::RateLimited | Self::Unavailable | Self::Timeout)
    }
}

/// An error without a secret in it: kind, status, operation and context.
///
/// Whoever builds one passes only names, numbers and sentences of its own: never a value, a response body, or the
/// message of a library that quotes its input.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    temporary: bool,
    operation: &'static str,
    reason: String,
    context: Vec<(&'static str, String)>,
    help: Option<String>,
    retry_after: Option<Duration>,
}

impl Error {
    /// Makes an error of `kind` in `operation` (a verb, such as `read` or `log in`), with the reason in words.
    ///
    /// It is temporary when its kind usually is: rate limited, unavailable and timed out.
    pub fn new(kind: ErrorKind, operation: &'static str, reason: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            temporary: kind.is_temporary(),
            operation,
            reason: reason.into(),
            context: Vec::new(),
            help: None,
            retry_after: None,
        }))
    }

    /// Makes a permanent error of [`ErrorKind::Config`].
    pub fn config(operation: &'static str, reason: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, operation, reason)
    }

    /// Adds where it happened: a provider's name, a reference, a status, a path. The first word for a key stands.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        if !self.0.context.iter().any(|(known, _)| *known == key) {
            self.0.context.push((key, value.to_string()));
        }
        self
    }

    /// Says what the failure was part of, where that is more than whoever made the error knew.
    #[must_use]
    pub fn in_operation(mut self, operation: &'static str) -> Self {
        self.0.operation = operation;
        self
    }

    /// Adds a sentence that says what the reader can do.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// Says that trying again may help, whatever the kind says.
    #[must_use]
    pub fn with_temporary(mut self, temporary: bool) -> Self {
        self.0.temporary = temporary;
        self
    }

    /// Adds the time that the server asked to be left alone for.
    #[must_use]
    pub fn with_retry_after(mut self, after: Option<Duration>) -> Self {
        self.0.retry_after = after;
        self
    }

    /// Returns what went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the operation that failed.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// Returns why, in words, without kind and context.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// Tells whether the same request may succeed later without anybody changing anything.
    pub fn is_temporary(&self) -> bool {
        self.0.temporary
    }

    /// Returns how long the server asked to be left alone, where it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, operation, reason, context, help, .. } = &*self.0;
        write!(f, "{operation}: {}: {reason}", kind.as_str())?;
        if !context.is_empty() {
            let pairs: Vec<String> = context.iter().map(|(key, value)| format!("{key}: {value}")).collect();
            write!(f, " ({})", pairs.join(", "))?;
        }
        match help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = if self.0.temporary { "temporary" } else { "permanent" };
        write!(f, "Error({:?}, {status}: {self})", self.0.kind)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_one_sentence_with_context_and_help() {
        let error = Error::new(ErrorKind::PermissionDenied, "read", "the policy does not allow it")
            .with("provider", "vault")
            .with("status", 403)
            .with_help("allow `read` on secret/data/orders/db");
        assert_eq!(
            error.to_string(),
            "read: permission denied: the policy does not allow it (provider: vault, status: 403); \
             allow `read` on secret/data/orders/db"
        );
    }

    #[test]
    fn the_innermost_context_stands() {
        let error = Error::config("read", "x").with("provider", "inner").with("provider", "outer");
        assert!(error.to_string().contains("inner") && !error.to_string().contains("outer"));
    }

    #[test]
    fn kinds_decide_the_status_unless_told() {
        assert!(Error::new(ErrorKind::Timeout, "read", "x").is_temporary());
        assert!(!Error::new(ErrorKind::NotFound, "read", "x").is_temporary());
        assert!(Error::new(ErrorKind::NotFound, "read", "x").with_temporary(true).is_temporary());
    }
}
