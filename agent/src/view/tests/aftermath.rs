//! Messages about a deployment that did not end well.

use super::*;
use proto::statement::{Finding, Intent, Report, Statement};

fn submission(of: &str, revision: &[u8], rollback_of: Option<DeploymentId>, creator: Creator) -> Statement {
    let Statement::Intent(Intent::Deploy(first)) = submitted(Minimum::OneAtATime) else {
        panic!("a submission")
    };
    let revision = Revision { digest: Digest::of(revision), ..first.revision.clone() };
    let deployment = of.parse().expect("an id");
    Statement::Intent(Intent::Deploy(Box::new(Submission {
        deployment,
        revision,
        rollback_of,
        creator,
        ..*first
    })))
}

fn turn(of: &str, number: u8, outcome: TurnOutcome) -> [Statement; 2] {
    let deployment = of.parse().expect("an id");
    [
        Report::TurnStarted { deployment, host: host(number) }.into(),
        Report::TurnEnded { deployment, host: host(number), outcome }.into(),
    ]
}

/// Returns a state in which three hosts run v1. Then v2 succeeds on the first and fails on the second, which
/// goes Down in its turn for good; the rollback waits for it until its time is up.
fn left_in_the_middle() -> (State, DeploymentId) {
    let second = "d-ABCDEFGH2";
    let mut bodies: Vec<Statement> =
        (1..=3).flat_map(|number| turn("d-ABCDEFGH1", number, TurnOutcome::Succeeded)).collect();
    bodies.push(Finding::Finished { deployment: id() }.into());
    bodies.push(submission(second, b"v2", None, Creator::User));
    bodies.extend(turn(second, 1, TurnOutcome::Succeeded));
    bodies.extend(turn(second, 2, failure()));
    bodies.push(Report::HostDown { host: host(2), incarnation: 1 }.into());
    bodies.push(Finding::Finished { deployment: second.parse().expect("an id") }.into());
    let mut state = fold(Minimum::OneAtATime, bodies);
    let mut say = |millis: u64, statement: Statement| {
        let index = state.index() + 1;
        let author = statement.author().unwrap_or(host(1));
        let proposal = ProposalId { host: author, incarnation: 1, number: index };
        let at = LedgerTime::from_millis(state.clock().as_millis() + millis);
        state.apply(index, &Entry { at, proposal, statement }).expect("accepted");
        state.due()
    };
    let rollback = say(1, Finding::Tick.into()).into_iter().next().expect("a rollback is due");
    let rollback = Statement::from(rollback);
    let id = rollback.submission().expect("it is one").deployment;
    say(1, rollback);
    say(9 * 3_600_000, Finding::Tick.into());
    say(1, Finding::Finished { deployment: id }.into());
    (state, id)
}

#[test]
fn a_failed_rollback_names_who_is_still_at_the_failed_revision_and_what_helps() {
    let (state, id) = left_in_the_middle();
    let rollout = state.rollout(id).expect("the rollback");
    let view = deployment_view::with_hosts(rollout, &state, &[], &|_| None);
    assert_eq!((view.status.as_str(), view.rollback_of.as_deref()), ("Failed", Some("d-ABCDEFGH2")));
    let message = view.reason.expect("a reason").message;
    for words in
        ["still Down: web-2 since", "skein mesh remove web-2", "still at the revision that failed", "web-1"]
    {
        assert!(message.contains(words), "{words} in {message}");
    }
    assert!(message.contains("brought back by themselves"), "{message}");
    assert_eq!(group(&state, state.group(&name()).expect("the group")).behind[0].cause, "NotRolledBack");
}
