use crate::entry::ErrorCode;
use crate::policy::Minimum;
use crate::state::testing::{Ledger, host};

const FAILED: Option<ErrorCode> = Some(ErrorCode::ScriptFailed);

#[test]
fn a_rollback_is_for_those_alone_that_need_it() {
    // The good revision itself is deployed again, and fails on the second host.
    let mut ledger = Ledger::deployed(3, Minimum::OneAtATime);
    let again = ledger.deploy(1);
    ledger.start(again, 0);
    ledger.end(again, 0, None);
    ledger.start(again, 1);
    ledger.end(again, 1, FAILED);
    ledger.do_due();
    let rollback = ledger.rollout(again).rolled_back_by.expect("a rollback");
    assert_eq!(ledger.targets(rollback), [host(1)]);
    assert!(ledger.rollout(rollback).submission.policy.ignore_application_stop_failures);
    // Its own failure is the end of it.
    ledger.start(rollback, 1);
    ledger.end(rollback, 1, FAILED);
    assert_eq!(ledger.do_due(), None);
    assert_eq!((ledger.group().owes_rollback_of, ledger.group().running), (None, None));
}
