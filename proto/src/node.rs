//! The node, which is a plain value. Only [`Node::handle`] changes it, and it acts
//! only through [`Node::poll_output`].
//!
//! Its parts (ledger, state, liveness, own turns) do not know each other. They meet
//! in `settle`, which runs after every input. It carries what one part has found
//! out to the others, until no part has anything new to say.

mod assignments;
mod duties;
mod exchange;
mod fence;
mod following;
mod footprint;
mod halt;
mod keepers;
mod ledger_clock;
pub mod lies;
mod own;
mod probing;
mod progress;
mod proposals;
mod proposing;
mod read;
mod recovering;
mod relaying;
mod removal;
mod requests;
mod settle;
mod starts;
mod store_owner;
mod tasks;
mod turns;
mod voting;
mod whereabouts;
mod witnesses;
mod writes;

use std::collections::{BTreeSet, VecDeque};

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::alarm::watch::Watch;
use crate::config::Config;
use crate::entry::{Entry, HostRecord};
use crate::form::{self, Unreadable, Version};
use crate::id::{HostId, VoterId};
use crate::io::{Input, Output};
use crate::ledger::{Content, Ledger, LogEntry, Restored};
use crate::mesh::{Mesh, MeshInput};
use crate::run::{Act, OwnTurns};
use crate::state::State;
use crate::time::Time;
use crate::trigger::delivery::Deliveries;

use fence::Account;
use ledger_clock::Timekeeping;
use proposals::Proposals;
use store_owner::read_journal;

pub use fence::{Fence, Loss, Stored};
pub use halt::Halt;
pub use keepers::COPIES;
pub use ledger_clock::{CLOCK_OFF_MAX, is_clock_off};
pub use read::MeshView;
pub(crate) use recovering::KnownRecovery;
pub use recovering::{Offer, OutOfReach};
pub use store_owner::StartError;
pub(crate) use store_owner::{Meta, stored_running, stored_voter};

/// A reason to wake the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    /// The next tick of consensus.
    Tick,
    /// The next beacon.
    Beacon,
    /// A host may have been silent for too long.
    Silence,
    /// A proposal must be sent again, or given up.
    Proposals,
    /// It is now this host's turn to propose something that the ledger lacks.
    Duties,
    /// The ledger's clock must move.
    LedgerTimer,
    /// A neighbour did not answer with what this host asked for.
    Want,
    /// Progress that was held back may be told.
    Progress,
    /// The leader must check the voters.
    Voters,
    /// An alarm must be read on this host, or a receiver told.
    Assignments,
    /// A probe is due, or should have been answered.
    Health,
    /// A request has waited long enough for a removed host to leave consensus.
    Farewells,
}

/// A node: the state machine inside an agent or a simulated host.
pub struct Node {
    config: Config,
    own: own::OwnAgent,
    state: State,
    ledger: Ledger,
    mesh: Mesh,
    proposals: Proposals,
    alarms: Watch,
    deliveries: Deliveries,
    ranks: assignments::Ranks,
    turns: OwnTurns,
    tasks: tasks::Tasks,
    health: probing::Health,
    outputs: VecDeque<Output>,
    writes: writes::Writes,
    time: Timekeeping,
}

impl Node {
    /// Starts a node from what the store holds, which is nothing at the first
    /// start.
    /// # Errors
    /// If the store belongs to another mesh or host, cannot be read, or has lost
    /// something that was promised from it.
    pub fn start(config: Config, stored: Stored, now: Time) -> Result<Node, StartError> {
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        form::check_records(&stored.contents, config.reads()).map_err(StartError::of_record)?;
        let mut meta = Meta::read(&config, &stored.contents, &mut rng)?;
        let account = Account::open(&stored).map_err(StartError::Forgotten)?;
        let stored = stored.contents;
        let restored = Restored::read(&stored).map_err(|error| StartError::Corrupt(error.to_string()))?;
        let start = rng.next_u64();
        let is_fresh = restored.is_none();
        if is_fresh {
            // Without a ledger, either nothing was promised under the number that
            // may be stored, or nobody knows what.
            meta.voter = VoterId(rng.next_u64().max(1));
        }
        let ledger = Ledger::empty(meta.voter, config.seed, config.log_kept).reading(config.reads());
        let is_first = restored.is_none() && meta.incarnation == 1;
        let (state, ledger) = match restored {
            Some(restored) => {
                let state = State::decode(&restored.snapshot.state, restored.snapshot.index, config.reads())
                    .map_err(StartError::of_snapshot)?;
                (state, ledger.restore(restored))
            }
            None if config.founds && is_first => {
                let state = State::founded_by(config.wire);
                let genesis = *blake3::hash(&config.mesh.0).as_bytes();
                let encoded = state.encode();
                (state, ledger.found(genesis, encoded))
            }
            None => (State::default(), ledger),
        };
        let first_proposal = rng.next_u32();
        let time = Timekeeping::new(state.clock(), now);
        let writes = writes::Writes::new(account, meta.to_change());
        let proposals = Proposals::new(config.host, meta.incarnation, first_proposal);
        let recoveries = recovering::Recoveries::read(&stored)?;
        let mut node = Node {
            own: own::OwnAgent::new(meta, rng, start, is_fresh, recoveries),
            state,
            ledger,
            mesh: Mesh::new(config.host, config.overlay, now),
            proposals,
            alarms: Watch::default(),
            deliveries: Deliveries::default(),
            ranks: assignments::Ranks::default(),
            turns: OwnTurns::restore(read_journal(&stored)?),
            tasks: tasks::Tasks::default(),
            health: probing::Health::default(),
            outputs: VecDeque::new(),
            writes,
            time,
            config,
        };
        node.time.deadlines.set(Why::Beacon, now);
        node.settle(now);
        if node.mesh.is_unread() && !node.ledger.is_empty() {
            // The store held a snapshot and no entries after it.
            node.after_folding(now);
            node.settle(now);
        }
        node.halt_if_superseded();
        Ok(node)
    }

    /// Tells the node what happened.
    pub fn handle(&mut self, input: Input, now: Time) {
        self.time.handled_at = now;
        self.mesh.pass(now);
        match input {
            Input::Wake => {}
            Input::Connected { host } => self.on_connected(host, now),
            Input::Disconnected { host } => self.tell_mesh(MeshInput::Disconnected(host), now),
            Input::Received { from, frame } => self.on_frame(from, &frame, now),
            Input::Gossip { by, frame } => self.on_gossip(by, &frame),
            Input::Persisted(write) => self.on_persisted(write, now),
            Input::Ended { id, result } => self.on_ended(id, result, now),
            Input::Request { id, request } => self.on_request(id, *request, now),
            Input::Leaving => self.on_leaving(),
            Input::Disk { free } => self.turns.note_free(free),
        }
        self.settle(now);
    }

    /// Takes the next thing that the node asks the shell to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns when to give the node [`Input::Wake`] at the latest.
    pub fn next_wake(&self) -> Option<Time> {
        self.time.deadlines.next()
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Returns the id of this host.
    pub fn host(&self) -> HostId {
        self.config.host
    }

    /// Returns the configuration of this host.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns everything that the ledger says, as far as this node has it.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Returns the host's number in consensus, which it uses if it becomes a voter.
    pub fn voter(&self) -> VoterId {
        self.own.meta.voter
    }

    /// Returns the number of this start of the host, which grows with each start.
    pub fn incarnation(&self) -> u64 {
        self.own.meta.incarnation
    }

    /// Returns true if no event runs on this host, and no journal record waits for
    /// the disk.
    pub fn is_idle(&self) -> bool {
        self.turns.is_idle()
    }

    fn on_leaving(&mut self) {
        self.own.leaving = true;
        self.turns.leave();
        // Another host takes over now, and not only after an election timeout.
        self.hand_over();
    }

    fn suspects(&self) -> BTreeSet<HostId> {
        let is_up = |host: &HostId| self.state.host(*host).is_some_and(|host| host.down.is_none());
        self.mesh.suspects().filter(is_up).collect()
    }

    /// Compares field by field without making a record, because this runs after
    /// every input.
    fn is_described_by(&self, record: &HostRecord) -> bool {
        let config = &self.config;
        record.voter == self.own.meta.voter
            && record.incarnation == self.own.meta.incarnation
            && record.name == config.name
            && record.tags == config.tags
            && record.zone == config.zone
            && record.addresses == config.addresses
            && record.start == self.own.start
    }

    fn record(&self) -> HostRecord {
        HostRecord {
            host: self.config.host,
            voter: self.own.meta.voter,
            name: self.config.name.clone(),
            tags: self.config.tags.clone(),
            zone: self.config.zone.clone(),
            addresses: self.config.addresses.clone(),
            incarnation: self.own.meta.incarnation,
            wire: self.config.wire,
            replaces: self.config.replaces.clone(),
            start: self.own.start,
        }
    }
}

/// Decodes our own entry; `None` if consensus made the log entry for itself.
fn decode_entry(entry: &LogEntry, newest: Version) -> Result<Option<Entry>, Unreadable> {
    match &entry.content {
        Content::Entry(bytes) => form::decode_entry(bytes, newest).map(Some),
        Content::Empty | Content::Voters(_) => Ok(None),
        Content::Recovered(signed) => Ok(Some(recovering::as_entry(signed))),
    }
}

#[cfg(test)]
mod tests;
