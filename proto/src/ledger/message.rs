//! Consensus's messages as our own types, and the conversion to raft-rs's types and
//! back.
//!
//! Only this file and its neighbours know raft-rs. Protobuf is never parsed from
//! the network: bytes are decoded into our own types, and raft-rs's types are built
//! from those.
#![expect(clippy::field_reassign_with_default, reason = "generated types, read as a list of fields")]

use protobuf::Message as _;
use raft::eraftpb::{self, ConfChangeTransition, ConfChangeType, EntryType, MessageType};

use super::{Content, LogEntry, Snapshot, VoterChange, Voters};
use crate::form::{Version, Versioned as _};
use crate::id::VoterId;
use crate::recovery::SignedRecovery;

/// The longest [`RaftMessage::context`], in bytes. raft-rs writes at most 16 of
/// them.
pub(super) const CONTEXT_MAX: usize = 64;

/// Marks an entry of raft-rs's that is a recovery.
const RECOVERED: &[u8] = b"recovered";

/// The kinds of message that may come from the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
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

/// One message from a voter to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RaftMessage {
    pub(crate) kind: Kind,
    pub(crate) to: VoterId,
    pub(crate) from: VoterId,
    pub(crate) term: u64,
    pub(crate) log_term: u64,
    pub(crate) index: u64,
    pub(crate) entries: Vec<LogEntry>,
    pub(crate) commit: u64,
    pub(crate) commit_term: u64,
    pub(crate) snapshot: Option<Snapshot>,
    pub(crate) request_snapshot: u64,
    pub(crate) reject: bool,
    pub(crate) reject_hint: u64,
    pub(crate) context: Vec<u8>,
}

impl Kind {
    const ALL: [(Kind, MessageType); 10] = [
        (Kind::Append, MessageType::MsgAppend),
        (Kind::AppendResponse, MessageType::MsgAppendResponse),
        (Kind::RequestVote, MessageType::MsgRequestVote),
        (Kind::RequestVoteResponse, MessageType::MsgRequestVoteResponse),
        (Kind::RequestPreVote, MessageType::MsgRequestPreVote),
        (Kind::RequestPreVoteResponse, MessageType::MsgRequestPreVoteResponse),
        (Kind::Heartbeat, MessageType::MsgHeartbeat),
        (Kind::HeartbeatResponse, MessageType::MsgHeartbeatResponse),
        (Kind::Snapshot, MessageType::MsgSnapshot),
        (Kind::TimeoutNow, MessageType::MsgTimeoutNow),
    ];

    fn to_raft(self) -> MessageType {
        Kind::ALL[self as usize].1
    }

    fn from_raft(kind: MessageType) -> Option<Kind> {
        Kind::ALL.iter().find(|(_, raft)| *raft == kind).map(|(ours, _)| *ours)
    }
}

impl RaftMessage {
    /// Converts a message; `None` if raft-rs means it for its own node.
    pub(super) fn from_raft(message: eraftpb::Message) -> Option<RaftMessage> {
        let snapshot = message.snapshot.as_ref().filter(|snapshot| !snapshot.is_empty());
        Some(RaftMessage {
            kind: Kind::from_raft(message.msg_type)?,
            to: VoterId(message.to),
            from: VoterId(message.from),
            term: message.term,
            log_term: message.log_term,
            index: message.index,
            entries: message.entries.iter().map(entry_from_raft).collect(),
            commit: message.commit,
            commit_term: message.commit_term,
            snapshot: snapshot.and_then(snapshot_from_raft),
            request_snapshot: message.request_snapshot,
            reject: message.reject,
            reject_hint: message.reject_hint,
            context: message.context.to_vec(),
        })
    }

    pub(super) fn into_raft(self) -> eraftpb::Message {
        let mut message = eraftpb::Message::default();
        message.msg_type = self.kind.to_raft();
        message.to = self.to.0;
        message.from = self.from.0;
        message.term = self.term;
        message.log_term = self.log_term;
        message.index = self.index;
        message.entries = self.entries.iter().map(entry_to_raft).collect();
        message.commit = self.commit;
        message.commit_term = self.commit_term;
        message.snapshot = self.snapshot.as_ref().map(snapshot_to_raft).into();
        message.request_snapshot = self.request_snapshot;
        message.reject = self.reject;
        message.reject_hint = self.reject_hint;
        message.context = self.context.into();
        message
    }
}

pub(super) fn entry_to_raft(entry: &LogEntry) -> eraftpb::Entry {
    let mut raft = eraftpb::Entry::default();
    raft.index = entry.index;
    raft.term = entry.term;
    match &entry.content {
        Content::Empty => {}
        Content::Entry(bytes) => raft.data = bytes.clone().into(),
        Content::Voters(change) => {
            raft.entry_type = EntryType::EntryConfChangeV2;
            raft.data = change_to_raft(change).write_to_bytes().unwrap_or_default().into();
        }
        Content::Recovered(signed) => {
            raft.context = RECOVERED.to_vec().into();
            raft.data = signed.to_form(Version::NEWEST).into();
        }
    }
    raft
}

pub(super) fn entry_from_raft(entry: &eraftpb::Entry) -> LogEntry {
    let content = match entry.entry_type {
        EntryType::EntryNormal if entry.data.is_empty() => Content::Empty,
        // Only ever bytes that `entry_to_raft` wrote in this process.
        EntryType::EntryNormal if &*entry.context == RECOVERED => {
            let signed = SignedRecovery::from_form(&entry.data, Version::NEWEST);
            signed.map_or(Content::Empty, |signed| Content::Recovered(Box::new(signed)))
        }
        EntryType::EntryNormal => Content::Entry(entry.data.to_vec()),
        // Only raft-rs or `entry_to_raft` in this process has written these bytes.
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
            let mut change = eraftpb::ConfChangeV2::default();
            match change.merge_from_bytes(&entry.data) {
                Ok(()) => Content::Voters(change_from_raft(&change)),
                Err(_) => Content::Empty,
            }
        }
    };
    LogEntry { index: entry.index, term: entry.term, content }
}

pub(super) fn change_to_raft(change: &VoterChange) -> eraftpb::ConfChangeV2 {
    let mut raft = eraftpb::ConfChangeV2::default();
    let kinds = [
        (&change.add, ConfChangeType::AddNode),
        (&change.learn, ConfChangeType::AddLearnerNode),
        (&change.remove, ConfChangeType::RemoveNode),
    ];
    for (voters, kind) in kinds {
        for voter in voters {
            let mut single = eraftpb::ConfChangeSingle::default();
            single.change_type = kind;
            single.node_id = voter.0;
            raft.changes.push(single);
        }
    }
    raft.transition = ConfChangeTransition::Auto;
    raft
}

fn change_from_raft(raft: &eraftpb::ConfChangeV2) -> VoterChange {
    let mut change = VoterChange::default();
    for single in raft.changes.iter() {
        let voters = match single.change_type {
            ConfChangeType::AddNode => &mut change.add,
            ConfChangeType::AddLearnerNode => &mut change.learn,
            ConfChangeType::RemoveNode => &mut change.remove,
        };
        voters.push(VoterId(single.node_id));
    }
    change
}

pub(super) fn conf_state(voters: &Voters) -> eraftpb::ConfState {
    let numbers = |voters: &std::collections::BTreeSet<VoterId>| voters.iter().map(|voter| voter.0).collect();
    let mut state = eraftpb::ConfState::default();
    state.voters = numbers(&voters.voters);
    state.voters_outgoing = numbers(&voters.outgoing);
    state.learners = numbers(&voters.learners);
    state.auto_leave = !voters.outgoing.is_empty();
    state
}

pub(super) fn snapshot_to_raft(snapshot: &Snapshot) -> eraftpb::Snapshot {
    let mut metadata = eraftpb::SnapshotMetadata::default();
    metadata.index = snapshot.index;
    metadata.term = snapshot.term;
    metadata.conf_state = Some(conf_state(&snapshot.voters)).into();
    let mut raft = eraftpb::Snapshot::default();
    raft.metadata = Some(metadata).into();
    // The data holds our whole snapshot: raft-rs carries it, and never looks
    // inside.
    raft.data = snapshot.to_form(Version::NEWEST).into();
    raft
}

pub(super) fn snapshot_from_raft(raft: &eraftpb::Snapshot) -> Option<Snapshot> {
    Snapshot::from_form(&raft.data, Version::NEWEST).ok()
}
