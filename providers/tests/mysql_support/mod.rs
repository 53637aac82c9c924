//! What the tests of the strategy `mysql` share.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::disallowed_methods, reason = "the test writes the administrator's secret")]

use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use keywheel_core::client::Client;
use keywheel_core::config::{Config, ConfigError};
use keywheel_core::environment::Environment;
use keywheel_core::rotation::{Fields, Revision, Strategy, StrategyContext, Turn, text};
use keywheel_core::{Clock, State};
use keywheel_tests::MariaDb;
use tempfile::TempDir;

/// A server, and a folder with the secret of its administrator.
pub(crate) struct Stage {
    pub(crate) maria: MariaDb,
    folder: TempDir,
}

impl Stage {
    /// Sets the stage with the account `app_a`, whose password is `first`, and what an application needs.
    pub(crate) fn new() -> Self {
        Self::with(MariaDb::start())
    }

    /// As [`Stage::new`], on a server of one's own.
    pub(crate) fn with(maria: MariaDb) -> Self {
        for statement in [
            "CREATE USER app_a@'%' IDENTIFIED BY 'first'",
            "CREATE DATABASE orders",
            "CREATE TABLE orders.items (id INT, price INT)",
            "CREATE ROLE reporting",
            "GRANT SELECT ON mysql.plugin TO reporting",
            "GRANT SELECT (id), INSERT ON orders.items TO app_a@'%'",
            "GRANT reporting TO app_a@'%'",
            "SET DEFAULT ROLE reporting FOR app_a@'%'",
        ] {
            maria.execute(statement);
        }
        let stage = Self { maria, folder: tempfile::tempdir().unwrap() };
        stage.administrator(stage.maria.admin_user(), stage.maria.admin_password());
        stage
    }

    /// Appoints the administrator.
    pub(crate) fn administrator(&self, user: &str, password: &str) {
        let secret = serde_json::json!({"username": user, "password": password}).to_string();
        fs::write(self.folder.path().join("admin.json"), secret).unwrap();
    }

    /// Makes an administrator that has been granted this much.
    pub(crate) fn administrator_with(&self, grants: &[&str]) {
        self.maria.execute("CREATE OR REPLACE USER low@'%' IDENTIFIED BY 'low'");
        for grant in grants {
            self.maria.execute(&format!("GRANT {grant}"));
        }
        self.administrator("low", "low");
    }

    /// Makes the strategy with more settings, `users` among them, in one line.
    pub(crate) fn strategy(&self, settings: &str) -> Arc<dyn Strategy> {
        let config = self.parse(settings).unwrap();
        let (clock, plan) = (Clock::system(), &config.rotations[0].plan);
        let client = Client::build(&config.providers, &clock, &State::in_memory()).unwrap();
        plan.build(StrategyContext { target: config.rotations[0].target.clone(), client, clock }).unwrap()
    }

    pub(crate) fn parse(&self, settings: &str) -> Result<Config, ConfigError> {
        let text = format!(
            r#"
providers: {{local: {{kind: file, root: {}}}}}
rotations:
- name: orders
  target: "local://orders.json"
  schedule: {{every: 30d}}
  strategy: {{mariadb: {{address: "{}", admin: "local://admin.json", {settings}}}}}
"#,
            self.folder.path().display(),
            self.maria.address()
        );
        let registry = keywheel_providers::registry();
        Config::parse(Path::new("keywheel.yaml"), &text, &registry, &Environment::default())
    }

    /// Tells whether the login is let in.
    pub(crate) fn lets_in(&self, user: &str, password: &str) -> bool {
        self.maria.login(user, password, BOUND).is_ok()
    }

    /// Tells whether what is in `fields` is let in.
    pub(crate) fn takes(&self, fields: &Fields) -> bool {
        self.lets_in(text(fields, "username").unwrap(), text(fields, "password").unwrap())
    }
}

/// Makes the fields of an account.
pub(crate) fn account(user: &str, password: &str) -> Fields {
    [("username", user), ("password", password)].map(|(name, value)| (name.into(), value.into())).into()
}

/// Makes the turn from `old` to `new`.
pub(crate) fn turn<'a>(new: &'a Fields, old: &'a Fields) -> Turn<'a> {
    static BASE: LazyLock<Revision> = LazyLock::new(|| Revision::new(1));
    Turn { token: "t", new, old: Some(old), base: &BASE, is_emergency: false }
}

/// As [`turn`], because somebody has the old one whom it is not for.
pub(crate) fn emergency<'a>(new: &'a Fields, old: &'a Fields) -> Turn<'a> {
    Turn { is_emergency: true, ..turn(new, old) }
}

pub(crate) const BOUND: Duration = Duration::from_secs(10);
