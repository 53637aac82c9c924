//! Who is at the other end of a connection, as far as the kernel and the request tell.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, header};

/// Who connected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Peer {
    /// Over TCP.
    Host(SocketAddr),
    /// Over a Unix socket: a process, as the kernel knows it (unix(7), `SO_PEERCRED`).
    Process {
        /// Its effective user when it connected.
        uid: u32,
        /// Its number, where it is in a namespace that is seen from here.
        pid: Option<i32>,
    },
}

impl Peer {
    /// Returns the address; none over a Unix socket.
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Host(address) => Some(address.ip().to_canonical()),
            Self::Process { .. } => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(address) => write!(f, "{address}"),
            Self::Process { uid, pid: Some(pid) } => write!(f, "uid {uid}, pid {pid}"),
            Self::Process { uid, pid: None } => write!(f, "uid {uid}"),
        }
    }
}

/// Tells whether a request has a header that only browsers send.
pub fn is_browser(headers: &HeaderMap) -> bool {
    let is_fetch = |name: &HeaderName| name.as_str().starts_with("sec-fetch-");
    headers.contains_key(header::ORIGIN) || headers.keys().any(is_fetch)
}

/// Tells whether `Host` is a name of loopback. A name of somebody else that leads here (DNS rebinding) is still in the request of a web page.
pub fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(address, _)| address),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
