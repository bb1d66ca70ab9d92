//! The part of a node's store besides the ledger: to which host and mesh the store
//! belongs, and which of this host's turns were under way.

use std::collections::BTreeMap;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::config::Config;
use crate::form::{self, Unreadable};
use crate::id::{DeploymentId, HostId, MeshId, VoterId};
use crate::ledger::Change;
use crate::run::Record;
use crate::state::NotAState;

use super::Loss;

/// The reason why a node cannot start from its store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The store belongs to another mesh.
    #[error("the store belongs to mesh {stored}, not to {wanted}: use another data directory")]
    OtherMesh {
        /// The mesh in the store.
        stored: MeshId,
        /// The mesh in the key file.
        wanted: MeshId,
    },
    /// The store belongs to another host.
    #[error("the store belongs to another host's key: use another data directory")]
    OtherHost,
    /// The store cannot be read. Going on from here could break a promise, so the
    /// store must be set aside, and the host joins anew.
    #[error("the store cannot be read: {0}")]
    Corrupt(String),
    /// The store can be read, but something that was written is missing. As with a
    /// corrupt one, the store must be set aside, and the host joins anew.
    #[error("the store has lost something: {0}")]
    Forgotten(Loss),
    /// An agent of another version wrote the store. Nothing is damaged, and nothing is
    /// changed.
    #[error(
        "{what} {cause}: nothing was changed. Start the version of the agent that wrote it, or use another data \
         directory and join the mesh anew"
    )]
    OtherVersion {
        /// What was written in that version.
        what: String,
        /// The reason why this agent cannot read it.
        cause: Unreadable,
    },
}

impl StartError {
    pub(super) fn of_snapshot(error: NotAState) -> Self {
        let corrupt = || StartError::Corrupt(format!("the snapshot: {error}"));
        match error {
            NotAState::Unreadable(Unreadable::Malformed) | NotAState::Inconsistent | NotAState::Index(..) => {
                corrupt()
            }
            NotAState::Unreadable(cause) => {
                StartError::OtherVersion { what: "the state in the store".into(), cause }
            }
        }
    }

    pub(super) fn of_record((key, cause): (&[u8], Unreadable)) -> Self {
        let key = key.first().map(|first| char::from(*first).to_string()).unwrap_or_default();
        match cause {
            Unreadable::Malformed => StartError::Corrupt(format!("record {key} is damaged")),
            Unreadable::NeedsVersion { .. } | Unreadable::Outdated { .. } => {
                StartError::OtherVersion { what: format!("record {key} of the store"), cause }
            }
        }
    }
}

/// The host and mesh that the store belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) format: u16,
    pub(crate) host: HostId,
    pub(crate) mesh: MeshId,
    pub(crate) voter: VoterId,
    /// The number of this start of the host; it grows with each start.
    pub(crate) incarnation: u64,
}

/// The format of [`Meta`]. Format 2 comes with an account of the writes: see
/// `node/fence.rs`. A store of format 1 has none, so it could not be told from a
/// damaged one. This agent could not read its ledger either. A later format is the number
/// of the newest version in which anything in the store is written.
const META_FORMAT: u16 = 2;
const META_KEY: &[u8] = b"M";

impl Meta {
    /// Reads it, and counts this start. At the first start the host gets a voter
    /// number.
    pub(super) fn read(
        config: &Config,
        stored: &BTreeMap<Vec<u8>, Vec<u8>>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Meta, StartError> {
        let Some(bytes) = stored.get(META_KEY) else {
            if !stored.is_empty() {
                return Err(StartError::Corrupt("it holds records, but not whose they are".into()));
            }
            // In raft-rs, zero means no voter.
            let voter = VoterId(rng.next_u64().max(1));
            let (host, mesh) = (config.host, config.mesh);
            return Ok(Meta { format: META_FORMAT, host, mesh, voter, incarnation: 1 });
        };
        let of_record = |cause| StartError::of_record((META_KEY, cause));
        let meta: Meta = form::decode_record(bytes).map_err(of_record)?;
        if meta.format > META_FORMAT {
            return Err(of_record(Unreadable::needs(meta.format, config.reads())));
        }
        if meta.format < META_FORMAT {
            return Err(of_record(Unreadable::Outdated { version: meta.format, reads_from: META_FORMAT }));
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
        (META_KEY.to_vec(), Some(form::encode_record(self)))
    }
}

/// Returns the change that sets the journal's record of a turn, or deletes it.
pub(super) fn journal_change(deployment: DeploymentId, record: Option<&Record>) -> Change {
    (journal_key(deployment), record.map(form::encode_record))
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
        .map(|(key, value)| form::decode_record(value).map_err(|cause| StartError::of_record((key, cause))))
        .collect()
}

/// Returns the number under which the store's host votes.
pub(crate) fn stored_voter(stored: &BTreeMap<Vec<u8>, Vec<u8>>) -> Option<VoterId> {
    form::decode_record(stored.get(META_KEY)?).ok().map(|meta: Meta| meta.voter)
}

/// Returns the event that the store's journal says may be running in a turn.
pub(crate) fn stored_running(
    stored: &BTreeMap<Vec<u8>, Vec<u8>>,
    deployment: DeploymentId,
) -> Option<crate::lifecycle::LifecycleEvent> {
    let record: Record = form::decode_record(stored.get(&journal_key(deployment))?).ok()?;
    record.running()
}
