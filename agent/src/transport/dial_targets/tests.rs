use super::*;

const HOST: HostId = HostId::from_public_key([1; 32]);

fn address(port: u16) -> Multiaddr {
    format!("/ip4/10.0.0.1/tcp/{port}").parse().unwrap()
}

fn id(number: usize) -> ConnectionId {
    ConnectionId::new_unchecked(number)
}

fn wanted(now: Instant) -> DialTargets {
    let mut targets = DialTargets::default();
    targets.want(HOST, vec![address(1)], false, now);
    targets
}

/// Checks the time until the host is dialled next, within a quarter for jitter.
fn check_wait(targets: &DialTargets, now: Instant, millis: u64) {
    let wait = targets.next_dial().expect("it is wanted").duration_since(now).as_millis() as u64;
    assert!((millis * 3 / 4..=millis * 5 / 4).contains(&wait), "{wait} ms, expected about {millis} ms");
}

#[test]
fn a_host_is_dialled_at_once_and_then_ever_more_seldom_up_to_a_second() {
    let mut now = Instant::now();
    let mut targets = wanted(now);
    assert_eq!(targets.due(now), [(Target::Host(HOST), vec![address(1)])]);
    for (attempt, millis) in [100, 200, 400, 800, 1_000, 1_000, 1_000, 1_000].into_iter().enumerate() {
        targets.dialling(&Target::Host(HOST), id(attempt));
        assert_eq!(targets.next_dial(), None, "one dial at a time");
        assert_eq!(targets.failed(id(attempt), now), Some(attempt as u32 + 1));
        check_wait(&targets, now, millis);
        assert!(targets.due(now).is_empty());
        now = targets.next_dial().unwrap();
        assert_eq!(targets.due(now).len(), 1);
    }
}

#[test]
fn a_lost_connection_is_dialled_again_at_once_but_not_one_that_keeps_ending() {
    let now = Instant::now();
    let mut targets = wanted(now);
    targets.connected(HOST, id(1), now);
    let later = now + STABLE_AFTER;
    targets.disconnected(HOST, later);
    assert_eq!(targets.next_dial(), Some(later));
    targets.connected(HOST, id(2), later);
    targets.disconnected(HOST, later);
    check_wait(&targets, later, 100);
    targets.connected(HOST, id(3), later);
    targets.disconnected(HOST, later);
    check_wait(&targets, later, 200);
}

#[test]
fn new_addresses_are_tried_at_once_and_the_same_ones_change_nothing() {
    let now = Instant::now();
    let mut targets = wanted(now);
    targets.dialling(&Target::Host(HOST), id(1));
    targets.failed(id(1), now);
    targets.want(HOST, vec![address(1)], false, now);
    assert!(targets.due(now).is_empty());
    targets.want(HOST, vec![address(2)], false, now);
    assert_eq!(targets.due(now), [(Target::Host(HOST), vec![address(2)])]);
}

#[test]
fn whoever_dials_first_ends_the_dialling() {
    let now = Instant::now();
    let mut targets = wanted(now);
    targets.dialling(&Target::Host(HOST), id(1));
    targets.connected(HOST, id(2), now);
    assert_eq!(targets.failed(id(1), now), None);
    assert_eq!(targets.next_dial(), None);
}

#[test]
fn a_host_without_an_address_is_not_dialled() {
    let now = Instant::now();
    let mut targets = DialTargets::default();
    targets.want(HOST, vec![], false, now);
    assert_eq!((targets.next_dial(), targets.due(now).len()), (None, 0));
}

#[test]
fn an_unwanted_host_is_told_once_unless_it_is_wanted_again_before() {
    let now = Instant::now();
    let mut targets = wanted(now);
    targets.connected(HOST, id(1), now);
    targets.unwant(HOST);
    assert_eq!(targets.take_unwanted(now), BTreeSet::from([HOST]));
    assert!(targets.take_unwanted(now).is_empty());
    targets.disconnected(HOST, now);
    assert_eq!(targets.next_dial(), None);
    targets.unwant(HOST);
    targets.want(HOST, vec![address(1)], true, now);
    assert!(targets.take_unwanted(now).is_empty());
}

#[test]
fn a_way_in_is_left_once_another_host_is_connected_and_taken_again_when_all_are_gone() {
    const WAY_IN: HostId = HostId::from_public_key([2; 32]);
    let now = Instant::now();
    let mut targets = wanted(now);
    targets.want_address(address(2), now);
    targets.dialling(&Target::Address(address(2)), id(1));
    targets.connected(WAY_IN, id(1), now);
    let later = now + WAY_IN_KEPT + Duration::from_secs(1);
    assert!(targets.take_unwanted(later).is_empty(), "nobody else is there");
    targets.connected(HOST, id(2), now);
    assert!(targets.take_unwanted(now + Duration::from_secs(1)).is_empty(), "not so soon");
    assert_eq!(targets.take_unwanted(later), BTreeSet::from([WAY_IN]));
    targets.disconnected(WAY_IN, later);
    assert!(targets.due(later).is_empty());
    targets.disconnected(HOST, later);
    assert_eq!(targets.due(later).len(), 2);
}

#[test]
fn tcp_comes_before_quic() {
    let now = Instant::now();
    let quic: Multiaddr = "/ip4/10.0.0.1/udp/1/quic-v1".parse().unwrap();
    let mut targets = DialTargets::default();
    targets.want(HOST, vec![quic.clone(), address(1), address(2)], false, now);
    let mut at = now;
    for (attempt, expected) in
        [vec![address(1), address(2)], vec![quic.clone()], vec![address(1), address(2)]]
            .into_iter()
            .enumerate()
    {
        assert_eq!(targets.due(at), [(Target::Host(HOST), expected)]);
        targets.dialling(&Target::Host(HOST), id(attempt));
        targets.failed(id(attempt), at);
        at = targets.next_dial().unwrap();
    }
    targets.want(HOST, vec![quic.clone()], false, at);
    assert_eq!(targets.due(at), [(Target::Host(HOST), vec![quic])]);
}

#[test]
fn our_own_address_is_forgotten() {
    let now = Instant::now();
    let mut targets = DialTargets::default();
    targets.want_address(address(1), now);
    targets.dialling(&Target::Address(address(1)), id(1));
    targets.found_ourselves(id(1));
    assert_eq!(targets.next_dial(), None);
}

#[test]
fn a_host_that_is_held_is_closed_when_it_is_let_go() {
    let now = Instant::now();
    let mut targets = DialTargets::default();
    targets.hold(HOST, vec![address(1)], false, now);
    targets.hold(HOST, vec![address(1)], false, now);
    assert_eq!(targets.due(now), [(Target::Held(HOST), vec![address(1)])]);
    targets.dialling(&Target::Held(HOST), id(1));
    targets.connected(HOST, id(1), now);
    targets.unwant(HOST);
    targets.let_go(HOST);
    assert!(targets.take_unwanted(now).is_empty());
    targets.let_go(HOST);
    assert_eq!(targets.take_unwanted(now), BTreeSet::from([HOST]));
}

#[test]
fn a_host_that_is_let_go_stays_if_it_is_wanted_or_has_dialled_us() {
    let now = Instant::now();
    for is_wanted in [true, false] {
        let mut targets = DialTargets::default();
        targets.hold(HOST, vec![address(1)], false, now);
        if is_wanted {
            targets.dialling(&Target::Held(HOST), id(1));
            targets.want(HOST, vec![address(1)], false, now);
        }
        targets.connected(HOST, id(1), now);
        targets.let_go(HOST);
        assert!(targets.take_unwanted(now).is_empty());
        assert_eq!(targets.next_dial(), None);
    }
}

#[test]
fn when_one_host_is_back_the_others_are_dialled_at_once() {
    const OTHER: HostId = HostId::from_public_key([2; 32]);
    let now = Instant::now();
    let mut targets = wanted(now);
    targets.want(OTHER, vec![address(2)], false, now);
    for host in [HOST, OTHER] {
        for attempt in 0..9 {
            targets.dialling(&Target::Host(host), id(attempt));
            targets.failed(id(attempt), now);
        }
    }
    assert!(targets.next_dial().expect("it is wanted") > now + ALL_TRIED_WITHIN);
    targets.connected(OTHER, id(20), now);
    assert_eq!(targets.due(now + ALL_TRIED_WITHIN), [(Target::Host(HOST), vec![address(1)])]);
}

#[test]
fn only_so_many_are_dialled_at_a_time() {
    let now = Instant::now();
    let mut targets = DialTargets::default();
    for number in 0..200_u8 {
        targets.want(HostId::from_public_key([number; 32]), vec![address(1)], false, now);
    }
    let first = targets.due(now);
    assert_eq!(first.len(), DIALS_MAX);
    for (at, (target, _)) in first.iter().enumerate() {
        targets.dialling(target, id(at));
    }
    assert_eq!((targets.next_dial(), targets.due(now).len()), (None, 0));
    targets.failed(id(0), now);
    assert!(targets.next_dial().is_some() && targets.due(now).len() == 1);
}
