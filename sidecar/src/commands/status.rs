//! `keywheel status`: how the secrets of a running agent stand, as a table.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use keywheel_core::engine::{SecretStatus, Status};
use reqwest::{Method, StatusCode};

use super::{clock, load};
use crate::admin::client::Address;
use crate::cli::StatusArgs;
use crate::exit::Failure;
use crate::output;
use crate::table::{self, or_none, span};
use crate::terminal::{self, Colour};

pub(crate) async fn status(args: &StatusArgs) -> Result<(), Failure> {
    let admin = match &args.config {
        Some(config) => &configured(config)?,
        None => &args.admin,
    };
    if args.ready {
        return ready(admin).await;
    }
    if args.watch {
        return watch(admin).await;
    }
    let answer = ask(admin).await?;
    if args.json {
        return output::print(&[answer.as_slice(), b"\n"].concat());
    }
    output::print(table(admin, &answer)?.as_bytes())
}

/// Shows the table again and again. A terminal shows the newest one alone; a program that is not there for a while is waited for.
async fn watch(admin: &Address) -> Result<(), Failure> {
    let clock = clock();
    let mut before = table(admin, &ask(admin).await?)?;
    loop {
        let start = if terminal::is_output() { terminal::CLEAR } else { "" };
        output::print(format!("{start}{before}").as_bytes())?;
        clock.sleep_until(clock.instant() + AGAIN).await;
        before = match ask(admin).await.and_then(|answer| table(admin, &answer)) {
            Ok(table) => table,
            Err(failure) => format!("{failure}\n"),
        };
    }
}

const AGAIN: Duration = Duration::from_secs(1);

async fn ask(admin: &Address) -> Result<Vec<u8>, Failure> {
    let answer = admin.ask(Method::GET, "/status").await?;
    match answer.status {
        StatusCode::OK => Ok(answer.body),
        _ => Err(Failure::other(format!("cannot tell the status: {}", answer.reason()))),
    }
}

fn table(admin: &Address, answer: &[u8]) -> Result<String, Failure> {
    let status: Status = serde_json::from_slice(answer)
        .map_err(|_| Failure::other(format!("{admin} is not the admin endpoint of this version")))?;
    Ok(lines(&status, clock().now()))
}

/// Returns the admin endpoint of the agent that has the configuration at `path`.
fn configured(path: &Path) -> Result<Address, Failure> {
    let listen = load(path)?.admin.ok_or_else(|| {
        Failure::usage(format!("{} names no admin endpoint; add `admin: {{listen: …}}`", path.display()))
    })?;
    Address::of(&listen).map_err(Failure::other)
}

async fn ready(admin: &Address) -> Result<(), Failure> {
    let answer = admin.ask(Method::GET, "/readyz").await?;
    match answer.status {
        StatusCode::OK => Ok(()),
        _ => Err(Failure::other(format!("not ready: {}", answer.reason()))),
    }
}

const HEADINGS: [&str; 6] = ["SECRET", "VERSION", "AGE", "NEXT", "ENDS", "LAST ERROR"];

/// Writes a line for each secret, and one for each delivery that is not in step; on a terminal, in the colour of its trouble.
fn lines(status: &Status, now: Timestamp) -> String {
    let (mut rows, mut troubles) = (vec![HEADINGS.map(str::to_owned)], vec![None]);
    let mut add = |name: String, secret: &SecretStatus| {
        rows.push(row(name, secret, now));
        troubles.push(trouble(secret));
    };
    for delivery in &status.deliveries {
        for secret in &delivery.secrets {
            add(format!("{}/{}", delivery.name, secret.name), secret);
        }
    }
    for secret in &status.beside {
        add(secret.name.clone(), secret);
    }
    for delivery in &status.deliveries {
        if let Some(error) = &delivery.error {
            let [a, b, c, d] = ["-"; 4].map(str::to_owned);
            rows.push([delivery.name.clone(), a, b, c, d, error.clone()]);
            troubles.push(Some(Colour::Red));
        }
    }
    let lines = table::lines(&rows).into_iter().zip(troubles);
    lines
        .map(|(line, trouble)| trouble.map_or(line.clone(), |colour| terminal::painted(&line, colour)) + "\n")
        .collect()
}

fn trouble(secret: &SecretStatus) -> Option<Colour> {
    match secret {
        SecretStatus { error: Some(_), .. } => Some(Colour::Red),
        SecretStatus { stale: true, .. } | SecretStatus { ended: true, .. } => Some(Colour::Yellow),
        _ => None,
    }
}

fn row(name: String, secret: &SecretStatus, now: Timestamp) -> [String; 6] {
    let ends = match (secret.ended, secret.lease_deadline) {
        (true, _) => Some("ended".into()),
        (false, at) => at.map(|at| span(now, at)),
    };
    let age = secret.confirmed_at.map(|at| span(at, now));
    [
        name,
        or_none(secret.version.clone()),
        or_none(age.map(|age| if secret.stale { format!("{age} (stale)") } else { age })),
        or_none(secret.next_at.map(|at| span(now, at))),
        or_none(ends),
        or_none(secret.error.clone()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_for_each_secret_and_each_trouble() {
        let status: Status = serde_json::from_str(
            r#"{"ready": false, "deliveries": [{"name": "orders", "directory": "/run/orders", "generation": null,
            "delivered_at": null, "error": "no room", "secrets": [
            {"name": "db", "reference": "vault://a", "version": "3", "confirmed_at": "1970-01-01T00:00:50Z", "next_at":
            "1970-01-01T00:02:10Z", "lease_deadline": "1970-01-01T05:00:00Z", "stale": true, "ended": false, "failures": 0, "error": null},
            {"name": "api", "reference": "vault://b", "version": null, "confirmed_at": null, "next_at": null,
            "lease_deadline": null, "stale": false, "ended": false, "failures": 2, "error": "sealed"}]}], "beside": [
            {"name": "vault://c", "reference": "vault://c", "version": "1", "confirmed_at": null, "next_at": null,
            "lease_deadline": null, "stale": false, "ended": true, "failures": 0, "error": null}]}"#,
        )
        .unwrap();
        let table = lines(&status, Timestamp::from_second(60).unwrap());
        let expected = "\
SECRET      VERSION  AGE          NEXT  ENDS   LAST ERROR
orders/db   3        10s (stale)  70s   4h     -
orders/api  -        -            -     -      sealed
vault://c   1        -            -     ended  -
orders      -        -            -     -      no room
";
        assert_eq!(table, expected);
    }
}
