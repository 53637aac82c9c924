//! Sets the stage for dynamic credentials: a server whose accounts of a real database the pod may have.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::{Keywheel, Launch, Postgres, Probe, Stage};

/// A [`Stage`] whose server makes accounts of a PostgreSQL server.
#[derive(Debug)]
pub struct Accounts {
    /// The stage.
    pub stage: Stage,
    /// The database.
    pub postgres: Arc<Postgres>,
}

impl Accounts {
    /// Sets the stage with the dynamic role `app`, whose accounts live for `ttl` and, renewed, for `max_ttl`.
    pub fn set(ttl: Duration, max_ttl: Duration) -> Self {
        Self::with_logins(&json!({"token_ttl": "1h"}), ttl, max_ttl)
    }

    /// As [`Accounts::set`], with the parameters of the tokens that a login yields; see [`Stage::with_logins`].
    pub fn with_logins(token: &Value, ttl: Duration, max_ttl: Duration) -> Self {
        let (stage, postgres) = (Stage::with_logins(token), Arc::new(Postgres::start()));
        stage.bao.enable_database(&postgres);
        stage.bao.dynamic_role("app", ttl, max_ttl);
        Self { stage, postgres }
    }

    /// Returns a configuration that delivers the account of `database/PATH` as `USER:PASSWORD`, asked for every
    /// `refresh`; `more` are further keys of the delivery, indented by four.
    pub fn configuration(&self, path: &str, refresh: &str, more: &str) -> String {
        self.stage.configuration(&format!(
            r#"
    secrets:
      account: {{ref: "vault://database/{path}", refresh: {refresh}}}
    files:
      - {{path: account, value: "{{{{ account.username }}}}:{{{{ account.password }}}}", mode: "0440"}}
{more}"#
        ))
    }

    /// Returns the delivered file.
    pub fn file(&self) -> PathBuf {
        self.stage.directory().join("account")
    }

    /// Returns the user that is delivered.
    pub fn user(&self) -> String {
        let text = std::fs::read_to_string(self.file()).expect("a delivered account");
        text.split_once(':').expect("USER:PASSWORD").0.to_owned()
    }

    /// Starts an agent and waits until it has delivered.
    pub fn start(&self, configuration: &str) -> Keywheel {
        let agent = Launch::agent(configuration).start();
        agent.wait_ready(START);
        agent
    }

    /// Starts to log in with what is delivered, every tenth of a second.
    pub fn probe(&self) -> Probe {
        Probe::start(&self.postgres, &self.file(), Duration::from_millis(100))
    }

    /// Returns the accounts that OpenBao has made and not ended.
    pub fn made(&self) -> Vec<String> {
        self.postgres.roles_like("v-")
    }
}

const START: Duration = Duration::from_secs(20);
