use std::collections::BTreeSet;

use proto::entry::{Creator, Entry, ErrorCode, Failure, HostRecord, ProposalId, Submission, TurnOutcome};
use proto::group::{Group, Tag, TagFilter, TagSets};
use proto::id::{DeploymentId, Digest, GroupName, HostId, VoterId};
use proto::lifecycle::LifecycleEvent;
use proto::policy::{Minimum, Policy};
use proto::revision::Revision;
use proto::rollout::Blocker;
use proto::statement::{Finding, Intent, Report, Statement};

use super::*;

mod aftermath;
mod plan;
mod service;

fn host(number: u8) -> HostId {
    HostId::from_public_key([number; 32])
}

fn id() -> DeploymentId {
    "d-ABCDEFGH1".parse().expect("an id")
}

fn name() -> GroupName {
    "hello/prod".parse().expect("a name")
}

fn tag() -> Tag {
    Tag::parse("role=web").expect("a tag")
}

fn joined(number: u8) -> Statement {
    Report::HostJoined(HostRecord {
        host: host(number),
        voter: VoterId(number.into()),
        name: format!("web-{number}"),
        tags: BTreeSet::from([tag()]),
        zone: "a".into(),
        addresses: vec![],
        incarnation: 1,
        wire: 1,
        replaces: String::new(),
        start: 0,
    })
    .into()
}

fn group_set(minimum: Minimum) -> Statement {
    let tags = TagSets(vec![vec![TagFilter::Both(tag())]]);
    Intent::SetGroup(Group::new(name(), tags, Policy { minimum, ..Policy::default() })).into()
}

fn submitted(minimum: Minimum) -> Statement {
    Intent::Deploy(Box::new(Submission {
        deployment: id(),
        group: name(),
        revision: Revision { digest: Digest::of(b"v1"), size: 2, origin: "/tmp/v1".into() },
        policy: Policy { minimum, ..Policy::default() },
        creator: Creator::User,
        rollback_of: None,
        description: "first".into(),
        holders: vec![],
        queue: false,
        by: String::new(),
    }))
    .into()
}

fn started(number: u8) -> Statement {
    Report::TurnStarted { deployment: id(), host: host(number) }.into()
}

fn ended(number: u8, outcome: TurnOutcome) -> Statement {
    Report::TurnEnded { deployment: id(), host: host(number), outcome }.into()
}

fn failure() -> TurnOutcome {
    TurnOutcome::Failed(Failure {
        event: Some(LifecycleEvent::ValidateService),
        code: ErrorCode::ScriptFailed,
        script: "validate.sh".into(),
        message: "exit code 1".into(),
        log: "no answer".into(),
    })
}

/// Returns the state with three hosts, a group, and further entries.
fn fold(minimum: Minimum, more: Vec<Statement>) -> State {
    let mut bodies = vec![joined(1), joined(2), joined(3), group_set(minimum), submitted(minimum)];
    bodies.extend(more);
    let mut state = State::default();
    for (index, statement) in (1..).zip(bodies) {
        let author = statement.author().unwrap_or(host(1));
        let proposal = ProposalId { host: author, incarnation: 1, number: index };
        let entry = Entry { at: LedgerTime::from_millis(1_000 * index), proposal, statement };
        state.apply(index, &entry).expect("accepted");
    }
    state
}

fn group(state: &State, known: &proto::state::GroupState) -> GroupView {
    mesh_view::group_view(&names::Names::of(state), known)
}

fn view(state: &State) -> DeploymentView {
    let rollout = state.rollout(id()).expect("the deployment");
    let blockers = match rollout.turn() {
        proto::rollout::Turn::Blocked(blockers) => blockers,
        proto::rollout::Turn::Of(_) | proto::rollout::Turn::Over(_) => vec![],
    };
    deployment_view::with_hosts(rollout, state, &blockers, &|_| Some(LifecycleEvent::Install))
}

/// Checks each host as `status event error_code`, then the deployment's status,
/// its reason and its blockers.
fn check(minimum: Minimum, more: Vec<Statement>, hosts: &[&str], status: &str, why: &[&str]) {
    let view = view(&fold(minimum, more));
    let row = |host: &TurnView| {
        let words = [Some(host.status.clone()), host.event.clone(), host.error_code.clone()];
        words.into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    let rows: Vec<String> = view.hosts().iter().map(row).collect();
    assert_eq!(rows, hosts);
    assert_eq!(view.status, status);
    let codes: Vec<&str> = view.reason.iter().chain(&view.blockers).map(|why| why.code.as_str()).collect();
    assert_eq!(codes, why, "{:?} {:?}", view.reason, view.blockers);
}

#[test]
fn hosts_and_deployments_are_shown_in_codedeploys_words() {
    let ok = TurnOutcome::Succeeded;
    let one = Minimum::OneAtATime;
    check(one, vec![], &["InProgress", "Pending", "Pending"], "InProgress", &["TURNS_IN_FLIGHT"]);
    check(
        one,
        vec![started(1)],
        &["InProgress Install", "Pending", "Pending"],
        "InProgress",
        &["TURNS_IN_FLIGHT"],
    );
    check(
        one,
        vec![started(1), ended(1, ok.clone()), started(2)],
        &["Succeeded", "InProgress Install", "Pending"],
        "InProgress",
        &["TURNS_IN_FLIGHT"],
    );
    check(
        one,
        vec![started(1), ended(1, ok.clone()), started(2), ended(2, ok.clone()), started(3)],
        &["Succeeded", "Succeeded", "InProgress Install"],
        "InProgress",
        &["LAST_TURNS"],
    );
    check(
        Minimum::HostCount(2),
        vec![
            started(1),
            ended(1, failure()),
            started(2),
            ended(2, failure()),
            Finding::Finished { deployment: id() }.into(),
        ],
        &["Failed ValidateService ScriptFailed", "Failed ValidateService ScriptFailed", "Skipped"],
        "Failed",
        &["HEALTH_CONSTRAINTS"],
    );
    check(
        one,
        vec![
            started(1),
            Intent::Stop { deployment: id(), rollback: false, now: false, by: String::new() }.into(),
        ],
        &["InProgress Install", "Skipped", "Skipped"],
        "InProgress",
        &["MANUAL_STOP", "ENDING"],
    );
    check(
        one,
        vec![started(1), Report::HostDown { host: host(1), incarnation: 1 }.into()],
        &["Unknown Install", "Pending", "Pending"],
        "InProgress",
        &["TURNS_IN_FLIGHT"],
    );
}

#[test]
fn a_turn_that_a_timer_ended_is_shown_where_it_was_last_heard_of() {
    let lost = Report::HostDown { host: host(1), incarnation: 1 }.into();
    let mut state = fold(Minimum::OneAtATime, vec![started(1), lost]);
    let proposal = ProposalId { host: host(2), incarnation: 1, number: 8 };
    let later = Entry { at: LedgerTime::from_millis(100_000), proposal, statement: Finding::Tick.into() };
    state.apply(8, &later).expect("accepted");

    let view = view(&state);
    let turn = &view.hosts()[0];
    assert_eq!((turn.error_code.as_deref(), turn.event.as_deref()), (Some("HostLost"), Some("Install")));
}

#[test]
fn the_keys_of_a_deployment_are_those_of_the_contract() {
    let json = serde_json::to_value(view(&fold(Minimum::OneAtATime, vec![started(1)]))).expect("JSON");
    for key in [
        "id",
        "group",
        "application",
        "revision",
        "status",
        "creator",
        "created_at",
        "finished_at",
        "rollback_of",
        "reason",
        "counts",
        "healthy",
        "hosts",
    ] {
        assert!(json.get(key).is_some(), "no {key}");
    }
    for key in ["pending", "in_progress", "succeeded", "failed", "skipped", "ready"] {
        assert!(json["counts"][key].is_u64(), "no count {key}");
    }
    for key in ["now", "minimum", "total", "lowest_seen"] {
        assert!(json["healthy"][key].is_u64(), "no {key}");
    }
    for key in ["host", "name", "zone", "status", "event", "error_code", "message"] {
        assert!(json["hosts"][0].get(key).is_some(), "no host's {key}");
    }
    assert_eq!(json["created_at"], "1970-01-01T00:00:05.000Z");
    assert_eq!(json["creator"], "user");
}

#[test]
fn a_reason_says_its_numbers_in_a_sentence() {
    let state =
        fold(Minimum::HostCount(2), vec![started(1), ended(1, failure()), started(2), ended(2, failure())]);
    let reason = view(&state).reason.expect("a reason");
    assert_eq!(reason.numbers["minimum"], 2);
    assert_eq!(reason.numbers["failed"], 2);
    assert_eq!(
        reason.message,
        "0 of 3 hosts are healthy and 2 must be; 2 failed, and even with the 1 that may still get well that is too few"
    );
}

#[test]
fn hosts_are_found_by_id_and_by_a_name_that_only_one_has() {
    let state = fold(Minimum::OneAtATime, vec![]);
    assert_eq!(find_host(&state, "web-2"), Ok(host(2)));
    assert_eq!(find_host(&state, &host(3).to_string()), Ok(host(3)));
    assert_eq!(find_host(&state, "nobody"), Err(vec![]));
    let state = fold(Minimum::OneAtATime, vec![Intent::RemoveHost(host(2)).into()]);
    assert_eq!(find_host(&state, "web-2"), Ok(host(2)), "to be asked for again");
    assert_eq!(name_of(&state, host(2)), "web-2");
}

#[test]
fn a_group_says_how_many_hosts_a_failed_deployment_left_at_another_revision() {
    let all = |number| [started(number), ended(number, TurnOutcome::Succeeded)];
    let mut more: Vec<Statement> = (1..4).flat_map(all).collect();
    more.push(Finding::Finished { deployment: id() }.into());
    let count = |more: &[Statement]| {
        let state = fold(Minimum::HostCount(1), more.to_vec());
        group(&state, state.group(&name()).expect("the group")).elsewhere
    };
    assert_eq!(count(&more), 0);
    let Statement::Intent(Intent::Deploy(first)) = submitted(Minimum::HostCount(1)) else {
        panic!("it is a submission")
    };
    let deployment = DeploymentId::derive(b"the next");
    let revision = Revision { digest: Digest::of(b"v2"), ..first.revision.clone() };
    more.push(Statement::Intent(Intent::Deploy(Box::new(Submission { deployment, revision, ..*first }))));
    more.push(Report::TurnStarted { deployment, host: host(1) }.into());
    more.push(Report::TurnEnded { deployment, host: host(1), outcome: TurnOutcome::Succeeded }.into());
    assert_eq!(count(&more), 1);
}

#[test]
fn groups_are_counted_and_can_be_set_again_as_they_are_shown() {
    let state = fold(Minimum::OneAtATime, vec![started(1), ended(1, TurnOutcome::Succeeded)]);
    let known = state.group(&name()).expect("the group");
    let view = group(&state, known);
    assert_eq!((view.hosts, view.healthy), (3, 1));
    assert_eq!(view.running.as_deref(), Some("d-ABCDEFGH1"));
    assert_eq!(view.definition.group().expect("a group"), known.group);
}

#[test]
fn what_happened_is_told_in_sentences() {
    let state = fold(Minimum::OneAtATime, vec![started(1), ended(1, failure())]);
    let tell = |statement: &Statement| history_line(&state, statement);
    let failed = tell(&ended(1, failure()));
    assert_eq!(failed.text, "web-1 failed in ValidateService: exit code 1");
    assert_eq!(failed.deployment.as_deref(), Some("d-ABCDEFGH1"));
    assert_eq!(failed.group.as_deref(), Some("hello/prod"));
    assert_eq!(tell(&joined(2)).text, "web-2 joined, or came back");
    assert_eq!(tell(&Intent::DeleteGroup(name()).into()).group.as_deref(), Some("hello/prod"));
}

#[test]
fn a_moment_that_no_calendar_has_is_no_reason_to_panic() {
    assert_eq!(written(LedgerTime::from_millis(u64::MAX)), "9999-12-31T23:59:59.999Z");
}

#[test]
fn a_host_that_waits_with_its_start_is_named_and_who_is_suspect() {
    let waits =
        Report::TurnDeferred { deployment: id(), host: host(1), suspects: vec![host(2), host(3)] }.into();
    let state = fold(Minimum::OneAtATime, vec![waits]);
    let rollout = state.rollout(id()).expect("the deployment");
    let view = deployment_view::with_hosts(rollout, &state, &[Blocker::Deferred { deferred: 1 }], &|_| None);
    let since = "since 1970-01-01T00:00:05.000Z: web-2 and web-3 are suspect";
    let blocker = &view.blockers[0];
    assert_eq!(blocker.code, "DEFERRED");
    assert!(blocker.message.ends_with(&format!("; waiting: web-1 {since}")), "{}", blocker.message);
    let turn = &view.hosts()[0];
    assert_eq!(turn.message, Some(format!("it waits with its start {since}")));
}

#[test]
fn a_host_whose_disk_is_full_is_named_with_its_numbers() {
    const MIB: u64 = 1024 * 1024;
    let shortage = proto::entry::Shortage { needed: 180 * MIB - 1, free: 12 * MIB };
    let report: Statement =
        Report::RoomReported { deployment: id(), host: host(1), shortage: Some(shortage) }.into();
    let state = fold(Minimum::OneAtATime, vec![report.clone()]);
    assert_eq!(history_line(&state, &report).text, "disk full on web-1: 12 MiB free, 180 MiB needed");
    let rollout = state.rollout(id()).expect("the deployment");
    let blocker = Blocker::NoRoom { host: "web-1".into(), shortage, short: 1 };
    let view = deployment_view::with_hosts(rollout, &state, &[blocker], &|_| None);
    let blocker = &view.blockers[0];
    assert_eq!(blocker.code, "NO_ROOM");
    assert_eq!((blocker.numbers["short"], blocker.numbers["free_bytes"]), (1, 12 * MIB));
    let words = "disk full on web-1: 12 MiB free, 180 MiB needed; it goes after the others of its wave";
    assert!(blocker.message.starts_with(words), "{}", blocker.message);
    let turn = view.hosts()[0].message.clone().expect("why it waits");
    assert!(turn.starts_with("disk full on web-1: 12 MiB free, 180 MiB needed (since 1970-"), "{turn}");
    assert!(turn.contains("others go first") || turn.contains("its turn fails"), "{turn}");
}

#[test]
fn a_blocker_names_the_hosts_that_are_out_of_service_and_since_when() {
    let check = proto::health::HealthCheck::new(proto::health::Probe::Tcp("127.0.0.1:80".into()));
    let Statement::Intent(Intent::SetGroup(known)) = group_set(Minimum::OneAtATime) else {
        panic!("a group is set")
    };
    let checked = Intent::SetGroup(Group { health: Some(check), ..known }).into();
    let unwell = |number: u8| {
        Report::HealthChanged {
            group: name(),
            host: host(number),
            healthy: false,
            error: "it answered 500".into(),
            as_of: 100,
        }
        .into()
    };
    let turn = |number| [started(number), ended(number, TurnOutcome::Succeeded)];
    let mut more = vec![checked];
    more.extend(turn(1));
    more.extend(turn(2));
    more.push(started(3));
    more.extend([unwell(1), unwell(2)]);
    let mut state = fold(Minimum::OneAtATime, more.clone());
    let said = "unhealthy since 1970-01-01T00:00:12.000Z: it answered 500";
    let message = |state: &State, at: usize| view(state).hosts()[at].message.clone();
    assert_eq!(message(&state, 0).as_deref(), Some(said));
    assert_eq!(message(&state, 2), None);
    let known = state.group(&name()).expect("the group");
    let shown = group(&state, known);
    assert_eq!((shown.healthy, shown.unhealthy.len()), (0, 2));

    more.push(ended(3, TurnOutcome::Succeeded));
    state = fold(Minimum::OneAtATime, more);
    let blockers = view(&state).blockers;
    let expected = format!(
        "all turns are over, but 2 hosts that were updated are unhealthy by their health check: it passes again, or they \
         count as failed; out of service: web-1 {said}, web-2 unhealthy since 1970-01-01T00:00:13.000Z: it answered \
         500"
    );
    let is: Vec<(&str, &str)> =
        blockers.iter().map(|why| (why.code.as_str(), why.message.as_str())).collect();
    assert_eq!(is, [("HEALTH_CHECK", expected.as_str())]);
    assert_eq!(blockers[0].numbers["unwell"], 2);
}

#[test]
fn what_waits_has_the_numbers_of_its_group_and_what_never_began_says_so() {
    let second: DeploymentId = "d-ABCDEFGH2".parse().expect("an id");
    let Statement::Intent(Intent::Deploy(first)) = submitted(Minimum::OneAtATime) else {
        panic!("a submission")
    };
    let queued =
        Statement::Intent(Intent::Deploy(Box::new(Submission { deployment: second, queue: true, ..*first })));
    let mut bodies = vec![started(1), ended(1, TurnOutcome::Succeeded), queued];
    let of = |bodies: &[Statement]| {
        let state = fold(Minimum::OneAtATime, bodies.to_vec());
        deployment_view::with_hosts(state.rollout(second).expect("the deployment"), &state, &[], &|_| None)
    };
    let waits = of(&bodies);
    assert_eq!((waits.status.as_str(), waits.started_at.as_ref()), ("Queued", None));
    let healthy = waits.healthy;
    assert_eq!((healthy.now, healthy.minimum, healthy.total, healthy.lowest_seen), (1, 2, 3, 1));

    bodies.push(Intent::Stop { deployment: second, rollback: true, now: false, by: String::new() }.into());
    let stopped = of(&bodies);
    assert_eq!((stopped.status.as_str(), stopped.started_at.as_ref()), ("Stopped", None));
    assert!(stopped.never_began());
    let reason = stopped.reason.expect("a reason");
    assert_eq!(reason.message, "stopped by a person before it began: no host was touched");
}

#[test]
fn who_stopped_a_deployment_first_is_kept_and_told() {
    let stop = |by: &str| Intent::Stop { deployment: id(), rollback: false, now: true, by: by.into() }.into();
    let state = fold(Minimum::OneAtATime, vec![started(1), stop("ann on web-1"), stop("bob on web-2")]);
    let shown =
        deployment_view::with_hosts(state.rollout(id()).expect("it is known"), &state, &[], &|_| None);
    assert_eq!(shown.stopped_by, "ann on web-1");
    let line = history_line(&state, &stop("bob on web-2"));
    assert_eq!(line.text, format!("bob on web-2 asked to stop {} now", id()));
    let running = fold(Minimum::OneAtATime, vec![started(1)]);
    let shown =
        deployment_view::with_hosts(running.rollout(id()).expect("it is known"), &running, &[], &|_| None);
    assert_eq!(shown.stopped_by, "");
}

#[test]
fn a_host_that_flaps_is_said_to_be_held_back() {
    let check = proto::health::HealthCheck::new(proto::health::Probe::Tcp("127.0.0.1:80".into()));
    let Statement::Intent(Intent::SetGroup(known)) = group_set(Minimum::OneAtATime) else {
        panic!("a group is set")
    };
    let changed = |healthy: bool, as_of: u64| {
        Report::HealthChanged {
            group: name(),
            host: host(1),
            healthy,
            error: if healthy { String::new() } else { "it cannot connect".into() },
            as_of,
        }
        .into()
    };
    let mut more = vec![Intent::SetGroup(Group { health: Some(check), ..known }).into()];
    more.extend((1..=3).flat_map(|number| [started(number), ended(number, TurnOutcome::Succeeded)]));
    more.push(Finding::Finished { deployment: id() }.into());
    more.push(changed(false, 100));
    let shown = |more: &[Statement]| {
        let state = fold(Minimum::OneAtATime, more.to_vec());
        let known = state.group(&name()).expect("the group");
        let counted = GroupCounts { group: "hello/prod".into(), hosts: 3, healthy: 2, unhealthy: 1 };
        assert_eq!(GroupCounts::of(&state, known, &BTreeSet::new()), counted);
        group(&state, known).unhealthy.remove(0)
    };
    assert_eq!(shown(&more).held_back, None, "the first time good news is believed at once");
    more.extend([changed(true, 101), changed(false, 102)]);
    let held = shown(&more).held_back.expect("it is held back");
    assert!(held.starts_with("found so 2 times within an hour, so it is held back"), "{held}");
    assert!(held.ends_with("has passed for 30 s without a break"), "{held}");
}

#[test]
fn a_host_that_failed_once_is_not_said_to_have_been_tried_twice() {
    let mut more: Vec<Statement> =
        (1..=3).flat_map(|number| [started(number), ended(number, TurnOutcome::Succeeded)]).collect();
    more.extend([Finding::Finished { deployment: id() }.into(), joined(4)]);
    let Some(Finding::Spelled(due)) = fold(Minimum::OneAtATime, more.clone()).due().pop() else {
        panic!("a catch-up is due")
    };
    let deployment = due.deployment;
    let caught_up = |outcome: TurnOutcome| {
        let mut more = more.clone();
        more.extend([
            Finding::Spelled(due.clone()).into(),
            Report::TurnStarted { deployment, host: host(4) }.into(),
            Report::TurnEnded { deployment, host: host(4), outcome }.into(),
        ]);
        let state = fold(Minimum::OneAtATime, more);
        group(&state, state.group(&name()).expect("the group")).behind.remove(0)
    };
    let failed = caught_up(failure());
    assert_eq!(failed.why.code, "ATTEMPTS_USED_UP");
    let says = format!(
        "its turn with this revision failed in {deployment} (exit code 1), so it is not tried again by itself: deploy \
         again"
    );
    assert!(failed.why.message.starts_with(&says), "{}", failed.why.message);
    let lost = BehindView { cause: "Missed".into(), ..failed };
    assert!(lost.line().contains("(missed its turn, or was lost in it at "), "{}", lost.line());
}

#[test]
fn alarms_that_were_not_read_and_timeouts_that_are_over_are_named() {
    let Statement::Intent(Intent::SetGroup(known)) = group_set(Minimum::OneAtATime) else {
        panic!("a group is set")
    };
    let alarm = proto::alarm::Alarm {
        name: "error-rate".into(),
        source: proto::alarm::AlarmSource::Exec { command: "check-errors".into() },
        unreadable: proto::alarm::OnUnreadable::Stop,
        every: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
    };
    let Statement::Intent(Intent::Deploy(first)) = submitted(Minimum::OneAtATime) else {
        panic!("a submission")
    };
    let second: DeploymentId = "d-ABCDEFGH2".parse().expect("an id");
    let policy = Policy { deployment_timeout: Duration::from_secs(3), ..first.policy.clone() };
    let mut more =
        vec![Intent::Stop { deployment: id(), rollback: false, now: false, by: String::new() }.into()];
    more.extend([
        started(1),
        ended(1, TurnOutcome::Succeeded),
        Finding::Finished { deployment: id() }.into(),
    ]);
    more.push(Intent::SetGroup(Group { alarms: vec![alarm], ..known }).into());
    more.push(Statement::Intent(Intent::Deploy(Box::new(Submission {
        deployment: second,
        policy,
        ..*first
    }))));
    let of = |more: &[Statement]| {
        let state = fold(Minimum::OneAtATime, more.to_vec());
        let rollout = state.rollout(second).expect("the deployment");
        let blockers = match rollout.turn() {
            proto::rollout::Turn::Blocked(blockers) => blockers,
            proto::rollout::Turn::Of(_) | proto::rollout::Turn::Over(_) => vec![],
        };
        deployment_view::with_hosts(rollout, &state, &blockers, &|_| None)
    };
    let waits = of(&more);
    assert!(waits.blockers[0].message.ends_with("; unread: error-rate"), "{:?}", waits.blockers);
    more.extend([Finding::Tick.into(), Finding::Tick.into(), Finding::Tick.into(), Finding::Tick.into()]);
    let reason = of(&more).reason.expect("a reason");
    assert!(reason.message.starts_with("it took longer than its timeout of 3 s: "), "{}", reason.message);
}
