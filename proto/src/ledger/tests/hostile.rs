//! Tests messages that no honest voter sends, and honest ones at the wrong time. No
//! message causes a panic, and committed entries stay.

use proptest::prelude::*;

use super::*;

/// A number near one that means something to the receiver.
#[derive(Clone, Copy, Debug)]
enum Number {
    Small(u64),
    Term(i8),
    Last(i8),
    Folded(i8),
    Huge(u64),
}

#[derive(Clone, Debug)]
struct Odd {
    kind: u8,
    from: u64,
    term: Number,
    log_term: Number,
    index: Number,
    /// The terms of its entries, and their contents.
    entries: Vec<(Number, u8)>,
    /// True if the indexes of its entries follow each other.
    in_order: bool,
    commit: Number,
    commit_term: Number,
    reject: bool,
    hint: Number,
    snapshot: Option<(Number, Number, u8)>,
    request_snapshot: Number,
    context: u8,
}

#[derive(Clone, Debug)]
enum Step {
    Odd(Odd),
    /// Entries from a neighbour, not from consensus.
    Committed(Vec<(Number, u8)>, Number),
    Snapshot(Number, Number, u8),
    /// The other voters grant every vote that it asks for.
    Elected,
    Tick(u8),
    Propose,
    ProposeVoters(u8),
    Write(u8),
    Restart,
    PowerLoss,
}

fn numbers() -> impl Strategy<Value = Number> {
    prop_oneof![
        2 => (0_u64..6).prop_map(Number::Small),
        4 => (-2_i8..3).prop_map(Number::Term),
        4 => (-2_i8..3).prop_map(Number::Last),
        3 => (-2_i8..3).prop_map(Number::Folded),
        1 => (0_u64..3).prop_map(Number::Huge),
    ]
}

fn odd() -> impl Strategy<Value = Odd> {
    let entries = prop::collection::vec((numbers(), any::<u8>()), 0..4);
    let snapshot = prop::option::weighted(0.3, (numbers(), numbers(), any::<u8>()));
    let first = (any::<u8>(), 0_u64..6, numbers(), numbers(), numbers(), entries, prop::bool::weighted(0.8));
    let rest = (numbers(), numbers(), any::<bool>(), numbers(), snapshot, numbers(), any::<u8>());
    (first, rest).prop_map(|(first, rest)| {
        let (kind, from, term, log_term, index, entries, in_order) = first;
        let (commit, commit_term, reject, hint, snapshot, request_snapshot, context) = rest;
        // It is mostly zero, because another value would hide all other mistakes
        // behind one refusal.
        let request_snapshot = if context < 16 { request_snapshot } else { Number::Small(0) };
        Odd {
            kind,
            from,
            term,
            log_term,
            index,
            entries,
            in_order,
            commit,
            commit_term,
            reject,
            hint,
            snapshot,
            request_snapshot,
            context,
        }
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let entries = prop::collection::vec((numbers(), any::<u8>()), 1..4);
    let step = prop_oneof![
        12 => odd().prop_map(Step::Odd),
        1 => (entries, numbers()).prop_map(|(entries, index)| Step::Committed(entries, index)),
        1 => (numbers(), numbers(), any::<u8>()).prop_map(|(i, t, v)| Step::Snapshot(i, t, v)),
        2 => Just(Step::Elected),
        3 => (0_u8..40).prop_map(Step::Tick),
        2 => Just(Step::Propose),
        1 => any::<u8>().prop_map(Step::ProposeVoters),
        4 => (1_u8..6).prop_map(Step::Write),
        1 => Just(Step::Restart),
        1 => Just(Step::PowerLoss),
    ];
    prop::collection::vec(step, 1..60)
}

/// Returns voters, some of which are possible and some not.
fn voters(which: u8) -> Voters {
    let set = |numbers: &[u64]| numbers.iter().map(|number| VoterId(*number)).collect();
    let (voters, outgoing, learners): (&[u64], &[u64], &[u64]) = match which % 14 {
        0 => (&[1], &[], &[]),
        1 => (&[1], &[], &[2]),
        2 => (&[1, 2], &[], &[]),
        3 => (&[1, 2, 3], &[], &[]),
        4 => (&[2, 3], &[], &[1]),
        5 => (&[1, 2, 3], &[1], &[]),
        6 => (&[2], &[1, 3], &[]),
        7 => (&[1, 4], &[1, 2, 3], &[5]),
        8 => (&[2, 3], &[], &[]),
        // From here on the configurations are impossible.
        9 => (&[], &[], &[]),
        10 => (&[], &[1, 2], &[]),
        11 => (&[0, 1], &[], &[]),
        12 => (&[1, 2], &[], &[2, 3]),
        _ => (&[2, 3], &[1], &[1]),
    };
    Voters { voters: set(voters), outgoing: set(outgoing), learners: set(learners) }
}

fn change(which: u8) -> VoterChange {
    let list = |numbers: &[u64]| numbers.iter().map(|number| VoterId(*number)).collect();
    let (add, learn, remove): (&[u64], &[u64], &[u64]) = match which % 12 {
        0 => (&[], &[], &[]),
        1 => (&[], &[4], &[]),
        2 => (&[4], &[], &[]),
        3 => (&[4], &[], &[2]),
        4 => (&[], &[], &[2, 3]),
        5 => (&[], &[], &[1]),
        6 => (&[], &[], &[1, 2, 3]),
        7 => (&[0], &[], &[]),
        8 => (&[4], &[4], &[]),
        9 => (&[], &[2], &[]),
        10 => (&[2], &[], &[2]),
        _ => (&[], &[1, 5], &[3]),
    };
    VoterChange { add: list(add), learn: list(learn), remove: list(remove) }
}

fn content(which: u8) -> Content {
    match which % 8 {
        0 => Content::Empty,
        1 => Content::Entry(Vec::new()),
        2..=4 => Content::Voters(change(which / 8)),
        _ => Content::Entry(vec![which]),
    }
}

impl Replica {
    fn number(&self, number: Number) -> u64 {
        let near = |base: u64, by: i8| base.wrapping_add_signed(i64::from(by));
        match number {
            Number::Small(number) => number,
            Number::Term(by) => near(self.ledger.log().hard().term, by),
            Number::Last(by) => near(self.ledger.last_index(), by),
            Number::Folded(by) => near(self.ledger.folded, by),
            Number::Huge(below) => u64::MAX - below,
        }
    }

    fn entries(&self, after: u64, entries: &[(Number, u8)], in_order: bool) -> Vec<LogEntry> {
        let numbered = (1..).zip(entries);
        let entry = |(at, (term, which)): (u64, &(Number, u8))| LogEntry {
            index: if in_order { after.wrapping_add(at) } else { self.number(*term) },
            term: self.number(*term),
            content: content(*which),
        };
        numbered.map(entry).collect()
    }

    fn snapshot(&self, index: Number, term: Number, which: u8) -> Snapshot {
        let index = self.number(index);
        let (term, hash) = (self.number(term), [which; 32]);
        Snapshot { index, term, hash, voters: voters(which), state: state_at(index) }
    }

    fn odd(&self, odd: &Odd) -> RaftMessage {
        let kinds = [
            Kind::Append,
            Kind::AppendResponse,
            Kind::RequestVote,
            Kind::RequestVoteResponse,
            Kind::RequestPreVote,
            Kind::RequestPreVoteResponse,
            Kind::Heartbeat,
            Kind::HeartbeatResponse,
            Kind::Snapshot,
            Kind::TimeoutNow,
        ];
        let kind = kinds[usize::from(odd.kind) % kinds.len()];
        let index = self.number(odd.index);
        let snapshot = odd.snapshot.filter(|_| kind == Kind::Snapshot);
        RaftMessage {
            index,
            log_term: self.number(odd.log_term),
            entries: self.entries(index, &odd.entries, odd.in_order),
            commit: self.number(odd.commit),
            commit_term: self.number(odd.commit_term),
            snapshot: snapshot.map(|(index, term, which)| self.snapshot(index, term, which)),
            request_snapshot: self.number(odd.request_snapshot),
            reject: odd.reject,
            reject_hint: self.number(odd.hint),
            context: if odd.context < 32 { b"CampaignTransfer".to_vec() } else { Vec::new() },
            ..message(kind, odd.from, 1, self.number(odd.term))
        }
    }

    fn elect(&mut self) {
        let answers = [
            (Kind::RequestVote, Kind::RequestVoteResponse),
            (Kind::RequestPreVote, Kind::RequestPreVoteResponse),
        ];
        for asked in std::mem::take(&mut self.sent) {
            if let Some((_, kind)) = answers.iter().find(|(kind, _)| *kind == asked.kind) {
                let _ = self.step(message(*kind, asked.to.0, 1, asked.term));
            }
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Odd(odd) => {
                let message = self.odd(odd);
                let _ = self.step(message);
            }
            Step::Committed(entries, after) => {
                let entries = self.entries(self.number(*after), entries, true);
                self.ledger.follow(entries);
                self.settle();
            }
            Step::Snapshot(index, term, which) => {
                let snapshot = self.snapshot(*index, *term, *which);
                self.ledger.follow_snapshot(snapshot);
                self.settle();
            }
            Step::Elected => self.elect(),
            Step::Tick(ticks) => {
                for _ in 0..*ticks {
                    self.ledger.tick();
                    self.settle();
                }
            }
            Step::Propose => {
                self.ledger.propose(&entry(1));
                self.settle();
            }
            Step::ProposeVoters(which) => {
                self.ledger.propose_voters(&change(*which));
                self.settle();
            }
            Step::Write(writes) => {
                for _ in 0..*writes {
                    self.write();
                }
            }
            Step::Restart => self.restart(),
            Step::PowerLoss => self.lose_power(),
        }
    }
}

fn check(which: u8, steps: &[Step]) {
    let mut replica = match which % 14 {
        0 => Replica::founder(1),
        which => Replica::voter(1, &voters(which.min(8))),
    };
    for step in steps {
        replica.take(step);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_comes_makes_a_ledger_panic_or_change_what_it_has_folded(
        which in any::<u8>(),
        steps in steps(),
    ) {
        check(which, &steps);
    }
}
