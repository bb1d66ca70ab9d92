//! The messages between hosts, and the envelope of frames.
//!
//! A frame is the mesh's id, the version, the history that the sender goes by, and a
//! message in its form of that version.

use crate::entry::{Index, ProposalId};
use crate::form::{Unreadable, Version, Versioned};
use crate::id::{HostId, MeshId, VoterId};
use crate::io::Progress;
use crate::ledger::{LogEntry, RaftMessage, Seal, Snapshot};
use crate::recovery::{History, SignedRecovery};
use crate::statement::Statement;
use crate::time::LedgerTime;

/// The wire version that this code speaks. It covers the form of frames and what
/// entries may say. The record of every host gives its version, so that nothing is
/// submitted that some host of the mesh could not fold.
///
/// - 1: the first version.
/// - 2: canary, zones, cap, RESTART, named configurations, stop now, alarms,
///   triggers, freezes.
/// - 3: a host says that it defers its start. Removals, rollbacks by hand and
///   repeated proposals are folded differently than before, so frames of older
///   agents are refused.
/// - 4: an entry carries the version that it was written in. An entry about a host
///   counts only if that host proposed it, so frames of older agents are refused.
/// - 5: a host says that its disk lacks room for its turn. Until all agents of a
///   mesh know that, no host says it, so frames of version 4 are read.
/// - 6: the ledger says which version the mesh has moved to, and older agents no
///   longer join it. Not released yet.
pub const WIRE: u16 = Version::NEWEST.number();
/// The first version that knows `TurnDeferred`.
pub(crate) const DEFERRAL_SINCE: u16 = 3;
/// The first version that knows `RoomReported`.
pub(crate) const ROOM_SINCE: u16 = 5;
/// The first version in which the ledger says which version the mesh has.
pub(crate) const MESH_VERSION_SINCE: u16 = 6;
/// The longest frame, in bytes. That is far more than the snapshot of a mesh of
/// 10,000 hosts with fifty past deployments, which takes a few megabytes.
pub const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Mesh, version, and the history's epoch and id.
const ENVELOPE_LEN: usize = 16 + 2 + 8 + 8;

/// A message from one host to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// The sender is alive, and has folded up to this index.
    Beacon(Beacon),
    /// A message of consensus between voters.
    Raft(Box<RaftMessage>),
    /// Asks the receiver to put this statement in order. A proposal is `forwarded` at
    /// most once.
    Propose { id: ProposalId, statement: Box<Statement>, forwarded: bool },
    /// Asks for the entries that follow an index.
    Want { after: Index },
    /// Entries that were committed.
    Committed(Vec<LogEntry>),
    /// A snapshot, which replaces all entries before it.
    Snapshot(Box<Snapshot>),
    /// A host of a running deployment has moved to another event.
    Progress(ProgressEvent),
    /// Asks the receiver to probe the sender's application of this group over the
    /// network.
    Look { group: crate::id::GroupName, number: crate::io::ProbeId },
    /// Answers a `Look`; `error` says why the probe failed, if it did.
    Seen { group: crate::id::GroupName, number: crate::io::ProbeId, error: Option<String> },
    /// Asks for the receiver's seal at this checkpoint.
    Confirm { index: Index },
    /// Answers a `Confirm`.
    Confirmed { index: Index, seal: Seal },
    /// Asks for the present addresses of these hosts.
    WhereAre(Vec<HostId>),
    /// The addresses of those that I know.
    Places(Vec<(HostId, Vec<String>)>),
    /// The mesh was recovered: these are the proofs, the oldest first.
    Recoveries(Vec<SignedRecovery>),
}

/// A message that hosts publish to all, by way of neighbours. No decision depends
/// on it, because any host that passes it on could have made it up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Gossip {
    /// A host of a running deployment has moved to another event.
    Progress(ProgressEvent),
}

/// A sign of life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Beacon {
    pub(crate) incarnation: u64,
    pub(crate) index: Index,
    pub(crate) hash: [u8; 32],
    pub(crate) leader: Option<VoterId>,
    /// The newest index at which the sender has sealed its state, and that seal.
    pub(crate) checkpoint: Option<(Index, Seal)>,
    /// The hosts that the sender has lost.
    pub(crate) lost: Vec<HostId>,
    /// The time on the sender's own clock.
    pub(crate) wall: LedgerTime,
    /// The ledger's time, if the sender has counted it without interruption.
    pub(crate) clock: Option<LedgerTime>,
    /// Term and index of the last entry that the sender has, committed or not.
    pub(crate) last: (u64, Index),
}

/// The progress of a turn, as sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProgressEvent {
    pub(crate) deployment: crate::id::DeploymentId,
    pub(crate) host: HostId,
    pub(crate) event: crate::lifecycle::LifecycleEvent,
}

impl From<ProgressEvent> for Progress {
    fn from(heard: ProgressEvent) -> Progress {
        Progress { deployment: heard.deployment, host: heard.host, event: heard.event }
    }
}

/// An error from decoding bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    #[error("the frame is too short or too long")]
    Length,
    #[error("the frame is another mesh's")]
    OtherMesh,
    #[error("the frame {0}")]
    Unreadable(Unreadable),
}

/// Puts a message into its envelope.
pub(crate) fn frame(mesh: MeshId, history: History, message: &Message) -> Vec<u8> {
    envelope(mesh, history, message)
}

/// Puts what is published into its envelope. It arrives as gossip, so it cannot be
/// taken for a message that a neighbour sent itself.
pub(crate) fn gossip(mesh: MeshId, history: History, gossip: &Gossip) -> Vec<u8> {
    envelope(mesh, history, gossip)
}

fn envelope<T: Versioned>(mesh: MeshId, history: History, content: &T) -> Vec<u8> {
    let version = content.version();
    let mut frame = Vec::with_capacity(ENVELOPE_LEN + 64);
    frame.extend_from_slice(&mesh.0);
    frame.extend_from_slice(&version.number().to_be_bytes());
    frame.extend_from_slice(&history.epoch.to_be_bytes());
    frame.extend_from_slice(&history.id.to_be_bytes());
    frame.extend_from_slice(&content.to_form(version));
    frame
}

/// Returns the frame with which a host asks that an entry be put in order: for
/// tools that play a host of a mesh that was never recovered, as benchmarks do.
pub fn proposal(mesh: MeshId, id: ProposalId, statement: Statement) -> Vec<u8> {
    frame(
        mesh,
        History::default(),
        &Message::Propose { id, statement: Box::new(statement), forwarded: false },
    )
}

/// Takes a message out of its envelope, in a version up to `newest`.
pub(crate) fn unframe(mesh: MeshId, frame: &[u8], newest: Version) -> Result<(History, Message), WireError> {
    open(mesh, frame, newest)
}

/// Takes what was published out of its envelope, in a version up to `newest`.
pub(crate) fn ungossip(mesh: MeshId, frame: &[u8], newest: Version) -> Result<(History, Gossip), WireError> {
    open(mesh, frame, newest)
}

fn open<T: Versioned>(mesh: MeshId, frame: &[u8], newest: Version) -> Result<(History, T), WireError> {
    if frame.len() < ENVELOPE_LEN || frame.len() > FRAME_BYTES_MAX {
        return Err(WireError::Length);
    }
    let (envelope, body) = frame.split_at(ENVELOPE_LEN);
    if envelope[..16] != mesh.0 {
        return Err(WireError::OtherMesh);
    }
    let version =
        newest.read(u16::from_be_bytes([envelope[16], envelope[17]])).map_err(WireError::Unreadable)?;
    let number =
        |at: usize| envelope[at..at + 8].iter().fold(0, |number, byte| (number << 8) | u64::from(*byte));
    let history = History { epoch: number(18), id: number(26) };
    let content = T::from_form(body, version).map_err(WireError::Unreadable)?;
    Ok((history, content))
}

#[cfg(test)]
mod tests;
