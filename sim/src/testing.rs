//! Short histories for the tests of the checkers and of the model.

use proto::entry::{Creator, Entry, ErrorCode, Failure, HostRecord, ProposalId, Submission, TurnOutcome};
use proto::group::{Group, TagFilter, TagSets};
use proto::id::{DeploymentId, Digest, VoterId};
use proto::lifecycle::LifecycleEvent;
use proto::policy::{FileExists, Policy};
use proto::revision::Revision;
use proto::statement::{Finding, Intent, Report, Statement};
use proto::task::Run;
use proto::time::LedgerTime;
use std::cell::Cell;

use crate::host::{HostNo, Profile, SimHost};

pub(crate) struct Known {
    pub(crate) record: HostRecord,
}

pub(crate) fn host(no: u32) -> Known {
    let tags = [proto::group::Tag::parse("role=web").expect("a tag")].into();
    let host = SimHost::new(HostNo(no), Profile { tags, ..Profile::default() });
    Known {
        record: HostRecord {
            host: host.id,
            voter: VoterId(u64::from(no) + 1),
            name: host.name(),
            tags: host.profile.tags.clone(),
            zone: String::new(),
            addresses: vec![host.address()],
            incarnation: 1,
            wire: proto::wire::WIRE,
            replaces: String::new(),
            start: 0,
        },
    }
}

thread_local! {
    /// The number of the next proposal, so that no proposal is made twice.
    static PROPOSED: Cell<u64> = const { Cell::new(0) };
}

pub(crate) fn entry(millis: u64, statement: impl Into<Statement>) -> Entry {
    let statement = statement.into();
    let number = PROPOSED.replace(PROPOSED.get() + 1);
    let author = statement.author().unwrap_or(host(0).record.host);
    let proposal = ProposalId { host: author, incarnation: 1, number };
    Entry { at: LedgerTime::from_millis(millis), proposal, statement }
}

fn group() -> Group {
    let tags = TagSets(vec![vec![TagFilter::parse("role=web").expect("a filter")]]);
    Group::new("web/prod".parse().expect("a name"), tags, Policy::default())
}

fn revision(name: &str) -> Revision {
    Revision { digest: Digest::of(name.as_bytes()), size: 1, origin: name.into() }
}

pub(crate) fn submitted(name: &str) -> Statement {
    Intent::Deploy(Box::new(Submission {
        deployment: DeploymentId::derive(name.as_bytes()),
        group: group().name,
        revision: revision(name),
        policy: Policy::default(),
        creator: Creator::User,
        rollback_of: None,
        description: String::new(),
        holders: Vec::new(),
        queue: false,
        by: String::new(),
    }))
    .into()
}

/// Returns the entries of `hosts` hosts, their group, and a first deployment that
/// has just begun.
pub(crate) fn deployed_to(hosts: u32) -> Vec<Entry> {
    let joins = (0..hosts).map(|no| Statement::Report(Report::HostJoined(host(no).record)));
    let statements = joins.chain([Intent::SetGroup(group()).into(), submitted("one")]);
    (1_000..).zip(statements).map(|(millis, statement)| entry(millis, statement)).collect()
}

/// Returns the same as [`deployed_to`], but the first deployment is over and a
/// second one has begun.
pub(crate) fn redeployed_to(hosts: u32) -> Vec<Entry> {
    let mut entries = deployed_to(hosts);
    let deployment = DeploymentId::derive(b"one");
    let mut add = |statement: Statement| {
        let millis = 1_000 + entries.len() as u64;
        entries.push(entry(millis, statement));
    };
    for no in 0..hosts {
        let host = host(no).record.host;
        add(Report::TurnStarted { deployment, host }.into());
        add(Report::TurnEnded { deployment, host, outcome: TurnOutcome::Succeeded }.into());
    }
    add(Finding::Finished { deployment }.into());
    add(submitted("two"));
    entries
}

/// Returns the failure of a script.
pub(crate) fn failure() -> Failure {
    let (script, message, log) = (String::new(), String::new(), String::new());
    Failure { event: None, code: ErrorCode::ScriptFailed, script, message, log }
}

pub(crate) fn run(deployment: DeploymentId, event: LifecycleEvent) -> Run {
    Run {
        deployment,
        group: group().name,
        revision: revision("one"),
        kind: proto::deployment_kind::DeploymentKind::InPlace,
        event,
        file_exists: FileExists::default(),
        sources: Vec::new(),
        script_timeout_max: None,
        anew: None,
    }
}
