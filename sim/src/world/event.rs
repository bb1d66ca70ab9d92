//! The events in the world's queue.

use std::time::Duration;

use proto::io::WriteId;
use proto::task::{ProbeTask, TaskId, TaskResult};

use super::{Asked, Fault};
use crate::host::HostNo;
use crate::network::{Boot, NetEvent};

/// An event that will happen at a known time.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Network(NetEvent),
    Wake {
        host: HostNo,
        boot: Boot,
    },
    Persisted {
        host: HostNo,
        boot: Boot,
        write: WriteId,
    },
    HookEnds {
        host: HostNo,
        boot: Boot,
        id: TaskId,
    },
    Probed {
        host: HostNo,
        boot: Boot,
        id: TaskId,
        task: Box<ProbeTask>,
        result: Result<(), String>,
    },
    /// An alarm was read, or a receiver was told.
    ErrandEnds {
        host: HostNo,
        boot: Boot,
        id: TaskId,
    },
    /// A task ends for which the world needs no bookkeeping, or one that has ended
    /// before.
    TaskEnds {
        host: HostNo,
        boot: Boot,
        id: TaskId,
        result: TaskResult,
    },
    Bootstrap {
        host: HostNo,
        boot: Boot,
    },
    Start {
        host: HostNo,
    },
    /// A stall may be over.
    Resume {
        host: HostNo,
    },
    /// An agent ends: it was told to leave, or a write failed.
    Gone {
        host: HostNo,
        boot: Boot,
        back_after: Option<Duration>,
    },
    /// A host that was removed from the mesh is switched off for good.
    Off {
        host: HostNo,
    },
    Fault(Fault),
    Wish {
        asked: Box<Asked>,
        tries: u32,
    },
}

impl Event {
    /// Returns the host whose loop must run to handle the event; None if no host's
    /// loop needs to run.
    pub(super) fn addressee(&self) -> Option<HostNo> {
        match self {
            Event::Wake { host, .. }
            | Event::Persisted { host, .. }
            | Event::HookEnds { host, .. }
            | Event::Probed { host, .. }
            | Event::ErrandEnds { host, .. }
            | Event::TaskEnds { host, .. }
            | Event::Bootstrap { host, .. } => Some(*host),
            Event::Network(NetEvent::Frame { to, .. }) => Some(*to),
            Event::Network(NetEvent::Up { end, .. }) => Some(end.host),
            Event::Network(NetEvent::Lost { host, .. }) => Some(*host),
            Event::Network(NetEvent::Dial { .. } | NetEvent::Idle { .. })
            | Event::Start { .. }
            | Event::Resume { .. }
            | Event::Gone { .. }
            | Event::Off { .. }
            | Event::Fault(_)
            | Event::Wish { .. } => None,
        }
    }
}
