//! Stalls: the loop of a host does not run for a while. Its events wait, and
//! are handled in their order when the loop runs again.

use std::time::Duration;

use super::{Event, World};
use crate::host::HostNo;

impl World {
    /// Stalls the host's loop for `lasts`. A stall that is under way and ends
    /// later is not shortened.
    pub(super) fn stall(&mut self, no: HostNo, lasts: Duration) {
        let until = self.now + lasts;
        let host = &mut self.hosts[no.index()];
        host.stalled_until = host.stalled_until.max(until);
        self.queue.push(until, Event::Resume { host: no });
    }

    /// Sets the event aside if its host's loop is stalled; otherwise returns
    /// it.
    pub(super) fn unless_stalled(&mut self, event: Event) -> Option<Event> {
        let Some(host) = event.addressee() else { return Some(event) };
        if self.hosts[host.index()].stalled_until <= self.now && !self.waiting.contains_key(&host) {
            return Some(event);
        }
        self.waiting.entry(host).or_default().push_back(event);
        None
    }

    /// Ends a stall, unless a longer one has begun in the meantime.
    pub(super) fn resume(&mut self, no: HostNo) {
        if self.hosts[no.index()].stalled_until > self.now {
            return;
        }
        for event in self.waiting.remove(&no).unwrap_or_default() {
            if let Event::Wake { .. } = event {
                self.hosts[no.index()].wake_at = Some(self.now);
            }
            self.happen(event);
        }
    }
}
