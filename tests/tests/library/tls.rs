//! The certificate of a server that reloads: seen by a client's handshakes.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use keywheel_tests::{Stage, ports, wait};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::{BOUND, SECOND, end, start};

const POLICY: &str = r#"path "pki/issue/web" { capabilities = ["update"] }"#;

/// A client that trusts the server's own authority, and checks names and times.
struct Visitor {
    address: String,
    config: Arc<ClientConfig>,
}

type Connection = StreamOwned<ClientConnection, TcpStream>;

impl Visitor {
    fn of(stage: &Stage, address: &str) -> Self {
        let root = stage.bao.read("pki/cert/ca").unwrap();
        let root = root.pointer("/data/certificate").unwrap().as_str().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Self { address: address.to_owned(), config: Arc::new(config) }
    }

    /// Shakes hands; returns the connection and the server's certificate.
    fn visit(&self) -> std::io::Result<(Connection, Vec<u8>)> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(BOUND))?;
        let name = "localhost".try_into().unwrap();
        let mut session = ClientConnection::new(Arc::clone(&self.config), name).unwrap();
        session.complete_io(&mut stream)?;
        let leaf = session.peer_certificates().unwrap()[0].to_vec();
        Ok((StreamOwned::new(session, stream), leaf))
    }
}

/// Asks on a connection that stays open.
fn ask(connection: &mut Connection) -> String {
    connection.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = [0; 1024];
    let length = connection.read(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[test]
fn a_server_has_each_new_certificate_at_the_next_handshake() {
    const LIFE: Duration = Duration::from_secs(6);
    let (stage, folder) = (Stage::set(), tempfile::tempdir().unwrap());
    stage.bao.enable_pki();
    stage.bao.pki_role("web", LIFE);
    let address = format!("127.0.0.1:{}", ports::free());
    let reference = "vault://pki/issue/web?common_name=localhost&alt_names=localhost";
    let server = start(&stage.bao, POLICY, "tls_server", &[&address, reference], &folder);
    let visitor = Visitor::of(&stage, &address);
    let (mut open, first) = wait::until(BOUND, "the server to serve", || {
        server.assert_running();
        visitor.visit().ok()
    });
    assert!(ask(&mut open).ends_with("served\n"));

    let mut leaves = BTreeSet::from([first]);
    wait::until(6 * LIFE + 10 * SECOND, "three renewals", || {
        // No handshake fails: not one has a certificate that is not valid.
        let (_, leaf) = visitor.visit().unwrap_or_else(|error| panic!("{error}\n{}", server.stderr()));
        leaves.insert(leaf);
        assert!(ask(&mut open).ends_with("served\n"), "what is open stays open");
        (leaves.len() == 4).then_some(())
    });
    end(&server);
}
