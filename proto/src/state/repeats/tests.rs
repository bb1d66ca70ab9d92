use super::super::testing::{host, name};
use super::*;
use crate::group::{Group, TagFilter, TagSets};
use crate::policy::{Minimum, Policy};
use crate::statement::{Intent, Statement};
use crate::time::LedgerTime;

struct Ledger(State);

fn set(hosts: u32) -> Statement {
    let policy = Policy { minimum: Minimum::HostCount(hosts), ..Policy::default() };
    let tags = TagSets(vec![vec![TagFilter::parse("role=web").expect("a filter")]]);
    Intent::SetGroup(Group::new(name(), tags, policy)).into()
}

fn proposal(by: u8, number: u64) -> ProposalId {
    ProposalId { host: host(by), incarnation: 1, number }
}

impl Ledger {
    fn put(&mut self, proposal: ProposalId, statement: impl Into<Statement>) {
        let statement = statement.into();
        let at = LedgerTime::from_millis(1_000);
        let _ = self.0.apply(self.0.index() + 1, &Entry { at, proposal, statement });
    }

    /// Sets the group so that it shows which entry set it.
    fn set(&mut self, proposal: ProposalId, hosts: u32) {
        self.put(proposal, set(hosts));
    }

    fn check(&self, hosts: u32) {
        let group = self.0.group(&name()).expect("the group");
        assert_eq!(group.group.policy.minimum, Minimum::HostCount(hosts));
    }
}

#[test]
fn a_proposal_that_is_committed_twice_does_not_undo_what_came_between() {
    let mut ledger = Ledger(State::founding());
    ledger.set(proposal(1, 7), 10);
    ledger.set(proposal(2, 7), 20);
    ledger.set(proposal(1, 7), 10);
    ledger.check(20);
    // A state that went through a snapshot knows it too.
    let index = ledger.0.index();
    ledger.0 = State::decode(&ledger.0.encode(), index, crate::form::Version::NEWEST).expect("a state");
    ledger.set(proposal(1, 7), 10);
    ledger.check(20);
    ledger.set(proposal(1, 8), 30);
    ledger.check(30);
}

#[test]
fn one_that_was_refused_is_not_folded_when_it_comes_again() {
    let mut ledger = Ledger(State::founding());
    ledger.put(proposal(1, 7), Intent::DeleteGroup(name()));
    ledger.set(proposal(1, 8), 10);
    ledger.put(proposal(1, 7), Intent::DeleteGroup(name()));
    ledger.check(10);
}

#[test]
fn numbers_may_come_in_any_order_unless_one_is_too_old() {
    let mut ledger = Ledger(State::founding());
    let newest = u64::from(NUMBERS_KEPT) + 10;
    for number in [newest, newest - 1, 11, 12] {
        ledger.set(proposal(1, number), u32::try_from(number).expect("small"));
        ledger.check(u32::try_from(number).expect("small"));
    }
    for number in [newest, newest - 1, 11, 12, 10, 0] {
        ledger.set(proposal(1, number), 99);
        ledger.check(12);
    }
}

#[test]
fn each_start_counts_for_itself_and_the_last_two_are_remembered() {
    let mut ledger = Ledger(State::founding());
    let start = |drawn: u64| proposal(1, (drawn << 32) + 1);
    for drawn in [5, 3, 9] {
        ledger.set(start(drawn), 1);
        ledger.set(proposal(2, drawn), 2);
    }
    ledger.set(start(9), 1);
    ledger.set(start(3), 1);
    ledger.check(2);
    ledger.set(start(5), 1);
    ledger.check(1);
}

#[test]
fn the_proposer_that_has_been_silent_longest_is_forgotten() {
    let mut ledger = Ledger(State::founding());
    for number in 0..=u64::try_from(PROPOSERS_KEPT).expect("small") {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        let host = crate::id::HostId::from_public_key(key);
        ledger.set(ProposalId { host, incarnation: 1, number: 1 }, 1);
    }
    assert_eq!(ledger.0.proposers.all().len(), PROPOSERS_KEPT);
    assert!(!ledger.0.proposers.all().contains_key(&host(0)));
    assert!(ledger.0.proposers.all().values().all(|proposer| proposer.last > 2));
}
