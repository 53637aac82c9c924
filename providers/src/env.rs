//! Environment variables: `env://NAME` is a secret with the one field `value`.
//!
//! A variable is readable in `/proc/PID/environ` and is inherited by every child; prefer files where there is a choice.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;

use async_trait::async_trait;
use keywheel_core::config::Section;
use keywheel_core::environment::Environment;
use keywheel_core::error::{Error, ErrorKind, Result};
use keywheel_core::fingerprint::Fingerprint;
use keywheel_core::provider::{Provider, only_parameters};
use keywheel_core::reference::SecretRef;
use keywheel_core::registry::{Blueprint, Context, Kind};
#[cfg(feature = "schema")]
use keywheel_core::schema::{Schema, SchemaGenerator};
use keywheel_core::secret::{Secret, SecretValue};
use keywheel_core::value::Value;

/// The kind `env`. It has no settings.
#[derive(Clone, Default)]
pub struct EnvKind(Source);

impl Kind for EnvKind {
    fn name(&self) -> &'static str {
        "env"
    }

    #[cfg(feature = "schema")]
    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        let _ = generator;
        keywheel_core::schema::without_settings("Variables of this program's own environment.")
    }

    fn configure(&self, _: &mut Section<'_>) -> Option<Box<dyn Blueprint>> {
        Some(Box::new(self.clone()))
    }

    fn configure_from(&self, _: &Environment) -> Result<Box<dyn Blueprint>> {
        Ok(Box::new(self.clone()))
    }
}

impl Blueprint for EnvKind {
    fn build(&self, context: Context) -> Result<Arc<dyn Provider>> {
        Ok(Arc::new(Env { name: context.name, source: self.0.clone(), fingerprint: Fingerprint::default() }))
    }
}

impl fmt::Debug for EnvKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnvKind")
    }
}

/// Reads the variables of this process, as they are at each read.
///
/// The bytes of a variable are its value as they are: JSON in it is not parsed, and they need not be UTF-8. One that is set and empty is
/// an empty value. Nobody tells of a change, and a program's own environment has none unless it makes it.
struct Env {
    name: String,
    source: Source,
    fingerprint: Fingerprint,
}

#[async_trait]
impl Provider for Env {
    fn validate(&self, reference: &SecretRef) -> Result<()> {
        only_parameters(reference, &[])?;
        if !is_variable(reference.path()) {
            let reason = "a variable's name has letters, digits and `_`, and does not begin with a digit";
            return Err(self.at(reference, Error::config("check reference", reason)));
        }
        Ok(())
    }

    async fn read(&self, reference: &SecretRef) -> Result<Secret> {
        self.validate(reference)?;
        let Some(value) = (self.source.0)(reference.path()) else {
            let reason = format!("the variable {} is not set", reference.path());
            return Err(self.at(reference, Error::new(ErrorKind::NotFound, "read", reason)));
        };
        let value = Value::Bytes(SecretValue::from(value.into_vec()));
        let fields = BTreeMap::from([("value".to_owned(), value)]);
        let version = self.fingerprint.version(&fields);
        Secret::try_new(fields, version).map_err(|error| self.at(reference, error))
    }
}

impl Env {
    fn at(&self, reference: &SecretRef, error: Error) -> Error {
        error.with("provider", &self.name).with("reference", reference.whole())
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Where variables come from: the process, but for tests, since a process cannot safely change its own.
#[derive(Clone)]
struct Source(Arc<Lookup>);

type Lookup = dyn Fn(&str) -> Option<OsString> + Send + Sync;

impl Default for Source {
    fn default() -> Self {
        Self(Arc::new(|name| std::env::var_os(name)))
    }
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;
    use std::time::Duration;

    use keywheel_core::Clock;
    use keywheel_core::conformance::{Fields, Fixture, Holds, run_all};
    use keywheel_core::layer::{Budget, BudgetLimits};

    use super::*;

    #[derive(Clone, Debug, Default)]
    struct Variables(Arc<Mutex<HashMap<String, OsString>>>);

    #[async_trait]
    impl Fixture for Variables {
        fn holds(&self) -> Holds {
            Holds { names: false, structures: false, binary: true, ..Holds::default() }
        }

        fn reference(&self, name: &str) -> SecretRef {
            format!("env://{}", variable(name)).parse().unwrap()
        }

        async fn put(&self, name: &str, fields: Fields) {
            let value = fields["value"].to_bytes().unwrap().expose_secret().to_vec();
            self.0.lock().unwrap().insert(variable(name), OsString::from_vec(value));
        }

        async fn delete(&self, name: &str) {
            self.0.lock().unwrap().remove(&variable(name));
        }
    }

    fn variable(name: &str) -> String {
        name.to_uppercase().replace('-', "_")
    }

    fn provider(kind: &EnvKind) -> Arc<dyn Provider> {
        let clock = Clock::system();
        let context = Context {
            name: "env".into(),
            clock: clock.clone(),
            budget: Arc::new(Budget::new(BudgetLimits::default(), clock)),
            timeout: Duration::from_secs(1),
            slot: keywheel_core::State::in_memory().slot("session", "test"),
        };
        kind.build(context).unwrap()
    }

    #[tokio::test]
    async fn conforms() {
        let variables = Variables::default();
        let source = variables.0.clone();
        let kind = EnvKind(Source(Arc::new(move |name| source.lock().unwrap().get(name).cloned())));
        run_all(&*provider(&kind), &variables).await;
    }

    #[tokio::test]
    async fn reads_the_process_and_names_what_is_not_set() {
        let env = provider(&EnvKind::default());
        let path = env.read(&"env://PATH".parse().unwrap()).await.unwrap();
        let value = path.fields()["value"].to_bytes().unwrap();
        assert_eq!(value.expose_text().unwrap(), std::env::var_os("PATH").unwrap().to_str().unwrap());
        let error = env.read(&"env://KEYWHEEL_NO_SUCH_VARIABLE".parse().unwrap()).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "read: not found: the variable KEYWHEEL_NO_SUCH_VARIABLE is not set \
             (provider: env, reference: env://KEYWHEEL_NO_SUCH_VARIABLE)"
        );
    }

    #[tokio::test]
    async fn refuses_what_cannot_be_a_variable() {
        let env = provider(&EnvKind::default());
        for bad in ["env://A=B", "env://1A", "env://A-B", "env://a/b", "env:///A", "env://Ä", "env://A%20B"]
        {
            let reference: SecretRef = bad.parse().unwrap();
            let refused = env.validate(&reference).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Config, "{bad}");
            assert_eq!(env.read(&reference).await.unwrap_err().kind(), ErrorKind::Config, "{bad}");
        }
    }
}
