//! raft-rs, driven: its ticks, its randomness, its order of send, persist and
//! apply. (raft-rs's own docs on "Processing the Ready State"; the traps are
//! those its users have reported.)

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use raft::{RawNode, SnapshotStatus, StateRole};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::log::Log;
use super::message::{RaftMessage, change_to_raft, entry_from_raft, snapshot_from_raft};
use super::stored::Hard;
use super::voters::{VoterChange, Voters};
use super::{LogEntry, Snapshot};
use crate::entry::Index;
use crate::id::VoterId;

/// Consensus's unit of time.
pub(crate) const TICK: Duration = Duration::from_millis(100);
/// A leader's heartbeat: with [`TICK`], five in two seconds.
const HEARTBEAT_TICKS: usize = 4;
/// A follower waits between this and twice this before it stands for election.
const ELECTION_TICKS: usize = 12;
/// Bytes of one append: raft-rs's default is one entry a message.
const APPEND_BYTES_MAX: u64 = 64 * 1024;
/// Appends under way to one voter.
const APPENDS_IN_FLIGHT_MAX: usize = 64;
/// Bytes proposed and not yet committed; beyond, proposals are refused.
const UNCOMMITTED_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Ticks after which a snapshot on its way counts as lost: raft-rs would wait
/// for it for ever.
const SNAPSHOT_TICKS: u32 = 20;

pub(super) struct Consensus {
    raw: RawNode<Log>,
    rng: ChaCha8Rng,
    /// The election timeout that was drawn, and for which term and leader.
    drawn: (usize, u64, u64),
    elapsed: usize,
    ticks: u32,
    folded: Index,
}

/// What raft-rs wants done.
pub(super) struct Ready {
    pub(super) number: u64,
    pub(super) entries: Vec<LogEntry>,
    pub(super) truncated: Range<Index>,
    /// What a snapshot made superfluous below it.
    pub(super) superseded: Range<Index>,
    pub(super) snapshot: Option<Snapshot>,
    pub(super) hard: Option<Hard>,
    /// Whether its term or its vote is another one.
    pub(super) vows: bool,
    pub(super) sync: bool,
    pub(super) messages: Vec<RaftMessage>,
    pub(super) promises: Vec<RaftMessage>,
    pub(super) committed: Vec<LogEntry>,
}

impl Consensus {
    pub(super) fn start(me: VoterId, seed: u64, applied: Index, log: Log) -> Option<Consensus> {
        let config = raft::Config {
            id: me.0,
            applied,
            election_tick: ELECTION_TICKS,
            heartbeat_tick: HEARTBEAT_TICKS,
            max_size_per_msg: APPEND_BYTES_MAX,
            max_inflight_msgs: APPENDS_IN_FLIGHT_MAX,
            max_uncommitted_size: UNCOMMITTED_BYTES_MAX,
            batch_append: true,
            // Both or neither: each alone stalls in some partial partition.
            check_quorum: true,
            pre_vote: true,
            ..raft::Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&config, log, &logger).ok()?;
        // A start of its own stream for each voter number: no two draw alike.
        let rng = ChaCha8Rng::seed_from_u64(seed ^ me.0);
        let drawn = (0, u64::MAX, u64::MAX);
        let mut consensus = Consensus { raw, rng, drawn, elapsed: 0, ticks: 0, folded: applied };
        consensus.draw_timeout();
        Some(consensus)
    }

    /// raft-rs draws its election timeout from the operating system. It reads
    /// it only in `tick`, so ours is put in its place before each.
    fn draw_timeout(&mut self) {
        let (term, leader) = (self.raw.raft.term, self.raw.raft.leader_id);
        let fired = self.raw.raft.election_elapsed < self.elapsed;
        if fired || self.drawn.1 != term || self.drawn.2 != leader {
            let ticks = self.rng.random_range(ELECTION_TICKS..2 * ELECTION_TICKS);
            self.drawn = (ticks, term, leader);
        }
        self.raw.raft.set_randomized_election_timeout(self.drawn.0);
    }

    pub(super) fn tick(&mut self) {
        self.draw_timeout();
        self.elapsed = self.raw.raft.election_elapsed;
        let campaigns = !self.is_leader() && self.elapsed + 1 >= self.drawn.0;
        if !campaigns || self.may_campaign() {
            self.raw.tick();
        }
        self.ticks += 1;
        if self.ticks.is_multiple_of(SNAPSHOT_TICKS) {
            self.retry_snapshots();
        }
    }

    /// Whether all that is in the log is durable. raft-rs panics if it is to
    /// stand for election before: with entries on their way to the disk if
    /// nobody else votes, with a snapshot in any case.
    pub(super) fn may_campaign(&self) -> bool {
        let log = &self.raw.raft.raft_log;
        log.persisted == log.last_index() && log.applied + 1 >= log.first_index()
    }

    fn retry_snapshots(&mut self) {
        let stuck: Vec<u64> = self
            .raw
            .raft
            .prs()
            .iter()
            .filter(|(_, progress)| progress.state == raft::ProgressState::Snapshot)
            .map(|(voter, _)| *voter)
            .collect();
        for voter in stuck {
            self.raw.report_snapshot(voter, SnapshotStatus::Failure);
        }
    }

    pub(super) fn campaign(&mut self) {
        // Refused only in states in which another election is under way.
        let _ = self.raw.campaign();
    }

    pub(super) fn is_leader(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    /// Who leads, if it was heard lately. A learner never stands for election,
    /// so raft-rs would believe in its last leader for ever.
    pub(super) fn leader(&self) -> Option<VoterId> {
        let is_heard = self.is_leader() || self.raw.raft.election_elapsed < 2 * ELECTION_TICKS;
        Some(VoterId(self.raw.raft.leader_id)).filter(|leader| leader.0 != 0 && is_heard)
    }

    /// Who leads in this term, however long ago it was heard.
    pub(super) fn leads_in_term(&self) -> Option<VoterId> {
        Some(VoterId(self.raw.raft.leader_id)).filter(|leader| leader.0 != raft::INVALID_ID)
    }

    /// The voters and the outgoing voters, as raft-rs counts them.
    pub(super) fn electorate(&self) -> (BTreeSet<VoterId>, BTreeSet<VoterId>) {
        let state = self.raw.raft.prs().conf().to_conf_state();
        let numbers = |voters: &[u64]| voters.iter().map(|voter| VoterId(*voter)).collect();
        (numbers(&state.voters), numbers(&state.voters_outgoing))
    }

    pub(super) fn hard_state(&self) -> Hard {
        let hard = self.raw.raft.hard_state();
        Hard { term: hard.term, vote: hard.vote, commit: hard.commit }
    }

    pub(super) fn commit(&self) -> Index {
        self.raw.raft.raft_log.committed
    }

    pub(super) fn log(&self) -> &Log {
        self.raw.store()
    }

    pub(super) fn log_mut(&mut self) -> &mut Log {
        self.raw.mut_store()
    }

    pub(super) fn propose(&mut self, bytes: Vec<u8>) -> bool {
        self.is_leader() && self.raw.propose(Vec::new(), bytes).is_ok()
    }

    pub(super) fn propose_voters(&mut self, change: &VoterChange) -> bool {
        // A second change while one is pending would become an empty entry.
        self.is_leader()
            && !self.raw.raft.has_pending_conf()
            && self.raw.propose_conf_change(Vec::new(), change_to_raft(change)).is_ok()
    }

    pub(super) fn transfer(&mut self, to: VoterId) {
        if self.is_leader() {
            self.raw.transfer_leader(to.0);
        }
    }

    pub(super) fn matched(&self, voter: VoterId) -> Option<Index> {
        self.raw.raft.prs().get(voter.0).map(|progress| progress.matched)
    }

    pub(super) fn step(&mut self, message: RaftMessage) {
        // What raft-rs refuses here it only ignores: an old term, an unknown peer.
        let _ = self.raw.step(message.into_raft());
    }

    /// Follows a committed change. Raft's own answer must be ours.
    pub(super) fn apply_voters(&mut self, change: &VoterChange, expected: &Voters) {
        if let Ok(state) = self.raw.apply_conf_change(&change_to_raft(change)) {
            let got: std::collections::BTreeSet<VoterId> = state.voters.iter().map(|v| VoterId(*v)).collect();
            assert_eq!(got, expected.voters, "consensus and the fold agree on who votes");
        }
        // Elected by the outgoing voters, it may lead when they are gone, and
        // itself with them. raft-rs lets it, and panics at the next answer.
        let raft = &mut self.raw.raft;
        if raft.state == StateRole::Leader && raft.prs().get(raft.id).is_none() {
            raft.become_follower(raft.term, raft::INVALID_ID);
        }
    }

    pub(super) fn note_folded(&mut self, index: Index) {
        self.folded = self.folded.max(index);
        self.tell_folded();
    }

    pub(super) fn persisted(&mut self, number: u64) {
        self.raw.on_persist_ready(number);
        self.tell_folded();
    }

    /// A snapshot is folded before it is durable, and raft-rs panics on what
    /// is applied and not durable: it is told when both are true.
    fn tell_folded(&mut self) {
        let log = &self.raw.raft.raft_log;
        let index = self.folded.min(log.persisted).min(log.committed);
        if index > log.applied {
            self.raw.advance_apply_to(index);
        }
    }

    /// What is to be done now. The log in memory has it at once (consensus
    /// reads from there); the caller writes it and reports that by `persisted`.
    pub(super) fn ready(&mut self) -> Option<Ready> {
        if !self.raw.has_ready() {
            return None;
        }
        let mut ready = self.raw.ready();
        let before = self.log().indexes();
        let snapshot = Some(ready.snapshot()).filter(|s| !s.is_empty()).and_then(snapshot_from_raft);
        if let Some(snapshot) = &snapshot {
            self.log_mut().reset_to(snapshot);
        }
        let entries: Vec<LogEntry> = ready.take_entries().iter().map(entry_from_raft).collect();
        for entry in &entries {
            self.log_mut().append(entry.clone());
        }
        let hard = ready.hs().map(|hs| Hard { term: hs.term, vote: hs.vote, commit: hs.commit });
        let before_it = self.log().hard();
        let vows = hard.is_some_and(|hard| (hard.term, hard.vote) != (before_it.term, before_it.vote));
        if let Some(hard) = hard {
            self.log_mut().set_hard(hard);
        }
        let convert = |messages: Vec<raft::eraftpb::Message>| {
            messages.into_iter().filter_map(RaftMessage::from_raft).collect::<Vec<_>>()
        };
        // Of what lies between the old log and the snapshot, nothing was ever here.
        let superseded = before.start..before.end.min(self.log().base().index + 1);
        let ours = Ready {
            number: ready.number(),
            truncated: self.log().last_index() + 1..before.end,
            superseded: if snapshot.is_some() { superseded } else { 0..0 },
            snapshot,
            hard,
            vows,
            sync: ready.must_sync(),
            messages: convert(ready.take_messages()),
            promises: convert(ready.take_persisted_messages()),
            committed: ready.take_committed_entries().iter().map(entry_from_raft).collect(),
            entries,
        };
        self.raw.advance_append_async(ready);
        Some(ours)
    }
}
