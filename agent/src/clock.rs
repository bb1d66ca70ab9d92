//! This host's clock, as the node sees it.

use std::time::{Instant, SystemTime};

use proto::time::Time;

/// Reads the wall clock once, at the start, and then only counts on: a node's
/// time never goes back, whatever happens to the host's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
    at_start: Time,
}

impl Clock {
    /// Starts the clock at the wall clock's time.
    pub(crate) fn start() -> Self {
        // A clock that is set before 1970 counts from 1970: entries carry the
        // leader's time, and the node's deadlines only need differences.
        let since_epoch = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        Clock { started: Instant::now(), at_start: Time::from_micros(0) + since_epoch }
    }

    /// Returns the present time.
    pub(crate) fn now(&self) -> Time {
        self.at_start + self.started.elapsed()
    }

    /// Returns the instant at which the node's `time` comes, for a timer.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        self.started + time.since(self.at_start)
    }
}
