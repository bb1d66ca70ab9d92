//! Reading alarms on this host: which ones are its to read now, and what it
//! has found that the ledger does not say yet.
//!
//! The idea is a night watch with a roster: for each alarm the hosts stand in
//! line by hash, the first that is up goes the rounds, and the next steps in
//! when it is gone. Two that both believe to be first read twice and say the
//! same; nothing breaks.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Alarm, AlarmState, Reading};
use crate::entry::Body;
use crate::id::{DeploymentId, GroupName};
use crate::io::EffectId;
use crate::time::Time;

/// So many readings in a row must fail before "unreadable" is said: one lost
/// packet should stop no release.
pub(crate) const UNREADABLE_TRIES: u32 = 3;
/// After a failed reading the next comes so soon, if not sooner anyway.
const UNREADABLE_RETRY: Duration = Duration::from_secs(2);
/// How much longer than a first reading may take is waited for each host
/// before one in line, should it be there and yet say nothing.
const FIRST_SLACK: Duration = Duration::from_secs(10);

/// Names an alarm while a deployment runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Watched {
    pub(crate) group: GroupName,
    pub(crate) deployment: DeploymentId,
    pub(crate) alarm: String,
}

/// An alarm to be read, as the ledger and this host's place in line say.
#[derive(Clone, Debug)]
pub(crate) struct ToRead {
    pub(crate) watched: Watched,
    pub(crate) alarm: Alarm,
    /// What the ledger says of it in this deployment; none if nothing yet.
    pub(crate) said: Option<AlarmState>,
    /// How many hosts stand before this one; none if it is not in line.
    pub(crate) place: Option<u32>,
}

/// What the watch asks of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WatchAct {
    /// Read this alarm.
    Read(EffectId, Box<(Watched, Alarm)>),
    /// Nobody needs this reading any more.
    Cancel(EffectId),
}

#[derive(Clone, Debug)]
struct Post {
    to_read: ToRead,
    /// Since when it is watched here.
    since: Time,
    /// When it is read next, unless it is being read.
    next: Time,
    /// When the reading under way began.
    reading: Option<(EffectId, Time)>,
    /// How often in a row it could not be read.
    failures: u32,
    /// What the last reading gave, until the ledger has said it. One reading
    /// is said once: two hosts that read different things do not go on
    /// contradicting each other between their readings.
    found: Option<Reading>,
}

/// All alarms of running deployments.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    posts: BTreeMap<Watched, Post>,
    next_effect: u64,
}

impl Watch {
    /// These alarms are to be watched now. Gives up the others.
    pub(crate) fn set(&mut self, to_read: Vec<ToRead>, now: Time) -> Vec<WatchAct> {
        let before = std::mem::take(&mut self.posts);
        // One that is defined in another way now is another alarm.
        let defined: BTreeMap<Watched, ToRead> =
            to_read.into_iter().map(|to_read| (to_read.watched.clone(), to_read)).collect();
        let is_still_it = |post: &Post| {
            defined.get(&post.to_read.watched).is_some_and(|to_read| to_read.alarm == post.to_read.alarm)
        };
        let (mut kept, gone): (BTreeMap<Watched, Post>, BTreeMap<Watched, Post>) =
            before.into_iter().partition(|(_, post)| is_still_it(post));
        for to_read in defined.into_values() {
            let mut known = kept.remove(&to_read.watched).unwrap_or(Post {
                to_read: to_read.clone(),
                since: now,
                next: now,
                reading: None,
                failures: 0,
                found: None,
            });
            known.to_read = to_read;
            known.forget_said();
            self.posts.insert(known.to_read.watched.clone(), known);
        }
        let gone = gone.into_values().filter_map(|post| post.reading);
        gone.map(|(effect, _)| WatchAct::Cancel(effect)).collect()
    }

    /// Begins the readings that are due on this host.
    pub(crate) fn begin(&mut self, now: Time) -> Vec<WatchAct> {
        let mut acts = Vec::new();
        for post in self.posts.values_mut() {
            if post.reading.is_none() && post.next_at().is_some_and(|at| at <= now) {
                let effect = EffectId(EffectId::ALARMS + self.next_effect);
                self.next_effect += 1;
                post.reading = Some((effect, now));
                let what = (post.to_read.watched.clone(), post.to_read.alarm.clone());
                acts.push(WatchAct::Read(effect, Box::new(what)));
            }
        }
        acts
    }

    /// A reading has ended.
    pub(crate) fn done(&mut self, effect: EffectId, reading: Reading, now: Time) {
        let is_its = |post: &&mut Post| post.reading.is_some_and(|(reading, _)| reading == effect);
        let Some(post) = self.posts.values_mut().find(is_its) else { return };
        let began = post.reading.take().map_or(now, |(_, began)| began);
        let every = post.to_read.alarm.every;
        let pause = match reading.state {
            AlarmState::Ok | AlarmState::Active => {
                post.failures = 0;
                post.found = Some(reading);
                every
            }
            AlarmState::Unreadable => {
                post.failures = post.failures.saturating_add(1);
                if post.failures >= UNREADABLE_TRIES {
                    post.found = Some(reading);
                }
                every.min(UNREADABLE_RETRY)
            }
        };
        post.next = (began + pause).max(now);
        post.forget_said();
    }

    /// What was found here and the ledger does not say.
    pub(crate) fn owed(&self) -> Vec<Body> {
        let mine = self.posts.values().filter(|post| post.next_at().is_some());
        let news = mine.filter_map(|post| {
            let found = post.found.as_ref()?;
            let Watched { group, deployment, alarm } = post.to_read.watched.clone();
            let Reading { state, detail } = found.clone();
            Some(Body::AlarmRead { group, deployment, alarm, state, detail })
        });
        news.collect()
    }

    /// When the next reading begins here.
    pub(crate) fn next(&self) -> Option<Time> {
        let idle = self.posts.values().filter(|post| post.reading.is_none());
        idle.filter_map(Post::next_at).min()
    }
}

impl Post {
    fn forget_said(&mut self) {
        self.found = self.found.take().filter(|found| self.to_read.said != Some(found.state));
    }

    /// The first in line reads; who comes after it only if the ledger still
    /// knows nothing although there was time enough.
    fn next_at(&self) -> Option<Time> {
        let place = self.to_read.place?;
        if place == 0 {
            return Some(self.next);
        }
        let patience = (self.to_read.alarm.timeout + UNREADABLE_RETRY) * UNREADABLE_TRIES + FIRST_SLACK;
        self.to_read.said.is_none().then(|| self.next.max(self.since + patience * place))
    }
}

#[cfg(test)]
mod tests;
