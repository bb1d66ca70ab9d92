//! A rollout played through in no time, by the very fold that will do it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::time::Duration;

use proto::entry::{Creator, ErrorCode, Failure, Submission, TurnOutcome};
use proto::id::{DeploymentId, Digest, HostId};
use proto::policy::Policy;
use proto::revision::Revision;
use proto::rollout::{Entrant, Rollout, WaveKind};
use proto::state::{GroupState, State};
use proto::time::LedgerTime;

/// What is played: the group's hosts as they are, a revision, a policy.
pub(super) struct Play {
    entrants: Vec<Entrant>,
    submission: Submission,
    /// How long a turn takes.
    turn: Duration,
}

/// How it went.
pub(super) struct Played {
    /// Hosts that got their leases in the same moment, in order.
    pub(super) batches: Vec<Batch>,
    pub(super) rollout: Rollout,
    /// From the first lease to the last turn's end.
    pub(super) lasted: Duration,
}

/// Hosts that go together.
pub(super) struct Batch {
    /// After the first lease.
    pub(super) after: Duration,
    pub(super) wave: WaveKind,
    pub(super) hosts: Vec<HostId>,
}

impl Play {
    pub(super) fn new(
        state: &State,
        known: &GroupState,
        policy: &Policy,
        digest: Digest,
        turn: Duration,
    ) -> Self {
        let submission = submission(known, policy, digest);
        let targets = state.targets(&submission);
        let entrant = |host: &proto::state::Host| Entrant {
            host: host.record.host,
            standing: known.standing.get(&host.record.host).copied(),
            down: host.down,
            ailing: known.ailing(host.record.host).map(|ailing| ailing.since),
            target: targets.as_ref().is_none_or(|targets| targets.contains(&host.record.host)),
            zone: host.record.zone.clone(),
        };
        Play { entrants: state.members_of(&known.group).into_iter().map(entrant).collect(), submission, turn }
    }

    pub(super) fn entrants(&self) -> &[Entrant] {
        &self.entrants
    }

    /// The same hosts under another minimum.
    pub(super) fn under(&self, policy: Policy) -> Play {
        let submission = Submission { policy, ..self.submission.clone() };
        Play { entrants: self.entrants.clone(), submission, turn: self.turn }
    }

    /// The same, with turns that take so long.
    pub(super) fn at_pace(&self, turn: Duration) -> Play {
        Play { entrants: self.entrants.clone(), submission: self.submission.clone(), turn }
    }

    /// The same, with nobody Down.
    pub(super) fn with_all_up(&self) -> Play {
        let up = |entrant: &Entrant| Entrant { down: None, ..entrant.clone() };
        Play {
            entrants: self.entrants.iter().map(up).collect(),
            submission: self.submission.clone(),
            turn: self.turn,
        }
    }

    /// Plays it through; `fails` says whose turns fail. A host that is Down
    /// fails anyway: that it comes back in time is a hope, no plan.
    pub(super) fn through(&self, fails: &dyn Fn(HostId) -> bool) -> Played {
        let start = LedgerTime::from_millis(0);
        let down: HashSet<HostId> =
            self.entrants.iter().filter(|entrant| entrant.down.is_some()).map(|down| down.host).collect();
        let mut rollout = Rollout::queued(self.submission.clone(), start);
        let mut now = start;
        let mut granted = rollout.begin(self.entrants.clone(), start);
        let mut flying = BinaryHeap::new();
        let mut batches: Vec<Batch> = Vec::new();
        loop {
            for host in granted.drain(..) {
                // Whoever is Down cannot start; its turn is given up.
                let takes = if down.contains(&host) {
                    self.submission.policy.lost_after
                } else if rollout.start_turn(host, now) {
                    self.turn
                } else {
                    continue;
                };
                flying.push(Reverse((now + takes, host)));
                let after = now.since(start);
                match batches.last_mut().filter(|batch| batch.after == after) {
                    Some(batch) => batch.hosts.push(host),
                    None => {
                        let wave = rollout.wave_of(host).map(|wave| wave.kind.clone());
                        batches.push(Batch {
                            after,
                            wave: wave.unwrap_or(WaveKind::Rest),
                            hosts: vec![host],
                        });
                    }
                }
            }
            let Some(Reverse((at, host))) = flying.pop() else {
                let Some(until) = rollout.bakes_until() else { break };
                now = until;
                granted = rollout.wake(now);
                continue;
            };
            now = at;
            let outcome = if down.contains(&host) || fails(host) { failed() } else { TurnOutcome::Succeeded };
            granted = rollout.end_turn(host, outcome, now).unwrap_or_default();
        }
        Played { batches, rollout, lasted: now.since(start) }
    }
}

fn submission(known: &GroupState, policy: &Policy, digest: Digest) -> Submission {
    Submission {
        deployment: DeploymentId::derive(b"a plan"),
        group: known.group.name.clone(),
        revision: Revision { digest, size: 0, origin: String::new() },
        policy: policy.clone(),
        creator: Creator::User,
        rollback_of: None,
        description: String::new(),
        holders: Vec::new(),
        queue: false,
    }
}

fn failed() -> TurnOutcome {
    TurnOutcome::Failed(Failure {
        event: None,
        code: ErrorCode::UnknownError,
        script: String::new(),
        message: String::new(),
        log: String::new(),
    })
}
