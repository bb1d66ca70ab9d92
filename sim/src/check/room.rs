//! A host whose disk was full before its lease, and has been since, does not begin its turn.
//!
//! What a host proposed before its disk filled may be committed later, so a disk that
//! fills while the host holds its lease proves nothing.

use std::collections::{BTreeMap, BTreeSet};

use proto::id::{DeploymentId, HostId};

use super::{Claim, Verdict, Violation};
use crate::clock::Moment;
use crate::host::HostNo;
use crate::model::{Model, Stage};

/// The version from which every host of the mesh reads reports of a lack of room. While
/// one does not, nothing is reported and turns begin as they always did.
const REPORTED_SINCE: u16 = 5;

#[derive(Debug, Default)]
pub struct Room {
    /// The hosts that know that their disk is full, and since when.
    full: BTreeMap<HostNo, Moment>,
    /// When each host first had a lease in a deployment.
    leased: BTreeMap<(DeploymentId, HostNo), Moment>,
    started: BTreeSet<(DeploymentId, HostNo)>,
}

impl Room {
    /// Notes what a host has learned of its disk.
    pub fn looked(&mut self, host: HostNo, is_full: bool, now: Moment) {
        if is_full {
            self.full.entry(host).or_insert(now);
        } else {
            self.full.remove(&host);
        }
    }

    /// Handles that a host went down. It looks at its disk again after its start.
    pub fn host_down(&mut self, host: HostNo) {
        self.full.remove(&host);
    }

    /// Checks a committed entry that the model has folded.
    pub fn entry(&mut self, model: &Model, numbers: &BTreeMap<HostId, HostNo>, now: Moment) -> Verdict {
        let is_reported = model.hosts().values().all(|host| host.record.wire >= REPORTED_SINCE);
        for id in model.unfinished() {
            let Some(deployment) = model.deployment(id).filter(|it| it.submission.kind().installs()) else {
                continue;
            };
            for turn in &deployment.turns {
                let Some(host) = numbers.get(&turn.host).copied() else { continue };
                if matches!(turn.stage, Stage::Leased { .. }) {
                    let since = self.leased.entry((id, host)).or_insert(now);
                    if !is_reported {
                        *since = now;
                    }
                }
                let has_begun = turn.was_started && self.started.insert((id, host));
                let since = self.leased.get(&(id, host));
                if has_begun && is_reported && since > self.full.get(&host) && self.full.contains_key(&host) {
                    let what = format!("{host} begins its turn in {id}, and its disk is full");
                    return Err(Violation::new(Claim::Room, [host], what));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proto::statement::Report;

    use super::*;
    use crate::testing;

    const FIRST: HostNo = HostNo(0);

    /// Folds two deployments of two hosts, of which the second one runs, up to the start of
    /// the first host's turn; its disk is found full before or after its lease.
    fn begun_on_a_full_disk(full_at: u64) -> Verdict {
        let (mut room, mut model) = (Room::default(), Model::default());
        let numbers = BTreeMap::from([(testing::host(0).record.host, FIRST)]);
        testing::redeployed_to(2).iter().for_each(|entry| model.apply(entry));
        let deployment = model.unfinished()[0];
        let check = |room: &mut Room, model: &Model, at| {
            if at >= full_at {
                room.looked(FIRST, true, Moment::from_micros(full_at));
            }
            room.entry(model, &numbers, Moment::from_micros(at))
        };
        check(&mut room, &model, 10)?;
        let start = Report::TurnStarted { deployment, host: testing::host(0).record.host };
        model.apply(&testing::entry(2_000, start));
        check(&mut room, &model, 20)
    }

    #[test]
    fn a_turn_that_begins_on_a_disk_that_was_full_before_is_found() {
        let violation = begun_on_a_full_disk(5).expect_err("it was full");
        assert_eq!(violation.claim, Claim::Room);
    }

    #[test]
    fn a_disk_that_fills_while_the_host_holds_its_lease_is_excused() {
        assert_eq!(begun_on_a_full_disk(15), Ok(()));
    }
}
