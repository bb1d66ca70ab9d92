//! What a node's store says besides the ledger: whose it is, and which of this
//! host's turns were under way.

use std::collections::BTreeMap;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::id::{DeploymentId, HostId, MeshId, VoterId};
use crate::ledger::Change;
use crate::run::Record;
use crate::state::{self, NotAState};
use crate::wire;

use super::Loss;

/// Why a node cannot start from what its store holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The store is another mesh's.
    #[error("the store belongs to mesh {stored}, not to {wanted}: use another data directory")]
    OtherMesh {
        /// In the store.
        stored: MeshId,
        /// In the key file.
        wanted: MeshId,
    },
    /// The store is another host's.
    #[error("the store belongs to another host's key: use another data directory")]
    OtherHost,
    /// What is stored cannot be read. To go on from here could break a promise
    /// that was made: the store must be set aside, and the host joins anew.
    #[error("the store cannot be read: {0}")]
    Corrupt(String),
    /// It can be read, but is not all that was written. As for a corrupt one: it
    /// must be set aside, and the host joins anew.
    #[error("the store has lost something: {0}")]
    Forgotten(Loss),
    /// The agent that wrote it was of another version. Nothing is damaged.
    #[error(
        "the store holds a state of version {stored}, this agent reads version {reads}: start the version of the \
         agent that wrote it, or use another data directory and join the mesh anew"
    )]
    OtherVersion {
        /// In the store.
        stored: u16,
        /// By this agent.
        reads: u16,
    },
}

impl StartError {
    pub(super) fn of_snapshot(error: NotAState) -> Self {
        match error {
            NotAState::Version(stored) => StartError::OtherVersion { stored, reads: state::VERSION },
            NotAState::Malformed | NotAState::Index(..) => {
                StartError::Corrupt(format!("the snapshot: {error}"))
            }
        }
    }
}

/// Who the store belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    format: u16,
    host: HostId,
    mesh: MeshId,
    pub(super) voter: VoterId,
    /// Counts this host's starts.
    pub(super) incarnation: u64,
}

/// 2: with an account of its writes, see `node/fence.rs`. A store of version 1
/// has none and could not be told from a damaged one; its agent's ledger cannot
/// be read either.
const META_FORMAT: u16 = 2;
const META_KEY: &[u8] = b"M";

impl Meta {
    /// As of this start. At the first one the host gets a voter number.
    pub(super) fn read(
        config: &Config,
        stored: &BTreeMap<Vec<u8>, Vec<u8>>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Meta, StartError> {
        let Some(bytes) = stored.get(META_KEY) else {
            if !stored.is_empty() {
                return Err(StartError::Corrupt("it holds records, but not whose they are".into()));
            }
            // Zero is raft-rs's word for nobody.
            let voter = VoterId(rng.next_u64().max(1));
            let (host, mesh) = (config.host, config.mesh);
            return Ok(Meta { format: META_FORMAT, host, mesh, voter, incarnation: 1 });
        };
        let meta: Meta =
            wire::decode(bytes).map_err(|_| StartError::Corrupt("record M is damaged".into()))?;
        if meta.format != META_FORMAT {
            return Err(StartError::OtherVersion { stored: meta.format, reads: META_FORMAT });
        }
        if meta.mesh != config.mesh {
            return Err(StartError::OtherMesh { stored: meta.mesh, wanted: config.mesh });
        }
        if meta.host != config.host {
            return Err(StartError::OtherHost);
        }
        Ok(Meta { incarnation: meta.incarnation.saturating_add(1), ..meta })
    }

    pub(super) fn to_change(&self) -> Change {
        (META_KEY.to_vec(), Some(wire::encode(self)))
    }
}

/// What the journal says of a turn from now on; nothing, if it is forgotten.
pub(super) fn journal_change(deployment: DeploymentId, record: Option<&Record>) -> Change {
    (journal_key(deployment), record.map(wire::encode))
}

fn journal_key(deployment: DeploymentId) -> Vec<u8> {
    let mut key = vec![b'J'];
    key.extend_from_slice(deployment.to_string().as_bytes());
    key
}

pub(super) fn read_journal(stored: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Vec<Record>, StartError> {
    stored
        .iter()
        .filter(|(key, _)| key.first() == Some(&b'J'))
        .map(|(_, value)| {
            wire::decode(value).map_err(|_| StartError::Corrupt("a record J is damaged".into()))
        })
        .collect()
}

/// The number under which a store's host votes.
pub(crate) fn stored_voter(stored: &BTreeMap<Vec<u8>, Vec<u8>>) -> Option<VoterId> {
    wire::decode(stored.get(META_KEY)?).ok().map(|meta: Meta| meta.voter)
}

/// The event that a store's journal says may be running in a turn.
pub(crate) fn stored_running(
    stored: &BTreeMap<Vec<u8>, Vec<u8>>,
    deployment: DeploymentId,
) -> Option<crate::lifecycle::LifecycleEvent> {
    let record: Record = wire::decode(stored.get(&journal_key(deployment))?).ok()?;
    record.running()
}
