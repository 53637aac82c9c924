//! `keywheel status`: how the secrets of a running agent stand, as a table.

use std::io::Write;

use jiff::Timestamp;
use keywheel_core::engine::{SecretStatus, Status};
use reqwest::{Method, StatusCode};

use super::clock;
use crate::admin::client::Address;
use crate::exit::Failure;

pub(crate) async fn status(admin: &Address, as_json: bool) -> Result<(), Failure> {
    let answer = admin.ask(Method::GET, "/status").await?;
    if answer.status != StatusCode::OK {
        return Err(Failure::other(format!("cannot tell the status: {}", answer.reason())));
    }
    let text = if as_json {
        [answer.body.as_slice(), b"\n"].concat()
    } else {
        let status: Status = serde_json::from_slice(&answer.body)
            .map_err(|_| Failure::other(format!("{admin} is not the admin endpoint of this version")))?;
        table(&status, clock().now()).into_bytes()
    };
    std::io::stdout()
        .write_all(&text)
        .map_err(|error| Failure::other(format!("cannot write to standard output: {error}")))
}

const HEADINGS: [&str; 6] = ["SECRET", "VERSION", "AGE", "NEXT", "ENDS", "LAST ERROR"];

/// Writes a line for each secret, and one for each delivery that is not in step.
fn table(status: &Status, now: Timestamp) -> String {
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
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
    let line = |row: &[String; 6]| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn row(name: &str, secret: &SecretStatus, now: Timestamp) -> [String; 6] {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
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

/// Writes how long it is between two moments, in its largest unit.
fn span(from: Timestamp, to: Timestamp) -> String {
    let seconds = to.duration_since(from).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
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
        let table = table(&status, Timestamp::from_second(60).unwrap());
        let expected = "\
SECRET      VERSION  AGE          NEXT  ENDS   LAST ERROR
orders/db   3        10s (stale)  70s   4h     -
orders/api  -        -            -     -      sealed
orders      -        -            -     -      no room
vault://c   1        -            -     ended  -
";
        assert_eq!(table, expected);
    }

    #[test]
    fn spans_have_one_unit() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (seconds, text) in [(0, "0s"), (119, "119s"), (120, "2m"), (7_200, "2h"), (172_800, "2d")] {
            assert_eq!(span(at(0), at(seconds)), text);
        }
        assert_eq!(span(at(5), at(0)), "0s");
    }
}
