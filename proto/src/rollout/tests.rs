use super::*;
use crate::entry::Creator;
use crate::entry::ErrorCode;
use crate::id::Digest;
use crate::policy::{Minimum, Policy};
use crate::revision::Revision;

fn host(number: u32) -> HostId {
    let mut key = [0; 32];
    key[..4].copy_from_slice(&number.to_be_bytes());
    HostId::from_public_key(key)
}

fn submission(minimum: Minimum) -> Submission {
    Submission {
        deployment: DeploymentId::derive(b"test"),
        group: "hello/prod".parse().expect("a name"),
        revision: Revision { digest: Digest([2; 32]), size: 1, origin: String::new() },
        policy: Policy { minimum, ..Policy::default() },
        creator: Creator::User,
        rollback_of: None,
        description: String::new(),
        holders: Vec::new(),
        queue: false,
        by: String::new(),
    }
}

fn failed() -> TurnOutcome {
    TurnOutcome::Failed(Failure {
        event: None,
        code: ErrorCode::ScriptFailed,
        script: String::new(),
        message: String::new(),
        log: String::new(),
    })
}

/// The state of a host before it enters the rollout.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Was {
    Well,
    Broken,
    Down,
}

/// Makes hosts 0, 1, 2 … in these zones. All are healthy with an older revision,
/// except for those in `others`.
fn entrants(zones: &[&str], others: &[(u32, Was)]) -> Vec<Entrant> {
    let old = Standing { health: Health::Healthy, revision: Some(Digest([1; 32])) };
    let was = |number| others.iter().find(|(at, _)| *at == number).map_or(Was::Well, |(_, was)| *was);
    (0..)
        .zip(zones)
        .map(|(number, zone)| Entrant {
            host: host(number),
            standing: (was(number) != Was::Broken).then_some(old),
            down: (was(number) == Was::Down).then_some(LedgerTime::from_millis(1)),
            ailing: None,
            target: true,
            zone: (*zone).into(),
        })
        .collect()
}

/// A rollout that a test plays step by step. Each step names the hosts that are in
/// their turn after it.
struct Play {
    rollout: Rollout,
    at: u64,
}

impl Play {
    fn of(policy: Policy, entrants: Vec<Entrant>) -> Play {
        let at = LedgerTime::from_millis(1_000);
        let mut rollout = Rollout::queued(Submission { policy, ..submission(Minimum::OneAtATime) }, at);
        rollout.begin(&entrants, at);
        Play { rollout, at: 1_000 }
    }

    fn now(&self) -> LedgerTime {
        LedgerTime::from_millis(self.at)
    }

    fn flying(&self) -> Vec<u32> {
        let number =
            |host: &HostId| u32::from_be_bytes(host.public_key()[..4].try_into().expect("four bytes"));
        self.rollout.in_flight().iter().map(number).collect()
    }

    /// Folds that a host starts its turn.
    fn starts(&mut self, number: u32) {
        assert!(self.rollout.start_turn(host(number), self.now()), "host {number} has a lease");
    }

    /// Folds the start and the end of a host's turn.
    fn end(&mut self, number: u32, outcome: TurnOutcome, flying: &[u32]) {
        let at = self.now();
        if !matches!(self.rollout.members()[&host(number)].stage, Stage::Started { .. }) {
            self.starts(number);
        }
        assert!(self.rollout.end_turn(host(number), outcome, at).is_some());
        assert_eq!(self.flying(), flying, "after the turn of host {number}: {:?}", self.rollout.verdict);
    }

    fn succeeds(&mut self, number: u32, flying: &[u32]) {
        self.end(number, TurnOutcome::Succeeded, flying);
    }

    fn fails(&mut self, number: u32, flying: &[u32]) {
        self.end(number, failed(), flying);
    }

    /// Lets this many seconds pass.
    fn later(&mut self, seconds: u64, flying: &[u32]) {
        self.at += seconds * 1_000;
        self.rollout.wake(self.now());
        assert_eq!(self.flying(), flying, "{seconds} s later: {:?}", self.rollout.verdict);
    }

    fn down(&mut self, number: u32, is_down: bool, flying: &[u32]) {
        let at = self.now();
        self.rollout.set_down(host(number), is_down.then_some(at), at);
        assert_eq!(self.flying(), flying, "after host {number} went Down or up");
    }

    /// Folds that the check finds a host unwell, or well again.
    fn unwell(&mut self, number: u32, is_unwell: bool, flying: &[u32]) {
        let at = self.now();
        self.rollout.set_ailing(host(number), is_unwell.then_some(at), at);
        assert_eq!(self.flying(), flying, "after host {number} became unwell or well");
    }

    fn is(&self, status: DeploymentStatus) {
        assert_eq!(self.rollout.status(), status, "{:?}", self.rollout.turn());
    }

    fn ends_as(&self, code: Option<ReasonCode>) {
        let got = match self.rollout.verdict.as_ref().expect("a verdict") {
            Verdict::Succeeded => None,
            Verdict::Failed(reason) | Verdict::Stopped(reason) => Some(reason.code),
        };
        assert_eq!(got, code, "{:?}", self.rollout.verdict);
    }
}

mod bakes;
mod canary;
mod entries;
mod forecast;
mod guide;
mod leases;
mod past;
mod zones;
