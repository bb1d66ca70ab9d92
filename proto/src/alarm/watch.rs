//! Reads alarms on this host: decides which alarms are its to read now, and keeps
//! what it found until the ledger says it.
//!
//! For each alarm the hosts stand in a line by hash. The first one that is up reads
//! the alarm, and the next one steps in when it is gone. If two hosts both believe
//! to be the first, they read twice and say the same, which does no harm.
//!
//! Hosts of the group come first in the line, because they have the command and its
//! secret. The next host reads too if the first reading does not come, so a host that
//! hangs cannot block a release.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Alarm, AlarmState, Reading};
use crate::id::{DeploymentId, GroupName};
use crate::statement::{Report, Statement};
use crate::time::Time;

/// The number of readings in a row that must fail before the alarm is reported
/// unreadable: one lost packet should not stop a release.
pub(crate) const UNREADABLE_TRIES: u32 = 3;
/// The longest pause after a failed reading.
const UNREADABLE_RETRY: Duration = Duration::from_secs(2);
/// Part of the wait for hosts that are before this one in line, in case they are up
/// but say nothing. For each of them it waits as long as a first reading may take,
/// and this much longer.
const FIRST_SLACK: Duration = Duration::from_secs(10);

/// The identity of an alarm while a deployment runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Watched {
    pub(crate) group: GroupName,
    pub(crate) deployment: DeploymentId,
    pub(crate) alarm: String,
}

/// An alarm to read, by the ledger and by this host's place in line.
#[derive(Clone, Debug)]
pub(crate) struct ToRead {
    pub(crate) watched: Watched,
    pub(crate) alarm: Alarm,
    /// The state of the alarm in this deployment, by the ledger; `None` if it was
    /// not read yet.
    pub(crate) said: Option<AlarmState>,
    /// The time that this host leaves the alarm to the hosts before it; `None` if it
    /// does not read it.
    pub(crate) waits: Option<Duration>,
}

/// Something that the watch asks the node to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WatchAct {
    /// Read this alarm.
    Read(Box<(Watched, Alarm)>),
    /// Give up the reading: its result is no longer needed.
    GiveUp(Watched),
}

#[derive(Clone, Debug)]
struct Watching {
    to_read: ToRead,
    /// The time at which this host began to watch the alarm.
    since: Time,
    /// The time of the next reading, unless one is under way.
    next: Time,
    /// The time at which the reading under way began.
    reading: Option<Time>,
    /// The number of failed readings in a row.
    failures: u32,
    /// The last result, until the ledger says it. Each result is proposed once, so
    /// two hosts that read different states do not contradict each other again and
    /// again between their readings.
    found: Option<Reading>,
}

/// All alarms of running deployments.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    watching: BTreeMap<Watched, Watching>,
}

impl Watch {
    /// Sets the alarms to watch now, and gives up all others.
    pub(crate) fn set(&mut self, to_read: Vec<ToRead>, now: Time) -> Vec<WatchAct> {
        let before = std::mem::take(&mut self.watching);
        // An alarm whose definition has changed is a different alarm.
        let defined: BTreeMap<Watched, ToRead> =
            to_read.into_iter().map(|to_read| (to_read.watched.clone(), to_read)).collect();
        let is_still_it = |one: &Watching| {
            defined.get(&one.to_read.watched).is_some_and(|to_read| to_read.alarm == one.to_read.alarm)
        };
        let (mut kept, gone): (BTreeMap<Watched, Watching>, BTreeMap<Watched, Watching>) =
            before.into_iter().partition(|(_, one)| is_still_it(one));
        for to_read in defined.into_values() {
            let mut known = kept.remove(&to_read.watched).unwrap_or(Watching {
                to_read: to_read.clone(),
                since: now,
                next: now,
                reading: None,
                failures: 0,
                found: None,
            });
            known.to_read = to_read;
            known.forget_said();
            self.watching.insert(known.to_read.watched.clone(), known);
        }
        let reading = gone.into_iter().filter(|(_, one)| one.reading.is_some());
        reading.map(|(watched, _)| WatchAct::GiveUp(watched)).collect()
    }

    /// Begins the readings that are due on this host.
    pub(crate) fn begin(&mut self, now: Time) -> Vec<WatchAct> {
        let mut acts = Vec::new();
        for one in self.watching.values_mut() {
            if one.reading.is_none() && one.next_at().is_some_and(|at| at <= now) {
                one.reading = Some(now);
                let what = (one.to_read.watched.clone(), one.to_read.alarm.clone());
                acts.push(WatchAct::Read(Box::new(what)));
            }
        }
        acts
    }

    /// Takes the result of a reading.
    pub(crate) fn done(&mut self, watched: &Watched, reading: Reading, now: Time) {
        let Some(one) = self.watching.get_mut(watched) else { return };
        let Some(began) = one.reading.take() else { return };
        let every = one.to_read.alarm.every;
        let pause = match reading.state {
            AlarmState::Ok | AlarmState::Active => {
                one.failures = 0;
                one.found = Some(reading);
                every
            }
            AlarmState::Unreadable => {
                one.failures = one.failures.saturating_add(1);
                if one.failures >= UNREADABLE_TRIES {
                    one.found = Some(reading);
                }
                every.min(UNREADABLE_RETRY)
            }
        };
        one.next = (began + pause).max(now);
        one.forget_said();
    }

    /// Returns what was found here and the ledger does not say.
    pub(crate) fn owed(&self) -> Vec<Statement> {
        let mine = self.watching.values().filter(|one| one.next_at().is_some());
        let news = mine.filter_map(|one| {
            let found = one.found.as_ref()?;
            let Watched { group, deployment, alarm } = one.to_read.watched.clone();
            let Reading { state, detail } = found.clone();
            Some(Report::AlarmRead { group, deployment, alarm, state, detail }.into())
        });
        news.collect()
    }

    /// Returns when the next reading begins here.
    pub(crate) fn next(&self) -> Option<Time> {
        let idle = self.watching.values().filter(|one| one.reading.is_none());
        idle.filter_map(Watching::next_at).min()
    }
}

impl Watching {
    fn forget_said(&mut self) {
        self.found = self.found.take().filter(|found| self.to_read.said != Some(found.state));
    }

    /// Returns when this host reads the alarm. The first in line reads it. A host
    /// after it reads only if the ledger still knows nothing after enough time.
    fn next_at(&self) -> Option<Time> {
        let waits = self.to_read.waits?;
        if waits.is_zero() {
            return Some(self.next);
        }
        self.to_read.said.is_none().then(|| self.next.max(self.since + waits))
    }
}

/// Returns how long each host waits for the one before it to read an alarm first.
pub(crate) fn takeover_after(alarm: &Alarm) -> Duration {
    (alarm.timeout + UNREADABLE_RETRY) * UNREADABLE_TRIES + FIRST_SLACK
}

#[cfg(test)]
mod tests;
