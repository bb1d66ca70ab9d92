use super::*;
use crate::entry::Shortage;
use crate::statement::{Report, Statement};
use crate::wire::ROOM_SINCE;

#[test]
fn who_lacks_room_reports_that_in_place_of_its_start() {
    let mut ledger = Ledger::with_a_mesh_of_three();
    let next = || DeploymentId::derive(b"the next");
    let none = BTreeSet::new();
    let mut turns = OwnTurns::default();
    let start: Statement = Report::TurnStarted { deployment: next(), host: me() }.into();
    let report =
        |shortage| Statement::from(Report::RoomReported { deployment: next(), host: me(), shortage });
    let leased = ledger.0.clock();
    let owed = |turns: &OwnTurns, ledger: &Ledger, clock| turns.owed(me(), &ledger.0, &none, clock);
    // Before the first look at the disk it starts.
    assert_eq!(owed(&turns, &ledger, leased), std::slice::from_ref(&start));
    turns.note_free(5);
    let shortage = Some(Shortage { needed: 1 + room::BESIDES, free: 5 });
    assert_eq!(owed(&turns, &ledger, leased), [report(shortage)]);
    ledger.add_at(leased, report(shortage));
    assert_eq!(owed(&turns, &ledger, leased + room::REPORT_EVERY), []);
    // The others go first, and newer numbers are not reported too often.
    assert!(!ledger.0.rollout(next()).expect("it runs").may_start(me()));
    turns.note_free(6);
    assert_eq!(owed(&turns, &ledger, leased + (room::REPORT_EVERY - Duration::from_millis(1))), []);
    let newer = Some(Shortage { needed: 1 + room::BESIDES, free: 6 });
    assert_eq!(owed(&turns, &ledger, leased + room::REPORT_EVERY), [report(newer)]);
    turns.note_free(u64::MAX);
    assert_eq!(owed(&turns, &ledger, leased + room::REPORT_EVERY), [report(None)]);
    for number in 2..=3 {
        let host = HostId::from_public_key([number; 32]);
        ledger.add(Report::TurnStarted { deployment: next(), host });
        ledger.add(Report::TurnEnded { deployment: next(), host, outcome: TurnOutcome::Succeeded });
    }
    // Its start says that it has room.
    assert_eq!(owed(&turns, &ledger, leased + room::REPORT_EVERY), [start]);
}

#[test]
fn nobody_reports_room_to_an_agent_that_does_not_know_what_that_is() {
    let mut ledger = Ledger::with_a_mesh_of_three();
    ledger.join_as(4, VoterId(4), 1, ROOM_SINCE - 1);
    let mut turns = OwnTurns::default();
    turns.note_free(0);
    let start: Statement =
        Report::TurnStarted { deployment: DeploymentId::derive(b"the next"), host: me() }.into();
    assert_eq!(turns.owed(me(), &ledger.0, &BTreeSet::new(), ledger.0.clock()), [start]);
}
