//! One alert, as far as rules look at it.

use std::collections::BTreeMap;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::config::{Item, Setting};

/// An alert of Falco. Its `output`, which quotes command lines, is not kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Alert {
    /// The name of Falco's rule.
    pub rule: String,
    /// How urgent that is.
    pub priority: Priority,
    /// When it happened.
    pub at: Timestamp,
    /// The rule's tags.
    pub tags: Vec<String>,
    /// What is known of it (`k8s.ns.name`, `proc.name`, …), as text; what is neither a text, a number nor a truth value is left out.
    pub fields: BTreeMap<String, String>,
}

/// How urgent an alert is, from the least.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[allow(missing_docs, reason = "the names are Falco's, which are syslog's")]
pub enum Priority {
    Debug,
    Informational,
    Notice,
    Warning,
    Error,
    Critical,
    Alert,
    Emergency,
}

/// Why a text is no alert; it is not quoted.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AlertError {
    /// It is larger than [`Alert::MAX_BYTES`].
    #[error("the alert is larger than {} bytes", Alert::MAX_BYTES)]
    TooLarge,
    /// It is no JSON, or lacks `rule`, `priority` or `time`.
    #[error("the body is no alert of Falco: JSON with `rule`, `priority` and `time` (line {0}, column {1})")]
    Shape(usize, usize),
    /// Its priority is none of Falco's.
    #[error("the alert has a priority that Falco does not have")]
    Priority,
}

#[derive(Deserialize)]
struct Written {
    rule: String,
    priority: String,
    time: Timestamp,
    tags: Option<Vec<String>>,
    output_fields: Option<BTreeMap<String, Value>>,
}

impl Alert {
    /// The largest alert, in bytes.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// Reads the JSON that falcosidekick posts; what this program does not know of is left out.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(body: &[u8]) -> Result<Self, AlertError> {
        if body.len() > Self::MAX_BYTES {
            return Err(AlertError::TooLarge);
        }
        let Written { rule, priority, time: at, tags, output_fields } =
            serde_json::from_slice(body).map_err(|error| AlertError::Shape(error.line(), error.column()))?;
        let priority = priority.parse().map_err(|()| AlertError::Priority)?;
        let fields = output_fields.unwrap_or_default().into_iter();
        let fields = fields.filter_map(|(name, value)| Some((name, text(value)?))).collect();
        Ok(Self { rule, priority, at, tags: tags.unwrap_or_default(), fields })
    }

    /// Returns why something is done about it, for the audit: the rule, in one line of bounded length, and the time.
    pub fn reason(&self) -> String {
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let rule: String = self.rule.chars().take(LONGEST_RULE).map(plain).collect();
        format!("Falco: {rule} at {}", self.at)
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

impl Priority {
    /// Returns the names that Falco has for them, from the least on.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        PRIORITIES.iter().map(|(name, _)| *name)
    }
}

impl FromStr for Priority {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (_, priority) = PRIORITIES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).ok_or(())?;
        Ok(*priority)
    }
}

impl Setting for Priority {
    fn parse(value: &Item<'_>) -> Result<Self, String> {
        let known = || {
            let names: Vec<String> = Self::names().map(str::to_ascii_lowercase).collect();
            format!("must be one of {}", names.join(", "))
        };
        String::parse(value)?.parse().map_err(|()| known())
    }
}

const PRIORITIES: [(&str, Priority); 9] = [
    ("Debug", Priority::Debug),
    ("Informational", Priority::Informational),
    ("Info", Priority::Informational),
    ("Notice", Priority::Notice),
    ("Warning", Priority::Warning),
    ("Error", Priority::Error),
    ("Critical", Priority::Critical),
    ("Alert", Priority::Alert),
    ("Emergency", Priority::Emergency),
];
const LONGEST_RULE: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_as_falcosidekick_posts_it() {
        let alert = Alert::parse(include_bytes!("falcosidekick.json")).unwrap();
        assert_eq!((alert.rule.as_str(), alert.priority), ("Read of a delivered secret", Priority::Warning));
        assert_eq!(alert.fields["k8s.ns.name"], "shop");
        assert_eq!(alert.fields["proc.pid"], "4711");
        assert!(!alert.fields.contains_key("proc.pname"), "null is no text");
        assert_eq!(alert.reason(), "Falco: Read of a delivered secret at 2026-11-29T14:03:21.123456789Z");
        assert!(!format!("{alert:?}").contains("hunter2"), "the output is not kept");
    }

    #[test]
    fn what_is_none_is_told_and_not_quoted() {
        let wrong = |body: &str| Alert::parse(body.as_bytes()).unwrap_err();
        for body in [
            "",
            "c4n4ry",
            "[]",
            r#"{"rule": "c4n4ry"}"#,
            r#"{"rule": 7, "priority": "c4n4ry", "time": "now"}"#,
        ] {
            let error = wrong(body);
            assert!(
                matches!(error, AlertError::Shape(..)) && !error.to_string().contains("c4n4ry"),
                "{error}"
            );
        }
        assert_eq!(
            wrong(r#"{"rule": "a", "priority": "high", "time": "2026-11-29T14:00:00Z"}"#),
            AlertError::Priority
        );
        assert_eq!(wrong(&" ".repeat(Alert::MAX_BYTES + 1)), AlertError::TooLarge);
    }

    #[test]
    fn a_reason_is_one_short_line() {
        let rule = format!("a\nb{}", "x".repeat(1000));
        let alert = Alert {
            rule,
            priority: Priority::Debug,
            at: Timestamp::UNIX_EPOCH,
            tags: Vec::new(),
            fields: BTreeMap::new(),
        };
        assert!(alert.reason().starts_with("Falco: a bx") && alert.reason().len() < 250);
        assert!(Priority::Emergency > Priority::Critical && "warning".parse() == Ok(Priority::Warning));
    }
}
