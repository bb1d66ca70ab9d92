//! The duties that one host has for all: reading alarms while a deployment runs, and
//! telling receivers what happened.
//!
//! For each duty the hosts stand in a line of its own, ordered by hash; hosts of
//! the group come before all others. The first one does it for as long as it is up.
//! The hosts do not agree on this. The line holds only hosts that this one can see,
//! so that the next one follows when a host is gone.

use std::collections::BTreeMap;

use super::Node;
use super::duties::place_in_line;
use super::tasks::Purpose;
use crate::alarm::watch::{ToRead, WatchAct, Watched};
use crate::entry::Index;
use crate::group::{Group, TagSets};
use crate::id::HostId;
use crate::statement::Statement;
use crate::task::Task;
use crate::time::Time;
use crate::trigger::delivery::{DeliverAct, Subscription, ToDeliver};

/// The most happenings of one trigger to look at ahead: more than can be told
/// before the ledger has heard of the first.
const AHEAD_MAX: usize = 256;

/// The most places that are remembered: each deployment brings new duties, even in
/// a mesh whose hosts never change.
const PLACES_MAX: usize = 4_096;

/// The places in line that were computed. Each costs one hash for every host.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    /// The versions of hosts and of liveness for which the places hold.
    of: (Index, u64),
    known: BTreeMap<String, (TagSets, Option<u32>)>,
}

impl Node {
    /// Takes the alarms and triggers that are this host's by the ledger and its
    /// connections, and gives up all others.
    pub(super) fn take_posts(&mut self, up: &[HostId], now: Time) {
        let (to_read, to_tell) = match self.is_off() {
            true => (Vec::new(), Vec::new()),
            false => (self.alarms_here(up), self.triggers_here(up)),
        };
        let acts = self.alarms.set(to_read, now);
        self.act_on_alarms(acts);
        let acts = self.deliveries.set(to_tell, now);
        self.act_on_triggers(acts, now);
    }

    /// Begins what is due, and returns what must be proposed to the ledger.
    pub(super) fn keep_posts(&mut self, now: Time) -> Vec<Statement> {
        if self.is_off() {
            return Vec::new();
        }
        let acts = self.alarms.begin(now);
        self.act_on_alarms(acts);
        let acts = self.deliveries.begin(now);
        self.act_on_triggers(acts, now);
        let mut owed = self.alarms.owed();
        owed.extend(self.deliveries.owed(now));
        owed
    }

    pub(super) fn next_post(&self) -> Option<Time> {
        let next = [self.alarms.next(), self.deliveries.next()].into_iter().flatten().min();
        next.filter(|_| !self.is_off())
    }

    fn alarms_here(&mut self, up: &[HostId]) -> Vec<ToRead> {
        let mut places = self.take_places();
        let to_read = self.state.alarms_to_read().into_iter().map(|(group, rollout, alarm)| {
            let deployment = rollout.submission.deployment;
            let watched = Watched { group: group.group.name.clone(), deployment, alarm: alarm.name.clone() };
            let duty = format!("alarm {} {deployment} {}", watched.group, watched.alarm);
            ToRead {
                watched,
                alarm: alarm.clone(),
                said: self
                    .state
                    .alarms()
                    .standing_in(&group.group.name, deployment, alarm)
                    .map(|standing| standing.state),
                place: self.place(&mut places, duty, &group.group, up),
            }
        });
        let to_read = to_read.collect();
        self.places = places;
        to_read
    }

    fn triggers_here(&mut self, up: &[HostId]) -> Vec<ToDeliver> {
        let mut places = self.take_places();
        let mut to_tell = Vec::new();
        let notifications = self.state.notifications();
        for (name, group) in self.state.groups() {
            for trigger in &group.group.triggers {
                let mut waiting = notifications.undelivered(name, trigger).peekable();
                let subscription = Subscription { group: name.clone(), trigger: trigger.name.clone() };
                let cursor = notifications.cursor(name, &trigger.name);
                let Some(cursor) = cursor.filter(|_| waiting.peek().is_some()) else { continue };
                let duty = format!("trigger {} {}", subscription.group, subscription.trigger);
                if self.place(&mut places, duty, &group.group, up) == Some(0) {
                    let waiting = waiting.take(AHEAD_MAX).cloned().collect();
                    let (trigger, up_to) = (trigger.clone(), cursor.up_to);
                    to_tell.push(ToDeliver { subscription, trigger, up_to, waiting });
                }
            }
        }
        self.places = places;
        to_tell
    }

    /// Returns the places, if they still hold.
    fn take_places(&mut self) -> Places {
        let of = (self.state.hosts_changed_at(), self.mesh.version());
        let places = std::mem::take(&mut self.places);
        if places.of == of { places } else { Places { of, known: BTreeMap::new() } }
    }

    /// Returns the number of hosts before this one in line; `None` if it is not in
    /// the line.
    fn place(&self, places: &mut Places, duty: String, group: &Group, up: &[HostId]) -> Option<u32> {
        if let Some((tags, place)) = places.known.get(&duty)
            && *tags == group.tags
        {
            return *place;
        }
        let me = self.config.host;
        let is_there = |host: &&HostId| {
            let is_up = self.state.host(**host).is_some_and(|known| known.down.is_none());
            is_up && (**host == me || !self.mesh.lost().contains(*host))
        };
        let is_of_group = |host: &HostId| {
            self.state.host(*host).is_some_and(|known| group.tags.matches(&known.record.tags))
        };
        let there: Vec<HostId> = up.iter().filter(is_there).copied().collect();
        let of_group: Vec<HostId> = there.iter().filter(|host| is_of_group(host)).copied().collect();
        let line = if of_group.is_empty() { there } else { of_group };
        let key = *blake3::hash(duty.as_bytes()).as_bytes();
        let place = line.contains(&me).then(|| place_in_line(me, &line, &key));
        let place = place.map(|place| u32::try_from(place).unwrap_or(u32::MAX));
        if places.known.len() >= PLACES_MAX {
            places.known.clear();
        }
        places.known.insert(duty, (group.tags.clone(), place));
        place
    }

    fn act_on_alarms(&mut self, acts: Vec<WatchAct>) {
        for act in acts {
            match act {
                WatchAct::Read(what) => {
                    let (watched, alarm) = *what;
                    let Watched { group, deployment, .. } = watched.clone();
                    let task = Task::ReadAlarm { group, deployment, alarm: Box::new(alarm) };
                    self.start_task(Purpose::Alarm(watched), task);
                }
                WatchAct::GiveUp(watched) => self.give_up_task(&Purpose::Alarm(watched)),
            }
        }
    }

    fn act_on_triggers(&mut self, acts: Vec<DeliverAct>, now: Time) {
        for act in acts {
            match act {
                DeliverAct::Notify(what) => {
                    let (subscription, trigger, happening) = *what;
                    match self.state.told(&happening) {
                        Some(told) => {
                            let (target, name) = (trigger.target, subscription.trigger.clone());
                            let task = Task::Notify { target, trigger: name, told: Box::new(told) };
                            self.start_task(Purpose::Notification(subscription), task);
                        }
                        None => self.deliveries.cannot(&subscription, "its deployment is forgotten", now),
                    }
                }
                DeliverAct::GiveUp(subscription) => {
                    self.give_up_task(&Purpose::Notification(subscription));
                }
            }
        }
    }
}
