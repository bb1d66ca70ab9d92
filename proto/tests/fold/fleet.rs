//! Hosts that only fold entries, for property tests and benchmarks.

use proto::entry::{
    Creator, Entry, ErrorCode, Failure, HostRecord, Index, ProposalId, Submission, TurnOutcome,
};
use proto::group::{Group, Tag, TagFilter, TagSets};
use proto::id::{DeploymentId, Digest, GroupName, HostId, VoterId};
use proto::policy::Policy;
use proto::revision::Revision;
use proto::rollout::Rollout;
use proto::state::State;
use proto::statement::{Intent, Report, Statement};
use proto::time::LedgerTime;

/// The state of a mesh, and all entries that led to it.
#[derive(Clone)]
pub(crate) struct Fleet {
    pub(crate) state: State,
    pub(crate) entries: Vec<Entry>,
    /// The ledger's clock, and how far each entry moves it, in milliseconds.
    pub(crate) now: u64,
    pub(crate) every: u64,
}

/// Returns the n-th host, from 0. The hosts' keys are in the order of their names.
pub(crate) fn host(number: u32) -> HostId {
    let mut key = [0; 32];
    key[..4].copy_from_slice(&number.to_be_bytes());
    HostId::from_public_key(key)
}

fn record(number: u32) -> HostRecord {
    HostRecord {
        host: host(number),
        voter: VoterId(u64::from(number) + 1),
        name: format!("host-{number:05}"),
        tags: [Tag::parse("role=web").expect("a tag")].into(),
        zone: format!("zone-{}", number % 3),
        addresses: vec!["/ip4/192.0.2.1/udp/4001/quic-v1".into()],
        incarnation: 1,
        wire: proto::wire::WIRE,
        replaces: String::new(),
        start: 0,
    }
}

pub(crate) fn group(policy: Policy) -> Group {
    let tags = TagSets(vec![vec![TagFilter::parse("role=web").expect("a filter")]]);
    Group::new(name(), tags, policy)
}

pub(crate) fn name() -> GroupName {
    "web/prod".parse().expect("a name")
}

/// Makes the submission of a revision, which has the same name as the deployment.
pub(crate) fn submission(revision: &str, policy: Policy) -> Submission {
    Submission {
        deployment: DeploymentId::derive(revision.as_bytes()),
        group: name(),
        revision: Revision { digest: Digest::of(revision.as_bytes()), size: 1, origin: revision.into() },
        policy,
        creator: Creator::User,
        rollback_of: None,
        description: String::new(),
        holders: Vec::new(),
        queue: false,
        by: String::new(),
    }
}

pub(crate) fn failed() -> TurnOutcome {
    TurnOutcome::Failed(Failure {
        event: None,
        code: ErrorCode::ScriptFailed,
        script: "scripts/start.sh".into(),
        message: "it ended with 1".into(),
        log: String::new(),
    })
}

impl Fleet {
    /// Makes this many hosts and their group.
    pub(crate) fn new(hosts: u32) -> Self {
        let mut fleet = Fleet { state: State::default(), entries: Vec::new(), now: 1_000, every: 1 };
        (0..hosts).for_each(|number| fleet.say(0, Report::HostJoined(record(number))));
        fleet.say(0, Intent::SetGroup(group(Policy::default())));
        fleet
    }

    /// Folds one more entry, which a host proposes some time after the last.
    pub(crate) fn say(&mut self, by: u32, statement: impl Into<Statement>) {
        let statement = statement.into();
        let index = self.entries.len() as Index + 1;
        let author = statement.author().unwrap_or(host(by));
        let proposal = ProposalId { host: author, incarnation: 1, number: index };
        self.now += self.every;
        let entry = Entry { at: LedgerTime::from_millis(self.now), proposal, statement };
        self.state.apply(index, &entry).expect("an entry that is not refused");
        self.entries.push(entry);
    }

    /// Submits a revision; returns the id of the deployment.
    pub(crate) fn submit(&mut self, revision: &str, policy: Policy) -> DeploymentId {
        let submission = submission(revision, policy);
        let deployment = submission.deployment;
        self.say(0, Intent::Deploy(Box::new(submission)));
        deployment
    }

    pub(crate) fn rollout(&self, deployment: DeploymentId) -> &Rollout {
        self.state.rollout(deployment).expect("it was submitted")
    }

    pub(crate) fn start(&mut self, deployment: DeploymentId, host: HostId) {
        self.say(0, Report::TurnStarted { deployment, host });
    }

    pub(crate) fn end(&mut self, deployment: DeploymentId, host: HostId, succeeds: bool) {
        let outcome = if succeeds { TurnOutcome::Succeeded } else { failed() };
        self.say(0, Report::TurnEnded { deployment, host, outcome });
    }

    /// Folds what the state itself asks for.
    pub(crate) fn do_what_is_due(&mut self) {
        for statement in self.state.due() {
            self.say(0, statement);
        }
    }

    /// Runs a whole deployment; all hosts of a round go at once.
    pub(crate) fn deploy(
        &mut self,
        revision: &str,
        policy: Policy,
        fails: impl Fn(HostId) -> bool,
    ) -> DeploymentId {
        let deployment = self.submit(revision, policy);
        loop {
            let round = self.rollout(deployment).in_flight();
            if round.is_empty() {
                break;
            }
            round.iter().for_each(|host| self.start(deployment, *host));
            round.iter().for_each(|host| self.end(deployment, *host, !fails(*host)));
        }
        self.do_what_is_due();
        deployment
    }
}
