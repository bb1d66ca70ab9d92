//! Drives raft-rs: its ticks, its randomness, and its order of sending, persisting
//! and applying. (See "Processing the Ready State" in the documentation of raft-rs.
//! The pitfalls are those that its users have reported.)

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use raft::{RawNode, SnapshotStatus, StateRole};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::log::Log;
use super::message::{RaftMessage, change_to_raft, entry_from_raft, snapshot_from_raft};
use super::records::Hard;
use super::voters::{VoterChange, Voters};
use super::{LogEntry, Snapshot};
use crate::entry::Index;
use crate::id::VoterId;

/// The time unit of consensus.
pub(crate) const TICK: Duration = Duration::from_millis(100);
/// The time between heartbeats of a leader: with [`TICK`], five in two seconds.
const HEARTBEAT_TICKS: usize = 4;
/// The shortest election timeout. A follower waits between this and twice this
/// before it stands for election.
const ELECTION_TICKS: usize = 12;
/// The most bytes of one append. By default raft-rs sends one entry per message.
const APPEND_BYTES_MAX: u64 = 64 * 1024;
/// The most appends under way to one voter.
const APPENDS_IN_FLIGHT_MAX: usize = 64;
/// The most bytes that are proposed and not yet committed. Beyond that, proposals
/// are refused.
const UNCOMMITTED_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The ticks after which a snapshot on its way counts as lost. Otherwise raft-rs
/// would wait for it forever.
const SNAPSHOT_TICKS: u32 = 20;

pub(super) struct Consensus {
    raw: RawNode<Log>,
    rng: ChaCha8Rng,
    /// The election timeout that was drawn, and the term and leader for which it
    /// was drawn.
    drawn: (usize, u64, u64),
    elapsed: usize,
    ticks: u32,
    folded: Index,
}

/// Something that raft-rs wants done.
pub(super) struct Ready {
    pub(super) number: u64,
    pub(super) entries: Vec<LogEntry>,
    pub(super) truncated: Range<Index>,
    /// The entries that a snapshot has made superfluous.
    pub(super) superseded: Range<Index>,
    pub(super) snapshot: Option<Snapshot>,
    pub(super) hard: Option<Hard>,
    /// True if the term or the vote has changed.
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
            // Use both or neither: each alone stalls in some partial network
            // partition.
            check_quorum: true,
            pre_vote: true,
            ..raft::Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&config, log, &logger).ok()?;
        // Each voter number has its own stream, so that no two voters draw the same
        // timeouts.
        let rng = ChaCha8Rng::seed_from_u64(seed ^ me.0);
        let drawn = (0, u64::MAX, u64::MAX);
        let mut consensus = Consensus { raw, rng, drawn, elapsed: 0, ticks: 0, folded: applied };
        consensus.draw_timeout();
        Some(consensus)
    }

    /// Sets the election timeout. raft-rs draws its own from the randomness of the
    /// operating system, but reads it only in `tick`. So ours replaces it before
    /// each tick.
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

    /// Returns true if everything in the log is durable. raft-rs panics if it must
    /// stand for election earlier: in any case with a snapshot that is not on disk
    /// yet, and with such entries if it is the only voter.
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
        // This is refused only in states in which another election is under way.
        let _ = self.raw.campaign();
    }

    pub(super) fn is_leader(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    /// Returns the leader, if it was heard recently. A learner never stands for
    /// election, so without this limit raft-rs would never give up its last leader.
    pub(super) fn leader(&self) -> Option<VoterId> {
        let is_heard = self.is_leader() || self.raw.raft.election_elapsed < 2 * ELECTION_TICKS;
        Some(VoterId(self.raw.raft.leader_id)).filter(|leader| leader.0 != 0 && is_heard)
    }

    /// Returns the leader of this term, even if it was heard long ago.
    pub(super) fn leads_in_term(&self) -> Option<VoterId> {
        Some(VoterId(self.raw.raft.leader_id)).filter(|leader| leader.0 != raft::INVALID_ID)
    }

    /// Returns the voters and the outgoing voters, as raft-rs counts them.
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
        // Messages that raft-rs refuses here can be ignored: they have an old term,
        // or come from an unknown peer.
        let _ = self.raw.step(message.into_raft());
    }

    /// Applies a committed change. raft-rs must come to the same voters as we do.
    pub(super) fn apply_voters(&mut self, change: &VoterChange, expected: &Voters) {
        if let Ok(state) = self.raw.apply_conf_change(&change_to_raft(change)) {
            let got: std::collections::BTreeSet<VoterId> = state.voters.iter().map(|v| VoterId(*v)).collect();
            assert_eq!(got, expected.voters, "consensus and the fold agree on who votes");
        }
        // A leader that the outgoing voters elected may still lead when they are
        // gone, although it is gone with them. raft-rs allows that, and panics at
        // the next response.
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

    /// Tells raft-rs what is folded. A snapshot is folded before it is durable, and
    /// raft-rs panics if something is applied but not durable. So raft-rs is told
    /// only when the snapshot is both folded and durable.
    fn tell_folded(&mut self) {
        let log = &self.raw.raft.raft_log;
        let index = self.folded.min(log.persisted).min(log.committed);
        if index > log.applied {
            self.raw.advance_apply_to(index);
        }
    }

    /// Returns the work to do now. The log in memory has the new entries at once,
    /// because consensus reads from there. The caller writes it, and reports that
    /// with `persisted`.
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
        // Entries between the end of the old log and the snapshot were never on
        // this host.
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
