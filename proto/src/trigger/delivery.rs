//! Tells receivers what happened, on the host that has that duty: one happening
//! after the other, and each again and again until it arrives or is given up.
//!
//! Invariants: each trigger has at most one delivery under way. The ledger hears of
//! the deliveries of each trigger at most once in [`REPORT_EVERY`].

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::{GivenUp, Happening, Trigger};
use crate::alarm::DETAIL_MAX;
use crate::entry::keep_start;
use crate::id::GroupName;
use crate::io::EffectId;
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
pub(crate) struct Bell {
    pub(crate) group: GroupName,
    pub(crate) trigger: String,
}

/// A trigger that this host must serve, and what it has still to tell.
#[derive(Clone, Debug)]
pub(crate) struct ToTell {
    pub(crate) bell: Bell,
    pub(crate) trigger: Trigger,
    /// The number of the last happening that is settled, by the ledger.
    pub(crate) up_to: u64,
    /// The happenings after that, the oldest first.
    pub(crate) waiting: Vec<Happening>,
}

/// Something that the deliveries ask the node to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TellAct {
    /// Tell this happening.
    Tell(EffectId, Box<(Bell, Trigger, Happening)>),
    /// Stop telling: it is another host's duty now.
    Cancel(EffectId),
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
struct Post {
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
    /// The attempt under way, and the number of its happening.
    telling: Option<(EffectId, u64)>,
    /// The time of the next attempt, unless one is under way.
    next: Time,
    /// The time from which the next entry about the trigger may be proposed.
    report_at: Time,
}

/// All triggers that this host must serve.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deliveries {
    posts: BTreeMap<Bell, Post>,
    next_effect: u64,
}

impl Deliveries {
    /// Sets the triggers to serve now, and gives up all others.
    pub(crate) fn set(&mut self, to_tell: Vec<ToTell>, now: Time) -> Vec<TellAct> {
        let mut before = std::mem::take(&mut self.posts);
        for ToTell { bell, trigger, up_to, waiting } in to_tell {
            let mut post = before.remove(&bell).unwrap_or(Post {
                trigger: trigger.clone(),
                waiting: VecDeque::new(),
                through: up_to,
                said: up_to,
                given_up: Vec::new(),
                tries: 0,
                failing: None,
                telling: None,
                next: now,
                report_at: now,
            });
            post.trigger = trigger;
            post.said = up_to;
            post.through = post.through.max(up_to);
            post.given_up.retain(|given_up| given_up.number > up_to);
            let first = post.first();
            post.waiting = waiting.into_iter().filter(|happening| happening.number > post.through).collect();
            // Another host has told the first happening, or the group no longer
            // wants it told.
            if first != post.first() {
                post.tries = 0;
                post.failing = None;
                post.next = now;
            }
            self.posts.insert(bell, post);
        }
        before
            .into_values()
            .filter_map(|post| post.telling)
            .map(|(effect, _)| TellAct::Cancel(effect))
            .collect()
    }

    /// Begins the attempts that are due.
    pub(crate) fn begin(&mut self, now: Time) -> Vec<TellAct> {
        let mut acts = Vec::new();
        for (bell, post) in &mut self.posts {
            if post.next_try().is_none_or(|at| at > now) {
                continue;
            }
            let Some(first) = post.waiting.front() else { continue };
            let effect = EffectId(EffectId::TRIGGERS + self.next_effect);
            self.next_effect += 1;
            post.telling = Some((effect, first.number));
            post.tries += 1;
            let what = (bell.clone(), post.trigger.clone(), first.clone());
            acts.push(TellAct::Tell(effect, Box::new(what)));
        }
        acts
    }

    /// Takes the result of an attempt.
    pub(crate) fn done(&mut self, effect: EffectId, result: Result<(), String>, now: Time) {
        let Some(post) = self.post_of(effect) else { return };
        let number = post.telling.take().map(|(_, number)| number);
        let Some(first) = post.waiting.front().filter(|first| Some(first.number) == number) else { return };
        post.failing = result.as_ref().err().map(|why| Failing::again(post.failing.take(), why, now));
        match result {
            Ok(()) => {}
            Err(_) if post.tries < TRIES_MAX => {
                // The count is zero if the attempt began for a happening that was
                // unwanted meanwhile.
                let pause = RETRY_FIRST * 2_u32.saturating_pow(post.tries.saturating_sub(1));
                post.next = now + pause;
                return;
            }
            Err(why) => post.given_up.push(GivenUp {
                number: first.number,
                id: first.id(),
                event: first.event,
                deployment: first.deployment,
                why: keep_start(&why, DETAIL_MAX).to_string(),
            }),
        }
        post.through = first.number;
        post.waiting.pop_front();
        post.tries = 0;
        post.next = now;
    }

    fn post_of(&mut self, effect: EffectId) -> Option<&mut Post> {
        self.posts.values_mut().find(|post| post.telling.is_some_and(|(telling, _)| telling == effect))
    }

    /// Returns the failures in a row of a trigger, if this host serves it and its
    /// last attempt failed.
    pub(crate) fn failing(&self, bell: &Bell) -> Option<&Failing> {
        self.posts.get(bell)?.failing.as_ref()
    }

    /// Gives a happening up at once, because an attempt would be useless.
    pub(crate) fn cannot(&mut self, effect: EffectId, why: &str, now: Time) {
        if let Some(post) = self.post_of(effect) {
            post.tries = TRIES_MAX;
        }
        self.done(effect, Err(why.to_string()), now);
    }

    /// Returns what may be proposed to the ledger now.
    pub(crate) fn owed(&mut self, now: Time) -> Vec<Statement> {
        let mut owed = Vec::new();
        for (bell, post) in &mut self.posts {
            if post.through <= post.said || post.report_at > now {
                continue;
            }
            // Given-up happenings that do not fit go into the next entry.
            let given_up: Vec<GivenUp> =
                post.given_up.iter().take(GIVEN_UP_PER_REPORT_MAX).cloned().collect();
            let is_cut = given_up.len() < post.given_up.len();
            let up_to = given_up.last().filter(|_| is_cut).map_or(post.through, |last| last.number);
            let (group, trigger) = (bell.group.clone(), bell.trigger.clone());
            post.report_at = now + REPORT_EVERY;
            owed.push(Report::TriggersDelivered { group, trigger, up_to, given_up }.into());
        }
        owed
    }

    /// Returns when there is something to do.
    pub(crate) fn next(&self) -> Option<Time> {
        let reports = self.posts.values().filter(|post| post.through > post.said).map(|post| post.report_at);
        self.posts.values().filter_map(Post::next_try).chain(reports).min()
    }
}

impl Post {
    fn first(&self) -> Option<u64> {
        self.waiting.front().map(|first| first.number)
    }

    fn next_try(&self) -> Option<Time> {
        (self.telling.is_none() && !self.waiting.is_empty()).then_some(self.next)
    }
}

#[cfg(test)]
mod tests;
