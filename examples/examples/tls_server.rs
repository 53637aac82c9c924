//! A server whose certificate is renewed while it serves: `tls_server LISTEN REFERENCE`.
//!
//! ```sh
//! cargo run --example tls_server -- 127.0.0.1:8443 'vault://pki/issue/web?common_name=localhost&ttl=24h'
//! ```
//!
//! The certificate is replaced after two thirds of its life; the next handshake has the new one, and connections that are open stay open.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use keywheel_core::Client;
use keywheel_core::provider::Ending;
use keywheel_providers::adapters::rustls::WatchedCertificate;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, reference] = arguments.as_slice() else {
        return Err("usage: tls_server LISTEN REFERENCE".into());
    };
    let client = keywheel_providers::client_from_env()?;
    let mut asked_to_stop = signal(SignalKind::terminate())?;
    let certificate = WatchedCertificate::watch(&client, reference).await?;
    let config = ServerConfig::builder().with_no_client_auth().with_cert_resolver(Arc::new(certificate));
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let router = Router::new().route("/", get(async || "served\n"));
    let listener = TcpListener::bind(listen).await?;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                tokio::spawn(serve(stream, acceptor.clone(), router.clone()));
            }
            _ = asked_to_stop.recv() => break,
        }
    }
    client.close(Ending::Revoke, Client::CLOSE).await;
    Ok(())
}

/// Serves one connection; who does not begin to ask in time is cut off.
async fn serve(stream: TcpStream, acceptor: TlsAcceptor, router: Router) {
    const PATIENCE: Duration = Duration::from_secs(10);
    let Ok(Ok(stream)) = timeout(PATIENCE, acceptor.accept(stream)).await else { return };
    let service = TowerToHyperService::new(router);
    let mut connection = http1::Builder::new();
    connection.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    // How it ends is the client's business.
    connection.serve_connection(TokioIo::new(stream), service).await.ok();
}
