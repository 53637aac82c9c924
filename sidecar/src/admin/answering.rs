//! Answers over the connections of an admin endpoint: bounded in how long one says nothing.

use std::time::Duration;

use axum::{Extension, Router};
use futures_util::future::BoxFuture;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use keywheel_sidecar::peer::Peer;
use tracing::debug;

use crate::endpoint::Stream;

/// Returns what answers as `router` says.
pub(crate) fn answering(router: Router) -> impl Fn(Stream, Peer) -> BoxFuture<'static, ()> + Send + Sync {
    move |stream, peer| Box::pin(answer(stream, router.clone().layer(Extension(peer))))
}

/// Answers what is asked over one connection, until it has nothing more to say.
async fn answer(stream: Stream, router: Router) {
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = serving.await {
        debug!(%error, "a connection to the admin endpoint ended");
    }
}

/// For how long a connection may say nothing, or not all of a request's head.
const IDLE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use keywheel_core::config::Listen;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;
    use crate::endpoint::{Endpoint, Place};

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_or_half_a_request_is_not_listened_to_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let place = Place { name: "the test", listen: Listen::Unix(socket.clone()), is_open: false };
        let endpoint = Endpoint::bind(place).await.unwrap();
        let _served = endpoint.serve(answering(Router::new().route("/livez", get(|| async { "ok" }))));
        for said in ["", "GET /livez HT", "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"] {
            let mut stream = UnixStream::connect(&socket).await.unwrap();
            stream.write_all(said.as_bytes()).await.unwrap();
            let mut heard = String::new();
            let ended = tokio::time::timeout(10 * IDLE, stream.read_to_string(&mut heard)).await;
            assert!(ended.is_ok(), "{said:?}");
            assert_eq!(heard.contains("200 OK"), said.ends_with("\r\n\r\n"), "{said:?}: {heard:?}");
        }
    }
}
