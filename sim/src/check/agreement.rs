//! Hosts agree on every committed entry: if one host has folded an entry at an
//! index, no host ever sees another one there, before or after any crash.

use std::collections::BTreeMap;

use proto::entry::{Entry, Index};

use super::{Claim, Verdict, Violation};
use crate::host::HostNo;

/// A committed entry, as the first host folded it.
#[derive(Clone, Debug)]
pub struct Line {
    pub hash: [u8; 32],
    pub entry: Option<Entry>,
    pub first: HostNo,
}

/// Every entry that any host has ever folded.
#[derive(Debug, Default)]
pub struct Agreement {
    lines: BTreeMap<Index, Line>,
}

impl Agreement {
    /// Checks an entry that a host holds as committed.
    pub fn holds(&mut self, host: HostNo, index: Index, hash: [u8; 32], entry: Option<&Entry>) -> Verdict {
        let Some(line) = self.lines.get(&index) else {
            self.lines.insert(index, Line { hash, entry: entry.cloned(), first: host });
            return Ok(());
        };
        if line.entry.as_ref() != entry {
            let what = format!("at {index} one has {:?}, the other {entry:?}", line.entry);
            return Err(Violation::new(Claim::Agreement, [line.first, host], what));
        }
        self.sees(host, index, hash)
    }

    /// Checks the hash of the whole ledger up to the index that a host has
    /// folded.
    pub fn sees(&self, host: HostNo, index: Index, hash: [u8; 32]) -> Verdict {
        match self.lines.get(&index) {
            Some(line) if line.hash != hash => {
                let what = format!("at {index} their hashes of the ledger differ");
                Err(Violation::new(Claim::Agreement, [line.first, host], what))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Returns the highest index that any host has folded.
    pub fn last(&self) -> Index {
        self.lines.last_key_value().map_or(0, |(index, _)| *index)
    }

    /// Returns the hash of the ledger up to this index, as the first host folded
    /// it.
    pub fn hash(&self, index: Index) -> [u8; 32] {
        self.lines.get(&index).map_or([0; 32], |line| line.hash)
    }

    /// Returns the latest lines, the oldest first.
    pub fn latest(&self, count: usize) -> impl Iterator<Item = (Index, &Line)> {
        let skipped = self.lines.len().saturating_sub(count);
        self.lines.iter().skip(skipped).map(|(index, line)| (*index, line))
    }

    pub fn lines(&self) -> &BTreeMap<Index, Line> {
        &self.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::entry;
    use proto::statement::Finding;

    const A: HostNo = HostNo(0);
    const B: HostNo = HostNo(1);

    #[test]
    fn another_entry_at_the_same_index_is_found() {
        let mut agreement = Agreement::default();
        let first = entry(1_000, Finding::Tick);
        let second = entry(1_001, Finding::Tick);
        assert_eq!(agreement.holds(A, 5, [1; 32], Some(&first)), Ok(()));
        assert_eq!(agreement.holds(B, 5, [1; 32], Some(&first)), Ok(()));
        let violation = agreement.holds(B, 5, [1; 32], Some(&second)).expect_err("they differ");
        assert_eq!((violation.claim, violation.hosts), (Claim::Agreement, vec![A, B]));
    }

    #[test]
    fn another_hash_is_found_even_of_equal_entries() {
        let mut agreement = Agreement::default();
        assert_eq!(agreement.holds(A, 5, [1; 32], None), Ok(()));
        assert!(agreement.holds(B, 5, [2; 32], None).is_err());
        assert!(agreement.sees(B, 5, [2; 32]).is_err());
        assert_eq!(agreement.sees(B, 6, [2; 32]), Ok(()), "nobody has been there");
    }
}
