use super::*;

/// Places with times relative to one start, so that rows can give them in milliseconds.
struct Run {
    places: Places,
    start: Instant,
}

impl Run {
    fn new() -> Run {
        Run { places: Places::new(), start: Instant::now() }
    }

    fn enter(&mut self, ms: u64, source: Source) -> Option<Given> {
        self.places.enter(source, false, self.start + Duration::from_millis(ms))
    }

    /// Enters this many times at once; returns the number of places given.
    fn burst(&mut self, ms: u64, source: Source, times: usize) -> usize {
        (0..times).filter(|_| self.enter(ms, source).is_some()).count()
    }

    fn held_by(&self, source: Source) -> usize {
        self.places.pending.values().filter(|pending| pending.source == source).count()
    }
}

fn at(number: u16) -> Source {
    let [high, low] = number.to_be_bytes();
    Source::V4([10, 0, high, low].into())
}

fn source(address: &str) -> Source {
    Source::of(&address.parse().expect("an address"))
}

#[test]
fn an_ipv6_address_counts_as_its_64() {
    assert_eq!(source("/ip6/2001:db8::1/tcp/1"), source("/ip6/2001:db8::ffff:2/udp/2/quic-v1"));
    assert_ne!(source("/ip6/2001:db8::1/tcp/1"), source("/ip6/2001:db8:0:1::1/tcp/1"));
    assert_eq!(source("/ip6/::ffff:10.0.0.1/tcp/1"), at(1));
    assert_eq!(source("/dns4/example.org/tcp/1"), Source::Other);
}

#[test]
fn an_address_may_come_forty_times_at_once_and_twenty_times_a_second() {
    let mut run = Run::new();
    assert_eq!(run.burst(0, at(1), 100), 40);
    assert_eq!(run.burst(1_000, at(1), 100), 20);
    assert_eq!(run.burst(10_000, at(1), 100), 40);
    assert_eq!(run.burst(10_000, at(2), 100), 40, "another address is another matter");
}

#[test]
fn one_address_holds_sixteen_places_and_its_oldest_goes() {
    let mut run = Run::new();
    let first = run.enter(0, at(1)).expect("a place");
    let second = run.enter(0, at(1)).expect("a place");
    assert_eq!(run.burst(0, at(1), 15), 15);
    assert_eq!(run.held_by(at(1)), PLACES_OF_ADDRESS);
    assert!(first.displaced.is_cancelled() && !second.displaced.is_cancelled());
    run.places.free(second.id);
    assert!(run.enter(0, at(1)).expect("a place").instead_of.is_none());
}

#[test]
fn a_newcomer_takes_the_place_of_the_oldest_stranger() {
    let mut run = Run::new();
    for number in 0..48 {
        assert!(run.enter(0, at(number)).expect("a place").instead_of.is_none());
    }
    let newcomer = run.enter(1, at(100)).expect("a place");
    assert_eq!(newcomer.instead_of, Some(at(0)));
    assert_eq!(run.enter(1, at(101)).expect("a place").instead_of, Some(at(1)));
    assert!(!newcomer.displaced.is_cancelled());
}

#[test]
fn strangers_never_take_the_places_kept_for_known_hosts() {
    let mut run = Run::new();
    run.places.know(&["/ip4/10.0.0.200/tcp/1".parse().expect("an address")], &[]);
    for number in 300..400 {
        run.enter(0, at(number)).expect("a place");
    }
    let known: Vec<Given> = (0..16).map(|_| run.enter(0, at(200)).expect("a place")).collect();
    assert!(known.iter().all(|given| given.instead_of.is_none()), "sixteen are free for it");
    for number in 400..500 {
        run.enter(0, at(number)).expect("a place");
    }
    assert!(known.iter().all(|given| !given.displaced.is_cancelled()));
    let more = run.enter(0, at(200)).expect("a place");
    assert!(more.instead_of.is_some_and(|gone| gone != at(200)), "a stranger goes for it");
    assert_eq!(run.places.pending.len(), PLACES_MAX);
}

#[test]
fn an_address_is_known_for_as_long_as_a_host_is_said_to_be_there() {
    let mut run = Run::new();
    let address: Multiaddr = "/ip4/10.0.0.1/tcp/1".parse().expect("an address");
    run.places.know(std::slice::from_ref(&address), &[]);
    run.places.know(std::slice::from_ref(&address), &[]);
    run.places.know(&[], std::slice::from_ref(&address));
    assert_eq!(run.burst(0, at(1), 300), 200);
    run.places.know(&[], &[address]);
    assert!(!run.places.known.contains_key(&at(1)));
    run.places.admitted(at(2));
    assert_eq!(run.burst(0, at(2), 300), 200, "a member came from there");
}

#[test]
fn strangers_over_quic_have_few_of_the_places() {
    let mut run = Run::new();
    for number in 0..20 {
        run.places.enter(at(number), true, run.start).expect("a place");
    }
    assert_eq!(run.places.pending.len(), PLACES_OVER_QUIC);
    assert!(run.enter(0, at(50)).expect("a place").instead_of.is_none(), "there is room over TCP");
}

#[test]
fn what_is_remembered_of_addresses_is_bounded() {
    let mut run = Run::new();
    for number in 0..20_000 {
        run.enter(0, at(number));
    }
    assert!(run.places.paces.young.len() + run.places.paces.old.len() <= ADDRESSES_MAX);
    assert!(run.places.pending.len() <= PLACES_MAX);
    assert_eq!(run.burst(0, at(19_999), 100), 39, "the last ones are remembered");
}
