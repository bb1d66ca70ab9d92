//! A failed dial in the words of people.
//!
//! The layers of a transport wrap each other's errors in types that have no name here,
//! so the cause is found by its text: a number of the system, or the words of one layer.

use std::collections::BTreeMap;
use std::error::Error;

use libp2p::multiaddr::Protocol;
use libp2p::swarm::DialError;
use libp2p::{Multiaddr, TransportError};

use super::admission::Refusal;
use crate::telemetry::chain;

/// Texts of the layers below, and their meaning for people who read the log.
const CAUSES: [(&str, &str); 14] = [
    ("(os error 111)", "connection refused: no agent listens there"),
    ("(os error 113)", "no route to that host"),
    ("(os error 101)", "this host has no route to that network"),
    ("(os error 97)", "this host has no addresses of that kind"),
    ("(os error 22)", "this host cannot send to such an address"),
    ("(os error 13)", "this host may not send there: a local firewall or a sandbox forbids it"),
    ("(os error 1)", "this host may not send there: a local firewall or a sandbox forbids it"),
    ("(os error 104)", "the other end closed the connection"),
    ("timed out", "no answer: timed out"),
    ("Timeout", "no answer: timed out"),
    ("deadline has elapsed", "no answer: timed out"),
    ("(os error 110)", "no answer: timed out"),
    ("no record", "no such host name"),
    ("failed to lookup", "the host name could not be looked up"),
];

/// Says why the dial failed: each cause once, with the addresses that it concerns.
pub(super) fn in_words(error: &DialError) -> String {
    match error {
        DialError::LocalPeerId { address } => format!("{} is this host itself", plain(address)),
        DialError::NoAddresses => "no address of it is known".into(),
        DialError::DialPeerConditionFalse(_) => "it is connected already".into(),
        DialError::Aborted => "the attempt was broken off".into(),
        DialError::WrongPeerId { obtained, address } => {
            format!("another host answers at {}: {obtained}", plain(address))
        }
        DialError::Denied { cause } => chain(cause),
        DialError::Transport(failures) => at_each(failures),
    }
}

fn at_each(failures: &[(Multiaddr, TransportError<std::io::Error>)]) -> String {
    let mut by_cause: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (address, error) in failures {
        by_cause.entry(of_transport(error)).or_default().push(plain(address));
    }
    let told = by_cause.iter().map(|(cause, addresses)| format!("{} ({})", cause, addresses.join(", ")));
    told.collect::<Vec<_>>().join("; ")
}

fn of_transport(error: &TransportError<std::io::Error>) -> String {
    match error {
        TransportError::MultiaddrNotSupported(_) => "this agent cannot dial such an address".into(),
        TransportError::Other(error) => cause(error),
    }
}

fn cause(error: &dyn Error) -> String {
    let text = chain(error);
    if let Some(refusal) = Refusal::in_text(&text) {
        return format!("an agent answers, but {refusal}");
    }
    let known = CAUSES.iter().find(|(sign, _)| text.contains(sign));
    match known {
        Some((_, words)) => (*words).into(),
        // The innermost cause says the most, and is one line.
        None => text.rsplit(": ").next().unwrap_or(&text).split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

/// Returns an address without the host's id, which the line names already.
fn plain(address: &Multiaddr) -> String {
    let is_address = |part: &Protocol<'_>| !matches!(part, Protocol::P2p(_));
    address.iter().filter(is_address).collect::<Multiaddr>().to_string()
}

/// The most addresses for which the reason is remembered why they did not lead into the mesh.
/// That is more than one token has. Beyond it, further addresses are ignored.
const WAYS_IN_MAX: usize = 64;

/// The reasons why addresses that belong to no known host could not be dialled: for each the
/// last one.
#[derive(Default)]
pub(super) struct WaysIn(BTreeMap<Multiaddr, String>);

impl WaysIn {
    /// Takes note of a failed dial.
    pub(super) fn note(&mut self, error: &DialError) {
        let failures = match error {
            DialError::Transport(failures) => failures,
            DialError::LocalPeerId { .. }
            | DialError::NoAddresses
            | DialError::DialPeerConditionFalse(_)
            | DialError::Aborted
            | DialError::WrongPeerId { .. }
            | DialError::Denied { .. } => return,
        };
        for (address, error) in failures {
            if self.0.len() < WAYS_IN_MAX || self.0.contains_key(address) {
                self.0.insert(address.clone(), of_transport(error));
            }
        }
    }

    /// Returns the reason why the last dial of the address failed, if it did.
    pub(super) fn why_not(&self, address: &Multiaddr) -> Option<String> {
        self.0.get(address).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use libp2p::PeerId;

    use super::*;

    fn failed(at: &str, cause: &str) -> (Multiaddr, TransportError<io::Error>) {
        let inner = io::Error::other(format!("Multiple dial errors occurred:\n - {cause}"));
        (at.parse().expect("an address"), TransportError::Other(io::Error::other(inner)))
    }

    #[test]
    fn each_cause_is_said_once_in_plain_words() {
        let peer = PeerId::random();
        let error = DialError::Transport(vec![
            failed(&format!("/ip4/10.0.0.1/tcp/1/p2p/{peer}"), "Timeout has been reached"),
            failed("/ip4/10.0.0.2/tcp/1", "Connection refused (os error 111)"),
            failed("/ip4/10.0.0.3/tcp/1", "Handshake with the remote timed out."),
            failed("/ip4/10.0.0.4/tcp/1", &Refusal::Stranger.to_string()),
            failed("/ip4/10.0.0.5/tcp/1", "something: nobody ever\n saw"),
        ]);
        assert_eq!(
            in_words(&error),
            "an agent answers, but it does not have this mesh's key (/ip4/10.0.0.4/tcp/1); \
             connection refused: no agent listens there (/ip4/10.0.0.2/tcp/1); \
             no answer: timed out (/ip4/10.0.0.1/tcp/1, /ip4/10.0.0.3/tcp/1); \
             nobody ever saw (/ip4/10.0.0.5/tcp/1)"
        );
    }

    #[test]
    fn a_host_that_answers_in_anothers_place_is_named() {
        let (obtained, address) = (PeerId::random(), "/ip4/10.0.0.1/tcp/1".parse().expect("an address"));
        let said = in_words(&DialError::WrongPeerId { obtained, address });
        assert_eq!(said, format!("another host answers at /ip4/10.0.0.1/tcp/1: {obtained}"));
    }
}
