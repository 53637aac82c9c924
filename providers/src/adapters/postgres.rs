//! Connections to PostgreSQL that follow their credential.

use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use deadpool_postgres::{Object, Pool, PoolError};
use keywheel_core::{Error, Watched};
use serde::de::DeserializeOwned;
use tracing::{info, warn};

/// Connections with the newest credential that works. Cheap to clone: all clones share the connections.
///
/// When there is a new credential, a pool with it is opened and tried; then requests are given its connections, and those of the old one are closed as they
/// come back. The old credential's lease is given back once nobody has one of them any more. While the new one does not work, everything stays as it is.
///
/// ```no_run
/// use deadpool_postgres::{Manager, Pool};
/// use keywheel_core::{Client, ExposeSecret, SecretString};
/// use keywheel_providers::adapters::postgres::{Failure, RotatingPool};
/// use tokio_postgres::{Config, NoTls};
///
/// #[derive(serde::Deserialize)]
/// struct Login {
///     username: String,
///     password: SecretString,
/// }
///
/// fn connect(login: &Login) -> Result<Pool, Failure> {
///     let mut config: Config = "host=db.internal dbname=orders".parse()?;
///     config.user(&login.username).password(login.password.expose_secret());
///     Ok(Pool::builder(Manager::new(config, NoTls)).max_size(8).build()?)
/// }
///
/// # async fn example(client: Client) -> Result<(), Failure> {
/// let login = client.watch("vault://database/creds/orders").await?;
/// let (pool, following) = RotatingPool::open(login, connect).await?;
/// tokio::spawn(following.run());
///
/// let row = pool.get().await?.query_one("SELECT current_user::text", &[]).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RotatingPool {
    current: Arc<RwLock<Pool>>,
}

/// Moves a [`RotatingPool`] over to each new credential, as long as it [runs](Self::run).
#[must_use = "the pool follows its credential while this runs"]
pub struct Following<T> {
    pool: RotatingPool,
    login: Watched<T>,
    connect: Box<Connect<T>>,
}

/// Why a pool cannot be opened.
pub type Failure = Box<dyn StdError + Send + Sync>;

type Connect<T> = dyn Fn(&T) -> Result<Pool, Failure> + Send + Sync;

impl RotatingPool {
    /// Opens the first pool, and proves that its credential works. `connect` makes a pool for a credential, and asks nobody.
    ///
    /// # Errors
    /// What `connect` says, or the first connection.
    pub async fn open<T: DeserializeOwned>(
        login: Watched<T>,
        connect: impl Fn(&T) -> Result<Pool, Failure> + Send + Sync + 'static,
    ) -> Result<(Self, Following<T>), Failure> {
        let first = proved(connect(&login.current())?).await?;
        let pool = Self { current: Arc::new(RwLock::new(first)) };
        Ok((pool.clone(), Following { pool, login, connect: Box::new(connect) }))
    }

    /// Returns a connection that works with the newest credential, as [`Pool::get`] does.
    ///
    /// # Errors
    /// As for [`Pool::get`].
    pub async fn get(&self) -> Result<Object, PoolError> {
        loop {
            match self.current().get().await {
                // It was replaced while this waited for a connection of it.
                Err(PoolError::Closed) if !self.current().is_closed() => {}
                other => return other,
            }
        }
    }

    fn current(&self) -> Pool {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has everybody use `new` from now on, and returns the pool before, which gives no connection any more.
    fn replace(&self, new: Pool) -> Pool {
        let old = std::mem::replace(&mut *self.current.write().unwrap_or_else(PoisonError::into_inner), new);
        old.close();
        old
    }
}

impl<T: DeserializeOwned + Send + Sync> Following<T> {
    /// Follows the credential. Returns why it ends: the client is closed.
    ///
    /// # Cancel safety
    /// Dropped, it leaves the pool with what it has.
    pub async fn run(mut self) -> Error {
        let mut retired = Vec::new();
        loop {
            tokio::select! {
                changed = self.login.changed() => {
                    if let Err(closed) = changed {
                        return closed;
                    }
                    match self.move_over().await {
                        Ok(old) => retired.push(old),
                        Err(closed) => return closed,
                    }
                }
                () = unused(&retired), if !retired.is_empty() => {
                    retired.clear();
                    self.login.confirm();
                }
            }
        }
    }

    /// Replaces the pool as soon as the newest credential works; returns the one before. One that does not work is tried less and less often.
    async fn move_over(&mut self) -> Result<Pool, Error> {
        let mut wait = AGAIN;
        loop {
            let login = self.login.current();
            let opened = match (self.connect)(&login) {
                Ok(pool) => proved(pool).await.map_err(Failure::from),
                Err(error) => Err(error),
            };
            match opened {
                Ok(new) => {
                    info!(version = %login.version(), "connections are made with a new credential");
                    return Ok(self.pool.replace(new));
                }
                Err(error) => {
                    warn!(version = %login.version(), %error, "a new credential does not work yet; connections stay with the last one");
                }
            }
            wait = match tokio::time::timeout(wait, self.login.changed()).await {
                Ok(Ok(_)) => AGAIN,
                Ok(Err(closed)) => return Err(closed),
                Err(_) => (wait * 2).min(LONGEST),
            };
        }
    }
}

/// Has a connection made, and keeps it for the first request.
async fn proved(pool: Pool) -> Result<Pool, PoolError> {
    drop(pool.get().await?);
    Ok(pool)
}

/// Waits until nobody has a connection of these closed pools, or is about to.
async fn unused(pools: &[Pool]) {
    let is_used = |pool: &Pool| {
        let status = pool.status();
        status.size + status.waiting > 0
    };
    while pools.iter().any(is_used) {
        tokio::time::sleep(LOOK).await;
    }
}

impl fmt::Debug for RotatingPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RotatingPool").field(&self.current().status()).finish()
    }
}

impl<T> fmt::Debug for Following<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Following").field("login", &self.login).finish_non_exhaustive()
    }
}

/// How soon a credential that does not work is tried again, and how seldom after many times.
const AGAIN: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(10);
/// How often it is looked whether the last connection of a replaced pool is back: nobody tells.
const LOOK: Duration = Duration::from_millis(200);
