//! An entry as bytes, as the log holds it: the version that it was written in, then
//! the entry.

use super::Entry;
use crate::wire::{self, WIRE, WIRE_OLDEST};

/// Why the bytes of a log entry cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnEntry {
    /// It was written by an agent of another version.
    #[error("it was written in version {0}, and this agent reads versions {WIRE_OLDEST} to {WIRE}")]
    Version(u16),
    /// It is of a version that this agent reads, and yet not an entry.
    #[error("its bytes are not an entry")]
    Malformed,
}

impl Entry {
    /// The bytes that stand in the log.
    pub(crate) fn encode(&self) -> Vec<u8> {
        [WIRE.to_be_bytes().as_slice(), &wire::encode(self)].concat()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// A newer version's entry is read if it can be: variants are only ever added at
    /// an enum's end.
    /// # Errors
    /// If the entry is of a version that this agent does not read, or is none.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Entry, NotAnEntry> {
        let Some(([high, low], form)) = bytes.split_first_chunk::<2>() else {
            return Err(NotAnEntry::Malformed);
        };
        let version = u16::from_be_bytes([*high, *low]);
        if version < WIRE_OLDEST {
            return Err(NotAnEntry::Version(version));
        }
        let unread = if version > WIRE { NotAnEntry::Version(version) } else { NotAnEntry::Malformed };
        wire::decode(form).map_err(|_| unread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Body, ProposalId};
    use crate::id::HostId;
    use crate::time::LedgerTime;

    fn tick() -> Entry {
        let proposal = ProposalId { host: HostId::from_public_key([1; 32]), incarnation: 1, number: 2 };
        Entry { at: LedgerTime::from_millis(300), proposal, body: Body::Tick }
    }

    #[test]
    fn an_entry_is_read_back_as_it_was() {
        assert_eq!(Entry::decode(&tick().encode()), Ok(tick()));
    }

    #[test]
    fn an_older_version_is_named_and_a_newer_one_only_if_it_cannot_be_read() {
        let mut bytes = tick().encode();
        bytes[1] = 3;
        assert_eq!(Entry::decode(&bytes), Err(NotAnEntry::Version(3)));
        bytes[1] = 9;
        assert_eq!(Entry::decode(&bytes), Ok(tick()));
        *bytes.last_mut().expect("a body") = 200;
        assert_eq!(Entry::decode(&bytes), Err(NotAnEntry::Version(9)));
        bytes[1] = 4;
        assert_eq!(Entry::decode(&bytes), Err(NotAnEntry::Malformed));
        assert_eq!(Entry::decode(&[4]), Err(NotAnEntry::Malformed));
    }
}
