//! `keywheel refresh`: has a running agent fetch and deliver now.

use keywheel_core::engine::Refreshed;
use reqwest::{Method, StatusCode};

use crate::admin::client::Address;
use crate::exit::Failure;
use crate::output;

pub(crate) async fn refresh(names: &[String], admin: &Address) -> Result<(), Failure> {
    let query: Vec<String> = names.iter().map(|name| format!("name={name}")).collect();
    let path = if query.is_empty() { "/refresh".into() } else { format!("/refresh?{}", query.join("&")) };
    let answer = admin.ask(Method::POST, &path).await?;
    let expected = matches!(answer.status, StatusCode::OK | StatusCode::BAD_GATEWAY);
    let refreshed: Option<Vec<Refreshed>> =
        if expected { serde_json::from_slice(&answer.body).ok() } else { None };
    let Some(refreshed) = refreshed else {
        return Err(Failure::other(format!("cannot refresh: {}", answer.reason())));
    };
    let lines: String = refreshed.iter().map(line).collect();
    output::print(lines.as_bytes())?;
    match refreshed.iter().filter(|delivery| delivery.error.is_some()).count() {
        0 => Ok(()),
        failed => Err(Failure::other(format!("{failed} of {} could not be refreshed", refreshed.len()))),
    }
}

fn line(delivery: &Refreshed) -> String {
    let generation = delivery.generation.as_deref().unwrap_or("nothing");
    match &delivery.error {
        None => format!("{}: {generation}\n", delivery.name),
        Some(error) => format!("{}: {generation}; {error}\n", delivery.name),
    }
}
