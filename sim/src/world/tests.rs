use super::*;

fn world(seed: u64, hosts: usize) -> World {
    let mut world = World::new(seed, Quality::default());
    for _ in 0..hosts {
        let no = world.add_host(Profile::default());
        world.start_at(no, Moment::START);
    }
    world
}

#[test]
fn the_same_seed_is_the_same_run_and_another_is_not() {
    let hash = |seed| {
        let mut world = world(seed, 3);
        world.run_until(Moment::from_micros(10_000_000));
        assert!(world.checks().counterexample().is_none(), "{:?}", world.checks().counterexample());
        world.trace().hash()
    };
    assert_eq!(hash(1), hash(1));
    assert_ne!(hash(1), hash(2));
}

#[test]
fn all_hosts_join() {
    let mut world = world(1, 5);
    let all_know = |world: &World| world.nodes().all(|(_, node)| node.state().hosts().len() == 5);
    assert!(world.run_while(Duration::from_secs(20), |world| !all_know(world)));
}

#[test]
fn a_stalled_host_goes_on_where_it_was() {
    let mut world = world(1, 3);
    world.run_until(Moment::from_micros(5_000_000));
    let stall = Fault::Stall { who: Who::Host(HostNo(1)), lasts: Duration::from_secs(4) };
    world.fault_at(stall, Moment::from_micros(5_000_001));
    world.run_until(Moment::from_micros(8_000_000));
    let behind = world.host(HostNo(1)).node().map(|node| node.state().index());
    world.run_until(Moment::from_micros(30_000_000));
    assert!(world.host(HostNo(1)).node().map(|node| node.state().index()) >= behind);
    assert!(world.checks().counterexample().is_none(), "{:?}", world.checks().counterexample());
}

#[test]
fn an_application_that_flaps_for_hours_costs_the_ledger_few_entries() {
    let mut world = World::new(1, Quality::default());
    let tags = BTreeSet::from([proto::group::Tag::parse("role=web").expect("a tag")]);
    let host = world.add_host(Profile { tags, ..Profile::default() });
    world.start_at(host, Moment::START);
    let mut bundle = Bundle::new("flaps", (Duration::from_millis(5), Duration::from_millis(50)));
    // Each phase is long enough for the check to find the application unwell,
    // and well again.
    let flaps = Some(Duration::from_secs(20));
    let after = Duration::from_secs(60);
    bundle.sickness = Some(crate::hooks::Sickness { hosts: None, after, flaps, is_silent: false });
    let digest = bundle.revision.digest;
    world.add_bundle(bundle);
    let filter = proto::group::TagFilter::parse("role=web").expect("a filter");
    let probe = proto::health::Probe::Tcp("127.0.0.1:80".into());
    let policy = proto::policy::Policy {
        minimum: proto::policy::Minimum::AllAtOnce,
        ..proto::policy::Policy::default()
    };
    let tags = proto::group::TagSets(vec![vec![filter]]);
    let group = proto::group::Group {
        health: Some(proto::health::HealthCheck::new(probe)),
        ..proto::group::Group::new("web/prod".parse().expect("a name"), tags, policy)
    };
    let name = group.name.clone();
    let ask = |wish| Asked { at: host, wish, insists: true };
    world.ask_at(ask(Wish::SetGroup(group)), Moment::from_micros(2_000_000));
    let deploy = Wish::Deploy { group: name, digest, policy: None, queue: false };
    world.ask_at(ask(deploy), Moment::from_micros(4_000_000));
    world.run_until(Moment::from_micros(7_200_000_000));
    assert!(world.checks().counterexample().is_none(), "{:?}", world.checks().counterexample());
    let said = |words: &str| world.story().lines().iter().filter(|(_, line)| line.contains(words)).count();
    let (unwell, well) = (said("is unwell in"), said("is well again in"));
    // The application flaps 180 times. Once it must be well for 30 s or longer,
    // it never is, until the ledger forgets the count after an hour.
    assert_eq!((unwell, well), (4, 3));
    let probes = world.trace().inputs();
    assert!(probes > 1_400, "it was looked at all the time");
}

#[test]
fn hosts_whose_fold_panics_stay_up_and_go_on_once_it_is_mended() {
    let mut world = world(1, 5);
    let second = |second: u64| Moment::from_micros(second * 1_000_000);
    let bad: proto::id::GroupName = "web/bad".parse().expect("a name");
    for host in &mut world.hosts {
        host.fold_panics_on = Some(bad.clone());
    }
    // The agents that run have no such fault yet.
    let back_after = Some(Duration::from_secs(1));
    for no in 0..5 {
        let down = Fault::Down { who: Who::Host(HostNo(no)), how: crate::disk::Crash::Process, back_after };
        world.fault_at(down, second(5));
    }
    let filter = proto::group::TagFilter::parse("role=web").expect("a filter");
    let tags = proto::group::TagSets(vec![vec![filter]]);
    let group = proto::group::Group::new(bad.clone(), tags, proto::policy::Policy::default());
    world.ask_at(Asked { at: HostNo(1), wish: Wish::SetGroup(group), insists: false }, second(20));
    world.run_until(second(60));
    let nodes: Vec<_> = world
        .nodes()
        .map(|(_, node)| (node.halted().is_some(), node.state().group(&bad).is_some()))
        .collect();
    assert_eq!(nodes, [(true, false); 5]);

    for host in &mut world.hosts {
        host.fold_panics_on = None;
    }
    let back_after = Some(Duration::from_secs(1));
    for no in 0..5 {
        let down = Fault::Down { who: Who::Host(HostNo(no)), how: crate::disk::Crash::Process, back_after };
        world.fault_at(down, second(61));
    }
    world.run_until(second(90));
    assert!(world.nodes().all(|(_, node)| node.halted().is_none() && node.state().group(&bad).is_some()));
    assert!(world.checks().counterexample().is_none(), "{:?}", world.checks().counterexample());
}
