//! The steps.

use async_trait::async_trait;
use keywheel_core::client::Client;
use keywheel_core::rotation::{Fields, Strategy, Turn};
use keywheel_core::{Error, ErrorKind, Result, SecretRef};
use postgres_protocol::password::scram_sha_256;
use tokio_postgres::{Client as Session, Transaction};
use tracing::warn;

use super::session::Server;
use super::{grants, sql};
use crate::strategies::accounts::{Accounts, Login};

/// Rotates the roles of one server.
#[derive(Debug)]
pub(super) struct Postgres {
    pub(super) server: Server,
    pub(super) client: Client,
    pub(super) admin: SecretRef,
    pub(super) accounts: Accounts,
}

impl Postgres {
    /// Does `work` as the administrator.
    async fn as_admin<T, F>(&self, work: impl FnOnce(Session) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, tokio_postgres::Error>>,
    {
        let fields = self.client.read(&self.admin).await?.into_fields();
        let admin = Login::of(&fields).map_err(|error| error.with("reference", &self.admin))?;
        self.accounts.check_admin(admin.user)?;
        self.server.with(admin, work).await
    }

    /// Has a role not log in any more; one that is not there does not.
    async fn lock(&self, role: &str, ends_sessions: bool) -> Result<()> {
        self.as_admin(|session| async move {
            if !roles(&session, &[role]).await?.is_empty() {
                session.batch_execute(&sql::lock(role)).await?;
            }
            Ok(())
        })
        .await?;
        if ends_sessions { self.end_sessions(role).await } else { Ok(()) }
    }

    /// Ends what was opened with a role. An administrator that may not has closed the door all the same: that is told, and no failure.
    async fn end_sessions(&self, role: &str) -> Result<()> {
        let ended = self
            .as_admin(|session| async move { session.query(sql::END_SESSIONS, &[&role]).await.map(drop) });
        match ended.await {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                warn!(
                    role,
                    "its sessions could not be ended, and stay until they close: grant pg_signal_backend to the administrator"
                );
                Ok(())
            }
            ended => ended,
        }
    }

    async fn set_password(&self, login: Login<'_>, like: Option<&str>) -> Result<()> {
        let verifier = scram_sha_256(login.password.expose_secret());
        self.as_admin(|mut session| async move {
            let transaction = session.transaction().await?;
            transaction.query(sql::ALONE, &[&login.user]).await?;
            if roles(&transaction, &[login.user]).await?.is_empty() {
                transaction.batch_execute(&sql::make(login.user)).await?;
            }
            if let Some(like) = like.filter(|like| *like != login.user) {
                grant_the_same(&transaction, like, login.user).await?;
            }
            transaction.batch_execute(&sql::open(login.user, &verifier)).await?;
            transaction.commit().await
        })
        .await
    }
}

#[async_trait]
impl Strategy for Postgres {
    fn is_gapless(&self) -> bool {
        self.accounts.alternate()
    }

    async fn create(&self, old: Option<&Fields>) -> Result<Fields> {
        self.accounts.create(old)
    }

    async fn check(&self, turn: Turn<'_>) -> Result<()> {
        let (new, old) = (self.accounts.new_of(&turn)?, self.accounts.old_of(&turn));
        let like = old.map(|old| old.user).filter(|old| *old != new.user);
        let names: Vec<&str> = like.into_iter().chain([new.user]).collect();
        let facts = self.as_admin(|session| async move { Facts::find(&session, &names, like).await }).await?;
        facts.check(new.user, like)
    }

    async fn set(&self, turn: Turn<'_>) -> Result<()> {
        let (new, old) = (self.accounts.new_of(&turn)?, self.accounts.old_of(&turn));
        self.set_password(new, old.map(|old| old.user)).await
    }

    async fn test(&self, turn: Turn<'_>) -> Result<()> {
        let new = self.accounts.new_of(&turn)?;
        self.server.with(new, |session| async move { session.batch_execute("SELECT 1").await }).await
    }

    async fn undo(&self, turn: Turn<'_>) -> Result<()> {
        let (new, old) = (self.accounts.new_of(&turn)?, self.accounts.old_of(&turn));
        match old {
            Some(old) if old.user == new.user => self.set_password(old, None).await,
            // Nothing is known that it could go back to.
            None if !self.accounts.alternate() => Ok(()),
            _ => self.lock(new.user, false).await,
        }
    }

    async fn retire(&self, turn: Turn<'_>) -> Result<()> {
        let new = self.accounts.new_of(&turn)?;
        match self.accounts.old_of(&turn) {
            Some(old) if old.user != new.user => self.lock(old.user, turn.is_emergency).await,
            // Its password is another one already; who came in with the old one is still in.
            Some(old) if turn.is_emergency => self.end_sessions(old.user).await,
            _ => Ok(()),
        }
    }
}

/// What has to hold before anything is changed.
#[derive(Debug)]
struct Facts {
    admin: String,
    may_change_roles: bool,
    is_superuser: bool,
    roles: Vec<(String, bool)>,
    owned: i64,
}

impl Facts {
    async fn find(
        session: &Session,
        names: &[&str],
        like: Option<&str>,
    ) -> Result<Self, tokio_postgres::Error> {
        let me = session.query_one(sql::SELF, &[]).await?;
        let owned = match like {
            Some(like) => session.query_one(sql::OWNED, &[&like]).await?.get(0),
            None => 0,
        };
        let roles = roles(session, names).await?;
        Ok(Self { may_change_roles: me.get(0), is_superuser: me.get(1), admin: me.get(2), roles, owned })
    }

    fn check(&self, new: &str, like: Option<&str>) -> Result<()> {
        let wrong = |kind, reason: &str, help: &str| {
            Err(Error::new(kind, "check", reason).with("admin", &self.admin).with_help(help))
        };
        let role = |name: &str| self.roles.iter().find(|(role, _)| role == name);
        if !self.may_change_roles {
            let help = "give it CREATEROLE, or take another one as `admin`";
            return wrong(ErrorKind::PermissionDenied, "the administrator may not change roles", help);
        }
        if !self.is_superuser && self.roles.iter().any(|(_, is_superuser)| *is_superuser) {
            let help =
                "an application's role should not be one; where it has to be, `admin` has to be one, too";
            return wrong(ErrorKind::PermissionDenied, "only a superuser may change a superuser", help);
        }
        if role(new).is_none() && like.and_then(role).is_none() {
            let help = format!("create the role {} with what the application needs", sql::identifier(new));
            return wrong(
                ErrorKind::NotFound,
                "there is no such role, nor one that it could be made like",
                &help,
            );
        }
        if self.owned > 0 {
            let like = sql::identifier(like.unwrap_or_default());
            let help = format!(
                "give what {like} owns to a role that both users are members of (REASSIGN OWNED BY {like} TO …)"
            );
            let reason = "the present role owns objects, which the other one could not use as it does";
            return wrong(ErrorKind::Rejected, reason, &help);
        }
        Ok(())
    }
}

/// Returns which of the roles there are, each with whether it is a superuser.
async fn roles<C: tokio_postgres::GenericClient + Sync>(
    session: &C,
    names: &[&str],
) -> Result<Vec<(String, bool)>, tokio_postgres::Error> {
    let rows = session.query(sql::ROLES, &[&names]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

async fn grant_the_same(
    transaction: &Transaction<'_>,
    old: &str,
    new: &str,
) -> Result<(), tokio_postgres::Error> {
    for statement in grants::missing(transaction, old, new).await? {
        transaction.batch_execute(&statement).await?;
    }
    Ok(())
}
