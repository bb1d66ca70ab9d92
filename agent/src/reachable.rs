//! The addresses that this host tells others, so that they can dial it.

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use proto::statement::ADDRESSES_MAX;

use crate::transport::Handle;

/// Returns the addresses at which other hosts can dial this one. Loopback addresses are included
/// only if there are no others: on another machine they mean that machine itself.
pub(crate) fn addresses(transport: &Handle) -> Vec<String> {
    let all = transport.listening();
    let is_loopback = |address: &&Multiaddr| match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_loopback(),
        Some(Protocol::Ip6(ip)) => ip.is_loopback(),
        Some(_) | None => false,
    };
    let far: Vec<&Multiaddr> = all.iter().filter(|address| !is_loopback(address)).collect();
    let told: Vec<&Multiaddr> = if far.is_empty() { all.iter().collect() } else { far };
    // TCP first: bundles and frames cost less CPU there.
    let (tcp, rest): (Vec<&Multiaddr>, Vec<&Multiaddr>) =
        told.into_iter().partition(|address| address.iter().any(|part| matches!(part, Protocol::Tcp(_))));
    tcp.into_iter().chain(rest).take(ADDRESSES_MAX).map(ToString::to_string).collect()
}
