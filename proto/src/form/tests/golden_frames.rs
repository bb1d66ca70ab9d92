//! Frames, one for each kind of message, and what is published.

use super::samples::{at, deployment, group_name, host, proposal, signed_recovery, submission};
use super::{Golden, check, golden};
use crate::entry::Body;
use crate::form::Version;
use crate::id::{MeshId, VoterId};
use crate::io::ProbeId;
use crate::ledger::{Content, Kind, LogEntry, RaftMessage, Snapshot, VoterChange, Voters};
use crate::lifecycle::LifecycleEvent;
use crate::recovery::History;
use crate::wire::{Beacon, Gossip, Message, ProgressEvent, frame, gossip, unframe, ungossip};

const MESH: MeshId = MeshId([3; 16]);
const HISTORY: History = History { epoch: 1, id: 258 };

pub(super) fn voters() -> Voters {
    let set = |numbers: &[u64]| numbers.iter().map(|number| VoterId(*number)).collect();
    Voters { voters: set(&[1, 2, 300]), outgoing: set(&[1, 2]), learners: set(&[4]) }
}

pub(super) fn snapshot() -> Snapshot {
    Snapshot { index: 5, term: 2, hash: [6; 32], voters: voters(), state: vec![255, 0, 3, 1] }
}

/// Log entries with each kind of content.
pub(super) fn log_entries() -> Vec<Golden<Content>> {
    let numbers = |numbers: &[u64]| numbers.iter().map(|number| VoterId(*number)).collect();
    golden!(Content {
        "v4/golden/record/log-entry-empty", Content::Empty => Content::Empty;
        "v4/golden/record/log-entry", Content::Entry(_) => Content::Entry(vec![0, 4, 200, 1]);
        "v4/golden/record/log-entry-voters", Content::Voters(_) => Content::Voters(VoterChange {
            add: numbers(&[7, 300]),
            learn: numbers(&[8]),
            remove: numbers(&[9]),
        });
        "v4/golden/record/log-entry-recovered", Content::Recovered(_) => Content::Recovered(Box::new(signed_recovery()));
    })
}

fn entries() -> Vec<LogEntry> {
    let contents = log_entries().into_iter().map(|golden| golden.value);
    (8..).zip(contents).map(|(index, content)| LogEntry { index, term: 3, content }).collect()
}

fn raft() -> RaftMessage {
    RaftMessage {
        kind: Kind::Append,
        to: VoterId(1),
        from: VoterId(2),
        term: 3,
        log_term: 4,
        index: 5,
        entries: entries(),
        commit: 6,
        commit_term: 7,
        snapshot: Some(snapshot()),
        request_snapshot: 8,
        reject: true,
        reject_hint: 9,
        context: vec![10, 11],
    }
}

fn progress() -> ProgressEvent {
    ProgressEvent { deployment: deployment(1), host: host(1), event: LifecycleEvent::BeforeInstall }
}

#[test]
fn frames_of_version_4_are_read_and_written() {
    let all = golden!(Message {
        "v4/golden/frame/beacon", Message::Beacon(_) => Message::Beacon(Beacon {
            incarnation: 1,
            index: 300,
            hash: [2; 32],
            leader: Some(VoterId(3)),
            checkpoint: Some((256, [4; 32])),
            lost: vec![host(5)],
            wall: at(1_700_000_000_000),
            clock: Some(at(1_700_000_000_001)),
            last: (6, 301),
        });
        "v4/golden/frame/raft", Message::Raft(_) => Message::Raft(Box::new(raft()));
        "v4/golden/frame/propose", Message::Propose { .. } => Message::Propose {
            id: proposal(),
            statement: Box::new(Body::Submitted(Box::new(submission(1))).into()),
            forwarded: true,
        };
        "v4/golden/frame/want", Message::Want { .. } => Message::Want { after: 300 };
        "v4/golden/frame/committed", Message::Committed(_) => Message::Committed(entries());
        "v4/golden/frame/snapshot", Message::Snapshot(_) => Message::Snapshot(Box::new(snapshot()));
        "v4/golden/frame/progress", Message::Progress(_) => Message::Progress(progress());
        "v4/golden/frame/look", Message::Look { .. } => Message::Look { group: group_name(), number: ProbeId(300) };
        "v4/golden/frame/seen", Message::Seen { .. } => Message::Seen {
            group: group_name(),
            number: ProbeId(300),
            error: Some("refused".into()),
        };
        "v4/golden/frame/confirm", Message::Confirm { .. } => Message::Confirm { index: 300 };
        "v4/golden/frame/confirmed", Message::Confirmed { .. } => Message::Confirmed { index: 300, seal: [1; 32] };
        "v4/golden/frame/where-are", Message::WhereAre(_) => Message::WhereAre(vec![host(1), host(2)]);
        "v4/golden/frame/places", Message::Places(_) => Message::Places(vec![(host(1), vec!["/ip4/1.2.3.4/tcp/5".into()])]);
        "v4/golden/frame/recoveries", Message::Recoveries(_) => Message::Recoveries(vec![signed_recovery()]);
    });
    let read = |bytes: &[u8]| {
        unframe(MESH, bytes, Version::NEWEST).map(|(history, message)| {
            assert_eq!(history, HISTORY);
            message
        })
    };
    check(&all, |message| frame(MESH, HISTORY, message), read);
}

#[test]
fn gossip_of_version_4_is_read_and_written() {
    let all = golden!(Gossip {
        "v4/golden/frame/gossip-progress", Gossip::Progress(_) => Gossip::Progress(progress());
    });
    check(
        &all,
        |it: &Gossip| gossip(MESH, HISTORY, it),
        |bytes| ungossip(MESH, bytes, Version::NEWEST).map(|(_, it)| it),
    );
}
