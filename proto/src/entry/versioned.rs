//! The encoding of entries in the log: the version that the entry was written in,
//! and then the entry.

use super::Entry;
use crate::wire::{self, WIRE, WIRE_OLDEST};

/// The reason why the bytes of a log entry cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnEntry {
    /// An agent of a version that this one cannot read wrote the entry.
    #[error("it was written in version {0}, and this agent reads versions {WIRE_OLDEST} to {WIRE}")]
    Version(u16),
    /// The version is one that this agent reads, but the bytes are not an entry.
    #[error("its bytes are not an entry")]
    Malformed,
}

impl Entry {
    /// Encodes the entry for the log.
    pub(crate) fn encode(&self) -> Vec<u8> {
        [WIRE.to_be_bytes().as_slice(), &wire::encode(self)].concat()
    }

    /// Decodes what [`encode`](Self::encode) wrote.
    ///
    /// An entry of a newer version is read if possible: variants are only ever
    /// added at the end of an enum.
    /// # Errors
    /// If this agent does not read the entry's version, or if the bytes are not an
    /// entry.
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
    use crate::entry::ProposalId;
    use crate::id::HostId;
    use crate::statement::Finding;
    use crate::time::LedgerTime;

    fn tick() -> Entry {
        let proposal = ProposalId { host: HostId::from_public_key([1; 32]), incarnation: 1, number: 2 };
        Entry { at: LedgerTime::from_millis(300), proposal, statement: Finding::Tick.into() }
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
        *bytes.last_mut().expect("a statement") = 200;
        assert_eq!(Entry::decode(&bytes), Err(NotAnEntry::Version(9)));
        bytes[1] = 4;
        assert_eq!(Entry::decode(&bytes), Err(NotAnEntry::Malformed));
        assert_eq!(Entry::decode(&[4]), Err(NotAnEntry::Malformed));
    }
}
