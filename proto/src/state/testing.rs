//! A ledger for tests of the fold.

use super::{CatchUp, GroupState, State};
use crate::entry::{Creator, Entry, ErrorCode, Failure, HostRecord, ProposalId, Submission, TurnOutcome};
use crate::group::{Group, Tag, TagFilter, TagSets};
use crate::id::{DeploymentId, Digest, GroupName, HostId, VoterId};
use crate::io::Refusal;
use crate::policy::{Minimum, Policy};
use crate::revision::Revision;
use crate::rollout::{DeploymentStatus, Rollout, Stage};
use crate::statement::{Finding, Intent, Report, Statement};
use crate::time::LedgerTime;

/// A ledger for tests: what is due is committed at once, and the test takes the
/// turns.
pub(super) struct Ledger {
    pub(super) state: State,
    pub(super) millis: u64,
}

pub(super) fn host(number: u8) -> HostId {
    HostId::from_public_key([number; 32])
}

pub(super) fn name() -> GroupName {
    "web/prod".parse().expect("a name")
}

pub(super) fn digest(version: u8) -> Digest {
    Digest([version; 32])
}

pub(super) fn record(number: u8, store: u64, tag: &str) -> HostRecord {
    HostRecord {
        host: host(number),
        voter: VoterId(u64::from(number) + 1_000 * store),
        name: format!("web-{number}"),
        tags: [Tag::parse(tag).expect("a tag")].into(),
        zone: String::new(),
        addresses: Vec::new(),
        incarnation: store,
        wire: 1,
        replaces: String::new(),
        start: 0,
    }
}

impl Ledger {
    /// Makes hosts from 0 on, and their group.
    pub(super) fn of(hosts: u8, minimum: Minimum) -> Ledger {
        let mut ledger = Ledger { state: State::founding(), millis: 1_000 };
        (0..hosts).for_each(|number| ledger.join(number));
        ledger.set_group(minimum);
        ledger
    }

    /// Makes the same, with version 1 deployed.
    pub(super) fn deployed(hosts: u8, minimum: Minimum) -> Ledger {
        let mut ledger = Ledger::of(hosts, minimum);
        let first = ledger.deploy(1);
        ledger.finish_well(first);
        assert_eq!(ledger.behind(), []);
        ledger
    }

    pub(super) fn put(&mut self, statement: impl Into<Statement>) -> Result<(), Refusal> {
        let statement = statement.into();
        self.put_by(statement.author().unwrap_or(host(0)), statement)
    }

    pub(super) fn put_by(&mut self, author: HostId, statement: impl Into<Statement>) -> Result<(), Refusal> {
        let statement = statement.into();
        self.millis += 1;
        let proposal = ProposalId { host: author, incarnation: 1, number: self.state.index() };
        let entry = Entry { at: LedgerTime::from_millis(self.millis), proposal, statement };
        self.state.apply(self.state.index() + 1, &entry)
    }

    pub(super) fn say(&mut self, statement: impl Into<Statement>) {
        assert_eq!(self.put(statement), Ok(()));
    }

    pub(super) fn join(&mut self, number: u8) {
        self.say(Report::HostJoined(record(number, 1, "role=web")));
    }

    pub(super) fn set_group(&mut self, minimum: Minimum) {
        let tags = TagSets(vec![vec![TagFilter::parse("role=web").expect("a filter")]]);
        let policy = Policy { minimum, ..Policy::default() };
        self.say(Intent::SetGroup(Group::new(name(), tags, policy)));
    }

    pub(super) fn down(&mut self, number: u8) {
        self.say(Report::HostDown { host: host(number), incarnation: 1 });
    }

    pub(super) fn up(&mut self, number: u8) {
        self.say(Report::HostUp { host: host(number), incarnation: 1 });
    }

    pub(super) fn submission(&self, version: u8) -> Submission {
        Submission {
            deployment: DeploymentId::derive(format!("{version} at {}", self.millis).as_bytes()),
            group: name(),
            revision: Revision { digest: digest(version), size: 1, origin: String::new() },
            policy: self.group().group.policy.clone(),
            creator: Creator::User,
            rollback_of: None,
            description: String::new(),
            holders: Vec::new(),
            queue: false,
            by: String::new(),
        }
    }

    pub(super) fn deploy(&mut self, version: u8) -> DeploymentId {
        let submission = self.submission(version);
        let id = submission.deployment;
        self.say(Intent::Deploy(Box::new(submission)));
        id
    }

    pub(super) fn group(&self) -> &GroupState {
        &self.state.groups()[&name()]
    }

    pub(super) fn rollout(&self, id: DeploymentId) -> &Rollout {
        self.state.rollout(id).expect("it is kept")
    }

    /// Commits what the ledger lacks. Returns the catch-up that began because of
    /// it.
    pub(super) fn do_due(&mut self) -> Option<DeploymentId> {
        let before = self.group().catch_ups;
        for _ in 0..10 {
            self.state.due().into_iter().for_each(|statement| self.say(statement));
        }
        (self.group().catch_ups > before).then(|| self.group().catching_up.expect("it has just begun"))
    }

    pub(super) fn leased(&self, id: DeploymentId) -> Vec<HostId> {
        let holds = |host: &HostId| self.rollout(id).may_start(*host);
        self.rollout(id).members().keys().copied().filter(holds).collect()
    }

    pub(super) fn start(&mut self, id: DeploymentId, number: u8) {
        self.say(Report::TurnStarted { deployment: id, host: host(number) });
    }

    pub(super) fn end(&mut self, id: DeploymentId, number: u8, code: Option<ErrorCode>) {
        let outcome = code.map_or(TurnOutcome::Succeeded, |code| {
            let (script, message, log) = (String::new(), String::new(), String::new());
            TurnOutcome::Failed(Failure { event: None, code, script, message, log })
        });
        self.say(Report::TurnEnded { deployment: id, host: host(number), outcome });
    }

    /// Lets every turn that is still to come succeed, and records the end.
    pub(super) fn finish_well(&mut self, id: DeploymentId) {
        while let Some(next) = self.leased(id).first().copied() {
            self.say(Report::TurnStarted { deployment: id, host: next });
            self.say(Report::TurnEnded { deployment: id, host: next, outcome: TurnOutcome::Succeeded });
        }
        self.say(Finding::Finished { deployment: id });
        assert_eq!(self.rollout(id).status(), DeploymentStatus::Succeeded);
    }

    /// Returns what happens next with every host that is behind.
    pub(super) fn behind(&self) -> Vec<(HostId, CatchUp)> {
        let of = |host: HostId| Some((host, self.state.catch_up(self.group(), host)?));
        self.state.hosts().keys().filter_map(|host| of(*host)).collect()
    }

    pub(super) fn targets(&self, id: DeploymentId) -> Vec<HostId> {
        let is_target = |(_, member): &(&HostId, &crate::rollout::Member)| member.stage != Stage::NotTargeted;
        self.rollout(id).members().iter().filter(is_target).map(|(host, _)| *host).collect()
    }

    pub(super) fn revision(&self, number: u8) -> Option<Digest> {
        self.group().standing.get(&host(number))?.revision
    }
}

impl State {
    /// Makes the state differ, as a bug in the fold would.
    pub(crate) fn corrupt(&mut self) {
        self.clock = self.clock + std::time::Duration::from_millis(1);
        self.hosts.corrupt();
    }
}
