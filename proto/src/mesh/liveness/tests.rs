use super::*;

fn host(number: u8) -> HostId {
    HostId::from_public_key([number; 32])
}

/// Checks hosts 0..`hosts` as host 0 sees them; `lost[i]` is what host i has lost.
fn check(hosts: u8, lost: &[&[u8]], expected: &[(u8, Judgement)]) {
    let members: BTreeSet<HostId> = (0..hosts).map(host).collect();
    let own = lost[0].iter().copied().map(host).collect();
    let mut liveness = Liveness { lost: own, ..Liveness::default() };
    for (observer, lost) in (1..).zip(&lost[1..]) {
        liveness.told(host(observer), 0, lost.iter().copied().map(host).collect());
    }
    let expected: BTreeMap<HostId, Judgement> = expected.iter().map(|(h, j)| (host(*h), *j)).collect();
    assert_eq!(liveness.judge(host(0), &members), expected);
}

#[test]
fn watermarks_are_three_and_seven_tenths() {
    let marks = |hosts| (Watermarks::of(hosts).suspect, Watermarks::of(hosts).down);
    assert_eq!(marks(2), (1, 1));
    assert_eq!(marks(3), (1, 2));
    assert_eq!(marks(5), (2, 3));
    assert_eq!(marks(11), (3, 7));
}

#[test]
fn one_bad_link_in_five_is_nothing() {
    check(5, &[&[1], &[], &[], &[]], &[(1, Judgement::Up)]);
}

#[test]
fn two_of_four_observers_suspect_and_three_know() {
    check(5, &[&[4], &[4], &[], &[]], &[(4, Judgement::Suspect)]);
    check(5, &[&[4], &[4], &[4], &[]], &[(4, Judgement::Down)]);
}

#[test]
fn two_lost_of_five_leave_enough_observers() {
    check(5, &[&[3, 4], &[3, 4], &[3, 4]], &[(3, Judgement::Down), (4, Judgement::Down)]);
}

#[test]
fn three_lost_of_five_are_known_by_implicit_alerts() {
    check(5, &[&[2, 3, 4], &[2, 3, 4]], &[(2, Judgement::Down), (3, Judgement::Down), (4, Judgement::Down)]);
}

#[test]
fn an_observer_that_lost_everybody_is_alone() {
    // Host 1 is the one with the bad network: it suspects four others, but no other
    // host confirms that.
    check(
        5,
        &[&[], &[0, 2, 3, 4], &[1], &[1]],
        &[
            (0, Judgement::Up),
            (1, Judgement::Suspect),
            (2, Judgement::Up),
            (3, Judgement::Up),
            (4, Judgement::Up),
        ],
    );
}

/// The rule in its literal form: for each host, who has lost it, and whose silence
/// counts as having lost every host.
fn judged_one_by_one(liveness: &Liveness, members: &BTreeSet<HostId>) -> BTreeMap<HostId, Judgement> {
    let marks = Watermarks::of(members.len());
    let none = BTreeSet::new();
    let lost_by = |observer: HostId| match observer == host(0) {
        true => &liveness.lost,
        false => liveness.told.get(&observer).unwrap_or(&none),
    };
    let alerts = |subject: HostId, silent: &BTreeSet<HostId>| {
        let others = members.iter().filter(|observer| **observer != subject);
        others.filter(|o| lost_by(**o).contains(&subject) || silent.contains(*o)).count()
    };
    let is_silent = |host: &&HostId| liveness.lost.contains(*host) && alerts(**host, &none) >= marks.suspect;
    let silent: BTreeSet<HostId> = members.iter().filter(is_silent).copied().collect();
    let judgement = |subject: HostId| match alerts(subject, &none) {
        explicit if explicit < marks.suspect => Judgement::Up,
        _ if alerts(subject, &silent) >= marks.down => Judgement::Down,
        _ => Judgement::Suspect,
    };
    members.iter().map(|host| (*host, judgement(*host))).collect()
}

proptest::proptest! {
    #[test]
    fn counted_by_observer_or_by_subject_it_is_the_same(
        hosts in 1..12_u8,
        lost in proptest::collection::vec(proptest::collection::btree_set(0..14_u8, 0..12), 12),
    ) {
        let members: BTreeSet<HostId> = (0..hosts).map(host).collect();
        let mut lost = lost.into_iter().map(|lost| lost.into_iter().map(host).collect());
        // This host never loses itself. The others may say anything, and some of
        // them are not members.
        let own: BTreeSet<HostId> = lost.next().expect("there are 12");
        let own = own.into_iter().filter(|lost| *lost != host(0)).collect();
        let mut liveness = Liveness { lost: own, ..Liveness::default() };
        (1..).zip(lost).for_each(|(observer, lost)| liveness.told(host(observer), 0, lost));
        let judged = liveness.judge(host(0), &members);
        for (host, expected) in judged_one_by_one(&liveness, &members) {
            proptest::prop_assert_eq!(judged.get(&host).copied().unwrap_or(Judgement::Up), expected);
        }
    }
}

#[test]
fn a_closed_connection_has_a_quarter_second_to_come_back() {
    let now = Time::from_micros(1_000_000_000);
    let mut liveness = Liveness::default();
    liveness.connected(host(1), now);
    liveness.disconnected(host(1), now);
    assert!(!liveness.expire(now + Duration::from_millis(249)));
    assert!(liveness.expire(now + Duration::from_millis(250)));
    assert_eq!(liveness.lost().len(), 1);
    assert!(liveness.connected(host(1), now + Duration::from_millis(300)), "it was lost until now");
    assert!(liveness.lost().is_empty());
}

#[test]
fn who_is_there_again_is_not_accused_by_what_was_lost_before() {
    let now = Time::from_micros(1_000_000_000);
    let members: BTreeSet<HostId> = (0..5).map(host).collect();
    let mut liveness = Liveness::default();
    members.iter().filter(|member| **member != host(0)).for_each(|member| liveness.add_member(*member, now));
    let all_have_lost_it = |liveness: &mut Liveness, index| {
        (2..5).for_each(|observer| liveness.told(host(observer), index, [host(1)].into()));
    };
    let later = now + GRACE;
    liveness.expire(later);
    all_have_lost_it(&mut liveness, 7);
    assert_eq!(liveness.judge(host(0), &members)[&host(1)], Judgement::Down);
    liveness.renewed(host(1), 8, later);
    assert!(!liveness.judge(host(0), &members).contains_key(&host(1)));
    all_have_lost_it(&mut liveness, 7);
    liveness.expire(later + GRACE - Duration::from_micros(1));
    assert!(!liveness.judge(host(0), &members).contains_key(&host(1)), "they speak of the one before");
    // No host hears it any longer, and now the reports are about its current agent.
    liveness.expire(later + GRACE);
    all_have_lost_it(&mut liveness, 8);
    assert_eq!(liveness.judge(host(0), &members)[&host(1)], Judgement::Down);
}

#[test]
fn silence_on_an_open_connection_is_loss_after_three_seconds() {
    let now = Time::from_micros(1_000_000_000);
    let mut liveness = Liveness::default();
    liveness.connected(host(1), now);
    assert_eq!(liveness.next_silence(), Some(now + SILENCE_MAX));
    liveness.heard(host(1), now + Duration::from_secs(2));
    assert!(!liveness.expire(now + Duration::from_secs(4)));
    assert!(liveness.expire(now + Duration::from_secs(5)));
}

/// Checks hosts 0..`hosts` as host 0 sees them, which hears `heard`; `lost[i]` is
/// what `heard[i]` has lost.
fn check_unheard(hosts: u8, heard: &[u8], lost: &[&[u8]], expected: &[u8]) {
    let now = Time::from_micros(1);
    let mut liveness = Liveness::default();
    (0..hosts).for_each(|member| liveness.add_member(host(member), now));
    for (observer, lost) in heard.iter().zip(lost) {
        liveness.connected(host(*observer), now);
        liveness.told(host(*observer), 0, lost.iter().copied().map(host).collect());
    }
    let expected: BTreeSet<HostId> = expected.iter().copied().map(host).collect();
    assert_eq!(liveness.unheard(host(0)), expected, "of {hosts}, hearing {heard:?}");
}

#[test]
fn a_host_is_unheard_if_nobody_in_reach_hears_it() {
    check_unheard(3, &[1, 2], &[&[], &[]], &[]);
    check_unheard(3, &[], &[], &[1, 2]);
    // A host that is heard vouches for one that this host does not hear.
    check_unheard(4, &[1, 2], &[&[], &[3]], &[]);
    check_unheard(4, &[1, 2], &[&[3], &[3]], &[3]);
    // Too few hosts are left to make up seven tenths of the observers.
    check_unheard(6, &[1], &[&[2, 3, 4, 5]], &[2, 3, 4, 5]);
    // A host's report about itself does not count.
    check_unheard(3, &[1], &[&[2]], &[2]);
}
