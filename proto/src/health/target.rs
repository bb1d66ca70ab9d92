//! The endpoint that a probe goes to, and the one to use from another host.

// Only the address types: `core` has no sockets.
use core::net::{IpAddr, Ipv6Addr};
use std::fmt;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// A name or an IP address; an IPv6 address without its brackets.
    pub host: String,
    /// The port, from 1.
    pub port: u16,
}

impl Endpoint {
    /// Parses `http://host[:port][/path]`. Returns the endpoint, and what follows
    /// the port. Returns `None` for other kinds of URL, and for one with a user
    /// name or a fragment.
    pub fn of_url(url: &str) -> Option<(Endpoint, &str)> {
        let scheme = url.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://"))?;
        let rest = &url[scheme.len()..];
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') || path.contains('#') {
            return None;
        }
        let has_port = match authority.strip_prefix('[') {
            Some(v6) => v6.split_once(']').is_some_and(|(_, port)| !port.is_empty()),
            None => authority.contains(':'),
        };
        let endpoint = match has_port {
            true => Endpoint::of_address(authority)?,
            false => Endpoint::of_address(&format!("{authority}:80"))?,
        };
        Some((endpoint, path))
    }

    /// Parses `host:port`.
    pub fn of_address(text: &str) -> Option<Endpoint> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        let is_name = |host: &str| {
            let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            !host.is_empty() && host.len() <= 253 && host.chars().all(is_letter)
        };
        let host = match host.strip_prefix('[').map(|host| host.strip_suffix(']')) {
            Some(bracketed) => bracketed?.parse::<Ipv6Addr>().ok()?.to_string(),
            None if is_name(host) => host.to_owned(),
            None => return None,
        };
        Some(Endpoint { host, port })
    }

    /// Returns true if the address means "this host" on every host.
    fn is_local(&self) -> bool {
        let is_local = |ip: IpAddr| ip.is_loopback() || ip.is_unspecified();
        self.host.eq_ignore_ascii_case("localhost") || self.host.parse().is_ok_and(is_local)
    }

    /// Returns the endpoint as other hosts reach it: if it means "this host", with
    /// one of the host's addresses.
    pub(super) fn seen_from_afar(&self, addresses: &[String]) -> Option<Endpoint> {
        if !self.is_local() {
            return Some(self.clone());
        }
        let host = addresses.iter().find_map(|address| host_of(address))?;
        Some(Endpoint { host, port: self.port })
    }
}

/// Returns the IP address or the name in a multiaddress.
fn host_of(multiaddress: &str) -> Option<String> {
    let mut parts = multiaddress.strip_prefix('/')?.split('/');
    let (kind, host) = (parts.next()?, parts.next()?);
    match kind {
        "ip4" | "ip6" => host.parse::<IpAddr>().ok().map(|ip| ip.to_string()),
        "dns" | "dns4" | "dns6" => Some(host.to_owned()),
        _ => None,
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}
