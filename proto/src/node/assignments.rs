//! Assignments: work that one host does for all, for as long as the ledger holds it.
//! An alarm is read while its deployment runs, and the notifications of a trigger are
//! delivered while some are outstanding.
//!
//! Each assignment has a key, hosts that are eligible (those of its group that are
//! alive; if none is, all that are alive), and for some a time after which the next
//! host takes over although the first is alive. The eligible hosts are ranked by
//! rendezvous hashing: by a hash of the key and the host. The first does the work, and
//! the next one follows when that is gone. A host counts as alive if it is not Down by
//! the ledger and this host hears it, so the hosts may not agree. Two that both work
//! for a moment do no harm.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Node;
use super::duties::rank;
use super::tasks::Purpose;
use crate::alarm::watch::{ToRead, WatchAct, Watched, takeover_after};
use crate::entry::Index;
use crate::group::{Group, TagSets};
use crate::id::HostId;
use crate::state::Host;
use crate::statement::Statement;
use crate::task::Task;
use crate::time::Time;
use crate::trigger::delivery::{DeliverAct, Subscription, ToDeliver};

/// The most happenings of one trigger to look at ahead: more than can be told
/// before the ledger has heard of the first.
const AHEAD_MAX: usize = 256;

/// The most ranks that are remembered: each deployment brings new assignments, even
/// in a mesh whose hosts never change.
const RANKS_MAX: usize = 4_096;

/// One row of the table of assignments.
struct Assignment<'a> {
    key: String,
    group: &'a Group,
    /// The time after which each host follows the one before it, if the ledger knows
    /// of no result; `None` if a host follows only one that is gone.
    takeover_after: Option<Duration>,
}

/// The ranks of this host that were computed. Each costs one hash for every host.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranks {
    /// The versions of hosts and of liveness for which the ranks hold.
    of: (Index, u64),
    known: BTreeMap<String, (TagSets, Option<u32>)>,
}

impl Node {
    /// Takes the assignments that are this host's by the ledger and its connections, and
    /// gives up all others.
    pub(super) fn take_assignments(&mut self, now: Time) {
        let (to_read, to_deliver) = match self.is_off() {
            true => (Vec::new(), Vec::new()),
            false => self.assigned_here(),
        };
        let acts = self.alarms.set(to_read, now);
        self.act_on_alarms(acts);
        let acts = self.deliveries.set(to_deliver, now);
        self.act_on_triggers(acts, now);
    }

    /// Begins what is due, and returns what must be proposed to the ledger.
    pub(super) fn work_assignments(&mut self, now: Time) -> Vec<Statement> {
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

    pub(super) fn next_assignment(&self) -> Option<Time> {
        let next = [self.alarms.next(), self.deliveries.next()].into_iter().flatten().min();
        next.filter(|_| !self.is_off())
    }

    fn assigned_here(&mut self) -> (Vec<ToRead>, Vec<ToDeliver>) {
        let mut ranks = std::mem::take(&mut self.ranks);
        let of = (self.state.hosts_changed_at(), self.mesh.version());
        if ranks.of != of {
            ranks = Ranks { of, known: BTreeMap::new() };
        }
        let assigned = (self.alarms_here(&mut ranks), self.notifications_here(&mut ranks));
        self.ranks = ranks;
        assigned
    }

    fn alarms_here(&self, ranks: &mut Ranks) -> Vec<ToRead> {
        let to_read = self.state.alarms_to_read().into_iter().map(|(group, rollout, alarm)| {
            let deployment = rollout.submission.deployment;
            let watched = Watched { group: group.group.name.clone(), deployment, alarm: alarm.name.clone() };
            let assignment = Assignment {
                key: format!("alarm {} {deployment} {}", watched.group, watched.alarm),
                group: &group.group,
                takeover_after: Some(takeover_after(alarm)),
            };
            ToRead {
                watched,
                alarm: alarm.clone(),
                said: self
                    .state
                    .alarms()
                    .standing_in(&group.group.name, deployment, alarm)
                    .map(|standing| standing.state),
                waits: self.waits(ranks, assignment),
            }
        });
        to_read.collect()
    }

    fn notifications_here(&self, ranks: &mut Ranks) -> Vec<ToDeliver> {
        let mut to_deliver = Vec::new();
        let notifications = self.state.notifications();
        for (name, group) in self.state.groups() {
            for trigger in &group.group.triggers {
                let mut waiting = notifications.undelivered(name, trigger).peekable();
                let subscription = Subscription { group: name.clone(), trigger: trigger.name.clone() };
                let cursor = notifications.cursor(name, &trigger.name);
                let Some(cursor) = cursor.filter(|_| waiting.peek().is_some()) else { continue };
                let assignment = Assignment {
                    key: format!("trigger {} {}", subscription.group, subscription.trigger),
                    group: &group.group,
                    takeover_after: None,
                };
                if self.waits(ranks, assignment) == Some(Duration::ZERO) {
                    let waiting = waiting.take(AHEAD_MAX).cloned().collect();
                    let (trigger, up_to) = (trigger.clone(), cursor.up_to);
                    to_deliver.push(ToDeliver { subscription, trigger, up_to, waiting });
                }
            }
        }
        to_deliver
    }

    /// Returns how long this host leaves an assignment to the hosts before it; `None`
    /// if it is not eligible, or follows only if they are gone.
    fn waits(&self, ranks: &mut Ranks, assignment: Assignment<'_>) -> Option<Duration> {
        let takeover_after = assignment.takeover_after;
        match self.rank(ranks, assignment)? {
            0 => Some(Duration::ZERO),
            rank => takeover_after.map(|after| after.saturating_mul(rank)),
        }
    }

    /// Returns the number of eligible hosts before this one; `None` if it is not
    /// eligible.
    fn rank(&self, ranks: &mut Ranks, assignment: Assignment<'_>) -> Option<u32> {
        let Assignment { key, group, .. } = assignment;
        if let Some((tags, rank)) = ranks.known.get(&key)
            && *tags == group.tags
        {
            return *rank;
        }
        let me = self.config.host;
        let hosts = self.alive_hosts();
        let alive = hosts.iter().filter(|host| **host == me || !self.mesh.lost().contains(host));
        let alive = alive.filter_map(|host| self.state.host(*host)).filter(|host| host.down.is_none());
        let (of_group, others): (Vec<&Host>, Vec<&Host>) =
            alive.partition(|host| group.tags.matches(&host.record.tags));
        let eligible = if of_group.is_empty() { others } else { of_group };
        let eligible: Vec<HostId> = eligible.into_iter().map(|host| host.record.host).collect();
        let hash = *blake3::hash(key.as_bytes()).as_bytes();
        let rank = eligible.contains(&me).then(|| rank(me, &eligible, &hash));
        let rank = rank.map(|rank| u32::try_from(rank).unwrap_or(u32::MAX));
        if ranks.known.len() >= RANKS_MAX {
            ranks.known.clear();
        }
        ranks.known.insert(key, (group.tags.clone(), rank));
        rank
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
