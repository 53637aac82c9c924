//! The pool that follows its credential, with a database whose accounts are changed by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deadpool_postgres::{Manager, Object, Pool};
use keywheel_core::provider::Ending;
use keywheel_core::{ExposeSecret as _, SecretString, Watched};
use keywheel_providers::adapters::postgres::{Failure, RotatingPool};
use keywheel_tests::{Accounts, wait};
use serde::Deserialize;
use serde_json::json;
use tokio_postgres::{Config, NoTls};

use super::{Client, SECOND, SECRETS, client, database};

#[derive(Deserialize)]
struct Login {
    username: String,
    password: SecretString,
}

async fn user(connection: &Object) -> String {
    connection.query_one("SELECT current_user::text", &[]).await.unwrap().get(0)
}

fn publish(accounts: &Accounts, name: &str, password: &str) {
    let body = json!({"username": name, "password": password});
    accounts.stage.bao.kv_put("secret", "orders/db", &body);
}

#[tokio::test]
async fn a_pool_moves_over_to_what_works_and_lets_go_of_nothing_in_use() {
    let accounts = Accounts::set(SECOND, SECOND);
    accounts.postgres.execute("CREATE ROLE one LOGIN PASSWORD 'p1'; CREATE ROLE two LOGIN PASSWORD 'p2'");
    publish(&accounts, "one", "p1");
    let client = client(&accounts.stage.bao, SECRETS).refresh(Duration::from_millis(200)).build().unwrap();
    let config: Config = database(&accounts).parse().unwrap();
    let tries = Arc::new(AtomicUsize::new(0));
    let tried = Arc::clone(&tries);
    let connect = move |login: &Login| -> Result<Pool, Failure> {
        tried.fetch_add(1, Ordering::Relaxed);
        let mut config = config.clone();
        config.user(&login.username).password(login.password.expose_secret());
        Ok(Pool::builder(Manager::new(config, NoTls)).max_size(2).build()?)
    };
    let login: Watched<Login> = client.watch("vault://secret/orders/db").await.unwrap();
    let (pool, following) = RotatingPool::open(login, connect).await.unwrap();
    let following = tokio::spawn(following.run());
    let held = pool.get().await.unwrap();
    let (also_held, waiting) = (
        pool.get().await.unwrap(),
        tokio::spawn({
            let pool = pool.clone();
            async move { user(&pool.get().await.unwrap()).await }
        }),
    );
    assert_eq!(user(&held).await, "one");

    // One that does not work is not moved over to.
    publish(&accounts, "two", "wrong");
    wait::until_async("three tries with it", async || (tries.load(Ordering::Relaxed) >= 4).then_some(()))
        .await;
    assert!(!waiting.is_finished(), "nothing is closed for one that does not work");

    publish(&accounts, "two", "p2");
    assert_eq!(waiting.await.unwrap(), "two", "who waited for the old pool has a connection of the new one");
    assert_eq!(user(&pool.get().await.unwrap()).await, "two");
    assert_eq!(
        (user(&held).await, user(&also_held).await),
        ("one".into(), "one".into()),
        "what is in use goes on"
    );
    drop((held, also_held));

    client.close(Ending::Revoke, Client::CLOSE).await;
    assert!(following.await.unwrap().to_string().contains("the client is closed"));
    assert_eq!(user(&pool.get().await.unwrap()).await, "two", "the last credential still works");
}
