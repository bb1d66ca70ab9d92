//! Records of the store.

use crate::form::v4::bodies::SignedRecovery;
use crate::form::v4::values::{LifecycleEvent, TurnOutcome};
use crate::form::written::form;
use crate::id::{DeploymentId, HostId, MeshId, VoterId};
use crate::{ledger, node, run};

form! {
    struct Voters = ledger::Voters {
        voters: Vec<VoterId>,
        outgoing: Vec<VoterId>,
        learners: Vec<VoterId>,
    }

    struct VoterChange = ledger::VoterChange {
        add: Vec<VoterId>,
        learn: Vec<VoterId>,
        remove: Vec<VoterId>,
    }

    enum Content = ledger::Content {
        Empty,
        Entry(it: Vec<u8>),
        Voters(it: VoterChange),
        Recovered(it: Box<SignedRecovery>),
    }

    struct LogEntry = ledger::LogEntry {
        index: u64,
        term: u64,
        content: Content,
    }

    struct Snapshot = ledger::Snapshot {
        index: u64,
        term: u64,
        hash: [u8; 32],
        voters: Voters,
        state: Vec<u8>,
    }

    struct Hard = ledger::Hard {
        term: u64,
        vote: u64,
        commit: u64,
    }

    struct Base = ledger::Base {
        index: u64,
        term: u64,
        hash: [u8; 32],
        voters: Voters,
    }

    struct Meta = node::Meta {
        format: u16,
        host: HostId,
        mesh: MeshId,
        voter: VoterId,
        incarnation: u64,
    }

    struct Turn = run::Record {
        deployment: DeploymentId,
        began: u64,
        done: Option<LifecycleEvent>,
        running: Option<LifecycleEvent>,
        outcome: Option<TurnOutcome>,
        attempt: u8,
        was_stopped: bool,
    }

    struct KnownRecovery = node::KnownRecovery {
        signed: SignedRecovery,
        is_followed: bool,
    }

    struct Fence = node::Fence {
        writes: u64,
        digest: u128,
    }
}
