//! The section `api:`, where programs of this host ask for secrets, and who may.

use std::path::PathBuf;

use super::Listen;
use super::section::Section;

/// Where secrets are given to programs of this host, and to which.
///
/// A TCP port is on loopback and has a token; over a Unix socket the kernel tells who asks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ApiConfig {
    /// Where it listens.
    pub listen: Listen,
    /// The file with the token that a request has to present; read again each time.
    pub token_file: Option<PathBuf>,
    /// The users that may ask beside the program's own, by their UIDs.
    pub users: Vec<u32>,
}

/// Reads the section; `admin` is where the admin endpoint listens.
pub(super) fn read(mut section: Section<'_>, admin: Option<&Listen>) -> Option<ApiConfig> {
    let listen: Option<Listen> = section.required("listen");
    let token_file: Option<PathBuf> = section.optional("token_file");
    let users: Vec<u32> = section.optional("users").unwrap_or_default();
    match &listen {
        Some(Listen::Tcp(address)) => {
            if !address.ip().is_loopback() {
                section.mistake(
                    "`listen` must be on loopback, such as 127.0.0.1:2773: secrets are given to this host alone",
                );
            }
            if token_file.is_none() {
                section.mistake("needs `token_file`: every process of this host reaches a TCP port");
            }
            if !users.is_empty() {
                section.mistake("`users` can be told apart on a Unix socket alone; give them the token, or listen on unix:/PATH");
            }
        }
        Some(Listen::Unix(path)) if !path.is_absolute() => {
            section.mistake("`listen` must be an absolute path after unix:");
        }
        _ => {}
    }
    if listen.is_some() && listen.as_ref() == admin {
        section.mistake("`listen` is where `admin` listens already");
    }
    section.finish();
    Some(ApiConfig { listen: listen?, token_file, users })
}
