//! Builds the HTTP client: whom it trusts, who it is, and where it connects to.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use keywheel_core::layer::Budget;
use keywheel_core::{Error, Result, names};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Certificate, Client, ClientBuilder, Identity};
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::authorities::Authorities;

/// The settings of a connection's encryption.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct TlsSettings {
    /// The authorities to trust; the system's, if left out.
    pub(crate) ca: Option<Authorities>,
    /// The certificate to present, and its key.
    pub(crate) client: Option<ClientFiles>,
    /// The name that the server's certificate must have, where it is not the address's host.
    pub(crate) server_name: Option<String>,
}

/// The files of a client certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ClientFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// Builds the client for `address`, and the URL to ask it for.
///
/// A server name takes the place of the host in that URL, so that it is sent (SNI) and verified; connections still go to the
/// address's host. A connection that is not there after `connect_within` is given up, whatever else bounds the request.
///
/// # Errors
/// A file that cannot be read or does not parse; the message names it.
pub(crate) fn client(
    address: &Url,
    tls: &TlsSettings,
    connect_within: Option<Duration>,
) -> Result<(Client, Url)> {
    let mut url = address.clone();
    let mut builder = names::client()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .http1_only()
        .tcp_nodelay(true)
        .pool_max_idle_per_host(Budget::IN_FLIGHT)
        .pool_idle_timeout(IDLE)
        .tls_version_min(reqwest::tls::Version::TLS_1_2);
    if let Some(limit) = connect_within {
        builder = builder.connect_timeout(limit);
    }
    if is_loopback(address) || tls.server_name.is_some() {
        // A proxy cannot reach this host's own addresses, and would look a server name up by itself.
        builder = builder.no_proxy();
    }
    if address.scheme() == "http" {
        // Nothing to verify: loading the system's authorities would only cost time.
        builder = builder.tls_certs_only([]);
        return Ok((build(builder, tls)?, url));
    }
    if let Some(ca) = &tls.ca {
        builder = builder.tls_certs_only(certificates(ca)?);
    }
    if let Some(files) = &tls.client {
        builder = builder.identity(identity(files)?);
    }
    if let Some(name) = &tls.server_name {
        let host = match address.host() {
            Some(Host::Ipv6(host)) => host.to_string(),
            Some(host) => host.to_string(),
            None => String::new(),
        };
        builder = builder.dns_resolver(Arc::new(Always(host)));
        url.set_host(Some(name))
            .map_err(|_| Error::config("connect", format!("{name:?} is not a server name")))?;
    }
    Ok((build(builder, tls)?, url))
}

/// How long a connection waits for another request. Its buffers hold what came through them last, until they are freed, and wiped.
pub(crate) const IDLE: Duration = Duration::from_millis(300);

/// Builds the client; on failure, finds out which file it was: the builder's own message may quote it.
fn build(builder: ClientBuilder, tls: &TlsSettings) -> Result<Client> {
    builder.build().map_err(|_| {
        let fails = |builder: ClientBuilder| builder.build().is_err();
        if let Some(ca) = &tls.ca
            && certificates(ca).map_or(true, |found| fails(names::client().tls_certs_only(found)))
        {
            return ca.wrong("the CA file holds something that is not a certificate");
        }
        match &tls.client {
            Some(files) => wrong_identity(files, "the client certificate and its key do not fit together"),
            None => Error::config("connect", "the system's certificate authorities cannot be read")
                .with_help("name the authority's file as `ca_file`"),
        }
    })
}

fn certificates(ca: &Authorities) -> Result<Vec<Certificate>> {
    let certificates = Certificate::from_pem_bundle(&ca.pem()?)
        .map_err(|_| ca.wrong("the CA file is not PEM certificates"))?;
    if certificates.is_empty() {
        return Err(ca.wrong("the CA file holds no certificate"));
    }
    Ok(certificates)
}

fn identity(files: &ClientFiles) -> Result<Identity> {
    let mut pem = Zeroizing::new(Vec::new());
    let key = read(&files.key, "client_key_file")?;
    let certificate = read(&files.certificate, "client_cert_file")?;
    pem.reserve_exact(key.len() + certificate.len() + 1);
    pem.extend_from_slice(&key);
    pem.push(b'\n');
    pem.extend_from_slice(&certificate);
    Identity::from_pem(&pem)
        .map_err(|_| wrong_identity(files, "the client certificate and key are not both there as PEM"))
}

fn wrong_identity(files: &ClientFiles, reason: &str) -> Error {
    Error::config("connect", reason)
        .with("client_cert_file", files.certificate.display())
        .with("client_key_file", files.key.display())
}

fn read(file: &Path, setting: &'static str) -> Result<Zeroizing<Vec<u8>>> {
    std::fs::read(file).map(Zeroizing::new).map_err(|error| {
        Error::config("connect", format!("cannot read the file: {error}")).with(setting, file.display())
    })
}

/// Tells whether an address is one of this host alone.
pub(crate) fn is_loopback(address: &Url) -> bool {
    match address.host() {
        Some(Host::Ipv4(host)) => host.is_loopback(),
        Some(Host::Ipv6(host)) => host.is_loopback(),
        Some(Host::Domain(host)) => host == "localhost",
        None => false,
    }
}

/// Finds the addresses of one host, whatever name is asked for.
struct Always(String);

impl Resolve for Always {
    fn resolve(&self, _: Name) -> Resolving {
        let host = self.0.clone();
        Box::pin(async move {
            let addresses = names::addresses(&host).await?;
            Ok(Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}
