//! What the providers that speak HTTPS share: whom they trust, what they read at most, and how they say what went wrong.

mod body;
mod failure;
mod origin;
#[cfg(feature = "vault")]
mod residue;
mod retry_after;
pub(crate) mod tls;

pub(crate) use self::body::Body;
pub(crate) use self::failure::{Peer, unreachable};
pub(crate) use self::origin::parse_origin;
#[cfg(feature = "vault")]
pub(crate) use self::residue::Residue;
pub(crate) use self::retry_after::retry_after;

/// Sends a request once.
///
/// # Errors
/// There was no answer.
pub(crate) async fn execute(
    client: &reqwest::Client,
    request: reqwest::Request,
) -> reqwest::Result<reqwest::Response> {
    #[cfg(feature = "fuzzing")]
    if let Some(answer) = crate::fuzzing::answer(&request) {
        return Ok(answer);
    }
    client.execute(request).await
}
