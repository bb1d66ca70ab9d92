use super::*;

fn world(seed: u64, hosts: usize) -> World {
    let mut world = World::new(seed, Quality::default());
    for _ in 0..hosts {
        let no = world.add_host(Profile { tags: BTreeSet::new(), zone: String::new() });
        world.start_at(no, Moment::START);
    }
    world
}

#[test]
fn the_same_seed_is_the_same_run_and_another_is_not() {
    let hash = |seed| {
        let mut world = world(seed, 3);
        world.run_until(Moment::from_micros(10_000_000));
        assert!(world.checks().finding().is_none(), "{:?}", world.checks().finding());
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
    assert!(world.checks().finding().is_none(), "{:?}", world.checks().finding());
}
