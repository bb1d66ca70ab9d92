use std::time::Duration;

use super::*;
use crate::entry::{Creator, ErrorCode};
use crate::group::{Group, TagFilter, TagSets};
use crate::id::{DeploymentId, Digest, GroupName, HostId, VoterId};
use crate::policy::{DeploymentConfig, Minimum, Policy};
use crate::revision::Revision;
use crate::statement::{Intent, Report};
use crate::time::LedgerTime;

fn group_name() -> GroupName {
    "web/prod".parse().expect("a name")
}

fn record() -> HostRecord {
    HostRecord {
        host: HostId::from_public_key([1; 32]),
        voter: VoterId(1),
        name: "web-1".into(),
        tags: Default::default(),
        zone: String::new(),
        addresses: vec!["/ip4/10.0.0.1/tcp/1".into()],
        incarnation: 1,
        wire: crate::wire::WIRE,
        replaces: String::new(),
        start: 1,
    }
}

fn submission() -> Submission {
    Submission {
        deployment: DeploymentId::derive(b"d"),
        group: group_name(),
        revision: Revision { digest: Digest::of(b"x"), size: 1, origin: "dir".into() },
        policy: Policy::default(),
        creator: Creator::User,
        rollback_of: None,
        description: "first line\n\tsecond".into(),
        holders: Vec::new(),
        queue: false,
        by: "ann on web-1".into(),
    }
}

fn group() -> Group {
    let tags = TagSets(vec![vec![TagFilter::parse("role=web").expect("a tag")]]);
    Group::new(group_name(), tags, Policy::default())
}

fn check(statement: impl Into<Statement>, says: &str) {
    let statement = statement.into();
    let said = statement.check_values().map_or_else(|error| error.to_string(), |()| String::new());
    assert!(if says.is_empty() { said.is_empty() } else { said.contains(says) }, "{statement:?}: {said}");
}

#[test]
fn what_hosts_say_of_themselves_has_bounds() {
    let joined = |change: fn(&mut HostRecord)| {
        let mut record = record();
        change(&mut record);
        Report::HostJoined(record)
    };
    check(joined(|_| {}), "");
    check(joined(|record| record.name = "x".repeat(401)), "the host's name is longer than");
    check(joined(|record| record.name = "a\u{1b}[2J".into()), "the host's name holds a control character");
    check(joined(|record| record.zone = "a\nb".into()), "zone");
    check(joined(|record| record.addresses = vec!["/ip4/1.2.3.4".into(); 17]), "at most 16");
    check(joined(|record| record.addresses = vec!["/".repeat(321)]), "an address of the host is longer");
}

#[test]
fn what_people_ask_for_has_bounds() {
    let submitted = |change: fn(&mut Submission)| {
        let mut submission = submission();
        change(&mut submission);
        Intent::Deploy(Box::new(submission))
    };
    check(submitted(|_| {}), "");
    check(submitted(|wish| wish.revision.origin = "x".repeat(4_097)), "the bundle's origin is longer");
    check(submitted(|wish| wish.revision.origin = "a\u{7}".into()), "the bundle's origin holds");
    check(submitted(|wish| wish.by = "x".repeat(257)), "who asks");
    check(submitted(|wish| wish.description = "\u{1b}]0;x".into()), "the description");
    check(submitted(|wish| wish.policy.turn_timeout = Duration::MAX), "turn_timeout");
    check(submitted(|wish| wish.policy.lost_after = Duration::ZERO), "lost_after");

    check(Intent::SetGroup(group()), "");
    check(Intent::SetGroup(Group { tags: TagSets(vec![]), ..group() }), "the group has no tags");
    let policy = Policy { deployment_timeout: Duration::MAX, ..Policy::default() };
    check(Intent::SetGroup(Group { policy, ..group() }), "timeout");
    let config = DeploymentConfig {
        name: "slow".parse().expect("a name"),
        minimum: Minimum::OneAtATime,
        turns_max: Some(0),
        canary: None,
        zonal: None,
    };
    check(Intent::SetConfig(config), "turns_max");

    let (group, until) = (group_name(), LedgerTime::from_millis(1));
    let frozen = |reason: &str, by: &str| Intent::Freeze {
        group: group.clone(),
        until,
        reason: reason.into(),
        by: by.into(),
    };
    check(frozen("holidays", "ann"), "");
    check(frozen(&"x".repeat(513), "ann"), "the reason");
    check(frozen("", "a\rb"), "who asks");
    let alarm = |reason: &str| Intent::SetAlarm {
        group: group.clone(),
        alarm: "errors".into(),
        active: true,
        reason: reason.into(),
    };
    check(alarm("a\u{1b}b"), "the reason");
    let stop = Intent::Stop {
        deployment: DeploymentId::derive(b"d"),
        rollback: false,
        now: false,
        by: "a\u{0}".into(),
    };
    check(stop, "who asks");
}

#[test]
fn a_failed_turns_words_are_cut_to_size() {
    let failure = Failure {
        event: None,
        code: ErrorCode::ScriptFailed,
        script: "x".repeat(5_000),
        message: format!("went\u{1b}[31m wrong\n{}", "x".repeat(5_000)),
        log: format!("{}the end\n", "x".repeat(5_000)),
    };
    let TurnOutcome::Failed(fitted) = TurnOutcome::Failed(failure).fitted() else { panic!("it failed") };
    assert_eq!(fitted.script.len(), SCRIPT_BYTES_MAX);
    assert!(fitted.message.starts_with("went [31m wrong x") && fitted.message.len() == FAILURE_MESSAGE_MAX);
    assert!(fitted.log.ends_with("the end\n") && fitted.log.len() == FAILURE_LOG_MAX);
}
