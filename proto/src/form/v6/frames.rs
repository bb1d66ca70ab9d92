//! What hosts send to each other.

use crate::form::v4::bodies::SignedRecovery;
use crate::form::v4::frames::{Beacon, ProgressEvent, RaftMessage};
use crate::form::v4::records::{LogEntry, Snapshot};
use crate::form::v4::values::ProposalId;
use crate::form::v6::bodies::Body;
use crate::form::written::form;
use crate::id::{GroupName, HostId};
use crate::io::ProbeId;
use crate::wire;

form! {
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
        // New kinds of version 6 follow here.
    }
}
