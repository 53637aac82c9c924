//! The steps of the strategy `mysql`, at a real MariaDB: each may come twice, and what cannot be done is refused before anything is changed.

#![cfg(all(feature = "mysql", feature = "file"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

mod mysql_support;

use std::sync::Arc;

use keywheel_core::ErrorKind;
use keywheel_core::rotation::text;
use keywheel_tests::wait;
use mysql_support::{BOUND, Stage, account, emergency, turn};

const TWO: &str = "users: [app_a, app_b]";
const ONE: &str = "users: [app_a]";

#[tokio::test]
async fn two_accounts_take_turns_and_every_step_may_come_twice() {
    let stage = Stage::new();
    let strategy = stage.strategy(TWO);
    assert!(strategy.is_gapless());
    let old = account("app_a", "first");
    let new = strategy.create(Some(&old)).await.unwrap();
    assert_eq!(text(&new, "username").unwrap(), "app_b");
    for _ in 0..2 {
        strategy.check(turn(&new, &old)).await.unwrap();
        assert!(!stage.takes(&new));
    }
    for _ in 0..2 {
        strategy.set(turn(&new, &old)).await.unwrap();
        strategy.test(turn(&new, &old)).await.unwrap();
        assert!(stage.takes(&new) && stage.takes(&old));
    }
    for _ in 0..2 {
        strategy.retire(turn(&new, &old)).await.unwrap();
        assert!(stage.takes(&new) && !stage.takes(&old));
    }
    // And back.
    let third = strategy.create(Some(&new)).await.unwrap();
    assert_eq!(text(&third, "username").unwrap(), "app_a");
    strategy.check(turn(&third, &new)).await.unwrap();
    strategy.set(turn(&third, &new)).await.unwrap();
    strategy.test(turn(&third, &new)).await.unwrap();
    assert!(stage.takes(&third) && stage.takes(&new) && !stage.takes(&old));
}

#[tokio::test]
async fn the_other_account_gets_what_the_present_one_was_granted() {
    let stage = Stage::new();
    stage.maria.execute("GRANT PROCESS ON *.* TO app_a@'%' REQUIRE NONE WITH MAX_USER_CONNECTIONS 7");
    let strategy = stage.strategy(TWO);
    let old = account("app_a", "first");
    let new = strategy.create(Some(&old)).await.unwrap();
    strategy.set(turn(&new, &old)).await.unwrap();

    let password = text(&new, "password").unwrap();
    let ask = |sql: &str| stage.maria.query_as("app_b", password, sql, BOUND);
    ask("INSERT INTO orders.items VALUES (1, 2)").unwrap();
    assert_eq!(ask("SELECT id FROM orders.items").unwrap(), [["1"]]);
    ask("SELECT price FROM orders.items").unwrap_err();
    assert_eq!(ask("SELECT CURRENT_ROLE()").unwrap(), [["reporting"]]);
    ask("SELECT name FROM mysql.plugin").unwrap();

    let grants = |user: &str| {
        let lines = stage.maria.query(&format!("SHOW GRANTS FOR {user}@'%'")).concat();
        lines
            .into_iter()
            .map(|line| {
                let login = line
                    .find(" IDENTIFIED")
                    .map_or("", |at| &line[at..][..line[at..].rfind('\'').unwrap() + 1]);
                line.replace(login, "").replace(user, "USER")
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(grants("app_b"), grants("app_a"));
    assert!(grants("app_b").iter().any(|line| line.ends_with("WITH MAX_USER_CONNECTIONS 7")));
}

#[tokio::test]
async fn one_account_takes_two_passwords_until_the_old_one_is_retired() {
    let stage = Stage::new();
    let strategy = stage.strategy(ONE);
    assert!(strategy.is_gapless());
    let old = account("app_a", "first");
    let new = strategy.create(Some(&old)).await.unwrap();
    strategy.check(turn(&new, &old)).await.unwrap();
    for _ in 0..2 {
        strategy.set(turn(&new, &old)).await.unwrap();
        strategy.test(turn(&new, &old)).await.unwrap();
        assert!(stage.takes(&new) && stage.takes(&old));
    }
    for _ in 0..2 {
        strategy.undo(turn(&new, &old)).await.unwrap();
        assert!(!stage.takes(&new) && stage.takes(&old));
    }
    strategy.set(turn(&new, &old)).await.unwrap();
    for _ in 0..2 {
        strategy.retire(turn(&new, &old)).await.unwrap();
        assert!(stage.takes(&new) && !stage.takes(&old));
    }
}

#[tokio::test]
async fn an_account_that_was_set_is_locked_again_and_one_that_was_not_is_not_missed() {
    let stage = Stage::new();
    let strategy = stage.strategy(TWO);
    let old = account("app_a", "first");
    let new = strategy.create(Some(&old)).await.unwrap();
    strategy.undo(turn(&new, &old)).await.unwrap();
    strategy.set(turn(&new, &old)).await.unwrap();
    for _ in 0..2 {
        strategy.undo(turn(&new, &old)).await.unwrap();
        assert!(!stage.takes(&new) && stage.takes(&old));
    }
}

#[tokio::test]
async fn in_an_emergency_what_was_opened_with_the_old_password_ends() {
    let stage = Arc::new(Stage::new());
    for (settings, password) in [(TWO, "first"), (ONE, "again")] {
        stage.maria.execute(&format!("ALTER USER app_a@'%' IDENTIFIED BY '{password}' ACCOUNT UNLOCK"));
        let strategy = stage.strategy(settings);
        let old = account("app_a", password);
        let new = strategy.create(Some(&old)).await.unwrap();
        strategy.set(turn(&new, &old)).await.unwrap();
        let connections = || {
            let list = "SELECT 1 FROM information_schema.processlist WHERE user = 'app_a'";
            stage.maria.query(list).len()
        };
        let held = {
            let stage = Arc::clone(&stage);
            let sleep = move || stage.maria.query_as("app_a", password, "SELECT SLEEP(60)", 6 * BOUND);
            tokio::task::spawn_blocking(sleep)
        };
        wait::until(BOUND, "the connection", || (connections() == 1).then_some(()));
        strategy.retire(emergency(&new, &old)).await.unwrap();
        wait::until(BOUND, "its end", || (connections() == 0).then_some(()));
        held.await.unwrap().unwrap_err();
        assert!(stage.takes(&new) && !stage.takes(&old));
    }
}

#[tokio::test]
async fn names_that_look_like_statements_are_names() {
    let stage = Stage::new();
    let users = [r"a`@`%`; DROP DATABASE orders; -- \", r#"b' OR "1"=1 \' %"#];
    let settings = format!("users: {}, user_host: '%'", serde_json::json!(users));
    let strategy = stage.strategy(&settings);
    stage.maria.execute(&format!("CREATE USER `{}`@`%` IDENTIFIED BY 'x'", users[0].replace('`', "``")));
    stage.maria.execute(&format!("GRANT SELECT ON orders.* TO `{}`@`%`", users[0].replace('`', "``")));
    let mut old = account(users[0], "x");
    for turns in 0..3 {
        let new = strategy.create(Some(&old)).await.unwrap();
        assert_eq!(text(&new, "username").unwrap(), users[(turns + 1) % 2]);
        strategy.check(turn(&new, &old)).await.unwrap();
        strategy.set(turn(&new, &old)).await.unwrap();
        strategy.test(turn(&new, &old)).await.unwrap();
        strategy.retire(emergency(&new, &old)).await.unwrap();
        assert!(stage.takes(&new) && !stage.takes(&old));
        let (user, password) = (text(&new, "username").unwrap(), text(&new, "password").unwrap());
        stage.maria.query_as(user, password, "SELECT * FROM orders.items", BOUND).unwrap();
        old = new;
    }
}

#[tokio::test]
async fn names_with_control_characters_are_refused_where_they_are_written() {
    let stage = Stage::new();
    for settings in [r#"users: ["a\0b"]"#, r#"users: [a], user_host: "%\0""#, "users: [a], user_host: ''"] {
        stage.parse(settings).unwrap_err();
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_before_anything_is_changed() {
    let stage = Stage::new();
    let strategy = stage.strategy(TWO);
    let old = account("app_a", "first");
    let new = strategy.create(Some(&old)).await.unwrap();
    let check = async || strategy.check(turn(&new, &old)).await.unwrap_err();

    stage.administrator("app_a", "first");
    assert_eq!(check().await.kind(), ErrorKind::Config);
    stage.administrator(stage.maria.admin_user(), "wrong");
    assert_eq!(check().await.kind(), ErrorKind::Unauthenticated);
    stage.administrator_with(&["SELECT ON mysql.* TO low@'%'"]);
    assert_eq!(check().await.kind(), ErrorKind::PermissionDenied);
    stage.administrator_with(&["CREATE USER ON *.* TO low@'%'"]);
    assert_eq!(check().await.kind(), ErrorKind::PermissionDenied);
    stage.maria.execute("SET GLOBAL read_only = 1");
    assert!(check().await.is_temporary());
    stage.maria.execute("SET GLOBAL read_only = 0");

    stage.administrator(stage.maria.admin_user(), stage.maria.admin_password());
    stage.maria.execute("CREATE USER app_b@'%' IDENTIFIED VIA unix_socket");
    assert_eq!(check().await.kind(), ErrorKind::Rejected);
    stage.maria.execute("DROP USER app_b@'%'");
    let nobody = stage.strategy("users: [nobody, none]");
    let (one, other) = (account("nobody", "x"), account("none", "y"));
    assert_eq!(nobody.check(turn(&one, &other)).await.unwrap_err().kind(), ErrorKind::NotFound);

    let users = stage.maria.query("SELECT user FROM mysql.user WHERE user LIKE 'app%' OR user LIKE 'no%'");
    assert_eq!(users, [["app_a"]]);
    assert!(stage.takes(&old));
}

#[tokio::test]
async fn what_the_administrator_may_not_grant_is_refused_and_nobody_gets_in() {
    let stage = Stage::new();
    let strategy = stage.strategy(TWO);
    let old = account("app_a", "first");
    let new = strategy.create(Some(&old)).await.unwrap();
    stage.administrator_with(&["CREATE USER ON *.* TO low@'%'", "SELECT ON mysql.* TO low@'%'"]);
    strategy.check(turn(&new, &old)).await.unwrap();
    assert_eq!(strategy.set(turn(&new, &old)).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert!(!stage.takes(&new));
    strategy.undo(turn(&new, &old)).await.unwrap();
    assert!(!stage.takes(&new) && stage.takes(&old));
}

#[tokio::test]
async fn an_emergency_is_not_over_where_connections_cannot_be_seen() {
    let stage = Stage::new();
    let strategy = stage.strategy(TWO);
    let old = account("app_a", "first");
    let new = strategy.create(Some(&old)).await.unwrap();
    strategy.set(turn(&new, &old)).await.unwrap();
    stage.administrator_with(&["CREATE USER ON *.* TO low@'%'", "SELECT ON mysql.* TO low@'%'"]);
    let error = strategy.retire(emergency(&new, &old)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    // It is locked all the same.
    assert!(stage.takes(&new) && !stage.takes(&old));
}

#[tokio::test]
async fn an_administrator_without_all_privileges_is_enough() {
    let stage = Stage::new();
    let strategy = stage.strategy(TWO);
    let old = account("app_a", "first");
    stage.administrator_with(&[
        "CREATE USER, PROCESS, CONNECTION ADMIN ON *.* TO low@'%'",
        "SELECT, UPDATE ON mysql.* TO low@'%'",
        "SELECT, INSERT ON orders.* TO low@'%' WITH GRANT OPTION",
        "reporting TO low@'%' WITH ADMIN OPTION",
    ]);
    let new = strategy.create(Some(&old)).await.unwrap();
    strategy.check(turn(&new, &old)).await.unwrap();
    strategy.set(turn(&new, &old)).await.unwrap();
    strategy.test(turn(&new, &old)).await.unwrap();
    strategy.retire(emergency(&new, &old)).await.unwrap();
    assert!(stage.takes(&new) && !stage.takes(&old));
}

#[tokio::test]
async fn a_server_that_is_down_may_be_up_later() {
    let mut stage = Stage::new();
    let strategy = stage.strategy(TWO);
    let old = account("app_a", "first");
    let new = strategy.create(Some(&old)).await.unwrap();
    stage.maria.stop();
    for error in [
        strategy.check(turn(&new, &old)).await.unwrap_err(),
        strategy.set(turn(&new, &old)).await.unwrap_err(),
        strategy.test(turn(&new, &old)).await.unwrap_err(),
        strategy.undo(turn(&new, &old)).await.unwrap_err(),
        strategy.retire(turn(&new, &old)).await.unwrap_err(),
    ] {
        assert!(error.is_temporary(), "{error}");
    }
}

#[tokio::test]
async fn a_wrong_password_fails_the_test() {
    let stage = Stage::new();
    let strategy = stage.strategy(TWO);
    let old = account("app_a", "first");
    let error = strategy.test(turn(&account("app_a", "wrong"), &old)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(!error.to_string().contains("wrong"), "{error}");
}

#[tokio::test]
async fn the_servers_log_has_no_password() {
    let stage = Stage::new();
    let mut old = account("app_a", "Canary-Old-4711");
    stage.maria.execute("ALTER USER app_a@'%' IDENTIFIED VIA mysql_native_password USING PASSWORD('x')");
    for settings in [ONE, TWO] {
        let strategy = stage.strategy(settings);
        let new = strategy.create(Some(&old)).await.unwrap();
        strategy.set(turn(&new, &old)).await.unwrap();
        strategy.undo(turn(&new, &old)).await.unwrap();
        strategy.set(turn(&new, &old)).await.unwrap();
        strategy.retire(turn(&new, &old)).await.unwrap();
        let log = stage.maria.log();
        assert!(log.contains("IDENTIFIED VIA") && !log.contains("Canary"));
        assert!(!log.contains(text(&new, "password").unwrap()));
        old = new;
    }
}
