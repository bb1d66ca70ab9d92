use super::*;

const A: HostNo = HostNo(0);
const B: HostNo = HostNo(1);
const C: HostNo = HostNo(2);

/// A network without a world. It notes every frame that arrives and everything
/// that the ends are told.
struct Lab {
    network: Network,
    queue: Vec<Later>,
    now: Moment,
    told: Vec<(HostNo, Told)>,
    arrived: Vec<(HostNo, u8)>,
}

impl Lab {
    fn new(quality: Quality) -> Self {
        let mut network = Network::new(quality, Chance::new(3));
        [A, B, C].into_iter().for_each(|host| network.host_up(host, 1));
        Lab { network, queue: Vec::new(), now: Moment::START, told: Vec::new(), arrived: Vec::new() }
    }

    fn connected(quality: Quality) -> Self {
        let mut lab = Lab::new(quality);
        for (from, to) in [(A, B), (B, A), (B, C)] {
            let later = lab.network.connect(from, to, lab.now);
            lab.queue.extend(later);
        }
        lab.run(1);
        lab
    }

    fn send(&mut self, from: HostNo, to: HostNo, byte: u8) {
        let later = self.network.send(from, to, Rc::from([byte]), self.now);
        self.queue.extend(later);
    }

    fn cut(&mut self, from: HostNo, to: HostNo) {
        let later = self.network.cut(&BTreeSet::from([from]), &BTreeSet::from([to]), self.now);
        self.queue.extend(later);
    }

    fn run(&mut self, seconds: u64) {
        let until = self.now + Duration::from_secs(seconds);
        loop {
            self.queue.sort_by_key(|(at, _)| *at);
            if self.queue.first().is_none_or(|(at, _)| *at > until) {
                break;
            }
            let (at, event) = self.queue.remove(0);
            self.now = at;
            self.step(event);
        }
        self.now = until;
    }

    fn step(&mut self, event: NetEvent) {
        let now = self.now;
        let later = match event {
            NetEvent::Dial { from, to } => self.network.dial(from, to, true, now),
            NetEvent::Up { end, peer, connection } => {
                let (told, later) = self.network.up(end, peer, connection, now);
                self.told.extend(told.into_iter().map(|told| (end.host, told)));
                later
            }
            NetEvent::Lost { host, peer, connection } => {
                let (told, later) = self.network.lost(host, peer, connection, now);
                self.told.extend(told.into_iter().map(|told| (host, told)));
                later
            }
            NetEvent::Idle { a, b, since } => self.network.idle(a, b, since, now),
            NetEvent::Frame { from, to, connection, frame, gossip } => {
                if !self.network.arrives(from, to, connection) {
                    return;
                }
                let (first, later) = match gossip {
                    Some(id) => self.network.gossip_arrives(id, to, &frame, now),
                    None => (true, Vec::new()),
                };
                if first {
                    self.arrived.push((to, frame[0]));
                }
                later
            }
        };
        self.queue.extend(later);
    }
}

#[test]
fn both_ends_of_a_double_dial_mean_the_same_connection() {
    let mut lab = Lab::connected(Quality::default());
    lab.send(A, B, 1);
    lab.send(B, A, 2);
    lab.run(1);
    assert_eq!(lab.arrived.len(), 2, "{:?}", lab.arrived);
}

#[test]
fn a_frame_without_a_connection_is_lost() {
    let mut lab = Lab::connected(Quality::default());
    lab.send(A, C, 1);
    lab.run(1);
    assert_eq!(lab.arrived, []);
}

#[test]
fn a_cut_is_silent_first_and_a_lost_connection_later() {
    let mut lab = Lab::connected(Quality::default());
    lab.told.clear();
    lab.cut(A, B);
    lab.send(A, B, 1);
    lab.send(B, A, 2);
    lab.run(2);
    assert_eq!((lab.arrived.as_slice(), lab.told.len()), (&[(A, 2)][..], 0), "one way, and nobody knows");
    lab.run(10);
    assert_eq!(lab.told.len(), 2, "both ends know: {:?}", lab.told);

    lab.network.mend_all();
    lab.run(5);
    lab.send(A, B, 3);
    lab.run(1);
    assert_eq!(lab.arrived.last(), Some(&(B, 3)), "both wanted it back");
}

#[test]
fn a_short_cut_breaks_no_connection() {
    let mut lab = Lab::connected(Quality::default());
    lab.told.clear();
    lab.cut(A, B);
    lab.run(1);
    lab.network.mend(&BTreeSet::from([A]), &BTreeSet::from([B]));
    lab.run(20);
    assert_eq!(lab.told, []);
}

#[test]
fn a_publication_reaches_each_host_once_by_way_of_neighbours() {
    let mut lab = Lab::connected(Quality::default());
    let later = lab.network.publish(A, &Rc::from([9]), lab.now);
    lab.queue.extend(later);
    lab.run(1);
    assert_eq!(lab.arrived, [(B, 9), (C, 9)]);
}

#[test]
fn a_killed_host_says_goodbye_and_one_without_power_does_not() {
    for (goodbye, seconds) in [(true, 1), (false, 8)] {
        let mut lab = Lab::connected(Quality::default());
        lab.told.clear();
        let later = lab.network.host_down(B, goodbye, lab.now);
        lab.queue.extend(later);
        lab.run(1);
        assert_eq!(lab.told.len(), if goodbye { 2 } else { 0 });
        lab.run(seconds);
        assert_eq!(lab.told.len(), 2);
    }
}

#[test]
fn bad_quality_loses_doubles_and_reorders() {
    let quality = Quality {
        loss_per_million: 100_000,
        duplicates_per_million: 100_000,
        reorders: true,
        jitter: Duration::from_millis(5),
        ..Quality::default()
    };
    let mut lab = Lab::connected(quality);
    lab.run(20);
    (0..200).for_each(|byte| lab.send(A, B, byte));
    lab.run(1);
    let bytes: Vec<u8> = lab.arrived.iter().map(|(_, byte)| *byte).collect();
    let distinct: BTreeSet<u8> = bytes.iter().copied().collect();
    assert!(distinct.len() < 200 && distinct.len() > 150, "some are lost: {}", distinct.len());
    assert!(bytes.len() > distinct.len(), "some come twice");
    assert!(!bytes.is_sorted(), "some overtake");
}
