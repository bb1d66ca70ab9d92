//! Delivers notifications to receivers, on the host that is assigned: one after the
//! other, and each again and again until it arrives or is given up.
//!
//! Invariants: each trigger has at most one delivery under way. The ledger hears of
//! the deliveries of each trigger at most once in [`REPORT_EVERY`].

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::{GivenUp, Happening, Trigger};
use crate::alarm::DETAIL_MAX;
use crate::entry::keep_start;
use crate::id::GroupName;
use crate::statement::{Report, Statement};
use crate::time::Time;

/// The number of attempts to tell a happening before it is given up. The pauses
/// between them are 127 seconds in all. With a receiver that never answers, each
/// attempt takes as long as the agent allows.
pub(crate) const TRIES_MAX: u32 = 8;
/// The pause after the first failed attempt. It doubles each time, so it is 64
/// seconds before the last.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// The shortest time between two entries about one trigger: one entry covers
/// everything told meanwhile.
pub(crate) const REPORT_EVERY: Duration = Duration::from_secs(1);
/// The most given-up happenings in one entry.
pub(crate) const GIVEN_UP_PER_REPORT_MAX: usize = 16;

/// The identity of a trigger.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Subscription {
    pub(crate) group: GroupName,
    pub(crate) trigger: String,
}

/// A trigger that this host must serve, and what it has still to tell.
#[derive(Clone, Debug)]
pub(crate) struct ToDeliver {
    pub(crate) subscription: Subscription,
    pub(crate) trigger: Trigger,
    /// The number of the last happening that is settled, by the ledger.
    pub(crate) up_to: u64,
    /// The happenings after that, the oldest first.
    pub(crate) waiting: Vec<Happening>,
}

/// Something that the deliveries ask the node to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DeliverAct {
    /// Notify the receiver of this happening.
    Notify(Box<(Subscription, Trigger, Happening)>),
    /// Give up the attempt: another host is assigned now.
    GiveUp(Subscription),
}

/// Attempts to tell a receiver that have failed in a row. Only the host that makes
/// them knows this, until it gives up: the ledger does not hear of each attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// The number of failed attempts in a row, for one happening or several.
    pub tries: u32,
    /// The time at which the first of them failed, by this host's clock.
    pub since: Time,
    /// The time at which the last of them failed, by this host's clock.
    pub last: Time,
    /// The reason why the last of them failed.
    pub why: String,
}

impl Failing {
    fn again(before: Option<Failing>, why: &str, now: Time) -> Self {
        let (tries, since) = before.map_or((0, now), |before| (before.tries, before.since));
        let why = keep_start(why, DETAIL_MAX).to_string();
        Failing { tries: tries.saturating_add(1), since, last: now, why }
    }
}

#[derive(Clone, Debug)]
struct Queue {
    trigger: Trigger,
    waiting: VecDeque<Happening>,
    /// The last happening that was told or given up here.
    through: u64,
    /// The last happening that is settled by the ledger.
    said: u64,
    given_up: Vec<GivenUp>,
    tries: u32,
    /// The failures in a row; `None` once an attempt succeeds.
    failing: Option<Failing>,
    /// The number of the happening of which the receiver is being notified.
    attempt: Option<u64>,
    /// The time of the next attempt, unless one is under way.
    next: Time,
    /// The time from which the next entry about the trigger may be proposed.
    report_at: Time,
}

/// All triggers that this host must serve.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deliveries {
    queues: BTreeMap<Subscription, Queue>,
}

impl Deliveries {
    /// Sets the triggers to serve now, and gives up all others.
    pub(crate) fn set(&mut self, to_deliver: Vec<ToDeliver>, now: Time) -> Vec<DeliverAct> {
        let mut before = std::mem::take(&mut self.queues);
        for ToDeliver { subscription, trigger, up_to, waiting } in to_deliver {
            let mut queue = before.remove(&subscription).unwrap_or(Queue {
                trigger: trigger.clone(),
                waiting: VecDeque::new(),
                through: up_to,
                said: up_to,
                given_up: Vec::new(),
                tries: 0,
                failing: None,
                attempt: None,
                next: now,
                report_at: now,
            });
            queue.trigger = trigger;
            queue.said = up_to;
            queue.through = queue.through.max(up_to);
            queue.given_up.retain(|given_up| given_up.number > up_to);
            let first = queue.first();
            queue.waiting =
                waiting.into_iter().filter(|happening| happening.number > queue.through).collect();
            // Another host has told the first happening, or the group no longer
            // wants it told.
            if first != queue.first() {
                queue.tries = 0;
                queue.failing = None;
                queue.next = now;
            }
            self.queues.insert(subscription, queue);
        }
        let under_way = before.into_iter().filter(|(_, queue)| queue.attempt.is_some());
        under_way.map(|(subscription, _)| DeliverAct::GiveUp(subscription)).collect()
    }

    /// Begins the attempts that are due.
    pub(crate) fn begin(&mut self, now: Time) -> Vec<DeliverAct> {
        let mut acts = Vec::new();
        for (subscription, queue) in &mut self.queues {
            if queue.next_try().is_none_or(|at| at > now) {
                continue;
            }
            let Some(first) = queue.waiting.front() else { continue };
            queue.attempt = Some(first.number);
            queue.tries += 1;
            let what = (subscription.clone(), queue.trigger.clone(), first.clone());
            acts.push(DeliverAct::Notify(Box::new(what)));
        }
        acts
    }

    /// Takes the result of an attempt.
    pub(crate) fn done(&mut self, subscription: &Subscription, result: Result<(), String>, now: Time) {
        let Some(queue) = self.queues.get_mut(subscription) else { return };
        let number = queue.attempt.take();
        let Some(first) = queue.waiting.front().filter(|first| Some(first.number) == number) else { return };
        queue.failing = result.as_ref().err().map(|why| Failing::again(queue.failing.take(), why, now));
        match result {
            Ok(()) => {}
            Err(_) if queue.tries < TRIES_MAX => {
                // The count is zero if the attempt began for a happening that was
                // unwanted meanwhile.
                let pause = RETRY_FIRST * 2_u32.saturating_pow(queue.tries.saturating_sub(1));
                queue.next = now + pause;
                return;
            }
            Err(why) => queue.given_up.push(GivenUp {
                number: first.number,
                id: first.id(),
                event: first.event,
                deployment: first.deployment,
                why: keep_start(&why, DETAIL_MAX).to_string(),
            }),
        }
        queue.through = first.number;
        queue.waiting.pop_front();
        queue.tries = 0;
        queue.next = now;
    }

    /// Returns the failures in a row of a trigger, if this host serves it and its
    /// last attempt failed.
    pub(crate) fn failing(&self, subscription: &Subscription) -> Option<&Failing> {
        self.queues.get(subscription)?.failing.as_ref()
    }

    /// Gives a happening up at once, because an attempt would be useless.
    pub(crate) fn cannot(&mut self, subscription: &Subscription, why: &str, now: Time) {
        if let Some(queue) = self.queues.get_mut(subscription) {
            queue.tries = TRIES_MAX;
        }
        self.done(subscription, Err(why.to_string()), now);
    }

    /// Returns what may be proposed to the ledger now.
    pub(crate) fn owed(&mut self, now: Time) -> Vec<Statement> {
        let mut owed = Vec::new();
        for (subscription, queue) in &mut self.queues {
            if queue.through <= queue.said || queue.report_at > now {
                continue;
            }
            // Given-up happenings that do not fit go into the next entry.
            let given_up: Vec<GivenUp> =
                queue.given_up.iter().take(GIVEN_UP_PER_REPORT_MAX).cloned().collect();
            let is_cut = given_up.len() < queue.given_up.len();
            let up_to = given_up.last().filter(|_| is_cut).map_or(queue.through, |last| last.number);
            let (group, trigger) = (subscription.group.clone(), subscription.trigger.clone());
            queue.report_at = now + REPORT_EVERY;
            owed.push(Report::TriggersDelivered { group, trigger, up_to, given_up }.into());
        }
        owed
    }

    /// Returns when there is something to do.
    pub(crate) fn next(&self) -> Option<Time> {
        let reports =
            self.queues.values().filter(|queue| queue.through > queue.said).map(|queue| queue.report_at);
        self.queues.values().filter_map(Queue::next_try).chain(reports).min()
    }
}

impl Queue {
    fn first(&self) -> Option<u64> {
        self.waiting.front().map(|first| first.number)
    }

    fn next_try(&self) -> Option<Time> {
        (self.attempt.is_none() && !self.waiting.is_empty()).then_some(self.next)
    }
}

#[cfg(test)]
mod tests;
