//! A forecast of a deployment: a rollout that is played through in no time, by the
//! same fold that will run it.
//!
//! So the forecast and the real deployment cannot follow different rules. A
//! forecast assumes only what the ledger knows: hosts that are Down do not come
//! back (that would be a hope, not a plan), unhealthy hosts are healed by their
//! turn, and each turn takes as long as past ones.

mod failure_limits;

pub use failure_limits::{Outlook, Stops, Worst};

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::time::Duration;

use super::{Blocker, Entrant, Rollout, Turn, Verdict, WaveKind};
use crate::entry::{ErrorCode, Failure, Submission, TurnOutcome};
use crate::id::HostId;
use crate::policy::Policy;
use crate::service::Condition;
use crate::time::LedgerTime;

/// A possible deployment: the group's hosts as they are, and what would be deployed
/// to them.
#[derive(Clone, Debug)]
pub struct Forecast {
    entrants: Vec<Entrant>,
    submission: Submission,
    /// The length of a turn.
    turn: Duration,
}

/// The course of a forecast.
#[derive(Clone, Debug)]
pub struct Played {
    /// The hosts that got their leases at the same time, in order.
    pub batches: Vec<Batch>,
    /// The rollout at its end.
    pub rollout: Rollout,
    /// The time from the first lease to the end of the last turn.
    pub lasted: Duration,
    /// The number of turns that were to fail and had failed when the verdict was
    /// decided.
    failed_by_then: u32,
}

/// Hosts that go at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The time since the first lease.
    pub after: Duration,
    /// The wave that they belong to.
    pub wave: WaveKind,
    /// The hosts, in the order of their turns.
    pub hosts: Vec<HostId>,
}

impl Played {
    /// Returns true if the deployment would succeed.
    pub fn ends_well(&self) -> bool {
        matches!(self.rollout.verdict, Some(Verdict::Succeeded))
    }

    /// Returns what the deployment would wait for until it times out; empty if it
    /// would end.
    pub fn waits_for(&self) -> Vec<Blocker> {
        match self.rollout.turn() {
            Turn::Blocked(blockers) => blockers,
            Turn::Of(_) | Turn::Over(_) => Vec::new(),
        }
    }
}

impl Forecast {
    /// Makes a forecast with these hosts, in the order of their names, in which
    /// each turn takes this long.
    pub fn new(submission: Submission, entrants: Vec<Entrant>, turn: Duration) -> Self {
        Forecast { entrants, submission, turn }
    }

    /// Returns the hosts, in the order of their names.
    pub fn entrants(&self) -> &[Entrant] {
        &self.entrants
    }

    /// Returns the policy of the deployment.
    pub fn policy(&self) -> &Policy {
        &self.submission.policy
    }

    /// Returns the same forecast under another policy.
    fn under(&self, policy: Policy) -> Forecast {
        let submission = Submission { policy, ..self.submission.clone() };
        Forecast { entrants: self.entrants.clone(), submission, turn: self.turn }
    }

    /// Returns the same forecast with turns of this length.
    fn at_pace(&self, turn: Duration) -> Forecast {
        Forecast { turn, ..self.clone() }
    }

    /// Returns the same forecast as if no host were Down.
    #[must_use]
    pub fn with_all_up(&self) -> Forecast {
        let up = |entrant: &Entrant| Entrant { down: None, ..entrant.clone() };
        let entrants = self.entrants.iter().map(up).collect();
        Forecast { entrants, submission: self.submission.clone(), turn: self.turn }
    }

    /// Returns the same forecast without the hosts that are Down.
    #[must_use]
    pub fn without_down(&self) -> Forecast {
        let up = self.entrants.iter().filter(|entrant| entrant.down.is_none());
        Forecast { entrants: up.cloned().collect(), submission: self.submission.clone(), turn: self.turn }
    }

    /// Returns the same forecast with one new host in each of these zones.
    #[must_use]
    pub fn with_new(&self, zones: &[&str]) -> Forecast {
        let new = zones.iter().enumerate().map(|(number, zone)| Entrant {
            host: HostId::from_public_key(*blake3::hash(format!("new host {number}").as_bytes()).as_bytes()),
            standing: None,
            down: None,
            ailing: None,
            target: self.submission.kind().traits().targets.take_new_hosts(),
            zone: (*zone).to_string(),
        });
        let entrants = self.entrants.iter().cloned().chain(new).collect();
        Forecast { entrants, submission: self.submission.clone(), turn: self.turn }
    }

    /// Returns the verdict if the deployment would be over before any host had its
    /// turn.
    pub fn stillborn(&self) -> Option<Verdict> {
        let begun = Playing::begin(self).rollout;
        begun.verdict.filter(|_| begun.counts.in_flight == 0)
    }

    /// Plays the deployment through; `fails` says whose turns fail.
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
    /// The hosts in their turn, ordered by when it ends. Of turns that end at the
    /// same time, the one that began first comes first.
    flying: BinaryHeap<Reverse<(LedgerTime, u32, HostId)>>,
    /// The number of turns that began.
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

    /// Plays until at most this many hosts wait for their turn, if every turn
    /// succeeds until then.
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
        // Every turn that ends at this time does so before another begins.
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

    /// Returns the next host whose turn ends now.
    fn lands(&mut self) -> Option<HostId> {
        self.flying.peek().filter(|Reverse((at, ..))| *at <= self.now)?;
        self.flying.pop().map(|Reverse((.., host))| host)
    }

    /// Begins the turns of hosts that got their leases.
    fn take_off(&mut self, granted: Vec<HostId>) {
        for host in granted {
            // A host that is Down cannot start, so its turn is given up.
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
    /// Returns true if the host is in service before the deployment begins.
    pub fn is_in_service(&self) -> bool {
        let condition = Condition {
            last_turn: self.standing.map(|standing| standing.health),
            fails_check: self.ailing.is_some(),
            is_down: self.down.is_some(),
            is_in_turn: false,
        };
        condition.serves()
    }
}
