//! What travels and what is stored, as bytes: one codec, one envelope.
//!
//! A frame is the mesh's id, the wire version and a message. Decoding never
//! allocates more than the bytes that came, and never panics.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::entry::{Body, Index, ProposalId};
use crate::id::{HostId, MeshId, VoterId};
use crate::io::Progress;
use crate::ledger::{LogEntry, RaftMessage, Seal, Snapshot};
use crate::time::LedgerTime;

/// The version of the wire that this code speaks: of its frames, and of what
/// entries may say. It is told with every host's record, so that nothing is
/// submitted that some host of the mesh could not fold.
///
/// - 1: the first.
/// - 2: canary, zones, cap, RESTART, named configurations, stop now, alarms, triggers,
///   freezes.
/// - 3: a host says that it waits with its start. Removals, rollbacks by hand and
///   repeated proposals are folded otherwise than before, so no older agent is heard.
/// - 4: an entry carries the version that it was written in. Entries are held to the
///   host that proposed them, so no older agent is heard.
pub const WIRE: u16 = 4;
/// Who speaks an older version does not know `TurnDeferred`.
pub(crate) const DEFERRAL_SINCE: u16 = 3;
/// The oldest version whose frames are read. A newer agent's are read as far as
/// they can be: variants are only ever added at an enum's end, and what cannot
/// be read is dropped like any other damage.
pub(crate) const WIRE_OLDEST: u16 = 4;
/// The longest frame: far above the snapshot of a mesh of 10,000 hosts with fifty
/// deployments behind it, which is a few megabytes.
pub const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The longest record that is read back. Far above a frame: a host must never
/// take what it wrote itself for damaged because it has grown.
const STORED_BYTES_MAX: usize = 1024 * 1024 * 1024;

const ENVELOPE_LEN: usize = 18;

/// What hosts say to each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Message {
    /// I am here, and this is how far I am.
    Beacon(Beacon),
    /// Consensus among voters.
    Raft(Box<RaftMessage>),
    /// Put this in order. `forwarded` once at most.
    Propose { id: ProposalId, body: Box<Body>, forwarded: bool },
    /// I have everything up to here: what comes next?
    Want { after: Index },
    /// This was committed.
    Committed(Vec<LogEntry>),
    /// This takes the place of what came before.
    Snapshot(Box<Snapshot>),
    /// A host of a running deployment is in another event.
    Progress(Heard),
    /// Look how my application of this group is, as you see it from there.
    Look { group: crate::id::GroupName, number: crate::io::ProbeId },
    /// I have looked; what it failed of, if it did.
    Seen { group: crate::id::GroupName, number: crate::io::ProbeId, error: Option<String> },
    /// What is your seal at this checkpoint?
    Confirm { index: Index },
    /// This is it.
    Confirmed { index: Index, seal: Seal },
}

/// What hosts publish to all, by way of neighbours: nothing that anything is decided
/// by, because whoever passes it on could have made it up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Gossip {
    /// A host of a running deployment is in another event.
    Progress(Heard),
}

/// A sign of life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Beacon {
    pub(crate) incarnation: u64,
    pub(crate) index: Index,
    pub(crate) hash: [u8; 32],
    pub(crate) leader: Option<VoterId>,
    /// The newest index at which the sender has sealed its state, and the seal.
    pub(crate) checkpoint: Option<(Index, Seal)>,
    /// Hosts that the sender has lost.
    pub(crate) lost: Vec<HostId>,
    /// What the sender's own clock shows.
    pub(crate) wall: LedgerTime,
    /// The ledger's time, if the sender has counted it without a break.
    pub(crate) clock: Option<LedgerTime>,
}

/// Progress, as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Heard {
    pub(crate) deployment: crate::id::DeploymentId,
    pub(crate) host: HostId,
    pub(crate) event: crate::lifecycle::LifecycleEvent,
}

impl From<Heard> for Progress {
    fn from(heard: Heard) -> Progress {
        Progress { deployment: heard.deployment, host: heard.host, event: heard.event }
    }
}

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    #[error("the frame is too short or too long")]
    Length,
    #[error("the frame is another mesh's")]
    OtherMesh,
    #[error("the frame is of wire version {0}, this agent reads {WIRE_OLDEST} and newer")]
    Version(u16),
    #[error("the bytes are not a message")]
    Malformed,
}

fn codec() -> impl bincode::config::Config {
    // Frames are measured before; what a slice claims is held against its bytes.
    bincode::config::standard().with_limit::<STORED_BYTES_MAX>()
}

/// Encodes one of our own types.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // Our own types have no map keys or lengths that serde could refuse.
    bincode::serde::encode_to_vec(value, codec()).expect("our own types can be encoded")
}

/// Decodes all of `bytes`, and nothing but.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    match bincode::serde::decode_from_slice(bytes, codec()) {
        Ok((value, read)) if read == bytes.len() => Ok(value),
        Ok(_) | Err(_) => Err(WireError::Malformed),
    }
}

/// Puts a message into its envelope.
pub(crate) fn frame(mesh: MeshId, message: &Message) -> Vec<u8> {
    envelope(mesh, message)
}

/// Puts what is published into its envelope. It arrives as gossip, so it cannot be
/// taken for a message that a neighbour sent itself.
pub(crate) fn gossip(mesh: MeshId, gossip: &Gossip) -> Vec<u8> {
    envelope(mesh, gossip)
}

fn envelope<T: Serialize>(mesh: MeshId, content: &T) -> Vec<u8> {
    let mut frame = Vec::with_capacity(ENVELOPE_LEN + 64);
    frame.extend_from_slice(&mesh.0);
    frame.extend_from_slice(&WIRE.to_be_bytes());
    frame.extend_from_slice(&encode(content));
    frame
}

/// The frame with which a host asks that an entry be put in order: for tools that
/// play a host, as benchmarks do.
pub fn proposal(mesh: MeshId, id: ProposalId, body: Body) -> Vec<u8> {
    frame(mesh, &Message::Propose { id, body: Box::new(body), forwarded: false })
}

/// Takes a message out of its envelope.
pub(crate) fn unframe(mesh: MeshId, frame: &[u8]) -> Result<Message, WireError> {
    open(mesh, frame)
}

/// Takes what was published out of its envelope.
pub(crate) fn ungossip(mesh: MeshId, frame: &[u8]) -> Result<Gossip, WireError> {
    open(mesh, frame)
}

fn open<T: DeserializeOwned>(mesh: MeshId, frame: &[u8]) -> Result<T, WireError> {
    if frame.len() < ENVELOPE_LEN || frame.len() > FRAME_BYTES_MAX {
        return Err(WireError::Length);
    }
    let (envelope, body) = frame.split_at(ENVELOPE_LEN);
    if envelope[..16] != mesh.0 {
        return Err(WireError::OtherMesh);
    }
    let version = u16::from_be_bytes([envelope[16], envelope[17]]);
    if version < WIRE_OLDEST {
        return Err(WireError::Version(version));
    }
    decode(body)
}

#[cfg(test)]
mod tests;
