//! How a deployment would go: a rollout played through in no time, by the very
//! fold that will do it.
//!
//! So what is foretold and what is done cannot follow different rules. Foretold
//! is what the ledger knows: hosts that are Down do not come back (that they do is
//! a hope, no plan), hosts that are unhealthy heal in their turn, and each turn
//! takes as long as past ones.

mod bounds;

pub use bounds::{Outlook, Stops, Worst};

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::time::Duration;

use super::{Blocker, Entrant, Health, Rollout, Turn, Verdict, WaveKind};
use crate::entry::{ErrorCode, Failure, Submission, TurnOutcome};
use crate::id::HostId;
use crate::policy::{Mode, Policy};
use crate::time::LedgerTime;

/// A deployment that could be: the group's hosts as they are, and what is wished.
#[derive(Clone, Debug)]
pub struct Forecast {
    entrants: Vec<Entrant>,
    submission: Submission,
    /// How long a turn takes.
    turn: Duration,
}

/// How it went.
#[derive(Clone, Debug)]
pub struct Played {
    /// Hosts that got their leases in the same moment, in order.
    pub batches: Vec<Batch>,
    /// The rollout at its end.
    pub rollout: Rollout,
    /// From the first lease to the last turn's end.
    pub lasted: Duration,
    /// Of the turns that were to fail, those that had when it was decided how it
    /// ends.
    failed_by_then: u32,
}

/// Hosts that go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// After the first lease.
    pub after: Duration,
    /// As part of what.
    pub wave: WaveKind,
    /// Who, in the order of their turns.
    pub hosts: Vec<HostId>,
}

impl Played {
    /// Whether it would end as wished.
    pub fn ends_well(&self) -> bool {
        matches!(self.rollout.verdict, Some(Verdict::Succeeded))
    }

    /// What it would wait for until its time is up; nothing if it would end.
    pub fn waits_for(&self) -> Vec<Blocker> {
        match self.rollout.turn() {
            Turn::Blocked(blockers) => blockers,
            Turn::Of(_) | Turn::Over(_) => Vec::new(),
        }
    }
}

impl Forecast {
    /// Of these hosts, in the order of their names, with turns that take so long.
    pub fn new(submission: Submission, entrants: Vec<Entrant>, turn: Duration) -> Self {
        Forecast { entrants, submission, turn }
    }

    /// The hosts, in the order of their names.
    pub fn entrants(&self) -> &[Entrant] {
        &self.entrants
    }

    /// What is wished.
    pub fn policy(&self) -> &Policy {
        &self.submission.policy
    }

    /// The same under another policy.
    fn under(&self, policy: Policy) -> Forecast {
        let submission = Submission { policy, ..self.submission.clone() };
        Forecast { entrants: self.entrants.clone(), submission, turn: self.turn }
    }

    /// The same, with turns that take so long.
    fn at_pace(&self, turn: Duration) -> Forecast {
        Forecast { turn, ..self.clone() }
    }

    /// The same, with nobody Down.
    #[must_use]
    pub fn with_all_up(&self) -> Forecast {
        let up = |entrant: &Entrant| Entrant { down: None, ..entrant.clone() };
        let entrants = self.entrants.iter().map(up).collect();
        Forecast { entrants, submission: self.submission.clone(), turn: self.turn }
    }

    /// The same, without those that are Down.
    #[must_use]
    pub fn without_down(&self) -> Forecast {
        let up = self.entrants.iter().filter(|entrant| entrant.down.is_none());
        Forecast { entrants: up.cloned().collect(), submission: self.submission.clone(), turn: self.turn }
    }

    /// The same, with a new host for each of these zones.
    #[must_use]
    pub fn with_new(&self, zones: &[&str]) -> Forecast {
        let new = zones.iter().enumerate().map(|(number, zone)| Entrant {
            host: HostId::from_public_key(*blake3::hash(format!("new host {number}").as_bytes()).as_bytes()),
            standing: None,
            down: None,
            ailing: None,
            target: self.policy().mode == Mode::Standard,
            zone: (*zone).to_string(),
        });
        let entrants = self.entrants.iter().cloned().chain(new).collect();
        Forecast { entrants, submission: self.submission.clone(), turn: self.turn }
    }

    /// How it would be over before any host had its turn, if it would.
    pub fn stillborn(&self) -> Option<Verdict> {
        let begun = Playing::begin(self).rollout;
        begun.verdict.filter(|_| begun.counts.in_flight == 0)
    }

    /// Plays it through; `fails` says whose turns fail.
    pub fn play(&self, fails: impl Fn(HostId) -> bool) -> Played {
        Playing::begin(self).play_out(fails)
    }
}

/// A rollout that is being played.
#[derive(Clone)]
struct Playing<'a> {
    of: &'a Forecast,
    down: BTreeSet<HostId>,
    rollout: Rollout,
    batches: Vec<Batch>,
    now: LedgerTime,
    /// Those in their turn, by when it ends; of those that end in one moment, the
    /// first that began is first.
    flying: BinaryHeap<Reverse<(LedgerTime, u32, HostId)>>,
    /// Turns that began.
    begun: u32,
    failed_by_then: u32,
}

const START: LedgerTime = LedgerTime::from_millis(0);

impl<'a> Playing<'a> {
    fn begin(of: &'a Forecast) -> Self {
        let is_down = |entrant: &&Entrant| entrant.down.is_some();
        let mut playing = Playing {
            of,
            down: of.entrants.iter().filter(is_down).map(|entrant| entrant.host).collect(),
            rollout: Rollout::queued(of.submission.clone(), START),
            batches: Vec::new(),
            now: START,
            flying: BinaryHeap::new(),
            begun: 0,
            failed_by_then: 0,
        };
        let granted = playing.rollout.begin(&of.entrants, START);
        playing.take_off(granted);
        playing
    }

    fn play_out(mut self, fails: impl Fn(HostId) -> bool) -> Played {
        while let Some(next) = self.next_moment() {
            self.go_on(next, &fails);
        }
        Played {
            batches: self.batches,
            rollout: self.rollout,
            lasted: self.now.since(START),
            failed_by_then: self.failed_by_then,
        }
    }

    /// Up to where no more than so many hosts wait for their turn, if all goes
    /// well until then.
    fn until_so_many_wait(mut self, hosts: u32) -> Self {
        while self.rollout.counts.pending > hosts {
            let Some(next) = self.next_moment() else { break };
            self.go_on(next, &|_| false);
        }
        self
    }

    fn next_moment(&self) -> Option<LedgerTime> {
        let lands = self.flying.peek().map(|Reverse((at, ..))| *at);
        lands.or_else(|| self.rollout.bakes_until().filter(|until| *until > self.now))
    }

    fn go_on(&mut self, next: LedgerTime, fails: &impl Fn(HostId) -> bool) {
        self.now = next;
        let mut granted = Vec::new();
        // All that ends in one moment, before anybody begins.
        while let Some(host) = self.lands() {
            let outcome = if self.down.contains(&host) {
                failed()
            } else if fails(host) {
                self.failed_by_then += u32::from(self.rollout.verdict.is_none());
                failed()
            } else {
                TurnOutcome::Succeeded
            };
            granted.extend(self.rollout.end_turn(host, outcome, next).unwrap_or_default());
        }
        granted.extend(self.rollout.wake(next));
        self.take_off(granted);
    }

    /// The next whose turn ends now.
    fn lands(&mut self) -> Option<HostId> {
        self.flying.peek().filter(|Reverse((at, ..))| *at <= self.now)?;
        self.flying.pop().map(|Reverse((.., host))| host)
    }

    /// They have their leases and begin.
    fn take_off(&mut self, granted: Vec<HostId>) {
        for host in granted {
            // Whoever is Down cannot start; its turn is given up.
            let policy = &self.of.submission.policy;
            let (is_off, takes) = if self.down.contains(&host) {
                (self.rollout.may_start(host), policy.lost_after.min(policy.start_timeout))
            } else {
                (self.rollout.start_turn(host, self.now), self.of.turn)
            };
            if !is_off {
                continue;
            }
            self.flying.push(Reverse((self.now + takes, self.begun, host)));
            self.begun += 1;
            self.note(host);
        }
    }

    fn note(&mut self, host: HostId) {
        let after = self.now.since(START);
        if let Some(batch) = self.batches.last_mut().filter(|batch| batch.after == after) {
            return batch.hosts.push(host);
        }
        let wave = self.rollout.wave_of(host).map_or(WaveKind::Rest, |wave| wave.kind.clone());
        self.batches.push(Batch { after, wave, hosts: vec![host] });
    }
}

fn failed() -> TurnOutcome {
    TurnOutcome::Failed(Failure::new(None, ErrorCode::UnknownError, String::new()))
}

impl Entrant {
    /// Whether it is in service: its last turn went well, its check passes, and
    /// it is up.
    pub fn is_in_service(&self) -> bool {
        let is_well = self.standing.is_some_and(|standing| standing.health == Health::Healthy);
        is_well && self.down.is_none() && self.ailing.is_none()
    }
}
