//! Folds which hosts are in the mesh and which are Down, as naively as the
//! rest.

use proto::entry::{ErrorCode, HostRecord};
use proto::id::{GroupName, HostId, VoterId};
use proto::recovery::SignedRecovery;

use super::{Host, Millis, Model, Stage};

/// The first version that the ledger names as the mesh's.
const VERSIONS_SINCE: u16 = 6;

impl Model {
    pub(super) fn join(&mut self, record: &HostRecord) {
        if self.removed.contains(&record.host) || record.wire < self.version {
            return;
        }
        let Some(known) = self.hosts.get_mut(&record.host) else {
            self.hosts.insert(record.host, Host { record: record.clone(), down: false, down_at: 0 });
            self.note_tags(record.host, None);
            self.set_down(record.host, false);
            self.replace_by(record);
            return;
        };
        if known.record.incarnation > record.incarnation {
            return;
        }
        let is_back = known.down && record.incarnation > known.record.incarnation;
        let before = std::mem::replace(&mut known.record, record.clone());
        self.note_tags(record.host, Some(&before.tags));
        if before.voter != record.voter && !self.is_renumbered(before.voter, record.voter) {
            self.note_replaced(record.host);
        }
        if is_back {
            self.set_down(record.host, false);
        }
    }

    /// A mesh begins at the version of its founder's agent. Before version 6 there was none.
    pub fn begin_at(&mut self, version: u16) {
        self.version = if version < VERSIONS_SINCE { 0 } else { version };
    }

    /// The mesh moves to a version once all its hosts speak it, and never back.
    pub(super) fn move_to(&mut self, version: u16) {
        let is_spoken = self.hosts.values().all(|host| host.record.wire >= version);
        if version >= VERSIONS_SINCE && version > self.version && is_spoken {
            self.version = version;
        }
    }

    /// The version of the mesh. Before it was written down, it is the oldest agent's.
    pub fn version(&self) -> u16 {
        let oldest = self.hosts.values().map(|host| host.record.wire).min().unwrap_or(0);
        if self.version == 0 { oldest.min(VERSIONS_SINCE - 1) } else { self.version }
    }

    /// Folds a recovery: the host that continues has a new number, and is up.
    pub(super) fn recover(&mut self, signed: &SignedRecovery) {
        let host = signed.recovery().host;
        self.recoveries.push(signed.clone());
        if let Some(known) = self.hosts.get_mut(&host) {
            known.record.voter = signed.recovery().voter;
            if known.down {
                self.set_down(host, false);
            }
        }
    }

    /// Returns true if a host gave its number up because of one recovery, or of
    /// several in a row.
    fn is_renumbered(&self, before: VoterId, now: VoterId) -> bool {
        (0..self.recoveries.len()).any(|first| {
            let mut number = before;
            self.recoveries[first..].iter().any(|signed| {
                number = signed.renumbered(number);
                number == now
            })
        })
    }

    pub(super) fn leave(&mut self, host: HostId) {
        if !self.hosts.contains_key(&host) || self.hosts.len() == 1 {
            return;
        }
        self.removed.insert(host);
        let clock = self.clock;
        for id in self.running() {
            let turn = self.deployments[&id].turn(host);
            if turn.is_some_and(|turn| matches!(turn.stage, Stage::Started { .. })) {
                self.end(id, host, Some(ErrorCode::HostLost));
            }
            let deployment = self.deployments.get_mut(&id).expect("it runs");
            deployment.leave(host);
            deployment.take_back();
            deployment.advance(clock);
        }
        self.set_down(host, true);
        let groups: Vec<GroupName> = self.groups.keys().cloned().collect();
        groups.iter().for_each(|group| self.forget_health(group, |of| of == host));
        self.hosts.remove(&host);
        self.groups.values_mut().for_each(|group| {
            group.standing.remove(&host);
            group.behind.remove(&host);
        });
    }

    /// Returns when a host that is Down is removed for good; None unless all of
    /// its groups have that setting.
    pub(super) fn given_up_at(&self, host: &Host) -> Option<Millis> {
        let groups = self.groups.values().map(|known| &known.group);
        let of_host = groups.filter(|group| group.tags.matches(&host.record.tags));
        let after: Option<Vec<_>> = of_host.map(|group| group.policy.forget_down_after).collect();
        let longest = after?.into_iter().max()?;
        Some(host.down_at + u64::try_from(longest.as_millis()).expect("a short time"))
    }

    /// Removes the host whose name and address the newcomer has, if that host
    /// is Down and its groups have the setting.
    fn replace_by(&mut self, newcomer: &HostRecord) {
        let is_replaced = |host: &&Host| {
            let record = &host.record;
            let has_address = record.addresses.iter().any(|address| newcomer.addresses.contains(address));
            host.down && record.name == newcomer.name && !record.name.is_empty() && has_address
        };
        let gone = self.hosts.values().filter(is_replaced).find(|host| self.given_up_at(host).is_some());
        if let Some(gone) = gone.map(|host| host.record.host) {
            self.leave(gone);
        }
    }

    pub(super) fn see(&mut self, host: HostId, incarnation: u64, down: bool) {
        let Some(known) = self.hosts.get(&host) else { return };
        if known.record.incarnation == incarnation && known.down != down {
            self.set_down(host, down);
        }
    }

    pub(super) fn set_down(&mut self, host: HostId, down: bool) {
        let clock = self.clock;
        if let Some(known) = self.hosts.get_mut(&host) {
            known.down = down;
            known.down_at = clock;
        }
        if !down {
            self.note_return(host);
        }
        for id in self.running() {
            let clock = self.clock;
            let deployment = self.deployments.get_mut(&id).expect("it runs");
            if let Some(turn) = deployment.turn_mut(host) {
                turn.down = down;
                if let (true, Stage::Leased { .. }) = (down, turn.stage) {
                    turn.stage = Stage::Pending;
                }
                if !down {
                    deployment.reconsider(host);
                }
            }
            deployment.take_back();
            deployment.advance(clock);
        }
    }
}
