//! Looks for room on this host's disk before its turn begins.
//!
//! What a turn needs is estimated by the size of its bundle, because only unpacking
//! tells more.

use std::time::Duration;

use crate::entry::Shortage;
use crate::id::HostId;
use crate::rollout::{Rollout, Stage};
use crate::state::State;
use crate::statement::{Report, Statement};
use crate::time::LedgerTime;
use crate::wire::ROOM_SINCE;

/// The time from one report to the next one in the same deployment. A disk that
/// others fill and empty again must not fill the ledger.
pub(super) const REPORT_EVERY: Duration = Duration::from_secs(10);
/// The bytes that a turn needs besides its bundle, for scripts' logs and records.
pub(super) const BESIDES: u64 = 1024 * 1024;

/// Returns the report that this host proposes in place of its start: `Some(None)` if
/// it lacks room and has nothing new to say. Returns `None` if it has room, or if its
/// turn is not still to begin.
pub(super) fn report(
    rollout: &Rollout,
    me: HostId,
    state: &State,
    free: Option<u64>,
    clock: LedgerTime,
) -> Option<Option<Statement>> {
    let has_lease = match rollout.members().get(&me)?.stage {
        Stage::Pending => false,
        Stage::Leased { .. } => true,
        Stage::NotTargeted | Stage::Started { .. } | Stage::Ended { .. } | Stage::Skipped => return None,
    };
    let deployment = rollout.submission.deployment;
    let told = state.shortage(deployment, me);
    let shortage = shortage(rollout, free?);
    // A host that has room and a lease starts, which says that it has room.
    let has_nothing_to_say = shortage.is_none() && (has_lease || told.is_none());
    if has_nothing_to_say || state.mesh_version() < ROOM_SINCE {
        return None;
    }
    let is_news = told.map(|short| short.shortage) != shortage;
    let is_time = told.is_none_or(|short| clock >= short.at + REPORT_EVERY);
    Some((is_news && is_time).then_some(Report::RoomReported { deployment, host: me, shortage }.into()))
}

/// Returns what the disk lacks for the deployment. The files are seldom smaller than
/// their bundle, so that much is needed at least, whether the bundle is still to be
/// fetched or only to be unpacked. If more is needed, that is found when the bundle is
/// unpacked or installed, before the old revision is touched.
fn shortage(rollout: &Rollout, free: u64) -> Option<Shortage> {
    if !rollout.kind().installs() {
        return None;
    }
    let needed = rollout.submission.revision.size.saturating_add(BESIDES);
    (free < needed).then_some(Shortage { needed, free })
}
