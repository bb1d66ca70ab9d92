use proto::policy::{DeploymentConfig, Mode};
use proto::rollout::Rollout;
use proto::statement::{Finding, Intent, Report, Statement};

use super::*;

fn turn(number: u8) -> [Statement; 2] {
    [started(number), ended(number, TurnOutcome::Succeeded)]
}

fn down(number: u8) -> Statement {
    Report::HostDown { host: host(number), incarnation: 1 }.into()
}

/// Lets all three hosts have their turn.
fn deployed() -> Vec<Statement> {
    (1..=3).flat_map(turn).chain([Finding::Finished { deployment: id() }.into()]).collect()
}

/// Sets the group with a health check.
fn checked() -> Statement {
    let check = proto::health::HealthCheck::new(proto::health::Probe::Tcp("127.0.0.1:80".into()));
    let Statement::Intent(Intent::SetGroup(known)) = group_set(Minimum::OneAtATime) else {
        panic!("a group is set")
    };
    Intent::SetGroup(Group { health: Some(check), ..known }).into()
}

fn unwell(number: u8) -> Statement {
    let error = "it answered 500".into();
    Report::HealthChanged { group: name(), host: host(number), healthy: false, error, as_of: 100 }.into()
}

fn group_of(state: &State) -> GroupView {
    group(state, state.group(&name()).expect("the group"))
}

#[test]
fn a_group_names_each_host_that_is_not_in_service_and_since_when() {
    let mut more = vec![checked()];
    more.extend(deployed());
    more.extend([down(1), unwell(2)]);
    let shown = group_of(&fold(Minimum::OneAtATime, more));
    assert_eq!(shown.healthy, 1);
    let lines: Vec<String> = shown.out_of_service.iter().map(OutOfServiceView::line).collect();
    let expected = [
        "web-1 is Down since 1970-01-01T00:00:14.000Z: if it is gone for good: skein mesh remove web-1",
        "web-2 is unhealthy since 1970-01-01T00:00:15.000Z: it answered 500",
    ];
    assert_eq!(lines, expected);

    let failed = fold(Minimum::OneAtATime, vec![started(1), ended(1, failure())]);
    let lines: Vec<String> = group_of(&failed).out_of_service.iter().map(OutOfServiceView::line).collect();
    assert_eq!(lines, ["web-1: its last turn did not succeed"], "the others never had one");
}

#[test]
fn a_host_in_its_turn_is_in_service_nowhere() {
    let second: DeploymentId = "d-ABCDEFGH2".parse().expect("an id");
    let Statement::Intent(Intent::Deploy(first)) = submitted(Minimum::OneAtATime) else {
        panic!("a submission")
    };
    let mut more = deployed();
    more.push(Statement::Intent(Intent::Deploy(Box::new(Submission {
        deployment: second,
        ..*first.clone()
    }))));
    let state = fold(Minimum::OneAtATime, more);
    let shown =
        deployment_view::with_hosts(state.rollout(second).expect("the deployment"), &state, &[], &|_| None);
    let counted = GroupCounts::of(&state, state.group(&name()).expect("the group"), &BTreeSet::new());
    let group = group_of(&state);
    let planned = Planned::of(&state, *first).expect("the group").view();
    assert_eq!((shown.healthy.now, group.healthy, counted.healthy, planned.healthy), (2, 2, 2, 2));
    assert!(group.out_of_service.is_empty(), "{:?}", group.out_of_service);
    // The deployments in which it would count as failed if it were removed.
    assert_eq!(waiting_for(&state, host(1)), [second.to_string()]);
    assert_eq!(waiting_for(&state, host(9)), [""; 0]);
}

#[test]
fn a_host_that_is_down_is_said_to_be_before_its_turn_and_after_it() {
    let said = |number: u8| {
        let more = turn(1).into_iter().chain([down(number)]).collect();
        let host = view(&fold(Minimum::OneAtATime, more)).hosts()[usize::from(number) - 1].clone();
        (host.status, host.message.unwrap_or_default())
    };
    let since = || "Down since 1970-01-01T00:00:08.000Z".to_string();
    assert_eq!(said(1), ("Succeeded".into(), since()));
    assert_eq!(said(3), ("Pending".into(), since()));
}

#[test]
fn a_configuration_names_the_groups_that_it_makes_impossible() {
    let named = || "careful".parse().expect("a name");
    let Statement::Intent(Intent::SetGroup(known)) = group_set(Minimum::OneAtATime) else {
        panic!("a group is set")
    };
    let set = |hosts: u32| {
        let minimum = Minimum::HostCount(hosts);
        Intent::SetConfig(DeploymentConfig {
            name: named(),
            minimum,
            turns_max: None,
            canary: None,
            zonal: None,
        })
        .into()
    };
    let follows: Statement = Intent::SetGroup(Group { config: Some(named()), ..known }).into();
    let more = |hosts| fold(Minimum::OneAtATime, vec![set(1), follows.clone(), set(hosts)]);
    let impossible = |hosts| config(&more(hosts), &named()).expect("it is there").impossible;
    assert!(impossible(2).is_empty());
    let why = &impossible(3)["hello/prod"];
    assert!(why.message.contains('3'), "{}", why.message);
}

#[test]
fn who_waits_for_others_is_told_how_to_go_on_with_less() {
    let too_few = Blocker::TooFewHealthy { available: 2, minimum: 2, total: 3, down: 1, ailing: 0 };
    let of_zone = Blocker::ZoneTooFewHealthy {
        zone: "a".into(),
        available: 2,
        minimum: 2,
        total: 3,
        down: 1,
        ailing: 0,
    };
    let advice = |blocker: &Blocker, wanted: Submission| {
        let rollout = Rollout::queued(wanted, LedgerTime::from_millis(1));
        let said = Why::of_blocker(blocker).naming(blocker, &rollout, &State::default()).message;
        said.rsplit_once(" and ").expect("advice").1.to_string()
    };
    let wanted = || {
        let Statement::Intent(Intent::Deploy(wanted)) = submitted(Minimum::OneAtATime) else {
            panic!("a submission")
        };
        *wanted
    };
    let restart = Policy { mode: Mode::Restart, ..wanted().policy };
    let digest = Digest::of(b"v1").short();
    assert_eq!(
        [
            advice(&too_few, wanted()),
            advice(&of_zone, wanted()),
            advice(&too_few, Submission { policy: restart, ..wanted() }),
            advice(&too_few, Submission { rollback_of: Some(id()), ..wanted() }),
        ],
        [
            "go on with less: skein deploy hello/prod SOURCE --override minimum_healthy=N".into(),
            "go on with less: skein deploy hello/prod SOURCE --override zones.minimum_healthy=N".into(),
            "go on with less: skein deploy hello/prod --restart --override minimum_healthy=N".into(),
            format!(
                "go back with less: skein rollback hello/prod --to {digest} --override minimum_healthy=N"
            ),
        ]
    );
}

#[test]
fn hosts_of_the_same_name_are_told_apart_by_their_ids() {
    let Statement::Report(Report::HostJoined(record)) = joined(4) else { panic!("a host joins") };
    let replaced = Report::HostJoined(HostRecord { name: "web-2".into(), ..record }).into();
    let mut more = deployed();
    more.extend([down(2), replaced]);
    let state = fold(Minimum::OneAtATime, more);
    let (old, new) = (format!("web-2 ({})", host(2).short()), format!("web-2 ({})", host(4).short()));
    let shown = group_of(&state);
    assert_eq!(shown.out_of_service[0].who.label(), old);
    assert_eq!(shown.behind.iter().map(|host| host.who.label()).collect::<Vec<_>>(), [&new]);
    let names: Vec<String> = view(&state).hosts().iter().map(|host| host.who.label().into()).collect();
    assert_eq!(names, ["web-1", &old, "web-3"]);
    // Scripts get the plain name, and the displayed label is understood.
    assert_eq!(shown.out_of_service[0].who.name, "web-2");
    assert_eq!((find_host(&state, &old), find_host(&state, &new)), (Ok(host(2)), Ok(host(4))));
    assert_eq!(find_host(&state, "web-2"), Err(vec![host(2), host(4)]));
    assert_eq!(find_host(&state, &host(2).short()), Ok(host(2)));
    let Statement::Intent(Intent::Deploy(wish)) = submitted(Minimum::OneAtATime) else {
        panic!("a submission")
    };
    let advice = Planned::of(&state, *wish).expect("the group").view().advice.join("\n");
    let remove = format!("skein mesh remove {}", host(2).short());
    assert!(advice.contains(&remove) && advice.contains(&old), "{advice}");
}

#[test]
fn a_host_that_nobody_in_reach_hears_is_unknown_and_not_counted_in_service() {
    let mut more = deployed();
    more.push(down(1));
    let state = fold(Minimum::OneAtATime, more);
    let known = state.group(&name()).expect("the group");
    // A host that the ledger says is Down is not unknown.
    let unheard = BTreeSet::from([host(1), host(3)]);
    let counted = GroupCounts::of(&state, known, &unheard);
    let mut names = names::Names::of(&state);
    names.unheard.clone_from(&unheard);
    let shown = mesh_view::group_view(&names, known);
    assert_eq!((shown.healthy, shown.unknown, counted.healthy), (1, 1, 1));
    let lines: Vec<String> = shown.out_of_service.iter().map(OutOfServiceView::line).collect();
    assert_eq!(lines[1], "web-3 is Unknown: neither this host nor any host in its reach hears it");

    let seen = proto::node::MeshView { unheard, ..proto::node::MeshView::default() };
    let counts = MeshCounts::of(&state, &seen);
    assert_eq!((counts.total, counts.up, counts.down, counts.unknown), (3, 1, 1, 1));
    let status = |number: u8| {
        let host = state.host(host(number)).expect("a host");
        mesh_view::host_view(host, &names::Names::of(&state), &seen, host.record.host).status
    };
    assert_eq!([status(1), status(2), status(3)], ["Down", "Up", "Unknown"]);
}
