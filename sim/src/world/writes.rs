//! Writes to the disks: how each ends, and what fails between a write and its
//! sync.

use std::collections::BTreeSet;
use std::time::Duration;

use proto::io::{Write, WriteId};
use proto::promise::holds_snapshot;

use super::{Event, Fault, Who, World};
use crate::clock::Moment;
use crate::disk::Crash;
use crate::host::HostNo;

/// A fault of a host's next write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtWrite {
    /// The host goes down before the write is synced.
    Crash(Crash),
    /// The write fails, as on a disk that is full or broken, and the agent ends.
    Fails,
    /// The disk hangs at the next write that holds a snapshot, and meanwhile the
    /// host and all others do not hear each other. So it stands for election
    /// before its snapshot is durable, unless it knows better.
    HangsOnSnapshot,
}

/// A fault that is armed for a host's next write. It has no effect after
/// `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Armed {
    pub what: AtWrite,
    /// The time for which the host is down, or for which its disk hangs.
    pub back_after: Duration,
    pub until: Moment,
}

impl World {
    pub(super) fn persist(&mut self, no: HostNo, write: Write) {
        let now = self.now;
        let host = &mut self.hosts[no.index()];
        let armed = host.at_write.filter(|armed| now <= armed.until);
        if let Some(Armed { what: AtWrite::Fails, back_after, .. }) = armed {
            // Nothing else is written before the agent has ended.
            let boot = host.boot;
            return self.queue.push(now, Event::Gone { host: no, boot, back_after: Some(back_after) });
        }
        if let Some(Armed { what: AtWrite::HangsOnSnapshot, back_after, .. }) = armed
            && holds_snapshot(&write.changes)
        {
            host.at_write = None;
            self.fault(Fault::HangDisk { who: Who::Host(no), lasts: back_after });
            self.cut_off(no, back_after);
        }
        let host = &mut self.hosts[no.index()];
        let (id, sync, boot) = (write.id, write.sync, host.boot);
        let at = host.disk.write(write, now, &mut self.chance.disks);
        self.queue.push(at, Event::Persisted { host: no, boot, write: id });
        if let Some(Armed { what: AtWrite::Crash(how), back_after, .. }) = armed
            && sync
        {
            self.hosts[no.index()].at_write = None;
            let within = (at - now).saturating_sub(Duration::from_micros(1));
            let crash_at = now + self.chance.faults.duration(Duration::ZERO, within);
            let fault = Fault::Down { who: Who::Host(no), how, back_after: Some(back_after) };
            self.queue.push(crash_at, Event::Fault(fault));
        }
    }

    /// Cuts a host off from all others.
    fn cut_off(&mut self, no: HostNo, lasts: Duration) {
        let to = self.hosts.iter().map(|host| host.no).filter(|other| *other != no).collect();
        self.fault(Fault::Cut { from: BTreeSet::from([no]), to, both_ways: true, lasts: Some(lasts) });
    }

    /// Completes a write on a host's disk.
    pub(super) fn complete(&mut self, no: HostNo, write: WriteId) {
        let disk = &mut self.hosts[no.index()].disk;
        if disk.complete(write) {
            self.checks.promises.synced(no, disk.synced());
        }
    }
}
