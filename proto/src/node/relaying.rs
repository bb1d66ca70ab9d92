//! Sends to hosts that are no neighbours, and relays the frames of others.
//!
//! In the full mesh each frame goes to its host at once. In an overlay of bounded degree it
//! goes by way of neighbours. Beacons go to the neighbours, from every host to the voters, and
//! from the voters to every host: so all know who leads and how far the ledger is, and the
//! voters know whom each host has lost.

use std::collections::BTreeSet;

use super::Node;
use crate::id::HostId;
use crate::io::Output;
use crate::mesh::MeshInput;
use crate::mesh::envelope::{HOPS_MAX, Relayed};
use crate::mesh::liveness::Judgement;
use crate::time::Time;

impl Node {
    /// Returns true if the mesh may count on the host: it is not Down by the ledger, and not
    /// suspect. In the full mesh this host must also hear it.
    pub(super) fn is_alive(&self, host: HostId) -> bool {
        if host == self.config.host {
            return true;
        }
        if !self.mesh.is_bounded() {
            return self.mesh.hears(host);
        }
        let is_up = self.state.host(host).is_some_and(|known| known.down.is_none());
        is_up && self.mesh.judgement(host) < Judgement::Suspect
    }

    /// Returns the members that are alive.
    pub(super) fn alive_hosts(&self) -> Vec<HostId> {
        self.mesh.members().iter().filter(|host| self.is_alive(**host)).copied().collect()
    }

    /// Returns the hosts to which this one sends beacons.
    pub(super) fn beacon_hosts(&self) -> BTreeSet<HostId> {
        let mut hosts = self.mesh.neighbours();
        if self.mesh.is_bounded() {
            if self.ledger.is_voting() {
                hosts.extend(self.mesh.members());
            }
            hosts.extend(self.voters_known());
            hosts.remove(&self.config.host);
        }
        hosts
    }

    /// Returns the hosts that may hear of committed entries from the leader itself.
    pub(super) fn hosts_in_reach(&self) -> BTreeSet<HostId> {
        let mut hosts = self.mesh.neighbours();
        if self.mesh.is_bounded() {
            hosts.extend(self.mesh.members());
            hosts.remove(&self.config.host);
        }
        hosts
    }

    /// Returns true if frames to the host have a way.
    pub(super) fn is_in_reach_of_frames(&self, host: HostId) -> bool {
        self.mesh.is_bounded() || self.mesh.is_neighbour(host)
    }

    /// Sends a frame to its host: at once if it is a neighbour, or else by way of others.
    pub(super) fn send_by_route(&mut self, to: HostId, frame: Vec<u8>) {
        let me = self.config.host;
        match self.mesh.route(to) {
            Some(by) if by == to => self.outputs.push_back(Output::Send { to, frame }),
            Some(by) => {
                let relayed = Relayed { author: me, to, hops: HOPS_MAX, frame };
                let frame = relayed.to_bytes(self.config.mesh);
                self.outputs.push_back(Output::Send { to: by, frame });
            }
            None => tracing::debug!(%to, "no way to this host: the frame is dropped"),
        }
    }

    /// Reads a frame that is relayed. Hosts of a full mesh take none.
    pub(super) fn read_relayed(&self, frame: &[u8]) -> Option<Relayed> {
        if self.mesh.is_bounded() { Relayed::read(self.config.mesh, frame) } else { None }
    }

    /// Takes a relayed frame that is for this host, and passes on all others.
    pub(super) fn on_relayed(&mut self, by: HostId, relayed: Relayed, now: Time) {
        self.tell_mesh(MeshInput::Heard(by), now);
        let Relayed { author, to, hops, frame } = relayed;
        if author == self.config.host {
            return;
        }
        self.tell_mesh(MeshInput::Relayed { author, by }, now);
        if to == self.config.host {
            return self.on_frame_of(author, &frame, now);
        }
        let Some(hops) = hops.min(HOPS_MAX).checked_sub(1) else { return };
        if let Some(next) = self.mesh.route(to).filter(|next| *next != by) {
            let frame = Relayed { author, to, hops, frame }.to_bytes(self.config.mesh);
            self.outputs.push_back(Output::Send { to: next, frame });
        }
    }
}
