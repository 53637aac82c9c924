//! Issues the certificates of one test: an authority, its servers and its clients.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// A certificate authority that exists for one test.
#[derive(Debug)]
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// The files of a certificate that an [`Authority`] issued.
#[derive(Debug)]
pub struct Issued {
    /// The certificate, PEM.
    pub certificate_file: PathBuf,
    /// Its private key, PEM.
    pub key_file: PathBuf,
}

impl Authority {
    /// Makes a new authority.
    pub fn generate() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "Keywheel tests");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// Returns the authority's own certificate, PEM.
    pub fn pem(&self) -> &str {
        &self.certificate
    }

    /// Issues a certificate for a server on `localhost` and `127.0.0.1`; writes `server.pem` and `server.key`.
    pub fn issue_server(&self, folder: &Path) -> Issued {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        self.issue(folder, "server", names, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// Issues a certificate for the client `name`; writes `NAME.pem` and `NAME.key`.
    pub fn issue_client(&self, folder: &Path, name: &str) -> Issued {
        self.issue(folder, name, Vec::new(), ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue(&self, folder: &Path, name: &str, names: Vec<String>, usage: ExtendedKeyUsagePurpose) -> Issued {
        let mut params = CertificateParams::new(names).expect("names for a certificate");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let issued = Issued {
            certificate_file: folder.join(format!("{name}.pem")),
            key_file: folder.join(format!("{name}.key")),
        };
        std::fs::write(&issued.certificate_file, certificate.pem()).expect("a certificate file");
        std::fs::write(&issued.key_file, key.serialize_pem()).expect("a key file");
        issued
    }
}
