use std::cell::RefCell;

use super::*;
use crate::health::Probe;
use crate::statement::{Report, Statement};

fn me() -> HostId {
    HostId::from_public_key([1; 32])
}

fn group() -> GroupName {
    "hello/prod".parse().expect("a name")
}

fn second(number: u64) -> Time {
    Time::from_micros(number * 1_000_000)
}

fn wanted(aim: Aim) -> BTreeMap<GroupName, (HealthCheck, Aim)> {
    let check = HealthCheck {
        every: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        ..HealthCheck::new(Probe::Tcp("127.0.0.1:80".into()))
    };
    BTreeMap::from([(group(), (check, aim))])
}

/// One host's monitors, and a ledger of its health as the fold keeps it.
struct Host {
    monitors: Monitors,
    known: RefCell<Known>,
    unwell_at: Vec<Time>,
    words: Vec<(u64, bool)>,
}

impl Host {
    fn new() -> Host {
        let mut monitors = Monitors::default();
        monitors.set(&wanted(Aim::Watch), second(0));
        let known = RefCell::new(Known { is_ailing: false, unwell_of_late: 0, since: 0 });
        Host { monitors, known, unwell_at: Vec::new(), words: Vec::new() }
    }

    /// Runs one second with one probe; what the monitors propose is committed at
    /// once.
    fn probe(&mut self, at: u64, result: Result<(), String>) {
        let asks = self.monitors.begin(second(at), |_| Vec::new());
        assert_eq!(asks.len(), 1, "one probe a second");
        self.monitors.answered(&asks[0].group, result, second(at));
        self.unwell_at.retain(|said| second(at).since(*said) < FLAP_WINDOW);
        let known = Known {
            unwell_of_late: u32::try_from(self.unwell_at.len()).expect("few"),
            ..*self.known.borrow()
        };
        let words = self.monitors.words(me(), at, |_| Some(known));
        for word in words {
            let Statement::Report(Report::HealthChanged { healthy, .. }) = word else {
                panic!("a word about health")
            };
            self.words.push((at, healthy));
            *self.known.borrow_mut() = Known { is_ailing: !healthy, ..known };
            if !healthy {
                self.unwell_at.push(second(at));
            }
        }
    }

    /// Runs for this many seconds, with a well application whenever `is_well` says
    /// so. Returns what was proposed.
    fn run(&mut self, seconds: u64, is_well: impl Fn(u64) -> bool) -> &[(u64, bool)] {
        for at in 0..seconds {
            self.probe(at, if is_well(at) { Ok(()) } else { Err("refused".into()) });
        }
        &self.words
    }
}

#[test]
fn only_changes_that_last_are_said() {
    assert_eq!(Host::new().run(100, |_| true), []);
    assert_eq!(Host::new().run(100, |at| at % 5 > 1), [], "two failures are no fall");
    assert_eq!(Host::new().run(100, |at| at < 50), [(52, false)], "at the third failure");
    assert_eq!(Host::new().run(100, |at| !(50..60).contains(&at)), [(52, false), (61, true)]);
    assert_eq!(Host::new().run(100, |_| false), [(2, false)], "said once");
}

#[test]
fn a_host_that_flaps_waits_longer_and_longer_before_it_counts_as_well() {
    // The application is well for three seconds, and then unwell for three.
    let mut host = Host::new();
    let words = host.run(600, |at| at % 6 < 3);
    assert_eq!(words, [(5, false), (7, true), (11, false)], "then it is never steady for 30 s");

    let mut host = Host::new();
    // The application is unwell for three seconds of each hundred.
    let words = host.run(1_200, |at| at % 100 < 97);
    let well_after: Vec<u64> = words.chunks(2).filter_map(|pair| Some(pair.get(1)?.0 - pair[0].0)).collect();
    assert_eq!(well_after, [2, 31, 61], "then it would have to be well for 120 s");
}

#[test]
fn however_it_flaps_an_hour_holds_a_bounded_number_of_words() {
    let mut most = 0;
    for (unwell, well) in
        [(3, 2), (3, 31), (3, 61), (3, 121), (3, 241), (3, 481), (3, 901), (4, 905), (10, 40)]
    {
        let mut host = Host::new();
        host.run(4 * 3_600, |at| at % (unwell + well) >= unwell);
        let in_window =
            |from: u64| host.words.iter().filter(|(at, _)| (from..from + 3_600).contains(at)).count();
        most = most.max((0..3 * 3_600).step_by(60).map(in_window).max().unwrap_or(0));
    }
    // In the worst case, it becomes unwell as soon as it was reported well.
    let mut host = Host::new();
    for at in 0..4 * 3_600 {
        let is_well = host.known.borrow().is_ailing;
        host.probe(at, if is_well { Ok(()) } else { Err("refused".into()) });
    }
    let window = |from: u64| host.words.iter().filter(|(at, _)| (from..from + 3_600).contains(at)).count();
    most = most.max((0..3 * 3_600).step_by(10).map(window).max().unwrap_or(0));
    assert!(most <= WORDS_PER_HOUR_MAX, "{most} words in an hour");
    assert!(most >= WORDS_PER_HOUR_MAX - 6, "the bound says nothing: {most}");
}

#[test]
fn a_word_is_the_same_until_the_ledger_has_it_or_it_is_no_longer_true() {
    let mut host = Host::new();
    let said = |host: &mut Host, index, since| {
        let known = Known { is_ailing: false, unwell_of_late: 0, since };
        host.monitors.words(me(), index, |_| Some(known))
    };
    for at in 0..3 {
        let asks = host.monitors.begin(second(at), |_| Vec::new());
        host.monitors.answered(&asks[0].group, Err(format!("error {at}")), second(at));
    }
    let first = said(&mut host, 10, 0);
    assert_eq!(first.len(), 1);
    let asks = host.monitors.begin(second(3), |_| Vec::new());
    host.monitors.answered(&asks[0].group, Err("another error".into()), second(3));
    assert_eq!(said(&mut host, 12, 10), first, "the ledger has gone on, but not about this host");
    let again = said(&mut host, 12, 11);
    assert_ne!(again, first, "something was said of it since: the word would come too late");
    let asks = host.monitors.begin(second(4), |_| Vec::new());
    host.monitors.answered(&asks[0].group, Ok(()), second(4));
    assert_eq!(said(&mut host, 12, 11), [], "it is no longer true");
}

#[test]
fn a_check_that_was_changed_begins_anew_and_one_that_is_gone_ends() {
    let mut monitors = Monitors::default();
    monitors.set(&wanted(Aim::Watch), second(0));
    assert_eq!(monitors.begin(second(0), |_| Vec::new()).len(), 1);
    monitors.set(&wanted(Aim::Watch), second(0));
    assert!(monitors.begin(second(0), |_| Vec::new()).is_empty(), "the same check goes on");
    let mut changed = wanted(Aim::Watch);
    changed.values_mut().for_each(|(check, _)| check.fall = 1);
    monitors.set(&changed, second(0));
    assert_eq!(monitors.begin(second(0), |_| Vec::new()).len(), 1);
    let turn = DeploymentId::derive(b"a turn");
    monitors.set(&wanted(Aim::Turn(turn)), second(0));
    assert_eq!(monitors.waits(second(0)), [(turn, Wait::Goes)]);
    monitors.set(&BTreeMap::new(), second(0));
    assert_eq!((monitors.next(), monitors.waits(second(0))), (None, Vec::new()));
}
