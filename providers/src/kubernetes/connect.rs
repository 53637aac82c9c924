//! The way from a pod to the API server of its cluster.

use std::path::Path;

use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use http_body_util::Limited;
use keywheel_core::environment::Environment;
use keywheel_core::names;
use kube::Client;
use kube::client::Body;
use reqwest::{Certificate, Url};
use tower::BoxError;
use zeroize::Zeroizing;

/// What every pod knows whose service account's token is mounted: where the API server is, whom to trust there, and as whom to ask.
pub(super) struct Way {
    server: Url,
    authorities: Vec<Certificate>,
    token: HeaderValue,
    namespace: String,
}

impl Way {
    /// Reads it as it is at this moment, the files from `folder`; none where this is no such pod.
    pub(super) fn read(environment: &Environment, folder: &Path) -> Option<Self> {
        let text = |name: &str| std::fs::read_to_string(folder.join(name)).map(Zeroizing::new).ok();
        let token = Zeroizing::new(format!("Bearer {}", text("token")?.trim()));
        let mut token = HeaderValue::from_str(&token).ok()?;
        token.set_sensitive(true);
        Some(Self {
            server: server(environment)?,
            authorities: Certificate::from_pem_bundle(text("ca.crt")?.as_bytes())
                .ok()
                .filter(|found| !found.is_empty())?,
            token,
            namespace: text("namespace")?.trim().to_owned(),
        })
    }

    /// Makes a client that goes it: no proxy, no redirect, and nobody else's certificate.
    pub(super) fn client(self) -> Option<Client> {
        let Self { server, authorities, token, namespace } = self;
        let client = names::client()
            .tls_certs_only(authorities)
            .tls_version_min(reqwest::tls::Version::TLS_1_2)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .http1_only()
            .no_proxy()
            .build()
            .ok()?;
        let service =
            tower::service_fn(move |request| ask(client.clone(), server.clone(), token.clone(), request));
        Some(Client::new(service, namespace))
    }
}

/// Returns where the API server is, as the kubelet says it.
fn server(environment: &Environment) -> Option<Url> {
    let (host, port) = (environment.value("KUBERNETES_SERVICE_HOST")?, port(environment)?);
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    Url::parse(&format!("https://{host}:{port}")).ok()
}

/// Returns the API server's port, as the kubelet says it.
pub(super) fn port(environment: &Environment) -> Option<u16> {
    environment.first(&["KUBERNETES_SERVICE_PORT", "KUBERNETES_SERVICE_PORT_HTTPS"])?.parse().ok()
}

/// Asks the API server once, as the account.
async fn ask(
    client: reqwest::Client,
    mut server: Url,
    token: HeaderValue,
    request: Request<Body>,
) -> Result<Response<Limited<reqwest::Body>>, BoxError> {
    let (mut parts, body) = request.into_parts();
    server.set_path(parts.uri.path());
    server.set_query(parts.uri.query());
    parts.uri = server.as_str().parse()?;
    parts.headers.insert(AUTHORIZATION, token);
    let body = body.collect_bytes().await?;
    let answer = client.execute(Request::from_parts(parts, body).try_into()?).await?;
    Ok(Response::from(answer).map(|body| Limited::new(body, LARGEST)))
}

/// The largest answer that is read, in bytes: the API server keeps no object of this size.
const LARGEST: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use keywheel_tests::certificates::Authority;
    use rustls::ServerConfig;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    #[test]
    fn the_server_is_where_the_kubelet_says() {
        let at = |host: &str, port: &str| {
            let variables = [("KUBERNETES_SERVICE_HOST", host), ("KUBERNETES_SERVICE_PORT", port)];
            server(&variables.into_iter().collect()).map(|url| url.to_string())
        };
        for (host, port, url) in [
            ("10.96.0.1", "443", "https://10.96.0.1/"),
            ("kubernetes.default.svc", "6443", "https://kubernetes.default.svc:6443/"),
            ("fd00::1", "443", "https://[fd00::1]/"),
        ] {
            assert_eq!(at(host, port).as_deref(), Some(url));
        }
        for (host, port) in [("", "443"), ("10.96.0.1", ""), ("10.96.0.1", "https"), ("a b", "443")] {
            assert_eq!(at(host, port), None, "{host:?} {port:?}");
        }
    }

    /// Plays an API server that sends everybody elsewhere; returns where it is, and what it is asked.
    async fn api(authority: &Authority, folder: &Path) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
        let issued = authority.issue_server(folder);
        let config =
            ServerConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(
                    vec![CertificateDer::from_pem_file(issued.certificate_file).unwrap()],
                    PrivateKeyDer::from_pem_file(issued.key_file).unwrap(),
                );
        let (acceptor, listener) =
            (TlsAcceptor::from(Arc::new(config.unwrap())), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let (address, (asked, asks)) = (listener.local_addr().unwrap(), mpsc::unbounded_channel());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                asked.send(String::from_utf8(head).unwrap()).unwrap();
                let elsewhere = format!(
                    "HTTP/1.1 307 Away\r\nlocation: https://localhost:{}/else\r\ncontent-length: 0\r\n\r\n",
                    address.port()
                );
                stream.write_all(elsewhere.as_bytes()).await.unwrap();
            }
        });
        (address, asks)
    }

    #[tokio::test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the files of the kubelet, and nobody reads them meanwhile"
    )]
    async fn the_token_is_shown_to_the_cluster_and_to_nobody_else() {
        let (authority, folder) = (Authority::generate(), tempfile::tempdir().unwrap());
        let (address, mut asks) = api(&authority, folder.path()).await;
        let variables = [
            ("KUBERNETES_SERVICE_HOST", address.ip().to_string()),
            ("KUBERNETES_SERVICE_PORT", address.port().to_string()),
        ];
        let environment: Environment = variables.into_iter().collect();
        let way = || Way::read(&environment, folder.path());
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let ask = async || {
            let request = Request::get("/api/v1/pods?limit=1").body(Vec::new()).unwrap();
            way().unwrap().client().unwrap().request_text(request).await
        };
        assert!(way().is_none(), "there is no token");
        write("token", "c4n4ry\n");
        write("namespace", "shop\n");
        write("ca.crt", "");
        assert!(way().is_none(), "nobody is to be trusted");
        write("ca.crt", Authority::generate().pem());
        assert!(matches!(ask().await, Err(kube::Error::Service(_))), "another authority's");
        write("ca.crt", authority.pem());
        assert_eq!(ask().await.unwrap(), "");
        let asked = asks.recv().await.unwrap();
        assert!(asked.starts_with("GET /api/v1/pods?limit=1 HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("\r\nauthorization: Bearer c4n4ry\r\n"), "{asked}");
        assert!(asks.try_recv().is_err(), "a redirect is not followed");
        assert_eq!(way().unwrap().client().unwrap().default_namespace(), "shop");
    }
}
