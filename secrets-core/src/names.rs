//! Finds the addresses of hosts: in `/etc/hosts`, else by the name servers of `/etc/resolv.conf`.
//!
//! The C library would look names up through modules that it loads at run time (NSS), which a static program in an empty root does not have. Both files are read at
//! each look-up, and nothing is remembered: what changes there counts at once.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolveHosts};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::TcpStream;

/// Finds the hosts that an HTTP client asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Names;

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = addresses(name.as_str()).await?;
            Ok(Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

/// Begins an HTTP client that finds its hosts here.
#[expect(clippy::disallowed_methods, reason = "this is where it is given its names")]
pub fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder().dns_resolver(Names)
}

/// Returns the addresses of `host`, which may be one itself; at least one.
///
/// # Errors
/// There is no such host, or no name server answers.
pub async fn addresses(host: &str) -> io::Result<Vec<IpAddr>> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let name = host.to_owned();
    let read =
        tokio::task::spawn_blocking(move || match listed(&std::fs::read(HOSTS).unwrap_or_default(), &name) {
            found if found.is_empty() => servers().map(Err),
            found => Ok(Ok(found)),
        });
    match read.await?? {
        Ok(found) => Ok(found),
        Err(servers) => {
            let found = servers.lookup_ip(host).await.map_err(io::Error::other)?;
            Ok(found.iter().collect())
        }
    }
}

/// Connects to `HOST:PORT`.
///
/// # Errors
/// It is not written so, there is no such host, or none of its addresses takes the connection.
pub(crate) async fn connect(address: &str) -> io::Result<TcpStream> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidInput, "not HOST:PORT");
    let (host, port) = address.rsplit_once(':').ok_or_else(malformed)?;
    let port: u16 = port.parse().map_err(|_| malformed())?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let found: Vec<SocketAddr> =
        addresses(host).await?.into_iter().map(|address| (address, port).into()).collect();
    TcpStream::connect(&found[..]).await
}

/// Returns the addresses that a hosts file (hosts(5)) has for `name`. `localhost` is this host, listed or not (RFC 6761, section 6.3).
fn listed(hosts: &[u8], name: &str) -> Vec<IpAddr> {
    let name = name.trim_end_matches('.');
    let hosts = String::from_utf8_lossy(hosts);
    let found = hosts.lines().filter_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
    });
    let found: Vec<_> = found.collect();
    if found.is_empty() && name.eq_ignore_ascii_case("localhost") {
        return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    found
}

/// Reads whom to ask, and for which domains (resolv.conf(5)).
fn servers() -> io::Result<TokioResolver> {
    let mut servers = TokioResolver::builder_tokio().map_err(io::Error::other)?;
    let options = servers.options_mut();
    options.use_hosts_file = ResolveHosts::Never;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.cache_size = 0;
    servers.build().map_err(io::Error::other)
}

const HOSTS: &str = "/etc/hosts";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_file_lists_names_and_aliases() {
        let hosts = b"# 10.0.0.9 db\n10.0.0.1 db.shop.test DB # db2\n\n::1 ip6\nfe80::1%lo0 odd\nnonsense db\n10.0.0.2\tdb\n\xff db";
        let of = |name| listed(hosts, name).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(of("db"), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(of("db.shop.test."), ["10.0.0.1"]);
        assert_eq!(of("Ip6"), ["::1"]);
        assert_eq!(of("localhost"), ["127.0.0.1", "::1"]);
        assert_eq!(of("db2"), [""; 0]);
        assert_eq!(of("odd"), [""; 0]);
    }

    #[tokio::test]
    async fn an_address_is_its_own_and_localhost_is_here() {
        assert_eq!(addresses("10.0.0.7").await.unwrap(), [IpAddr::from([10, 0, 0, 7])]);
        assert!(addresses("LocalHost").await.unwrap().iter().all(IpAddr::is_loopback));
    }
}
