use super::*;

const ME: VoterId = VoterId(1);
const DOWN: Duration = REPLACE_AFTER;

fn set(numbers: &[u64]) -> BTreeSet<VoterId> {
    numbers.iter().map(|number| VoterId(*number)).collect()
}

fn list(numbers: &[u64]) -> Vec<VoterId> {
    numbers.iter().map(|number| VoterId(*number)).collect()
}

/// Makes hosts 1..=`hosts`. Those in `down` have been Down for long enough, and
/// those in `gone` have left.
fn candidates(hosts: u64, down: &[u64], gone: &[u64]) -> Vec<Candidate> {
    (1..=hosts)
        .filter(|number| !gone.contains(number))
        .map(|number| Candidate {
            voter: VoterId(number),
            zone: format!("zone-{}", number % 3),
            down_for: down.contains(&number).then_some(DOWN),
            is_caught_up: true,
        })
        .collect()
}

fn check(voters: &[u64], learners: &[u64], candidates: &[Candidate], expected: Option<[&[u64]; 3]>) {
    let voters = Voters { voters: set(voters), learners: set(learners), ..Voters::default() };
    let expected = expected.map(|[add, learn, remove]| VoterChange {
        add: list(add),
        learn: list(learn),
        remove: list(remove),
    });
    assert_eq!(next_change(&voters, ME, candidates, 5), expected);
}

#[test]
fn voters_are_one_three_or_five() {
    let wanted: Vec<usize> = (1..=7).map(|hosts| voters_wanted(hosts, 5)).collect();
    assert_eq!(wanted, [1, 1, 3, 3, 5, 5, 5]);
    assert_eq!(voters_wanted(9, 7), 7);
    assert_eq!(voters_wanted(6, 7), 5);
    assert_eq!(voters_wanted(9, 3), 3);
}

#[test]
fn a_mesh_that_grows_lets_hosts_learn_before_they_vote() {
    check(&[1], &[], &candidates(2, &[], &[]), None);
    check(&[1], &[], &candidates(3, &[], &[]), Some([&[], &[2, 3], &[]]));
    check(&[1], &[2, 3], &candidates(3, &[], &[]), Some([&[2, 3], &[], &[]]));
    check(&[1, 2, 3], &[], &candidates(3, &[], &[]), None);
}

#[test]
fn a_voter_that_is_down_is_replaced_in_one_step_and_never_just_dropped() {
    check(&[1, 2, 3], &[], &candidates(4, &[2], &[]), Some([&[], &[4], &[]]));
    check(&[1, 2, 3], &[4], &candidates(4, &[2], &[]), Some([&[4], &[], &[2]]));
    check(&[1, 2, 3], &[], &candidates(3, &[2], &[]), None);
    check(&[1, 2, 3, 4, 5], &[], &candidates(5, &[2, 3], &[]), None);
}

#[test]
fn a_voter_that_is_down_for_a_moment_keeps_its_vote() {
    let mut hosts = candidates(4, &[], &[]);
    hosts[1].down_for = Some(REPLACE_AFTER - Duration::from_secs(1));
    check(&[1, 2, 3], &[], &hosts, None);
}

#[test]
fn a_mesh_that_shrinks_by_will_keeps_an_odd_number() {
    check(&[1, 2, 3, 4, 5], &[], &candidates(5, &[], &[5]), Some([&[], &[], &[5, 4]]));
    check(&[1, 2, 3], &[], &candidates(3, &[], &[2, 3]), Some([&[], &[], &[2, 3]]));
}

#[test]
fn a_mesh_that_shrinks_lets_go_of_who_is_down_before_who_is_there() {
    // One of five hosts leaves, so three should vote.
    check(&[1, 2, 3, 4, 5], &[], &candidates(5, &[2], &[5]), Some([&[], &[], &[5, 2]]));
    check(&[1, 2, 3, 4, 5], &[], &candidates(5, &[2, 3], &[5]), Some([&[], &[], &[5, 3]]));
    let mut hosts = candidates(5, &[4], &[]);
    hosts[1].down_for = Some(DOWN / 2);
    hosts[2].down_for = Some(DOWN);
    hosts.truncate(4);
    check(&[1, 2, 3, 4, 5], &[], &hosts, Some([&[], &[], &[5, 4]]));
}

#[test]
fn a_leader_that_left_brings_in_another_and_lets_nobody_go() {
    check(&[1], &[], &candidates(2, &[], &[1]), Some([&[], &[2], &[]]));
    check(&[1], &[2], &candidates(2, &[], &[1]), Some([&[2], &[], &[]]));
    check(&[1, 2], &[], &candidates(2, &[], &[1]), None);
    check(&[1, 2, 3], &[], &candidates(3, &[], &[1, 3]), None);
}

#[test]
fn a_learner_that_is_lost_is_let_go() {
    check(&[1], &[2, 3], &candidates(3, &[3], &[]), Some([&[], &[], &[3]]));
}

#[test]
fn learners_never_make_the_voters_an_even_number() {
    // Of two learners one was lost: another one takes its place, if there is any.
    check(&[1], &[2], &candidates(3, &[], &[]), Some([&[], &[3], &[]]));
    check(&[1], &[2], &candidates(3, &[3], &[]), Some([&[], &[], &[2]]));
    check(&[1], &[], &candidates(3, &[3], &[]), None);
    // A voter is back whose place a learner was to take.
    check(&[1, 2, 3], &[4], &candidates(4, &[], &[]), Some([&[], &[], &[4]]));
    check(&[1, 2, 3], &[4, 5], &candidates(5, &[2], &[]), Some([&[], &[], &[5]]));
    // A leader that left needs one heir.
    check(&[1], &[2, 3], &candidates(3, &[], &[1]), Some([&[], &[], &[3]]));
}

#[test]
fn zones_without_a_voter_come_first() {
    // Hosts 1 and 4 are in one zone, so 2 and 3 from the others are chosen.
    let voters = Voters::only(ME);
    let change = next_change(&voters, ME, &candidates(4, &[], &[]), 3).expect("a change");
    assert_eq!(change.learn, list(&[2, 3]));
}

#[test]
fn a_joint_change_is_over_only_when_it_is_completed() {
    let mut voters = Voters { voters: set(&[1, 2, 3]), learners: set(&[4]), ..Voters::default() };
    voters.apply(&VoterChange { add: list(&[4]), remove: list(&[2]), ..VoterChange::default() });
    assert_eq!((&voters.voters, &voters.outgoing), (&set(&[1, 3, 4]), &set(&[1, 2, 3])));
    assert!(voters.has(VoterId(2)), "the old set still has a say");
    assert_eq!(next_change(&voters, ME, &candidates(4, &[], &[]), 5), None);
    voters.apply(&VoterChange::default());
    assert_eq!((&voters.voters, voters.outgoing.len()), (&set(&[1, 3, 4]), 0));
}

#[test]
fn a_change_that_no_leader_proposes_changes_nothing() {
    let before = Voters { voters: set(&[1, 2, 3]), learners: set(&[4]), ..Voters::default() };
    let changes: [[&[u64]; 3]; 5] =
        [[&[0], &[], &[]], [&[4], &[], &[4]], [&[], &[2], &[]], [&[], &[], &[1, 2, 3]], [&[], &[], &[]]];
    for [add, learn, remove] in changes {
        let mut voters = before.clone();
        assert!(!voters.apply(&VoterChange { add: list(add), learn: list(learn), remove: list(remove) }));
        assert_eq!(voters, before);
    }
}
