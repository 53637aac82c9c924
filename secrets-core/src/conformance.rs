//! The test suites that every provider passes, and every layer around one: functions over `&dyn Provider` that panic at what is wrong.
//!
//! A provider's tests bring a [`Fixture`] that changes secrets at the source behind the provider's back, and call [`run_all`]; where rotated values
//! can be published there, also [`stores::run_all`] and [`kills_do_no_harm`].

mod kills;
pub mod stores;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::join_all;

use crate::error::{Error, ErrorKind};
use crate::provider::Provider;
use crate::reference::SecretRef;
use crate::secret::{Secret, SecretValue};
use crate::value::Value;

pub use self::kills::kills_do_no_harm;

/// Fields to put at the source.
pub type Fields = BTreeMap<String, Value>;

/// Changes secrets at a source, as somebody other than the provider would. Its calls return when the change is made, and panic when it
/// cannot be.
#[async_trait]
pub trait Fixture: fmt::Debug + Send + Sync {
    /// Says what the source can hold; the suites ask it for nothing else.
    fn holds(&self) -> Holds {
        Holds::default()
    }

    /// Returns the reference, without a field, to the secret that [`put`](Self::put) makes under `name` (lower-case letters and `-`).
    fn reference(&self, name: &str) -> SecretRef;

    /// Makes or replaces a secret.
    async fn put(&self, name: &str, fields: Fields);

    /// Deletes a secret that is there.
    async fn delete(&self, name: &str);

    /// Puts something at `name` that is no secret in the source's own format, with `canary` in it. `false`: the source holds no such thing.
    async fn spoil(&self, name: &str, canary: &str) -> bool {
        let _ = (name, canary);
        false
    }
}

/// What a source can hold.
#[derive(Clone, Copy, Debug)]
pub struct Holds {
    /// Fields of any name; otherwise there is one, named `value`.
    pub names: bool,
    /// Numbers, truth values, lists and mappings; otherwise texts alone.
    pub structures: bool,
    /// Bytes that are not UTF-8.
    pub binary: bool,
    /// More than [`Secret::MAX_BYTES`], which the provider then has to refuse.
    pub oversized: bool,
    /// Parameters of references that are the source's own to know, so that the provider refuses none.
    pub parameters: bool,
}

impl Default for Holds {
    /// What a JSON document can hold, of any size.
    fn default() -> Self {
        Self { names: true, structures: true, binary: false, oversized: true, parameters: false }
    }
}

/// Runs every suite. Each has a secret of its own at the source, and leaves it there.
pub async fn run_all(provider: &dyn Provider, fixture: &dyn Fixture) {
    reads_all_fields(provider, fixture).await;
    reads_unicode_and_any_bytes(provider, fixture).await;
    missing_is_not_found(provider, fixture).await;
    version_changes_with_value(provider, fixture).await;
    read_if_changed_answers_none_when_unchanged(provider, fixture).await;
    read_if_changed_answers_new_value(provider, fixture).await;
    unknown_parameter_is_refused_by_validate(provider, fixture).await;
    large_secret_is_whole_and_oversized_is_refused(provider, fixture).await;
    too_many_fields_are_refused(provider, fixture).await;
    errors_and_debug_hold_no_value(provider, fixture).await;
    concurrent_reads_agree(provider, fixture).await;
    deleted_secret_can_come_back(provider, fixture).await;
    dropped_call_leaves_provider_usable(provider, fixture).await;
    hint_fires_when_the_secret_changes(provider, fixture).await;
}

/// Every field comes back as it was put, and as the kind of value that it was.
pub async fn reads_all_fields(provider: &dyn Provider, fixture: &dyn Fixture) {
    let fields = || {
        let mut fields = text("orders");
        if fixture.holds().names {
            fields.extend(
                [("user name", "Ann \"A\""), ("p.w", " a$b\\'c#\n")]
                    .map(|(name, value)| (name.into(), value.into())),
            );
        }
        if fixture.holds().structures {
            let list = vec![Value::Number("3".to_owned().into()), Value::Bool(true), "x".into()];
            fields.insert("nested".into(), Value::Map([("list".into(), Value::List(list))].into()));
            fields.insert("port".into(), Value::Number("5432".to_owned().into()));
        }
        fields
    };
    fixture.put("all-fields", fields()).await;
    assert_same(&read(provider, fixture, "all-fields").await, &fields());
}

/// Text of any script comes back whole, and so do bytes that are no text, where the source can hold them.
pub async fn reads_unicode_and_any_bytes(provider: &dyn Provider, fixture: &dyn Fixture) {
    fixture.put("unicode", text("zażółć 鍵 🔑 \u{202e}")).await;
    assert_same(&read(provider, fixture, "unicode").await, &text("zażółć 鍵 🔑 \u{202e}"));
    if fixture.holds().binary {
        let bytes = || {
            Fields::from([(
                "value".into(),
                Value::Bytes(SecretValue::copy_of(&[0xff, 0xfe, b'\n', 0x80, b'\r'])),
            )])
        };
        fixture.put("bytes", bytes()).await;
        assert_same(&read(provider, fixture, "bytes").await, &bytes());
    }
}

/// What is not there is [`ErrorKind::NotFound`], permanently, and the message names the reference.
pub async fn missing_is_not_found(provider: &dyn Provider, fixture: &dyn Fixture) {
    let reference = fixture.reference("missing");
    let error = provider.read(&reference).await.expect_err("there is no such secret");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(!error.is_temporary(), "{error}");
    assert!(error.to_string().contains(reference.path()), "the message names the reference: {error}");
}

/// Equal versions mean equal values: another value has another version, and an unchanged one keeps its own.
pub async fn version_changes_with_value(provider: &dyn Provider, fixture: &dyn Fixture) {
    fixture.put("version", text("one")).await;
    let one = read(provider, fixture, "version").await;
    assert_eq!(one.version(), read(provider, fixture, "version").await.version());
    fixture.put("version", text("two")).await;
    let two = read(provider, fixture, "version").await;
    assert_ne!(one.version(), two.version());
    for secret in [one, two] {
        let version = secret.version().as_str();
        assert!(!version.is_empty() && !version.contains("one") && !version.contains("two"), "{version}");
    }
}

/// [`Provider::read_if_changed`] answers nothing while the value stays.
pub async fn read_if_changed_answers_none_when_unchanged(provider: &dyn Provider, fixture: &dyn Fixture) {
    fixture.put("unchanged", text("one")).await;
    let known = read(provider, fixture, "unchanged").await;
    for _ in 0..3 {
        let answer = provider.read_if_changed(&fixture.reference("unchanged"), known.version()).await;
        assert!(answer.expect("the secret is there").is_none(), "the secret did not change");
    }
}

/// [`Provider::read_if_changed`] answers the new value, once; and [`ErrorKind::NotFound`] when the secret is gone.
pub async fn read_if_changed_answers_new_value(provider: &dyn Provider, fixture: &dyn Fixture) {
    let reference = fixture.reference("changed");
    fixture.put("changed", text("one")).await;
    let known = read(provider, fixture, "changed").await;
    fixture.put("changed", text("two")).await;
    let new = provider.read_if_changed(&reference, known.version()).await;
    let new = new.expect("the secret is there").expect("the secret changed");
    assert_same(&new, &text("two"));
    let again = provider.read_if_changed(&reference, new.version()).await;
    assert!(again.expect("the secret is there").is_none(), "the version of the answer is the one of a read");
    fixture.delete("changed").await;
    let gone = provider.read_if_changed(&reference, new.version()).await;
    assert_eq!(gone.expect_err("the secret is gone").kind(), ErrorKind::NotFound);
}

/// [`Provider::validate`] takes the fixture's references, and refuses a parameter that the provider does not know, naming it.
pub async fn unknown_parameter_is_refused_by_validate(provider: &dyn Provider, fixture: &dyn Fixture) {
    let reference = fixture.reference("parameter");
    provider.validate(&reference).expect("a plain reference is right");
    if fixture.holds().parameters {
        return;
    }
    let reference = format!(
        "{reference}{}no-such-parameter=1",
        if reference.parameters().is_empty() { '?' } else { '&' }
    );
    let reference: SecretRef = reference.parse().expect("the reference parses");
    let error = provider.validate(&reference).expect_err("nobody knows this parameter");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("no-such-parameter"), "{error}");
}

/// Half of [`Secret::MAX_BYTES`] comes back whole; more than all of it is [`ErrorKind::Invalid`].
pub async fn large_secret_is_whole_and_oversized_is_refused(provider: &dyn Provider, fixture: &dyn Fixture) {
    let letters = |count: usize| text(&"abcdefgh".repeat(count / 8));
    fixture.put("large", letters(Secret::MAX_BYTES / 2)).await;
    assert_same(&read(provider, fixture, "large").await, &letters(Secret::MAX_BYTES / 2));
    if fixture.holds().oversized {
        fixture.put("oversized", letters(Secret::MAX_BYTES + 8)).await;
        let error =
            provider.read(&fixture.reference("oversized")).await.expect_err("the secret is too large");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(!error.to_string().contains("abcdefgh"), "the message holds the value");
    }
}

/// 10,000 fields are [`ErrorKind::Invalid`].
pub async fn too_many_fields_are_refused(provider: &dyn Provider, fixture: &dyn Fixture) {
    if fixture.holds().names {
        fixture.put("many", (0..10_000).map(|number| (format!("f{number}"), "x".into())).collect()).await;
        let error = provider.read(&fixture.reference("many")).await.expect_err("there are too many fields");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
}

/// A canary that goes through every failure that can be provoked shows in no message and no `Debug`.
pub async fn errors_and_debug_hold_no_value(provider: &dyn Provider, fixture: &dyn Fixture) {
    const CANARY: &str = "c4n4ry-0f-c0nf0rm4nce";
    let silent = |what: &str, shown: String| assert!(!shown.contains(CANARY), "{what} holds the value");
    let error_silent = |what: &str, error: &Error| silent(what, format!("{error} {error:?}"));

    fixture.put("canary", text(CANARY)).await;
    let secret = read(provider, fixture, "canary").await;
    silent("Debug of the secret", format!("{secret:?}"));
    silent("Debug of the provider", format!("{provider:?}"));
    let field = "no-such-field".parse().expect("a field");
    error_silent("a missing field's error", &secret.field(&field).expect_err("there is no such field"));
    if fixture.holds().oversized {
        fixture.put("canary", text(&CANARY.repeat(Secret::MAX_BYTES / CANARY.len() + 1))).await;
        let error = provider.read(&fixture.reference("canary")).await.expect_err("the secret is too large");
        error_silent("the error of an oversized secret", &error);
    }
    if fixture.spoil("spoilt", CANARY).await {
        let error = provider.read(&fixture.reference("spoilt")).await.expect_err("this is no secret");
        error_silent("the error of a spoilt secret", &error);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    fixture.delete("canary").await;
    let error = provider.read(&fixture.reference("canary")).await.expect_err("the secret is gone");
    error_silent("the error of a deleted secret", &error);
}

/// Twenty reads at once answer the same, also when each is of another secret than its neighbour.
pub async fn concurrent_reads_agree(provider: &dyn Provider, fixture: &dyn Fixture) {
    let names = ["concurrent-a", "concurrent-b"];
    for name in names {
        fixture.put(name, text(name)).await;
    }
    let reads = (0..20).map(|number| async move {
        let name = names[number % 2];
        assert_same(&read(provider, fixture, name).await, &text(name));
    });
    join_all(reads).await;
}

/// A deleted secret is not found, and one that comes back is read, at a version of its own.
pub async fn deleted_secret_can_come_back(provider: &dyn Provider, fixture: &dyn Fixture) {
    let reference = fixture.reference("phoenix");
    fixture.put("phoenix", text("one")).await;
    let known = read(provider, fixture, "phoenix").await;
    fixture.delete("phoenix").await;
    let error = provider.read(&reference).await.expect_err("the secret is gone");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    fixture.put("phoenix", text("two")).await;
    let new = provider.read_if_changed(&reference, known.version()).await;
    assert_same(&new.expect("the secret is back").expect("it changed"), &text("two"));
}

/// A call that is dropped at any of its awaits does no harm to the next.
pub async fn dropped_call_leaves_provider_usable(provider: &dyn Provider, fixture: &dyn Fixture) {
    fixture.put("dropped", text("one")).await;
    let reference = fixture.reference("dropped");
    for patience in [0, 1, 2, 5, 10] {
        // Dropped after one poll, and after a while.
        let answer = provider.read(&reference).now_or_never();
        assert!(answer.is_none_or(|answer| answer.is_ok()));
        let answer = tokio::time::timeout(Duration::from_millis(patience), provider.read(&reference)).await;
        assert!(answer.is_err() || answer.is_ok_and(|answer| answer.is_ok()));
    }
    assert_same(&read(provider, fixture, "dropped").await, &text("one"));
}

/// Where the provider gives hints, one comes after each change within [`HINT_WITHIN`], and a read after it sees the new value.
pub async fn hint_fires_when_the_secret_changes(provider: &dyn Provider, fixture: &dyn Fixture) {
    let reference = fixture.reference("hint");
    fixture.put("hint", text("start")).await;
    let Some(mut hint) = provider.changes(&reference) else {
        return;
    };
    read(provider, fixture, "hint").await;
    for value in ["one", "two", "three"] {
        fixture.put("hint", text(value)).await;
        let arrival = async {
            loop {
                hint.changed().await.expect("the provider is there, and so is its hint");
                // A hint may come early (a file that is being written) or without need.
                match provider.read(&reference).await {
                    Ok(secret) if same(secret.fields(), &text(value)) => break,
                    Ok(_) => {}
                    Err(error) => {
                        assert!(error.is_temporary() || error.kind() == ErrorKind::NotFound, "{error}")
                    }
                }
            }
        };
        let arrived = tokio::time::timeout(HINT_WITHIN, arrival).await;
        assert!(arrived.is_ok(), "no hint within {HINT_WITHIN:?}");
    }
}

/// How soon after a change a hint has to come.
pub const HINT_WITHIN: Duration = Duration::from_secs(10);

fn text(value: &str) -> Fields {
    Fields::from([("value".into(), value.into())])
}

async fn read(provider: &dyn Provider, fixture: &dyn Fixture, name: &str) -> Secret {
    provider.read(&fixture.reference(name)).await.expect("the secret is there")
}

fn assert_same(secret: &Secret, fields: &Fields) {
    assert_eq!(secret.fields().keys().collect::<Vec<_>>(), fields.keys().collect::<Vec<_>>());
    for (name, value) in fields {
        assert!(same_value(&secret.fields()[name], value), "the field {name:?} is another than was put");
    }
}

fn same<'a>(
    a: impl IntoIterator<Item = (impl AsRef<str>, &'a Value), IntoIter: ExactSizeIterator>,
    b: &'a Fields,
) -> bool {
    let a = a.into_iter();
    a.len() == b.len() && a.zip(b).all(|((a, x), (b, y))| a.as_ref() == b && same_value(x, y))
}

fn same_value(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Number(a), Value::Number(b)) | (Value::Bytes(a), Value::Bytes(b)) => {
            a.expose_secret() == b.expose_secret()
        }
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_value(a, b))
        }
        (Value::Map(a), Value::Map(b)) => same(a, b),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::layer::{Retry, RetryPolicy, Timeout};
    use crate::memory::Memory;

    #[async_trait]
    impl Fixture for Memory {
        fn holds(&self) -> Holds {
            Holds { binary: true, ..Holds::default() }
        }

        fn reference(&self, name: &str) -> SecretRef {
            format!("memory://conformance/{name}").parse().unwrap()
        }

        async fn put(&self, name: &str, fields: Fields) {
            self.set(&format!("conformance/{name}"), fields);
        }

        async fn delete(&self, name: &str) {
            self.remove(&format!("conformance/{name}"));
        }
    }

    #[tokio::test]
    async fn memory_conforms() {
        let memory = Memory::new();
        run_all(&memory, &memory).await;
    }

    #[tokio::test]
    async fn a_shared_provider_conforms() {
        let memory = Memory::new();
        let shared: Arc<dyn Provider> = Arc::new(memory.clone());
        run_all(&shared, &memory).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_layers_conform_around_a_slow_source() {
        let memory = Memory::new();
        memory.answer_after(Duration::from_millis(3));
        let bounded = Timeout::new(memory.clone(), Duration::from_secs(1));
        run_all(&Retry::new(bounded, RetryPolicy::default()), &memory).await;
    }
}
