//! What hosts send to each other.

use crate::form::v4::bodies::{Body, SignedRecovery};
use crate::form::v4::records::{LogEntry, Snapshot};
use crate::form::v4::values::{LifecycleEvent, ProposalId};
use crate::form::written::form;
use crate::id::{DeploymentId, GroupName, HostId, VoterId};
use crate::io::ProbeId;
use crate::time::LedgerTime;
use crate::{ledger, wire};

form! {
    enum Kind = ledger::Kind {
        Append,
        AppendResponse,
        RequestVote,
        RequestVoteResponse,
        RequestPreVote,
        RequestPreVoteResponse,
        Heartbeat,
        HeartbeatResponse,
        Snapshot,
        TimeoutNow,
    }

    struct RaftMessage = ledger::RaftMessage {
        kind: Kind,
        to: VoterId,
        from: VoterId,
        term: u64,
        log_term: u64,
        index: u64,
        entries: Vec<LogEntry>,
        commit: u64,
        commit_term: u64,
        snapshot: Option<Snapshot>,
        request_snapshot: u64,
        reject: bool,
        reject_hint: u64,
        context: Vec<u8>,
    }

    struct Beacon = wire::Beacon {
        incarnation: u64,
        index: u64,
        hash: [u8; 32],
        leader: Option<VoterId>,
        checkpoint: Option<(u64, [u8; 32])>,
        lost: Vec<HostId>,
        wall: LedgerTime,
        clock: Option<LedgerTime>,
        last: (u64, u64),
    }

    struct ProgressEvent = wire::ProgressEvent {
        deployment: DeploymentId,
        host: HostId,
        event: LifecycleEvent,
    }

    enum Message = wire::Message {
        Beacon(it: Beacon),
        Raft(it: Box<RaftMessage>),
        Propose { id: ProposalId, statement: Box<Body>, forwarded: bool },
        Want { after: u64 },
        Committed(it: Vec<LogEntry>),
        Snapshot(it: Box<Snapshot>),
        Progress(it: ProgressEvent),
        Look { group: GroupName, number: ProbeId },
        Seen { group: GroupName, number: ProbeId, error: Option<String> },
        Confirm { index: u64 },
        Confirmed { index: u64, seal: [u8; 32] },
        WhereAre(it: Vec<HostId>),
        Places(it: Vec<(HostId, Vec<String>)>),
        Recoveries(it: Vec<SignedRecovery>),
    }

    enum Gossip = wire::Gossip {
        Progress(it: ProgressEvent),
    }
}
