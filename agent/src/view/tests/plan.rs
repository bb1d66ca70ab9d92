use proto::alarm::{Alarm, AlarmSource, OnUnreadable};
use proto::io::Refusal;
use proto::policy::{Canary, Mode, Share, Zonal};
use proto::statement::{Finding, Intent, Report, Statement};

use super::*;
use crate::view::plan_view::{SecondsView, WorstView};

fn wish(policy: Policy) -> Submission {
    Submission {
        deployment: DeploymentId::derive(b"a plan"),
        group: name(),
        revision: Revision { digest: Digest::of(b"v2"), size: 2, origin: "/tmp/v2".into() },
        policy,
        creator: Creator::User,
        rollback_of: None,
        description: String::new(),
        holders: vec![],
        queue: false,
        by: String::new(),
    }
}

fn plan_under(state: &State, policy: Policy) -> PlanView {
    Planned::of(state, wish(policy)).expect("the group is there").view()
}

fn plan_of(state: &State, minimum: Minimum) -> PlanView {
    plan_under(state, Policy { minimum, ..Policy::default() })
}

/// Lets three hosts run v1; each of its turns took a second.
fn deployed() -> Vec<Statement> {
    let turn = |number| [started(number), ended(number, TurnOutcome::Succeeded)];
    let mut bodies: Vec<Statement> = (1..=3).flat_map(turn).collect();
    bodies.push(Finding::Finished { deployment: id() }.into());
    bodies
}

fn down(number: u8) -> Statement {
    Report::HostDown { host: host(number), incarnation: 1 }.into()
}

#[test]
fn a_plan_is_what_the_fold_would_do() {
    let state = fold(Minimum::OneAtATime, deployed());

    let one = plan_of(&state, Minimum::OneAtATime);
    assert_eq!(one.batches, [["web-1"], ["web-2"], ["web-3"]]);
    assert!(one.is_possible);
    assert_eq!((one.stopped_by_failures, one.last_may_fail), (1, 1));
    assert_eq!(one.worst, Some(WorstView { failed: 1, untouched: 2, in_service: 2 }));
    assert_eq!((one.rolls_back, one.rollback_to), (true, Some(Digest::of(b"v1").to_string())));

    let all = plan_of(&state, Minimum::AllAtOnce);
    assert_eq!(all.batches, [["web-1", "web-2", "web-3"]]);
    assert_eq!((all.stopped_by_failures, all.last_may_fail), (3, 2));
}

#[test]
fn the_time_it_takes_is_that_of_past_turns() {
    let one = plan_of(&fold(Minimum::OneAtATime, deployed()), Minimum::OneAtATime);
    assert_eq!(one.seconds, Some(SecondsView { typical: 3, slow: 3, turn: 1, past_turns: 3 }));
    let new = fold(Minimum::OneAtATime, vec![]);
    let queued = Submission { queue: true, ..wish(Policy::default()) };
    let new = Planned::of(&new, queued).expect("the group is there").view();
    assert_eq!(new.seconds, None, "nothing is known of a group that never had a turn");
    assert_eq!(new.never_deployed, 3);
    assert_eq!(new.notes, ["It waits for d-ABCDEFGH1 to be over."]);
}

#[test]
fn a_minimum_that_leaves_no_turn_comes_with_the_smallest_change() {
    let never = plan_of(&fold(Minimum::OneAtATime, deployed()), Minimum::FleetPercent(75));
    assert_eq!((never.minimum, never.total, never.is_possible), (3, 3, false));
    assert!(never.batches.is_empty());
    let reason = never.reason.expect("a reason");
    assert_eq!((reason.code.as_str(), reason.numbers["minimum"]), ("HEALTH_CONSTRAINTS_INVALID", 3));
    assert_eq!(
        never.advice,
        [
            "let 2 of 3 stay healthy: --override minimum_healthy=2",
            "add hosts to the group: with 4 it can begin"
        ]
    );
}

#[test]
fn a_dead_host_under_one_at_a_time_is_named_before_anything_begins() {
    let mut bodies = deployed();
    bodies.push(down(2));
    let plan = plan_of(&fold(Minimum::OneAtATime, bodies), Minimum::OneAtATime);
    assert!(!plan.is_possible);
    assert_eq!(plan.down.iter().map(|host| host.who.label()).collect::<Vec<_>>(), ["web-2"]);
    assert_eq!(plan.reason.expect("a reason").code, "HEALTH_CONSTRAINTS");
    assert_eq!(
        plan.advice,
        [
            "bring back what is Down (web-2), or take it out of the mesh: skein mesh remove web-2",
            "let 1 of 3 stay healthy: --override minimum_healthy=1"
        ]
    );
}

#[test]
fn a_host_that_has_no_turn_and_keeps_all_others_waiting_is_named_too() {
    let second: DeploymentId = "d-ABCDEFGH2".parse().expect("an id");
    let mut bodies = deployed();
    bodies.extend((1..=3).map(newer));
    bodies.extend([
        Intent::Deploy(Box::new(Submission { deployment: second, ..wish(Policy::default()) })).into(),
        Report::TurnStarted { deployment: second, host: host(1) }.into(),
        Report::TurnEnded { deployment: second, host: host(1), outcome: TurnOutcome::Succeeded }.into(),
        Intent::Stop { deployment: second, rollback: false, now: false, by: String::new() }.into(),
        Finding::Finished { deployment: second }.into(),
        Report::HostDown { host: host(1), incarnation: 2 }.into(),
    ]);
    let plan =
        plan_under(&fold(Minimum::OneAtATime, bodies), Policy { outdated_only: true, ..Policy::default() });
    assert_eq!((plan.total, plan.targets, plan.is_possible, plan.passes), (3, 2, false, false));
    let reason = plan.reason.expect("a reason");
    assert_eq!((reason.code.as_str(), reason.numbers["down"]), ("HEALTH_CONSTRAINTS", 1));
    assert!(reason.message.starts_with("it would wait until its time is up: "), "{}", reason.message);
    assert_eq!(plan.advice.len(), 2, "{:?}", plan.advice);
    assert!(plan.advice[0].starts_with("bring back what is Down (web-1)"), "{:?}", plan.advice);
    assert!(plan.down.is_empty(), "it is not tried");
    assert_eq!(plan.left_out.len(), 1);
    assert!(plan.left_out[0].why.starts_with("Down since "), "{:?}", plan.left_out);
}

/// Adds a host whose agent knows everything that exists now.
fn newer(number: u8) -> Statement {
    let Statement::Report(Report::HostJoined(record)) = joined(number) else { panic!("a host joins") };
    Report::HostJoined(HostRecord { wire: proto::wire::WIRE, incarnation: 2, ..record }).into()
}

/// Checks that `plan` gives the same message with which `deploy` would be refused.
fn check(state: &State, policy: Policy, passes: bool) -> Why {
    let refusal: Refusal =
        state.check_intent(&Intent::Deploy(Box::new(wish(policy.clone())))).expect_err("it would be refused");
    let plan = plan_under(state, policy);
    assert!(!plan.is_possible);
    assert_eq!(plan.passes, passes, "{refusal}");
    assert_eq!(plan.batches.is_empty(), !passes, "{refusal}");
    let why = plan.reason.expect("a reason");
    assert_eq!(
        (why.code.as_str(), why.message.as_str()),
        (refusal.code(), crate::refusal_advice::in_full(&refusal).as_str())
    );
    why
}

#[test]
fn what_would_be_refused_is_refused_in_the_plan_by_the_same_words() {
    let state = fold(Minimum::OneAtATime, deployed());
    let zonal = |zonal| Policy { zonal: Some(zonal), ..Policy::default() };
    let code = |policy| check(&state, policy, false).code;
    let order = Zonal { order: vec!["z".into()], ..Zonal::default() };
    assert_eq!(code(zonal(order)), "AGENTS_TOO_OLD", "the hosts of this test are of wire version 1");
    assert_eq!(code(Policy { minimum: Minimum::FleetPercent(100), ..Policy::default() }), "INVALID_POLICY");
    let contradictory = Policy { mode: Mode::Restart, outdated_only: true, ..Policy::default() };
    assert_eq!(code(contradictory), "INVALID_POLICY");

    let mut bodies = deployed();
    bodies.extend((1..=3).map(newer));
    let state = fold(Minimum::OneAtATime, bodies.clone());
    let why = |policy| check(&state, policy, false);
    let unknown = why(zonal(Zonal { order: vec!["z".into()], ..Zonal::default() }));
    assert_eq!(unknown.code, "UNKNOWN_ZONES");
    assert!(
        unknown.message.contains("names z") && unknown.message.contains("its zones are: a"),
        "{unknown:?}"
    );
    let all = zonal(Zonal { minimum: Share::Hosts(3), ..Zonal::default() });
    assert_eq!(why(all).numbers["zone_minimum"], 3);
    let canary = Canary { hosts: Share::Hosts(3), bake: Duration::ZERO };
    let canary = why(Policy { canary: Some(canary), ..Policy::default() });
    assert_eq!((canary.code.as_str(), canary.numbers["canary"]), ("IMPOSSIBLE_CANARY", 3));
    assert!(canary.message.contains("at most 2"), "{}", canary.message);
}

#[test]
fn what_passes_is_refused_and_planned_all_the_same() {
    let mut bodies = deployed();
    let (reason, by) = ("quarter end".to_string(), "ann".to_string());
    let until = LedgerTime::from_millis(1_000_000);
    bodies.push(Intent::Freeze { group: name(), until, reason, by }.into());
    let state = fold(Minimum::OneAtATime, bodies);
    assert_eq!(check(&state, Policy::default(), true).code, "FROZEN");

    let Statement::Intent(Intent::SetGroup(group)) = group_set(Minimum::OneAtATime) else {
        panic!("a group is set")
    };
    let alarm = Alarm {
        name: "pager".into(),
        source: AlarmSource::Manual,
        unreadable: OnUnreadable::Stop,
        every: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
    };
    let mut bodies = deployed();
    bodies.push(Intent::SetGroup(Group { alarms: vec![alarm], ..group }).into());
    bodies.push(
        Intent::SetAlarm {
            group: name(),
            alarm: "pager".into(),
            active: true,
            reason: "the shop is down (ann)".into(),
        }
        .into(),
    );
    let state = fold(Minimum::OneAtATime, bodies);
    let why = check(&state, Policy::default(), true);
    assert_eq!(why.code, "ALARM_ACTIVE");
    assert!(
        why.message.contains("the shop is down (ann)") && why.message.contains("skein alarm clear"),
        "{why:?}"
    );

    let state = fold(Minimum::OneAtATime, vec![started(1)]);
    assert_eq!(check(&state, Policy::default(), true).code, "ALREADY_RUNNING");
}

#[test]
fn a_restart_is_planned_for_the_hosts_that_run_what_is_restarted() {
    let mut bodies = deployed();
    bodies.extend((1..=4).map(newer));
    let state = fold(Minimum::OneAtATime, bodies);
    let mut restart = wish(Policy { mode: Mode::Restart, ..Policy::default() });
    restart.revision.digest = Digest::of(b"v1");
    let plan = Planned::of(&state, restart).expect("the group is there").view();
    assert_eq!((plan.total, plan.targets, plan.never_deployed), (4, 3, 0));
    let left_out = |plan: &PlanView| {
        let names = plan.left_out.iter().map(|host| format!("{}: {}", host.who.label(), host.why));
        names.collect::<Vec<_>>()
    };
    assert_eq!(left_out(&plan), ["web-4: nothing was deployed to it yet"]);
    assert!(!plan.is_possible, "the fourth never had a turn and gets none, so the minimum leaves no room");
    assert_eq!(plan.reason.expect("a reason").code, "HEALTH_CONSTRAINTS");
}

#[test]
fn a_host_whose_last_turn_failed_is_not_first_in_line_of_a_restart_that_leaves_it_out() {
    let mut bodies = deployed();
    bodies.extend((1..=3).map(newer));
    let second: DeploymentId = "d-ABCDEFGH2".parse().expect("an id");
    let failure = Failure::new(None, ErrorCode::UnknownError, String::new());
    let all = Policy { minimum: Minimum::AllAtOnce, ..Policy::default() };
    bodies.extend([
        Intent::Deploy(Box::new(Submission { deployment: second, ..wish(all) })).into(),
        Report::TurnStarted { deployment: second, host: host(3) }.into(),
        Report::TurnEnded { deployment: second, host: host(3), outcome: TurnOutcome::Failed(failure) }.into(),
        Intent::Stop { deployment: second, rollback: false, now: false, by: String::new() }.into(),
        Finding::Finished { deployment: second }.into(),
    ]);
    let mut restart =
        wish(Policy { mode: Mode::Restart, minimum: Minimum::HostCount(1), ..Policy::default() });
    restart.revision.digest = Digest::of(b"v1");
    let plan = Planned::of(&fold(Minimum::OneAtATime, bodies), restart).expect("the group is there").view();
    assert_eq!((plan.targets, plan.unhealthy.len()), (2, 0), "{:?}", plan.unhealthy);
    assert_eq!((plan.left_out[0].who.label(), plan.left_out.len()), ("web-3", 1));
}

#[test]
fn what_passes_hides_nothing_that_it_would_fail_by_afterwards() {
    let state = fold(Minimum::OneAtATime, vec![down(3)]);
    let plan = plan_of(&state, Minimum::HostCount(2));
    assert!(!plan.is_possible && plan.passes, "new hosts lower nothing: {:?}", plan.reasons);

    let mut bodies = deployed();
    let second: DeploymentId = "d-ABCDEFGH2".parse().expect("an id");
    bodies
        .push(Intent::Deploy(Box::new(Submission { deployment: second, ..wish(Policy::default()) })).into());
    bodies.push(down(3));
    let plan = plan_of(&fold(Minimum::OneAtATime, bodies), Minimum::OneAtATime);
    let codes: Vec<(&str, bool)> =
        plan.reasons.iter().map(|cause| (cause.why.code.as_str(), cause.passes)).collect();
    assert_eq!(codes, [("ALREADY_RUNNING", true), ("HEALTH_CONSTRAINTS", false)]);
    assert!(plan.reasons[0].advice.is_empty(), "what helps against the second does not help against it");
    assert!(plan.reasons[1].advice[0].contains("web-3"), "{:?}", plan.reasons);
    assert_eq!(plan.reason.map(|why| why.code), Some("ALREADY_RUNNING".into()));
    assert_eq!((plan.passes, plan.advice.len()), (false, plan.reasons[1].advice.len()));
}

#[test]
fn a_plan_on_a_host_without_a_majority_says_that_nothing_can_begin() {
    let state = fold(Minimum::OneAtATime, deployed());
    let alone = Blocker::NoMajority { voters_up: 2, voters: 5 };
    let planned = Planned::of(&state, wish(Policy::default())).expect("the group is there");
    let plan = planned.without_majority(Some(alone.clone())).view();
    assert_eq!((plan.is_possible, plan.passes, plan.batches.len()), (false, true, 3));
    let reason = plan.reason.expect("a reason");
    assert_eq!((reason.code.as_str(), reason.message), ("NO_MAJORITY", alone.to_string()));
}

/// Returns a state with hosts in these zones that know everything that exists now and run v1.
fn in_zones(zones: &[&str]) -> State {
    let mut bodies = deployed();
    for (number, zone) in (1..).zip(zones) {
        let Statement::Report(Report::HostJoined(record)) = newer(number) else { panic!("a host joins") };
        bodies.push(Report::HostJoined(HostRecord { zone: (*zone).into(), ..record }).into());
    }
    fold(Minimum::OneAtATime, bodies)
}

/// Checks that the advice works if it is followed.
fn check_advice(state: &State, policy: Policy, advice: &[&str]) {
    let plan = plan_under(state, policy.clone());
    assert!(!plan.is_possible);
    assert_eq!(plan.advice, advice, "{:?}", plan.reason);
    for words in plan.advice.iter().filter(|words| words.contains("--override")) {
        let pairs = words.split("--override ").skip(1).filter_map(|pair| pair.trim().split_once('='));
        let overrides = pairs.map(|(key, value)| (key.into(), value.into())).collect();
        let look_up = |_: &_| panic!("no configuration is named");
        let policy = crate::group_file::with_overrides(&policy, &overrides, &look_up).expect("a policy");
        let plan = plan_under(state, policy);
        assert!(plan.is_possible, "{words}: {:?}", plan.reason);
    }
}

#[test]
fn what_is_advised_for_zones_works() {
    let zonal = |minimum| Policy { zonal: Some(Zonal { minimum, ..Zonal::default() }), ..Policy::default() };
    let all_at_once = "go through all zones at once: --override zones.enabled=false";
    check_advice(
        &in_zones(&["a", "a", "b", "b"]),
        zonal(Share::Percent(51)),
        &[
            "let fewer of each zone stay healthy: --override zones.minimum_healthy=50%",
            all_at_once,
            "add hosts to the group: with 3 in zone a (2 now), 3 in zone b (2 now) it can begin",
        ],
    );
    check_advice(
        &in_zones(&["a", "a", "b"]),
        zonal(Share::Percent(50)),
        &[
            "let fewer of each zone stay healthy: --override zones.minimum_healthy=0%",
            all_at_once,
            "add hosts to the group: with 2 in zone b (1 now) it can begin",
        ],
    );
    let order = Zonal { order: vec!["z".into(), "a".into()], ..Zonal::default() };
    check_advice(
        &in_zones(&["a", "a", "b"]),
        Policy { zonal: Some(order), ..Policy::default() },
        &["name only zones that there are: --override zones.order=a", all_at_once],
    );
}

#[test]
fn what_is_advised_for_canaries_and_bakes_and_what_is_everywhere_works() {
    let state = in_zones(&["a", "a", "b"]);
    let canary = |hosts, bake| Policy { canary: Some(Canary { hosts, bake }), ..Policy::default() };
    check_advice(
        &state,
        canary(Share::Hosts(3), Duration::ZERO),
        &[
            "make the canary smaller: --override canary.hosts=2",
            "leave the canary out: --override canary.enabled=false",
        ],
    );
    let hour = Duration::from_secs(3_600);
    check_advice(
        &state,
        Policy { deployment_timeout: hour, ..canary(Share::Hosts(1), hour) },
        &["give it more time: --override timeout=7200s", "leave the bakes out: --override canary.bake=0s"],
    );
    let mut wish = wish(Policy { outdated_only: true, ..Policy::default() });
    wish.revision.digest = Digest::of(b"v1");
    let plan = Planned::of(&state, wish).expect("the group is there").view();
    assert_eq!(plan.reason.expect("a reason").code, "NOTHING_OUTDATED");
    assert_eq!(plan.advice, ["install it again everywhere: --override outdated_only=false"]);
}

#[test]
fn a_group_whose_hosts_leave_its_policy_no_turn_says_so() {
    let of = |minimum| {
        let mut bodies = deployed();
        bodies.push(group_set(minimum));
        let state = fold(Minimum::OneAtATime, bodies);
        group(&state, state.group(&name()).expect("the group")).impossible
    };
    assert_eq!(of(Minimum::HostCount(2)), None);
    assert_eq!(of(Minimum::HostCount(75)).expect("a reason").code, "HEALTH_CONSTRAINTS_INVALID");
}
