//! Adds hosts' names to the log. The code that logs knows hosts by their ids, but
//! people know them by their names. So names replace ids where all lines pass.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{PoisonError, RwLock};

use proto::id::HostId;

/// The start of every host's id: a libp2p peer id of an Ed25519 key.
const ID_START: &str = "12D3KooW";
/// The length of an id, in letters.
const ID_LETTERS: usize = 52;

static NAMES: RwLock<BTreeMap<String, String>> = RwLock::new(BTreeMap::new());

/// Adds hosts to name from now on, as `web-3(Xc5Q9k)`, with the end of the id.
pub(crate) fn know(hosts: impl IntoIterator<Item = (HostId, String)>) {
    let mut names = NAMES.write().unwrap_or_else(PoisonError::into_inner);
    for (host, name) in hosts.into_iter().filter(|(_, name)| !name.is_empty()) {
        names.insert(host.to_string(), format!("{}({})", harmless(&name), host.short()));
    }
}

/// Removes characters that would break a line, or the JSON of one.
fn harmless(name: &str) -> String {
    name.chars().filter(|letter| !letter.is_control() && !['"', '\\'].contains(letter)).collect()
}

/// A writer that replaces ids with names.
pub(super) struct Naming<W>(pub(super) W);

impl<W: Write> Write for Naming<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(line) {
            Ok(text) if text.contains(ID_START) => self.0.write_all(named(text).as_bytes())?,
            Ok(_) | Err(_) => self.0.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn named(text: &str) -> String {
    let names = NAMES.read().unwrap_or_else(PoisonError::into_inner);
    let (mut named, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(ID_START) {
        let (before, from) = rest.split_at(at);
        named.push_str(before);
        let id = from.get(..ID_LETTERS).unwrap_or(from);
        // Leave an id in an address unchanged, so that people can copy the address.
        let is_address = before.ends_with("/p2p/");
        named.push_str(names.get(id).filter(|_| !is_address).map_or(id, String::as_str));
        rest = &from[id.len()..];
    }
    named.push_str(rest);
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_hosts_are_named_and_all_else_stays() {
        let (known, other) = (HostId::from_public_key([201; 32]), HostId::from_public_key([202; 32]));
        know([(known, "we\"b-1".into())]);
        let mut out = Naming(Vec::new());
        let line = format!("INFO refused from={known} with={other} 12D3KooW\n");
        assert_eq!(out.write(line.as_bytes()).expect("written"), line.len());
        let expected = format!("INFO refused from=web-1({}) with={other} 12D3KooW\n", known.short());
        assert_eq!(String::from_utf8(out.0).expect("text"), expected);
        let address = format!("address=/ip4/10.0.0.1/tcp/7717/p2p/{known}");
        assert_eq!(named(&address), address);
        assert_eq!(known.to_string().len(), ID_LETTERS);
        assert!(known.to_string().starts_with(ID_START));
        assert_eq!(named("12D3KooWé…"), "12D3KooWé…");
    }
}
