//! Who may change something through the admin endpoint.
//!
//! A Unix socket has the permissions of a file. A TCP port is open to whatever reaches it, and loopback is reached by every process of the pod, or of a
//! machine, and by the web pages in its browsers. Those are kept out here; processes are trusted to ask for an end or for fresh secrets.

use std::net::IpAddr;

use keywheel_sidecar::peer::is_loopback_name;

/// Where a request comes from, as far as it tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker<'a> {
    /// The address of whoever connected; none over a Unix socket.
    pub(super) peer: Option<IpAddr>,
    pub(super) host: Option<&'a str>,
    /// Whether it has a header that only browsers send (`Origin`, `Sec-Fetch-Site`).
    pub(super) is_browser: bool,
}

/// Returns why a request that changes something is refused, if it is.
pub(super) fn refusal(asker: Asker<'_>) -> Option<&'static str> {
    let peer = asker.peer?;
    if !peer.to_canonical().is_loopback() {
        return Some("only this host may ask for a change; use a port on loopback, or a Unix socket\n");
    }
    if asker.is_browser {
        return Some("a web page may not ask for a change\n");
    }
    // A name of somebody else that leads here (DNS rebinding) is still in the page's request.
    match asker.host.is_some_and(is_loopback_name) {
        true => None,
        false => Some("a change is asked for at 127.0.0.1, [::1] or localhost, and under no other name\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asker(peer: &str, host: &'static str) -> Asker<'static> {
        Asker { peer: Some(peer.parse().unwrap()), host: Some(host), is_browser: false }
    }

    #[test]
    fn a_process_of_this_host_may_and_nobody_else() {
        for host in ["127.0.0.1:9464", "localhost", "LOCALHOST:1", "[::1]:9464", "127.1.2.3"] {
            assert_eq!(refusal(asker("127.0.0.1", host)), None, "{host}");
        }
        assert_eq!(refusal(asker("::1", "[::1]")), None);
        assert_eq!(refusal(asker("::ffff:127.0.0.1", "localhost")), None);
        assert_eq!(refusal(Asker { peer: None, host: None, is_browser: false }), None, "a Unix socket");
        assert!(refusal(asker("10.0.0.7", "127.0.0.1")).is_some());
        for host in ["evil.test", "127.0.0.1.evil.test", "localhost.evil.test:9464", "10.0.0.7", "", "["] {
            assert!(refusal(asker("127.0.0.1", host)).is_some(), "{host}");
        }
        assert!(refusal(Asker { is_browser: true, ..asker("127.0.0.1", "127.0.0.1") }).is_some());
        assert!(refusal(Asker { host: None, ..asker("127.0.0.1", "") }).is_some());
    }
}
