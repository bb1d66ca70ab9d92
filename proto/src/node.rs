//! The node: a value. The only way to change it is [`Node::handle`]; the only
//! way it acts is [`Node::poll_output`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::config::Config;
use crate::entry::{Entry, Index};
use crate::id::{DeploymentId, HostId};
use crate::io::{Input, Output};
use crate::lifecycle::LifecycleEvent;
use crate::rollout::Blocker;
use crate::state::State;
use crate::time::Time;

/// Why a node cannot start from what its store holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The store is another mesh's.
    #[error("the store belongs to mesh {stored}, not to {wanted}: use another data directory")]
    OtherMesh {
        /// In the store.
        stored: String,
        /// In the key file.
        wanted: String,
    },
    /// The store is another host's.
    #[error("the store belongs to another host's key: use another data directory")]
    OtherHost,
    /// What is stored cannot be read. To go on from here could break a promise
    /// that was made: the store must be set aside, and the host joins anew.
    #[error("the store cannot be read: {0}")]
    Corrupt(String),
}

/// How this node sees the mesh.
#[derive(Clone, Debug, Default)]
pub struct MeshView {
    /// Connected to, this host not included.
    pub connected: BTreeSet<HostId>,
    /// Hosts that take part in consensus.
    pub voters: BTreeSet<HostId>,
    /// Who puts entries in order, as far as is known.
    pub leader: Option<HostId>,
    /// Hosts that too many observers have lost, not yet Down by the ledger.
    pub suspects: BTreeSet<HostId>,
    /// Hash of the ledger up to the state's index.
    pub hash: [u8; 32],
}

/// A node.
pub struct Node {
    config: Config,
    state: State,
    outputs: VecDeque<Output>,
}

impl Node {
    /// Starts from what the store holds (empty at the first start).
    /// # Errors
    /// If the store is somebody else's, or cannot be read.
    pub fn start(
        config: Config,
        _stored: BTreeMap<Vec<u8>, Vec<u8>>,
        _now: Time,
    ) -> Result<Node, StartError> {
        Ok(Node { config, state: State::default(), outputs: VecDeque::new() })
    }

    /// Tells the node what happened.
    pub fn handle(&mut self, _input: Input, _now: Time) {}

    /// Takes what the node asks of the world, one thing at a time.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to give it [`Input::Wake`] at the latest.
    pub fn next_wake(&self) -> Option<Time> {
        None
    }

    /// Who this is.
    pub fn host(&self) -> HostId {
        self.config.host
    }

    /// What it is told to be.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Everything the ledger says, as far as this node has it.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// How it sees the mesh.
    pub fn mesh(&self) -> MeshView {
        MeshView::default()
    }

    /// Where a host is in its turn, as far as was heard.
    pub fn progress(&self, _deployment: DeploymentId, _host: HostId) -> Option<LifecycleEvent> {
        None
    }

    /// What keeps the deployment from its next turn, this host's own doubts
    /// included.
    pub fn blockers(&self, _deployment: DeploymentId) -> Vec<Blocker> {
        Vec::new()
    }

    /// The committed entries that this node still holds, the oldest first:
    /// index, hash of the chain up to it, and the entry (none for consensus's
    /// own bookkeeping).
    pub fn entries(&self) -> Vec<(Index, [u8; 32], Option<Entry>)> {
        Vec::new()
    }

    /// Folds the held entries' hashes again.
    /// # Errors
    /// The first index at which the chain does not match.
    pub fn verify_chain(&self) -> Result<(Index, Index), Index> {
        Ok((0, 0))
    }

    /// Whether no event runs on this host.
    pub fn is_idle(&self) -> bool {
        true
    }
}
