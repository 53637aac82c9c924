//! The steps.

use async_trait::async_trait;
use keywheel_core::client::Client;
use keywheel_core::rotation::{Fields, Strategy, Turn};
use keywheel_core::{Error, ErrorKind, Result, SecretRef};

use super::session::{Server, Session};
use super::sql::Account;
use super::{grants, sql};
use crate::strategies::accounts::{Accounts, Login};

/// Rotates the accounts of one server.
#[derive(Debug)]
pub(super) struct Mysql {
    pub(super) server: Server,
    pub(super) client: Client,
    pub(super) admin: SecretRef,
    pub(super) accounts: Accounts,
    pub(super) user_host: String,
}

impl Mysql {
    async fn as_admin(&self) -> Result<Session> {
        let fields = self.client.read(&self.admin).await?.into_fields();
        let admin = Login::of(&fields).map_err(|error| error.with("reference", &self.admin))?;
        self.accounts.check_admin(admin.user)?;
        self.server.log_in(admin).await
    }

    fn account<'a>(&'a self, user: &'a str) -> Account<'a> {
        Account { user, host: &self.user_host }
    }

    /// Has an account let nobody in any more; one that is not there does not.
    async fn lock(&self, user: &str, ends_sessions: bool) -> Result<()> {
        let mut session = self.as_admin().await?;
        let statements = session.product().lock(self.account(user), &self.accounts.password()?)?;
        session.run_all(statements).await?;
        if ends_sessions {
            session.end_sessions(user).await?;
        }
        session.close().await;
        Ok(())
    }

    /// Gives the account whose turn it is its password, and what the other one has.
    async fn open(&self, new: Login<'_>, like: Option<&str>) -> Result<()> {
        let mut session = self.as_admin().await?;
        let (product, account) = (session.product(), self.account(new.user));
        session.run(&product.make(account, &self.accounts.password()?)?).await?;
        if let Some(like) = existing(&mut session, like.map(|like| self.account(like))).await? {
            let grants = grants::missing(&mut session, like, account).await?;
            session.run_all(grants).await?;
        }
        session.run_all(product.open(account, new.password)?).await?;
        session.close().await;
        Ok(())
    }

    /// Has the one account take the new password, and the old one as well.
    async fn add(&self, new: Login<'_>, old: Option<Login<'_>>) -> Result<()> {
        let mut session = self.as_admin().await?;
        let (product, account) = (session.product(), self.account(new.user));
        let statements = match old {
            Some(old) => product.take_both(account, new.password, old.password)?,
            None => product.replace(account, new.password)?,
        };
        session.run_all(statements).await?;
        session.close().await;
        Ok(())
    }
}

#[async_trait]
impl Strategy for Mysql {
    /// One account has two passwords meanwhile.
    fn is_gapless(&self) -> bool {
        true
    }

    async fn create(&self, old: Option<&Fields>) -> Result<Fields> {
        self.accounts.create(old)
    }

    async fn check(&self, turn: Turn<'_>) -> Result<()> {
        let (new, old) = (self.accounts.new_of(&turn)?, self.accounts.old_of(&turn));
        let like = old.map(|old| old.user).filter(|old| *old != new.user);
        let mut session = self.as_admin().await?;
        let checked = check(&mut session, self.account(new.user), like.map(|like| self.account(like))).await;
        session.close().await;
        checked.map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => error.with_help(
                "give `admin` CREATE USER, SELECT on mysql.*, and with two users what they have, WITH GRANT OPTION",
            ),
            _ => error,
        })
    }

    async fn set(&self, turn: Turn<'_>) -> Result<()> {
        let (new, old) = (self.accounts.new_of(&turn)?, self.accounts.old_of(&turn));
        match self.accounts.alternate() {
            true => self.open(new, old.map(|old| old.user).filter(|old| *old != new.user)).await,
            false => self.add(new, old).await,
        }
    }

    async fn test(&self, turn: Turn<'_>) -> Result<()> {
        let mut session = self.server.log_in(self.accounts.new_of(&turn)?).await?;
        session.run("SELECT 1").await?;
        session.close().await;
        Ok(())
    }

    async fn undo(&self, turn: Turn<'_>) -> Result<()> {
        let (new, old) = (self.accounts.new_of(&turn)?, self.accounts.old_of(&turn));
        match old {
            Some(old) if old.user == new.user => self.add(old, None).await,
            // Nothing is known that it could go back to.
            None if !self.accounts.alternate() => Ok(()),
            _ => self.lock(new.user, false).await,
        }
    }

    async fn retire(&self, turn: Turn<'_>) -> Result<()> {
        let new = self.accounts.new_of(&turn)?;
        match self.accounts.old_of(&turn) {
            Some(old) if old.user != new.user => self.lock(old.user, turn.is_emergency).await,
            Some(_) => {
                let mut session = self.as_admin().await?;
                session.run_all(session.product().drop_old(self.account(new.user), new.password)?).await?;
                if turn.is_emergency {
                    session.end_sessions(new.user).await?;
                }
                session.close().await;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// Checks what has to hold before anything is changed.
async fn check(session: &mut Session, new: Account<'_>, like: Option<Account<'_>>) -> Result<()> {
    session.run(sql::PROBE).await?;
    match plugin(session, new).await? {
        Some(plugin) if !session.product().sets_passwords_of(&plugin) => {
            let reason = "the account does not log in by a password that can be set from here";
            return Err(Error::new(ErrorKind::Rejected, "check", reason)
                .with("user", new.user)
                .with("plugin", plugin)
                .with_help(
                    "ALTER USER … IDENTIFIED VIA mysql_native_password (MySQL: WITH caching_sha2_password)",
                ));
        }
        Some(_) => {}
        None if existing(session, like).await?.is_some() => {}
        None => {
            let reason = "there is no such account, nor one that it could be made like";
            return Err(Error::new(ErrorKind::NotFound, "check", reason)
                .with("user", new.user)
                .with_help(format!("create the account {new} with what the application needs")));
        }
    }
    match existing(session, like).await? {
        Some(like) => grants::check(session, like).await,
        None => Ok(()),
    }
}

async fn existing<'a>(session: &mut Session, account: Option<Account<'a>>) -> Result<Option<Account<'a>>> {
    let Some(account) = account else { return Ok(None) };
    Ok(plugin(session, account).await?.map(|_| account))
}

async fn plugin(session: &mut Session, account: Account<'_>) -> Result<Option<String>> {
    Ok(session.rows_with(sql::PLUGIN, account).await?.pop())
}
