//! A host's disk: an ordered map. Only its synced writes survive a power loss.
//!
//! Writes complete in order. A crash loses any suffix of the writes that were
//! not synced, and never tears a batch. This is what a log-structured store
//! promises on a disk that does not lie.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use proto::io::{Write, WriteId};
use proto::node::{Fence, Stored};

use crate::chance::Chance;
use crate::clock::Moment;

/// The contents of a store: one ordered map.
pub type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

/// The number of synced writes that a disk can lose.
const UNDONE_MAX: usize = 32;

/// The kind of a crash, which decides what remains of the writes that were not
/// synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process ended. The operating system keeps what the process had
    /// handed over.
    Process,
    /// The power failed. Only synced writes are sure to remain.
    Power,
}

/// The keys that a write changed, with their earlier values.
type Undo = Vec<(Vec<u8>, Option<Vec<u8>>)>;

#[derive(Debug, Default)]
pub struct Disk {
    synced: Contents,
    /// Kept outside the store. It is synced after each synced write.
    fence: Fence,
    /// Writes of killed processes that nothing has synced since. The next start
    /// finds them, but a power loss may still take them.
    cached: VecDeque<Write>,
    /// The writes since the last sync, in order, each with true if it was
    /// reported done.
    unsynced: VecDeque<(Write, bool)>,
    /// The steps that undo the last writes in `synced`, the newest last.
    undo: VecDeque<Undo>,
    /// The number of the newest writes in `undo` that are newer than the fence:
    /// they were not synced, but a power loss happened to leave them.
    unsure: usize,
    /// True if the disk lost writes that it had reported synced.
    has_lied: bool,
    free_at: Moment,
    /// The factor by which the disk is slower than usual; 0 means usual.
    slowness: u32,
}

impl Disk {
    /// Accepts a write, and returns the time at which it will be done.
    pub fn write(&mut self, write: Write, now: Moment, chance: &mut Chance) -> Moment {
        let bytes: usize =
            write.changes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum();
        let per_bytes = Duration::from_nanos(bytes as u64 * 5);
        let usual = per_bytes
            + if write.sync {
                chance.duration(Duration::from_micros(200), Duration::from_millis(3))
            } else {
                chance.duration(Duration::from_micros(5), Duration::from_micros(50))
            };
        self.free_at = self.free_at.max(now) + usual * self.slowness.max(1);
        self.unsynced.push_back((write, false));
        self.free_at
    }

    /// Completes a write. If it is a synced write, everything up to it is now
    /// on stable storage. Returns true if it is one.
    pub fn complete(&mut self, id: WriteId) -> bool {
        let Some(at) = self.unsynced.iter().position(|(write, _)| write.id == id) else {
            panic!("{id:?} was never written, or is done already");
        };
        self.unsynced[at].1 = true;
        let syncs = self.unsynced[at].0.sync;
        if syncs {
            self.fence = self.unsynced[at].0.fence;
            let cached = std::mem::take(&mut self.cached);
            let synced: Vec<Write> = self.unsynced.drain(..=at).map(|(write, _)| write).collect();
            cached.into_iter().chain(synced).for_each(|write| self.keep(write));
            self.unsure = 0;
        }
        syncs
    }

    /// Settles what the crash leaves, for the next start to find.
    pub fn crash(&mut self, crash: Crash, chance: &mut Chance) {
        let handed_over = self.cached.len() + self.unsynced.iter().take_while(|(_, done)| *done).count();
        let least = match crash {
            Crash::Process => handed_over,
            Crash::Power => 0,
        };
        self.cached.extend(self.unsynced.drain(..).map(|(write, _)| write));
        let kept = chance.between(least as u64, self.cached.len() as u64);
        self.cached.truncate(usize::try_from(kept).expect("a length"));
        if crash == Crash::Power {
            self.unsure += self.cached.len();
            std::mem::take(&mut self.cached).into_iter().for_each(|write| self.keep(write));
        }
        self.free_at = Moment::START;
    }

    /// Replaces the disk by an empty one.
    pub fn wipe(&mut self) {
        assert!(self.unsynced.is_empty(), "only the disk of a host that is down is wiped");
        self.cached.clear();
        self.synced.clear();
        self.undo.clear();
        self.unsure = 0;
        self.has_lied = false;
        self.fence = Fence::default();
    }

    fn keep(&mut self, write: Write) {
        let before = write.changes.iter().map(|(key, _)| (key.clone(), self.synced.get(key).cloned()));
        self.undo.push_back(before.collect());
        if self.undo.len() > UNDONE_MAX {
            self.undo.pop_front();
        }
        apply(&mut self.synced, write);
    }

    /// Loses the last `writes` writes, even if they were synced, as a disk that
    /// lies or a store that was restored from a backup does. The fence stays as
    /// it is, because it is kept elsewhere.
    pub fn forget(&mut self, writes: usize) {
        assert!(self.unsynced.is_empty(), "only the disk of a host that is down forgets");
        // A log loses its end first, and a disk that loses unsynced writes does not
        // lie.
        let cached = self.cached.len().min(writes);
        self.cached.truncate(self.cached.len() - cached);
        for _ in cached..writes {
            let Some(before) = self.undo.pop_back() else { break };
            self.has_lied |= self.unsure == 0 && !before.is_empty();
            self.unsure = self.unsure.saturating_sub(1);
            for (key, value) in before.into_iter().rev() {
                match value {
                    Some(value) => self.synced.insert(key, value),
                    None => self.synced.remove(&key),
                };
            }
        }
    }

    /// Returns true if the disk lost what it had reported synced.
    pub fn has_lied(&self) -> bool {
        self.has_lied
    }

    /// Completes no write before `until`.
    pub fn hang(&mut self, until: Moment) {
        self.free_at = self.free_at.max(until);
    }

    pub fn set_slowness(&mut self, times: u32) {
        self.slowness = times;
    }

    /// Returns the contents that no crash can take away.
    pub fn synced(&self) -> &Contents {
        &self.synced
    }

    /// Returns the contents that a start finds.
    pub fn stored(&self) -> Stored {
        assert!(self.unsynced.is_empty(), "a host starts only after its crash was settled");
        let mut contents = self.synced.clone();
        self.cached.iter().for_each(|write| apply(&mut contents, write.clone()));
        Stored { contents, fence: Some(self.fence) }
    }
}

fn apply(contents: &mut Contents, write: Write) {
    for (key, value) in write.changes {
        match value {
            Some(value) => {
                contents.insert(key, value);
            }
            None => {
                contents.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(id: u64, sync: bool) -> Write {
        let change = |half: u8| (vec![half, u8::try_from(id).expect("small")], Some(vec![1]));
        let fence = Fence::default();
        Write { id: WriteId(id), sync, changes: vec![change(0), change(1)], fence }
    }

    fn keys(disk: &Disk) -> Vec<u8> {
        disk.stored().contents.keys().map(|key| key[1]).collect()
    }

    #[test]
    fn a_power_loss_keeps_what_was_synced_and_a_prefix_of_the_rest() {
        let mut lengths = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let mut chance = Chance::new(seed);
            let mut disk = Disk::default();
            for id in 1..=5 {
                disk.write(write(id, id == 2), Moment::START, &mut chance);
            }
            for id in 1..=4 {
                disk.complete(WriteId(id));
            }
            disk.crash(Crash::Power, &mut chance);

            let keys = keys(&disk);
            let (first, second) = keys.split_at(keys.len() / 2);
            assert_eq!(first, second, "no batch is torn");
            assert_eq!(first, (1..=first.len() as u8).collect::<Vec<_>>(), "no hole");
            lengths.insert(first.len());
        }
        assert_eq!(lengths, [2, 3, 4, 5].into());
    }

    #[test]
    fn a_killed_process_loses_nothing_that_was_reported_done() {
        for seed in 0..20 {
            let mut chance = Chance::new(seed);
            let mut disk = Disk::default();
            (1..=3).for_each(|id| {
                disk.write(write(id, false), Moment::START, &mut chance);
            });
            disk.complete(WriteId(1));
            disk.complete(WriteId(2));
            disk.crash(Crash::Process, &mut chance);
            assert!(keys(&disk).len() >= 4);
        }
    }

    #[test]
    fn what_a_killed_process_left_is_found_and_is_still_not_sure() {
        let mut found = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let mut chance = Chance::new(seed);
            let mut disk = Disk::default();
            disk.write(write(1, false), Moment::START, &mut chance);
            disk.complete(WriteId(1));
            disk.crash(Crash::Process, &mut chance);
            assert_eq!(keys(&disk), [1, 1]);
            if seed >= 25 {
                // The next start numbers its writes from 1 again.
                disk.write(write(1, true), Moment::START, &mut chance);
                disk.complete(WriteId(1));
            }
            disk.crash(Crash::Power, &mut chance);
            found.insert((seed >= 25, keys(&disk).len()));
        }
        assert_eq!(found, [(false, 0), (false, 2), (true, 2)].into());
    }

    #[test]
    fn a_disk_lies_if_it_loses_what_was_synced_and_not_if_it_loses_the_rest() {
        let forgets = |writes: usize| {
            let mut chance = Chance::new(1);
            let mut disk = Disk::default();
            (1..=3).for_each(|id| {
                disk.write(write(id, id == 2), Moment::START, &mut chance);
            });
            (1..=3).for_each(|id| {
                disk.complete(WriteId(id));
            });
            disk.unsynced.clear();
            disk.keep(write(3, false));
            disk.unsure = 1;
            disk.forget(writes);
            (disk.has_lied(), keys(&disk).len() / 2)
        };
        assert_eq!([forgets(0), forgets(1), forgets(2)], [(false, 3), (false, 2), (true, 1)]);
    }

    #[test]
    fn a_disk_that_forgets_loses_first_what_a_killed_process_left_and_never_has_a_hole() {
        let found = |writes: usize| {
            let mut chance = Chance::new(1);
            let mut disk = Disk::default();
            (1..=2).for_each(|id| {
                disk.write(write(id, id == 1), Moment::START, &mut chance);
            });
            (1..=2).for_each(|id| {
                disk.complete(WriteId(id));
            });
            disk.crash(Crash::Process, &mut chance);
            disk.forget(writes);
            (disk.has_lied(), keys(&disk))
        };
        assert_eq!(found(0), (false, vec![1, 2, 1, 2]));
        assert_eq!(found(1), (false, vec![1, 1]));
        assert_eq!(found(2), (true, vec![]));
    }

    #[test]
    fn writes_are_done_in_order_even_on_a_slow_disk() {
        let mut chance = Chance::new(1);
        let mut disk = Disk::default();
        disk.set_slowness(100);
        let first = disk.write(write(1, true), Moment::START, &mut chance);
        disk.set_slowness(0);
        let second = disk.write(write(2, false), Moment::START, &mut chance);
        assert!(second > first && first >= Moment::from_micros(20_000));
    }
}
