//! PostgreSQL over the program's one TLS library.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use keywheel_core::{Error, Result};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::ConfigVerifierExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_postgres::tls::{ChannelBinding, TlsConnect};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::authorities::Authorities;
use crate::strategies::place::certificates;

/// Encrypts a connection to one server, which has to prove that it has its name.
#[derive(Clone)]
pub(super) struct Connector {
    tls: TlsConnector,
    name: ServerName<'static>,
}

impl Connector {
    /// Trusts these authorities alone, or the system's.
    ///
    /// # Errors
    /// A file that cannot be read or holds no certificate.
    pub(super) fn try_new(host: &str, ca: Option<&Authorities>) -> Result<Self> {
        let config = match ca {
            Some(ca) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(ca)? {
                    roots
                        .add(authority)
                        .map_err(|_| ca.wrong("the CA file holds something that is not a certificate"))?;
                }
                ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
            }
            None => ClientConfig::with_platform_verifier().map_err(|_| {
                Error::config("connect", "the system's certificate authorities cannot be read")
                    .with_help("name the authority's file as `ca_file`")
            })?,
        };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Error::config("connect", format!("{host:?} is not a server's name")))?;
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), name })
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

impl TlsConnect<TcpStream> for Connector {
    type Stream = Encrypted;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted>> + Send>>;

    fn connect(self, stream: TcpStream) -> Self::Future {
        Box::pin(async move { self.tls.connect(self.name, stream).await.map(Encrypted) })
    }
}

/// A connection that is encrypted. The server is known by its certificate; the login is not bound to it once more.
pub(super) struct Encrypted(TlsStream<TcpStream>);

impl tokio_postgres::tls::TlsStream for Encrypted {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
