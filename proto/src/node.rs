//! The node: a value. The only way to change it is [`Node::handle`]; the only
//! way it acts is [`Node::poll_output`].
//!
//! Its parts (ledger, state, liveness, own turns) do not know each other; they
//! meet here, in `settle`, which runs after every input and carries what one
//! part has found out to the others until none has anything new to say.

mod duties;
mod exchange;
mod health;
mod posts;
mod proposals;
mod removal;
mod requests;
mod settle;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

use crate::alarm::watch::Watch;
use crate::config::Config;
use crate::deadlines::Deadlines;
use crate::entry::{Entry, HostRecord, Index};
use crate::id::{DeploymentId, HostId, MeshId, VoterId};
use crate::io::{Input, Outcome, Output, WriteId};
use crate::ledger::{Change, Content, Ledger, LogEntry, Restored, chain};
use crate::lifecycle::LifecycleEvent;
use crate::mesh::liveness::{Judgement, Liveness};
use crate::rollout::{Blocker, Rollout, Turn};
use crate::run::{Act, OwnTurns, Record};
use crate::state::{self, Freeze, NotAState, State};
use crate::time::Time;
use crate::trigger::delivery::Deliveries;
use crate::wire;

use duties::Duties;
use proposals::Proposals;

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
    fn of_snapshot(error: NotAState) -> Self {
        match error {
            NotAState::Version(stored) => StartError::OtherVersion { stored, reads: state::VERSION },
            NotAState::Malformed | NotAState::Index(..) => {
                StartError::Corrupt(format!("the snapshot: {error}"))
            }
        }
    }
}

/// How this node sees the mesh.
#[derive(Clone, Debug, Default)]
pub struct MeshView {
    /// Connected to, this host not included.
    pub connected: BTreeSet<HostId>,
    /// Of all hosts, those that this one has not heard for too long.
    pub lost: BTreeSet<HostId>,
    /// Hosts that take part in consensus.
    pub voters: BTreeSet<HostId>,
    /// Who puts entries in order, as far as is known.
    pub leader: Option<HostId>,
    /// Hosts that too many observers have lost, not yet Down by the ledger.
    pub suspects: BTreeSet<HostId>,
    /// Hash of the ledger up to the state's index.
    pub hash: [u8; 32],
    /// The newest index that was heard of from any host.
    pub newest_heard: Index,
}

/// Why the node wants waking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    /// Consensus's clock.
    Tick,
    /// A sign of life is due.
    Beacon,
    /// Somebody may have fallen silent.
    Silence,
    /// A proposal is to be sent again, or given up.
    Proposals,
    /// Something that the ledger lacks is now this host's to propose.
    Duties,
    /// The ledger's clock must move.
    LedgerTimer,
    /// What was asked of a neighbour did not come.
    Want,
    /// Progress that was held back may be told.
    Progress,
    /// The voters are to be looked at.
    Voters,
    /// An alarm is to be read here, or a receiver to be told.
    Posts,
    /// A probe is due, or should have answered.
    Health,
    /// Somebody has waited long enough for a host to be out of consensus.
    Farewells,
}

/// Who the store belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Meta {
    format: u16,
    host: HostId,
    mesh: MeshId,
    voter: VoterId,
    incarnation: u64,
}

const META_FORMAT: u16 = 1;
const META_KEY: &[u8] = b"M";

/// What was heard of a neighbour.
#[derive(Clone, Debug)]
struct Heard {
    voter: VoterId,
    incarnation: u64,
    index: Index,
    leader: Option<VoterId>,
}

/// A node.
pub struct Node {
    config: Config,
    meta: Meta,
    rng: ChaCha8Rng,
    state: State,
    ledger: Ledger,
    liveness: Liveness,
    heard: BTreeMap<HostId, Heard>,
    proposals: Proposals,
    duties: Duties,
    alarms: Watch,
    deliveries: Deliveries,
    places: posts::Places,
    turns: OwnTurns,
    health: health::Health,
    deadlines: Deadlines<Why, Time>,
    outputs: VecDeque<Output>,
    /// What the next write holds, besides the ledger's.
    changes: Vec<Change>,
    /// Records of the journal that the next write makes durable.
    recording: Vec<DeploymentId>,
    /// And those that written ones did.
    recorded: VecDeque<(WriteId, Vec<DeploymentId>)>,
    next_write: u64,
    progress: BTreeMap<(DeploymentId, HostId), LifecycleEvent>,
    unsent_progress: Option<(DeploymentId, LifecycleEvent)>,
    /// When the last entry was folded here: the ledger's clock goes on from it.
    clock_seen: Time,
    /// The mesh's hosts, this one included.
    members: BTreeSet<HostId>,
    addresses: BTreeMap<HostId, Vec<String>>,
    voter_hosts: BTreeMap<VoterId, HostId>,
    /// Hosts that are kept connected: the members, and who still votes.
    neighbours: BTreeSet<HostId>,
    /// Of which hosts and voters the four above are.
    derived_at: Option<(Index, Index)>,
    /// What the observers say, and of which liveness that is.
    judged: (u64, BTreeMap<HostId, Judgement>),
    /// Of which state and liveness the duties are.
    duties_of: Option<(Index, u64)>,
    to_prefetch: Vec<DeploymentId>,
    wanted_at: Option<Time>,
    farewells: Vec<removal::Farewell>,
    /// This host was taken out of the mesh, and needs nobody any more.
    retired: bool,
    leaving: bool,
}

impl Node {
    /// Starts from what the store holds (empty at the first start).
    /// # Errors
    /// If the store is somebody else's, or cannot be read.
    pub fn start(config: Config, stored: BTreeMap<Vec<u8>, Vec<u8>>, now: Time) -> Result<Node, StartError> {
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        let meta = read_meta(&config, &stored, &mut rng)?;
        let restored = Restored::read(&stored).map_err(|error| StartError::Corrupt(error.to_string()))?;
        let ledger = Ledger::empty(meta.voter, config.seed, config.log_kept);
        let is_first = restored.is_none() && meta.incarnation == 1;
        let (state, ledger) = match restored {
            Some(restored) => {
                let state = State::decode(&restored.snapshot.state, restored.snapshot.index)
                    .map_err(StartError::of_snapshot)?;
                (state, ledger.restore(restored))
            }
            None if config.founds && is_first => {
                let state = State::founding();
                let genesis = *blake3::hash(&config.mesh.0).as_bytes();
                let encoded = state.encode();
                (state, ledger.found(genesis, encoded))
            }
            None => (State::default(), ledger),
        };
        let first_proposal = rng.next_u32();
        let mut node = Node {
            rng,
            state,
            ledger,
            liveness: Liveness::default(),
            heard: BTreeMap::new(),
            proposals: Proposals::new(config.host, meta.incarnation, first_proposal),
            duties: Duties::default(),
            alarms: Watch::default(),
            deliveries: Deliveries::default(),
            places: posts::Places::default(),
            turns: OwnTurns::restore(read_journal(&stored)?),
            health: health::Health::default(),
            deadlines: Deadlines::new(),
            outputs: VecDeque::new(),
            changes: vec![(META_KEY.to_vec(), Some(wire::encode(&meta)))],
            recording: Vec::new(),
            recorded: VecDeque::new(),
            next_write: 1,
            progress: BTreeMap::new(),
            unsent_progress: None,
            clock_seen: now,
            members: BTreeSet::new(),
            addresses: BTreeMap::new(),
            voter_hosts: BTreeMap::new(),
            neighbours: BTreeSet::new(),
            derived_at: None,
            judged: (0, BTreeMap::new()),
            duties_of: None,
            to_prefetch: Vec::new(),
            wanted_at: None,
            farewells: Vec::new(),
            retired: false,
            leaving: false,
            config,
            meta,
        };
        node.deadlines.set(Why::Beacon, now);
        node.settle(now);
        if node.derived_at.is_none() && !node.ledger.is_empty() {
            // The store held a snapshot and nothing after it.
            node.after_folding(now);
            node.settle(now);
        }
        Ok(node)
    }

    /// Tells the node what happened.
    pub fn handle(&mut self, input: Input, now: Time) {
        match input {
            Input::Wake => {}
            Input::Connected { host } => self.on_connected(host, now),
            Input::Disconnected { host } => self.liveness.disconnected(host, now),
            Input::Received { from, frame } => self.on_frame(from, &frame, now),
            Input::Persisted(write) => self.on_persisted(write, now),
            Input::Done { effect, outcome: Outcome::Event(result) } => {
                let (me, state) = (self.config.host, &self.state);
                let current = |deployment| crate::run::Current::of(state, deployment, me);
                let acts = self.turns.done(effect, result, current);
                self.act(acts, now);
            }
            Input::Done { effect, outcome: Outcome::Alarm(reading) } => {
                self.alarms.done(effect, reading, now);
            }
            Input::Done { effect, outcome: Outcome::Told(result) } => {
                self.deliveries.done(effect, result, now);
            }
            Input::Probed { probe, result } => self.on_probed(probe, result, now),
            Input::Request { id, request } => self.on_request(id, *request, now),
            Input::Leaving => self.on_leaving(),
        }
        self.settle(now);
    }

    /// Takes what the node asks of the world, one thing at a time.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to give it [`Input::Wake`] at the latest.
    pub fn next_wake(&self) -> Option<Time> {
        self.deadlines.next()
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

    /// Counts this host's starts.
    pub fn incarnation(&self) -> u64 {
        self.meta.incarnation
    }

    /// How it sees the mesh.
    pub fn mesh(&self) -> MeshView {
        let host_of = |voter: &VoterId| self.voter_hosts.get(voter).copied();
        MeshView {
            connected: self.liveness.connections(),
            lost: self.liveness.lost().clone(),
            voters: self.ledger.voters().voters.iter().filter_map(host_of).collect(),
            leader: self.leader().and_then(|leader| host_of(&leader)),
            suspects: self.suspects(),
            hash: self.ledger.head().1,
            newest_heard: self.heard.values().map(|heard| heard.index).max().unwrap_or(0),
        }
    }

    /// Where a host is in its turn, as far as was heard.
    pub fn progress(&self, deployment: DeploymentId, host: HostId) -> Option<LifecycleEvent> {
        self.progress.get(&(deployment, host)).copied()
    }

    /// What keeps the deployment from its next turn, this host's own doubts
    /// included.
    pub fn blockers(&self, deployment: DeploymentId) -> Vec<Blocker> {
        let Some(rollout) = self.state.rollout(deployment) else { return Vec::new() };
        if rollout.started_at.is_none() {
            return self.no_majority().into_iter().chain(self.queued_behind(rollout)).collect();
        }
        let me = self.config.host;
        let mut blockers: Vec<Blocker> = self.no_majority().into_iter().collect();
        // What the others wait for stands first.
        if let deferred @ 1.. = self.state.deferrals(deployment).count() {
            blockers.push(Blocker::Deferred { deferred: u32::try_from(deferred).unwrap_or(u32::MAX) });
        }
        let has_said_so = self.state.deferral(deployment, me).is_some();
        if rollout.may_start(me) && !has_said_so {
            blockers.extend(crate::run::start_blocker(rollout, me, &self.suspects()));
        }
        match rollout.turn() {
            Turn::Blocked(of_all) => blockers.extend(of_all),
            Turn::Of(_) | Turn::Over(_) => {}
        }
        blockers
    }

    /// Whether this host reaches too few voters for anything to be committed. One
    /// that has not heard of its mesh yet knows of none.
    pub fn no_majority(&self) -> Option<Blocker> {
        let (voters_up, voters) = self.voters_up();
        (voters > 0 && voters_up <= voters / 2).then_some(Blocker::NoMajority { voters_up, voters })
    }

    fn queued_behind(&self, rollout: &Rollout) -> Vec<Blocker> {
        let Some(group) = self.state.group(&rollout.submission.group) else { return Vec::new() };
        let is_free = group.running.is_none() && group.owes_rollback_of.is_none();
        match group.freeze_of(&rollout.submission) {
            Some(freeze) if is_free => {
                let Freeze { until, by, reason, .. } = freeze.clone();
                vec![Blocker::Frozen { until, by, reason }]
            }
            Some(_) | None => vec![Blocker::Queued { behind: group.running.or(group.catching_up) }],
        }
    }

    /// The committed entries that this node still holds, the oldest first:
    /// index, hash of the chain up to it, and the entry (none for consensus's
    /// own bookkeeping).
    pub fn entries(&self) -> Vec<(Index, [u8; 32], Option<Entry>)> {
        let (_, hash, entries) = self.ledger.held();
        chained(hash, entries)
    }

    /// Of these only those after an index, at which the chain's head is known.
    /// All of them, if the entries there are not held any more.
    pub fn entries_after(&self, after: Index, hash_there: [u8; 32]) -> Vec<(Index, [u8; 32], Option<Entry>)> {
        match self.ledger.held_after(after) {
            Some(entries) => chained(hash_there, entries),
            None => self.entries(),
        }
    }

    /// Hashes the held entries again: from where to where they match the
    /// chain's head.
    /// # Errors
    /// The index at which the chain does not match.
    pub fn verify_chain(&self) -> Result<(Index, Index), Index> {
        let (base, mut hash, entries) = self.ledger.held();
        for entry in &entries {
            hash = chain(&hash, entry);
        }
        let (head, expected) = self.ledger.head();
        if hash == expected { Ok((base + 1, head)) } else { Err(head) }
    }

    /// Whether no event runs on this host.
    pub fn is_idle(&self) -> bool {
        self.turns.is_idle()
    }

    fn on_leaving(&mut self) {
        self.leaving = true;
        self.turns.leave();
        // Somebody who is up takes over now, not after an election's wait.
        self.hand_over();
    }

    /// Lets another member lead, the one that has most of the log. Returns
    /// whether there is one.
    fn hand_over(&mut self) -> bool {
        let is_there = |voter: &VoterId| {
            let host = self.voter_hosts.get(voter).filter(|host| self.members.contains(host));
            host.is_some_and(|host| self.liveness.is_connected(*host))
        };
        let heirs = self.ledger.voters().voters.iter().copied().filter(is_there);
        let heir = heirs.max_by_key(|voter| self.ledger.matched(*voter));
        if let Some(heir) = heir {
            self.ledger.transfer(heir);
        }
        heir.is_some()
    }

    /// Who leads: known by consensus itself, or from what others say. Those who
    /// do not vote repeat what they hear, and could go on about one that does
    /// not vote any more among themselves.
    fn leader(&self) -> Option<VoterId> {
        if self.ledger.is_voting() {
            return self.ledger.leader();
        }
        let voters = self.ledger.voters();
        self.heard
            .iter()
            .filter(|(host, _)| self.liveness.is_connected(**host))
            .filter_map(|(_, heard)| heard.leader)
            .find(|leader| voters.voters.is_empty() || voters.has(*leader))
    }

    fn suspects(&self) -> BTreeSet<HostId> {
        let is_suspect = |host: &HostId, judgement: &Judgement| {
            *judgement >= Judgement::Suspect && self.state.host(*host).is_some_and(|host| host.down.is_none())
        };
        self.judged.1.iter().filter(|(host, j)| is_suspect(host, j)).map(|(host, _)| *host).collect()
    }

    /// Compared field by field: this is asked after every input.
    fn is_described_by(&self, record: &HostRecord) -> bool {
        let config = &self.config;
        record.voter == self.meta.voter
            && record.incarnation == self.meta.incarnation
            && record.name == config.name
            && record.tags == config.tags
            && record.zone == config.zone
            && record.addresses == config.addresses
    }

    fn record(&self) -> HostRecord {
        HostRecord {
            host: self.config.host,
            voter: self.meta.voter,
            name: self.config.name.clone(),
            tags: self.config.tags.clone(),
            zone: self.config.zone.clone(),
            addresses: self.config.addresses.clone(),
            incarnation: self.meta.incarnation,
            wire: self.config.wire,
        }
    }
}

fn chained(mut hash: [u8; 32], entries: Vec<LogEntry>) -> Vec<(Index, [u8; 32], Option<Entry>)> {
    let chained = entries.into_iter().map(|entry| {
        hash = chain(&hash, &entry);
        (entry.index, hash, decode_entry(&entry))
    });
    chained.collect()
}

fn decode_entry(entry: &LogEntry) -> Option<Entry> {
    match &entry.content {
        Content::Entry(bytes) => wire::decode(bytes).ok(),
        Content::Empty | Content::Voters(_) => None,
    }
}

fn read_meta(
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
    let meta: Meta = wire::decode(bytes).map_err(|_| StartError::Corrupt("record M is damaged".into()))?;
    if meta.mesh != config.mesh {
        return Err(StartError::OtherMesh { stored: meta.mesh, wanted: config.mesh });
    }
    if meta.host != config.host {
        return Err(StartError::OtherHost);
    }
    Ok(Meta { incarnation: meta.incarnation.saturating_add(1), ..meta })
}

fn journal_key(deployment: DeploymentId) -> Vec<u8> {
    let mut key = vec![b'J'];
    key.extend_from_slice(deployment.to_string().as_bytes());
    key
}

fn read_journal(stored: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Vec<Record>, StartError> {
    stored
        .iter()
        .filter(|(key, _)| key.first() == Some(&b'J'))
        .map(|(_, value)| {
            wire::decode(value).map_err(|_| StartError::Corrupt("a record J is damaged".into()))
        })
        .collect()
}

#[cfg(test)]
mod tests;
