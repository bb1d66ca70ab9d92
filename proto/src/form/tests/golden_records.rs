//! Records of the store, and signed recoveries as operators carry them between hosts.

use super::golden_frames::{log_entries, snapshot, voters};
use super::samples::{deployment, failure, host, signed_recovery};
use super::{Golden, check, golden};
use crate::entry::TurnOutcome;
use crate::form::{decode_record as decode, encode_record as encode};
use crate::id::{MeshId, VoterId};
use crate::ledger::{Base, Hard, LogEntry, Snapshot};
use crate::lifecycle::LifecycleEvent;
use crate::node::{Fence, KnownRecovery, Meta};
use crate::recovery::{Recovery, SignedRecovery};
use crate::run::Record;

#[test]
fn records_of_the_ledger_of_version_4_are_read_and_written() {
    let in_log = |content| LogEntry { index: 300, term: 3, content };
    let entries: Vec<Golden<LogEntry>> = log_entries()
        .into_iter()
        .map(|Golden { file, hex, value }| Golden { file, hex, value: in_log(value) })
        .collect();
    check(&entries, encode, decode);
    check(
        &golden!(Hard { "v4/golden/record/hard", Hard { .. } => Hard { term: 3, vote: 1 << 40, commit: 300 }; }),
        encode,
        decode,
    );
    let base = Base { index: 5, term: 2, hash: [6; 32], voters: voters() };
    check(&golden!(Base { "v4/golden/record/base", Base { .. } => base.clone(); }), encode, decode);
    check(&golden!(Snapshot { "v4/golden/record/snapshot", Snapshot { .. } => snapshot(); }), encode, decode);
}

#[test]
fn records_of_the_node_of_version_4_are_read_and_written() {
    let meta =
        Meta { format: 2, host: host(1), mesh: MeshId([3; 16]), voter: VoterId(1 << 40), incarnation: 7 };
    check(&golden!(Meta { "v4/golden/record/meta", Meta { .. } => meta.clone(); }), encode, decode);
    let turn = Record {
        deployment: deployment(1),
        began: 300,
        done: Some(LifecycleEvent::ApplicationStop),
        running: Some(LifecycleEvent::DownloadBundle),
        outcome: Some(TurnOutcome::Failed(failure())),
        attempt: 2,
        was_stopped: true,
    };
    check(&golden!(Record { "v4/golden/record/turn", Record { .. } => turn.clone(); }), encode, decode);
    let known = vec![
        KnownRecovery { signed: signed_recovery(), is_followed: true },
        KnownRecovery { signed: signed_recovery(), is_followed: false },
    ];
    check(
        &golden!(Vec<KnownRecovery> { "v4/golden/record/recoveries", _ => known.clone(); }),
        encode,
        decode,
    );
    let fence = Fence { writes: 300, digest: u128::MAX - 1 };
    check(&golden!(Fence { "v4/golden/record/fence", Fence { .. } => fence; }), encode, decode);
}

#[test]
fn the_fence_file_of_version_4_is_read_and_written() {
    let fence = Fence { writes: 300, digest: u128::MAX - 1 };
    let read = |bytes: &[u8]| bytes.try_into().map(Fence::from_bytes);
    check(
        &golden!(Fence { "v4/golden/record/fence-file", Fence { .. } => fence; }),
        |fence| fence.to_bytes().to_vec(),
        read,
    );
}

#[test]
fn recoveries_of_version_4_are_read_and_written() {
    let signed = golden!(SignedRecovery { "v4/golden/record/signed-recovery", _ => signed_recovery(); });
    check(&signed, SignedRecovery::to_bytes, |bytes| SignedRecovery::from_bytes(bytes).ok_or(()));
    let unsigned =
        golden!(Recovery { "v4/golden/record/recovery", _ => signed_recovery().recovery().clone(); });
    check(&unsigned, Recovery::to_bytes, |bytes| Recovery::from_bytes(bytes).ok_or(()));
}
