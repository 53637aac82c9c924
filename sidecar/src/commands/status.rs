//! `keywheel status`: how the secrets of a running agent stand, as a table.

use std::path::Path;

use jiff::Timestamp;
use keywheel_core::engine::{SecretStatus, Status};
use reqwest::{Method, StatusCode};

use super::{clock, load};
use crate::admin::client::Address;
use crate::cli::StatusArgs;
use crate::exit::Failure;
use crate::output;
use crate::table::{self, or_none, span};

pub(crate) async fn status(args: &StatusArgs) -> Result<(), Failure> {
    let admin = match &args.config {
        Some(config) => &configured(config)?,
        None => &args.admin,
    };
    if args.ready {
        return ready(admin).await;
    }
    let answer = admin.ask(Method::GET, "/status").await?;
    if answer.status != StatusCode::OK {
        return Err(Failure::other(format!("cannot tell the status: {}", answer.reason())));
    }
    let text = if args.json {
        [answer.body.as_slice(), b"\n"].concat()
    } else {
        let status: Status = serde_json::from_slice(&answer.body)
            .map_err(|_| Failure::other(format!("{admin} is not the admin endpoint of this version")))?;
        lines(&status, clock().now()).into_bytes()
    };
    output::print(&text)
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

/// Writes a line for each secret, and one for each delivery that is not in step.
fn lines(status: &Status, now: Timestamp) -> String {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    for delivery in &status.deliveries {
        let name = |secret: &SecretStatus| format!("{}/{}", delivery.name, secret.name);
        rows.extend(delivery.secrets.iter().map(|secret| row(&name(secret), secret, now)));
        if let Some(error) = &delivery.error {
            let [a, b, c, d] = ["-"; 4].map(str::to_owned);
            rows.push([delivery.name.clone(), a, b, c, d, error.clone()]);
        }
    }
    rows.extend(status.beside.iter().map(|secret| row(&secret.name, secret, now)));
    table::write(&rows)
}

fn row(name: &str, secret: &SecretStatus, now: Timestamp) -> [String; 6] {
    let ends = match (secret.ended, secret.lease_deadline) {
        (true, _) => Some("ended".into()),
        (false, at) => at.map(|at| span(now, at)),
    };
    let age = secret.confirmed_at.map(|at| span(at, now));
    [
        name.to_owned(),
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
orders      -        -            -     -      no room
vault://c   1        -            -     ended  -
";
        assert_eq!(table, expected);
    }
}
