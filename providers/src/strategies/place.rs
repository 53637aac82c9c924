//! Where a database listens, and how it proves itself.

use std::fmt;
use std::path::Path;

use keywheel_core::Result;
use keywheel_core::config::{Item, Section, Setting};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::authorities::Authorities;

/// The address of a server, and how it is spoken to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Tls,
}

/// Whether the way to the server is encrypted, and whom it has to prove itself to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Tls {
    Off,
    Verify { ca: Option<Authorities> },
}

impl Place {
    /// Reads `address`, `ca_file` or `ca_pem`, and `tls`.
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let address: Option<Address> = section.required("address");
        let ca = Authorities::parse(section);
        let switch: Option<Switch> = section.optional("tls");
        if ca.is_some() && switch == Some(Switch::Off) {
            section.mistake("`ca_file` goes not with `tls: off`");
        }
        let Address { host, port } = address?;
        let is_off = switch.map_or(ca.is_none() && is_this_host(&host), |switch| switch == Switch::Off);
        let tls = if is_off { Tls::Off } else { Tls::Verify { ca } };
        Some(Self { host, port, tls })
    }

    /// Returns the file that is read.
    pub(super) fn file(&self) -> Option<&Path> {
        match &self.tls {
            Tls::Verify { ca: Some(ca) } => ca.file(),
            _ => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Reads the certificates of authorities.
///
/// # Errors
/// A file cannot be read, or there are none.
pub(super) fn certificates(ca: &Authorities) -> Result<Vec<CertificateDer<'static>>> {
    let pem = ca.pem()?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(ca.wrong("the CA file holds no certificate")),
        Ok(certificates) => Ok(certificates),
        Err(_) => Err(ca.wrong("the CA file is not PEM certificates")),
    }
}

struct Address {
    host: String,
    port: u16,
}

impl Setting for Address {
    fn parse(value: &Item<'_>) -> Result<Self, String> {
        let text = String::parse(value)?;
        let parts = text.rsplit_once(':').and_then(|(host, port)| {
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            Some(Self { host: host.to_owned(), port: port.parse().ok()? })
        });
        parts
            .filter(|address| !address.host.is_empty() && !address.host.contains(['/', '@']))
            .ok_or_else(|| "must be HOST:PORT, such as db.internal:5432".into())
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Switch {
    Verify,
    Off,
}

impl Setting for Switch {
    fn parse(value: &Item<'_>) -> Result<Self, String> {
        match String::parse(value)?.as_str() {
            "verify" => Ok(Self::Verify),
            // YAML 1.1 reads `off` as a truth value.
            "off" | "false" => Ok(Self::Off),
            _ => Err("must be verify or off".into()),
        }
    }
}

fn is_this_host(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
