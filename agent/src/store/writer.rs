//! The only thread that writes to the store, in order.

use std::thread;

use proto::io::{Write, WriteId};
use tokio::sync::mpsc;

use super::{Store, StoreError};
use crate::ballast::Ballast;

/// The number of writes that wait for the disk. A node has a few in progress. Beyond this number, the
/// disk is slower than the mesh, and the agent takes no further input until the disk has caught up.
const QUEUE_MAX: usize = 1_024;

/// The result of a write. The first error is also the last result: writes after a
/// lost one must not be written.
pub(crate) type Done = Result<WriteId, StoreError>;

/// Hands writes to the thread.
pub(crate) struct Writer {
    queue: mpsc::Sender<Write>,
}

impl Writer {
    /// Starts the thread. When the writer is dropped, the thread writes the rest
    /// and ends; the receiver then yields `None`.
    pub(crate) fn start(store: Store, ballast: Ballast) -> (Self, mpsc::Receiver<Done>) {
        let (queue, writes) = mpsc::channel(QUEUE_MAX);
        // Room for a whole queue, so that the thread does not wait for the loop
        // while the loop waits for room in the queue.
        let (done, reports) = mpsc::channel(2 * QUEUE_MAX);
        thread::Builder::new()
            .name("store".into())
            .spawn(move || run(store, writes, &done, &ballast))
            .expect("a thread can be started at the agent's start");
        (Writer { queue }, reports)
    }

    /// Queues the write without waiting; returns it if the queue is full.
    pub(crate) fn write(&self, write: Write) -> Result<(), Write> {
        match self.queue.try_send(write) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(write)) => Err(write),
            // The thread ends early only after it has reported an error, which ends the agent.
            Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }
}

fn run(mut store: Store, mut writes: mpsc::Receiver<Write>, done: &mpsc::Sender<Done>, ballast: &Ballast) {
    let mut group = Vec::new();
    while writes.blocking_recv_many(&mut group, QUEUE_MAX) > 0 {
        // Once sled has met a full disk, it takes no further write.
        ballast.make_room();
        let written = write_group(&mut store, &group).map_err(|cause| store.write_error(cause));
        let failed = written.is_err();
        let reports = match written {
            Ok(()) => group.drain(..).map(|write| Ok(write.id)).collect(),
            Err(error) => vec![Err(error)],
        };
        for report in reports {
            // The receiver is gone if the agent is ending.
            let _ = done.blocking_send(report);
        }
        if failed {
            return;
        }
    }
    if let Err(cause) = store.sync() {
        let _ = done.blocking_send(Err(store.write_error(cause)));
    }
}

/// Writes all waiting writes with one sync.
fn write_group(store: &mut Store, group: &[Write]) -> Result<(), sled::Error> {
    for write in group {
        store.apply(write)?;
    }
    if group.iter().any(|write| write.sync) {
        store.sync()?;
    }
    Ok(())
}
