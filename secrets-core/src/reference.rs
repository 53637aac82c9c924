//! References to secrets, `PROVIDER://PATH[?PARAM=VALUE&…][#FIELD]`: parsed once, valid for ever.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use smol_str::SmolStr;

use crate::value::Value;

/// A reference to a secret or to one field of it.
///
/// It never names a place outside its provider: a path has no `.` or `..` segment, no control character, and is not empty.
/// `%XX` stands for a byte of the path or of a parameter (RFC 3986, section 2.1), which is how a path says `?`, `#` or `%`.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct SecretRef {
    whole: Arc<Whole>,
    field: Option<FieldPath>,
}

/// What one read at the provider answers; copies of a reference share it.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
struct Whole {
    provider: SmolStr,
    path: SmolStr,
    parameters: BTreeMap<String, String>,
}

impl SecretRef {
    /// The longest reference, in bytes.
    pub const MAX_LENGTH: usize = 4096;

    /// Makes the reference to `path` at a provider, with these parameters, and perhaps of one field; all of them as they are, and not encoded.
    ///
    /// # Errors
    /// What no reference can have.
    pub fn try_new(
        provider: &str,
        path: &str,
        parameters: BTreeMap<String, String>,
        field: Option<&str>,
    ) -> Result<Self, ReferenceError> {
        let field = field.map(str::parse).transpose()?;
        let whole = Whole { provider: provider.into(), path: path.into(), parameters };
        Self { whole: Arc::new(whole), field }.to_string().parse()
    }

    /// Returns the name of the provider, in the configuration or of a kind.
    pub fn provider(&self) -> &str {
        &self.whole.provider
    }

    /// Returns the path at the provider, decoded; it begins with `/` where the reference had three slashes.
    pub fn path(&self) -> &str {
        &self.whole.path
    }

    /// Returns the parameters, decoded.
    pub fn parameters(&self) -> &BTreeMap<String, String> {
        &self.whole.parameters
    }

    /// Returns the field that the reference is about; without one it is about all of them.
    pub fn field(&self) -> Option<&FieldPath> {
        self.field.as_ref()
    }

    /// Returns a reference to `path` at the same provider, with the same parameters and no field.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for a path that no reference can have.
    pub fn at(&self, path: &str) -> crate::Result<Self> {
        let whole = Whole { path: path.into(), ..(*self.whole).clone() };
        let moved = Self { whole: Arc::new(whole), field: None };
        let parsed = moved.to_string().parse::<Self>();
        parsed.map_err(|error| crate::Error::config("find place", error.to_string()))
    }

    /// Returns the same reference without its field: what one read at the provider answers.
    #[must_use]
    pub fn whole(&self) -> Self {
        Self { whole: Arc::clone(&self.whole), field: None }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Whole { provider, path, parameters } = &*self.whole;
        write!(f, "{provider}://{}", Encoded(path, b"?#"))?;
        for (index, (name, value)) in parameters.iter().enumerate() {
            let mark = if index == 0 { '?' } else { '&' };
            let reserved = b"#&=+";
            write!(f, "{mark}{}={}", Encoded(name, reserved), Encoded(value, reserved))?;
        }
        match &self.field {
            Some(field) => write!(f, "#{}", field.as_str()),
            None => Ok(()),
        }
    }
}

/// A text with its `%`, its spaces and these ASCII characters percent-encoded.
struct Encoded<'a>(&'a str, &'static [u8]);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let &Self(mut rest, reserved) = self;
        let is_encoded =
            |byte: u8| byte.is_ascii() && (matches!(byte, b'%' | b' ') || reserved.contains(&byte));
        while let Some(at) = rest.bytes().position(is_encoded) {
            write!(f, "{}%{:02X}", &rest[..at], rest.as_bytes()[at])?;
            rest = &rest[at + 1..];
        }
        f.write_str(rest)
    }
}

impl FromStr for SecretRef {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.len() > Self::MAX_LENGTH {
            return Err(ReferenceError::TooLong);
        }
        let (provider, rest) = text.split_once("://").ok_or(ReferenceError::NoProvider)?;
        if !is_provider_name(provider) {
            return Err(ReferenceError::ProviderName(provider.into()));
        }
        let (rest, field) = match rest.split_once('#') {
            Some((rest, field)) => (rest, Some(field.parse()?)),
            None => (rest, None),
        };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = decode(path)?;
        if path.trim_matches('/').is_empty() {
            return Err(ReferenceError::NoPath);
        }
        if let Some(segment) = path.split('/').find(|segment| matches!(*segment, "." | "..")) {
            return Err(ReferenceError::Segment(segment.into()));
        }
        let mut parameters = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| ReferenceError::Parameter(pair.into()))?;
            let (name, value) = (decode(name)?, decode(&value.replace('+', " "))?);
            if parameters.insert(name.clone(), value).is_some() {
                return Err(ReferenceError::Twice(name));
            }
        }
        let whole = Whole { provider: provider.into(), path: path.into(), parameters };
        Ok(Self { whole: Arc::new(whole), field })
    }
}

/// Tells whether `name` may name a provider: lower-case letters, digits, `-` and `_`, beginning with a letter.
pub fn is_provider_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'))
}

fn decode(text: &str) -> Result<String, ReferenceError> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| ReferenceError::NotText)?;
    if text.chars().any(char::is_control) {
        return Err(ReferenceError::Control);
    }
    Ok(text.into_owned())
}

/// Why a text is not a reference. The text itself is not quoted whole: somebody may have put a secret where a reference belongs.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// There is no `://`.
    #[error("a reference is written PROVIDER://PATH#FIELD, as in vault://secret/orders/db#password")]
    NoProvider,
    /// The part before `://` is not a name.
    #[error("{0:?} cannot name a provider: lower-case letters, digits, `-` and `_`, beginning with a letter")]
    ProviderName(String),
    /// There is nothing between `://` and the field.
    #[error("the reference names no path")]
    NoPath,
    /// A segment of the path would lead elsewhere.
    #[error("the path may not have the segment {0:?}")]
    Segment(String),
    /// A parameter has no `=`.
    #[error("the parameter {0:?} is not written NAME=VALUE")]
    Parameter(String),
    /// A parameter is given twice.
    #[error("the parameter {0:?} is given twice")]
    Twice(String),
    /// The field after `#` is empty.
    #[error("the field after `#` is empty")]
    EmptyField,
    /// A control character, plain or as `%XX`.
    #[error("the reference has a control character")]
    Control,
    /// `%XX` sequences that are not UTF-8.
    #[error("the reference is not UTF-8 text")]
    NotText,
    /// More than [`SecretRef::MAX_LENGTH`] bytes.
    #[error("the reference is longer than {} bytes", SecretRef::MAX_LENGTH)]
    TooLong,
}

/// Which field of a secret: an exact name, else a dotted path, else, when it begins with `/`, a JSON pointer.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct FieldPath(Box<str>);

impl FieldPath {
    /// Returns the text after `#`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Finds the value among fields, of which `get` returns each by its name.
    pub fn find<'a>(&self, get: impl Fn(&str) -> Option<&'a Value>) -> Option<&'a Value> {
        if let Some(value) = get(&self.0) {
            return Some(value);
        }
        let steps: Vec<String> = match self.0.strip_prefix('/') {
            Some(pointer) => {
                pointer.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect()
            }
            None => self.0.split('.').map(str::to_owned).collect(),
        };
        let (first, rest) = steps.split_first()?;
        rest.iter().try_fold(get(first)?, |value, step| match value {
            Value::Map(values) => values.get(step),
            Value::List(values) => values.get(step.parse::<usize>().ok()?),
            _ => None,
        })
    }
}

impl FromStr for FieldPath {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        match text {
            "" => Err(ReferenceError::EmptyField),
            text if text.chars().any(char::is_control) => Err(ReferenceError::Control),
            text => Ok(Self(text.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> SecretRef {
        text.parse().unwrap()
    }

    #[test]
    fn takes_the_references_of_the_contract() {
        let reference = parse("vault://secret/orders/db?version=3#password");
        assert_eq!(reference.provider(), "vault");
        assert_eq!(reference.path(), "secret/orders/db");
        assert_eq!(reference.parameters()["version"], "3");
        assert_eq!(reference.field().unwrap().as_str(), "password");
        assert_eq!(parse("file:///etc/keywheel/orders.json#/a/b").path(), "/etc/keywheel/orders.json");
        assert_eq!(parse("file://orders.json").path(), "orders.json");
        let arn = "arn:aws:secretsmanager:eu-west-1:1:secret:prod/db-a1b2c3";
        assert_eq!(parse(&format!("aws://{arn}?stage=AWSPREVIOUS")).path(), arn);
        assert_eq!(parse("vault://pki/issue/web?common_name=a.b&ttl=24h").parameters().len(), 2);
    }

    #[test]
    fn refuses_what_could_lead_elsewhere_or_means_nothing() {
        for bad in [
            "password",
            "://x",
            "Vault://x",
            "1v://x",
            "vault://",
            "vault:///",
            "vault://#f",
            "vault://a/../b",
            "vault://a/%2e%2e/b",
            "vault://./a",
            "vault://a\nb",
            "vault://a%00",
            "vault://a?x",
            "vault://a?x=1&x=2",
            "vault://a#",
            "vault://a%ff",
        ] {
            assert!(bad.parse::<SecretRef>().is_err(), "{bad:?}");
        }
        assert_eq!(
            format!("vault://{}", "a".repeat(5000)).parse::<SecretRef>(),
            Err(ReferenceError::TooLong)
        );
    }

    #[test]
    fn a_field_is_a_name_then_a_dotted_path_then_a_pointer() {
        let fields: BTreeMap<String, Value> =
            serde_json::from_str(r#"{"a.b": "exact", "a": {"b": "nested", "c": [{"d/e": "deep"}]}}"#)
                .unwrap();
        let found = |path: &str| {
            let path: FieldPath = path.parse().unwrap();
            path.find(|name| fields.get(name))
                .map(|value| value.to_bytes().unwrap().expose_text().unwrap().to_owned())
        };
        assert_eq!(found("a.b").unwrap(), "exact");
        assert_eq!(found("/a/b").unwrap(), "nested");
        assert_eq!(found("a.c.0.d/e").unwrap(), "deep");
        assert_eq!(found("/a/c/0/d~1e").unwrap(), "deep");
        assert_eq!(found("a.c.1"), None);
        assert_eq!(found("b"), None);
    }

    /// Records of the state are known by it.
    #[test]
    fn what_a_reference_needs_is_encoded() {
        for text in ["vault://a%20b%25/c%3F%23ä?x=%23%26%3D%2B%20?#f", "file:///run/a&b=c+d"] {
            assert_eq!(text.parse::<SecretRef>().unwrap().to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in ".{0,200}") {
            text.parse::<SecretRef>().ok();
        }

        #[test]
        fn display_parses_back_to_the_same(
            path in "/?[a-zA-Z0-9 ?#%&=+:_ä€-]{1,12}(/[a-zß?#%]{1,8}){0,3}",
            name in "[a-z%&=]{1,5}", value in "[a-zß€+ &=#%?]{0,8}", field in "[a-z./#]{1,8}",
        ) {
            let whole = Whole { provider: "vault".into(), path: path.into(), parameters: [(name, value)].into() };
            let text = SecretRef { whole: Arc::new(whole), field: Some(FieldPath(field.into())) };
            prop_assert_eq!(text.to_string().parse::<SecretRef>(), Ok(text));
        }
    }
}
