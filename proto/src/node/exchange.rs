//! The messages between hosts, and what a node does with each.

use std::collections::BTreeSet;

use super::{Node, Why};
use crate::entry::Index;
use crate::form::Unreadable;
use crate::id::HostId;
use crate::io::{Notice, Output, WriteId};
use crate::ledger::{ChainHash, RaftMessage, Refused};
use crate::mesh::liveness::{BEACON_EVERY, LOST_TOLD_MAX};
use crate::mesh::reports::{ClockReport, HostReport};
use crate::mesh::{MeshInput, MeshOutput};
use crate::time::Time;
use crate::wire::{self, Beacon, Message, WireError};

impl Node {
    pub(super) fn on_connected(&mut self, host: HostId, now: Time) {
        self.tell_mesh(MeshInput::Connected(host), now);
        // Both hosts then know at once what they lack, and not only after the next
        // beacon.
        self.send(host, &self.beacon(now));
        self.tell_own_place(host);
    }

    pub(super) fn on_frame(&mut self, from: HostId, frame: &[u8], now: Time) {
        match self.read_relayed(frame) {
            Some(relayed) => self.on_relayed(from, relayed, now),
            None => {
                self.tell_mesh(MeshInput::Heard(from), now);
                self.on_frame_of(from, frame, now);
            }
        }
    }

    /// Handles a frame of its author, which may have come by way of others.
    pub(super) fn on_frame_of(&mut self, from: HostId, frame: &[u8], now: Time) {
        let (history, message) = match wire::unframe(self.config.mesh, frame, self.config.reads()) {
            Ok(read) => read,
            Err(error) => return self.on_unread(from, error),
        };
        if !self.is_of_this_history(from, history, &message) {
            return;
        }
        match message {
            Message::Beacon(beacon) => self.on_beacon(from, beacon, now),
            Message::Recoveries(recoveries) => self.on_recoveries(from, recoveries, now),
            Message::Raft(message) => self.on_raft(from, *message),
            Message::Propose { id, statement, forwarded } => {
                self.on_propose(from, id, *statement, forwarded, now);
            }
            Message::Want { after } => self.on_want(from, after),
            Message::Committed(entries) => self.on_committed(entries, from, now),
            Message::Snapshot(snapshot) => self.on_snapshot(*snapshot, from, now),
            Message::Progress(heard) => self.on_told_progress(from, heard.into()),
            Message::Look { group, number } => self.on_look(from, &group, number, now),
            Message::Confirm { index } => self.on_confirm(from, index),
            Message::Confirmed { index, seal } => self.on_confirmed(from, index, seal, now),
            Message::WhereAre(hosts) => self.on_where_are(from, &hosts),
            Message::Places(places) => self.on_places(from, places, now),
            Message::Seen { group, number, error } => self.on_seen(from, &group, number, error, now),
        }
    }

    /// Refuses a frame. That a neighbour's agent is newer is told once, because this host
    /// follows nothing that it says.
    fn on_unread(&mut self, from: HostId, error: WireError) {
        match error {
            WireError::Unreadable(cause @ Unreadable::NeedsVersion { .. }) => self.note_newer(from, cause),
            WireError::Length
            | WireError::OtherMesh
            | WireError::Unreadable(Unreadable::Outdated { .. } | Unreadable::Malformed) => {
                tracing::debug!(%from, %error, "frame refused");
            }
        }
    }

    /// Notes that a neighbour sends what this agent does not read. It is logged once for
    /// each neighbour.
    pub(super) fn note_newer(&mut self, from: HostId, cause: Unreadable) {
        if self.mesh.note_newer(from, cause) {
            tracing::warn!(%from, %cause, "a newer agent's message is refused: install its version here too");
        }
    }

    fn on_beacon(&mut self, from: HostId, beacon: Beacon, now: Time) {
        let (index, hash) = self.ledger.head();
        if beacon.index == index && beacon.hash != hash && index > 0 {
            tracing::error!(%from, index, "this host and its neighbour hold different ledgers");
            self.outputs.push_back(Output::Notify(Notice::Diverged { with: from, index }));
            return;
        }
        let lost: BTreeSet<HostId> = beacon.lost.iter().take(LOST_TOLD_MAX).copied().collect();
        self.tell_mesh(MeshInput::Lost { observer: from, index: beacon.index, lost }, now);
        let ahead = self.clock_ahead(beacon.wall, now);
        let report = HostReport {
            incarnation: beacon.incarnation,
            index: beacon.index,
            leader: beacon.leader,
            checkpoint: beacon.checkpoint,
            clock: ClockReport { wall: beacon.wall, counted: beacon.clock, at: now, ahead },
            last: beacon.last,
        };
        let before = self.mesh.note_report(from, report);
        self.hear_clock(now);
        self.tell_clock_of(from, before.as_ref().map(|before| before.clock.ahead), ahead);
        if let Some((index, seal)) = beacon.checkpoint
            && before.as_ref().is_none_or(|before| before.checkpoint != beacon.checkpoint)
        {
            self.on_seal(from, index, seal);
        }
        if before.is_none_or(|before| before.incarnation != beacon.incarnation) {
            // A duty depends on this: a host that was Down may be back.
            self.proposals.duties.derived_from = None;
        }
        let is_unneeded = self.mesh.is_retired() || self.mesh.is_surplus(from);
        if is_unneeded && self.mesh.is_neighbour(from) && beacon.index >= index {
            // A host that lags keeps its connection: it dials because it has not heard
            // of the removal, and this may be the only voter that it knows.
            self.outputs.push_back(Output::Disconnect { host: from });
        }
        self.note_lag(beacon.index, now);
        if beacon.index > index {
            self.want(from, now);
        }
    }

    /// Takes a voter's message only from the host that the folded ledger assigns to
    /// its number; what beacons claim is not believed. A host that has not folded
    /// the current voters yet refuses messages from new ones, and catches up by
    /// following.
    fn on_raft(&mut self, from: HostId, message: RaftMessage) {
        if self.mesh.voter_hosts().get(&message.from) != Some(&from) {
            tracing::debug!(%from, voter = %message.from, "a voter's message from another host is refused");
            return;
        }
        match self.ledger.step(message) {
            Ok(()) => {}
            Err(Refused::BeyondLog) => self.on_beyond_log(from),
            Err(refused) => tracing::debug!(%from, %refused, "a message of consensus is refused"),
        }
    }

    /// Notes that a leader claims that this host has promised more than its log
    /// holds. The claim is counted but has no effect, because otherwise one frame
    /// could end a voter. This host finds out by itself at its start whether its
    /// store has lost something.
    fn on_beyond_log(&mut self, from: HostId) {
        let times = self.mesh.count_beyond_log();
        if times.is_power_of_two() {
            tracing::warn!(%from, times, "a leader claims that this host's log is longer than it is: refused");
        }
    }

    /// Tells the mesh what happened, and carries out what it asks for.
    pub(super) fn tell_mesh(&mut self, input: MeshInput, now: Time) {
        self.mesh.handle(input, now);
        while let Some(output) = self.mesh.poll_output() {
            match output {
                MeshOutput::Connect { host, addresses } => {
                    self.outputs.push_back(Output::Connect { host, addresses });
                }
                MeshOutput::Disconnect { host } => self.outputs.push_back(Output::Disconnect { host }),
                MeshOutput::Beacon => self.time.deadlines.set(Why::Beacon, now),
            }
        }
    }

    /// Sends a message to each of these hosts.
    pub(super) fn tell(&mut self, hosts: BTreeSet<HostId>, message: &Message) {
        let frame = wire::frame(self.config.mesh, self.told_history(), message);
        hosts.into_iter().for_each(|to| self.send_by_route(to, frame.clone()));
    }

    pub(super) fn beacon_all(&mut self, now: Time) {
        self.tell_mesh(MeshInput::BeaconDue, now);
        self.steer_clock(now);
        self.note_leader(now);
        self.note_helpers(now);
        self.ask_where_others_are(now);
        let frame = wire::frame(self.config.mesh, self.told_history(), &self.beacon(now));
        self.beacon_hosts().into_iter().for_each(|to| self.send_by_route(to, frame.clone()));
        self.time.deadlines.set(Why::Beacon, now + BEACON_EVERY);
    }

    /// The head that others may hear of: nothing before this start's first write is
    /// synced, because a power loss may take what a killed agent had not synced.
    pub(super) fn told_head(&self) -> (Index, ChainHash) {
        if self.writes.is_start_durable() { self.ledger.told_head() } else { (0, [0; 32]) }
    }

    pub(super) fn beacon(&self, now: Time) -> Message {
        let (index, hash) = self.told_head();
        Message::Beacon(Beacon {
            incarnation: self.own.meta.incarnation,
            index,
            hash,
            checkpoint: self.ledger.newest_seal(),
            leader: self.leader(),
            wall: now.to_ledger(),
            clock: self.time.ledger.counted(now),
            lost: self.mesh.lost().iter().take(LOST_TOLD_MAX).copied().collect(),
            last: self.ledger.last(),
        })
    }

    pub(super) fn send_raft(&mut self, messages: Vec<RaftMessage>) {
        for message in messages {
            if let Some(to) = self.mesh.voter_hosts().get(&message.to).copied() {
                self.send(to, &Message::Raft(Box::new(message)));
            }
        }
    }

    pub(super) fn send(&mut self, to: HostId, message: &Message) {
        let frame = wire::frame(self.config.mesh, self.told_history(), message);
        if frame.len() > wire::FRAME_BYTES_MAX {
            let (bytes, limit) = (frame.len(), wire::FRAME_BYTES_MAX);
            tracing::error!(%to, bytes, limit, "what a host lacks is too long to be sent: it cannot catch up");
            return;
        }
        self.send_by_route(to, frame);
    }

    pub(super) fn on_persisted(&mut self, write: WriteId, now: Time) {
        let turns = self.writes.synced(write);
        self.on_recovery_written(write, now);
        let messages = self.ledger.persisted(write);
        self.send_raft(messages);
        self.on_recorded(turns, now);
    }
}

pub(super) fn pick(rng: &mut rand_chacha::ChaCha8Rng, hosts: &[HostId]) -> Option<HostId> {
    use rand::RngExt;
    if hosts.is_empty() { None } else { Some(hosts[rng.random_range(0..hosts.len())]) }
}
