//! The pipes that a script writes to, as long as any process may still write.

use std::os::fd::OwnedFd;
use std::time::Duration;

use futures::future::join_all;
use tokio::net::unix::pipe::Receiver;
use tokio::process::Child;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::keeper::{self, Logs};
use super::output::Output;

/// The reading ends of both pipes. Unless they were read to their end, they are
/// handed over on drop, however that comes about.
pub(super) struct Pipes {
    ends: Option<[OwnedFd; 2]>,
    logs: Logs,
    readers: Vec<JoinHandle<()>>,
    /// Tells the readers to leave the rest to another process.
    leave: CancellationToken,
}

impl Pipes {
    /// Starts to read a script's output. Without free descriptors, it is read
    /// only as long as this process lives.
    pub(super) fn follow(child: &mut Child, logs: Logs, output: &Output) -> Pipes {
        let stdout = child.stdout.take().and_then(|stream| stream.into_owned_fd().ok());
        let stderr = child.stderr.take().and_then(|stream| stream.into_owned_fd().ok());
        let clones = (stdout.as_ref(), stderr.as_ref());
        let clones =
            clones.0.and_then(|end| end.try_clone().ok()).zip(clones.1.and_then(|end| end.try_clone().ok()));
        let leave = CancellationToken::new();
        let streams = [("stdout", stdout), ("stderr", stderr)].into_iter();
        let streams = streams.filter_map(|(name, end)| Some((name, Receiver::from_owned_fd(end?).ok()?)));
        let readers = streams
            .map(|(name, stream)| tokio::spawn(output.clone().follow(name, stream, leave.clone())))
            .collect();
        Pipes { ends: clones.map(|(stdout, stderr)| [stdout, stderr]), logs, readers, leave }
    }

    /// Waits for both to end; returns true if they did. `hurry` ends the wait.
    pub(super) async fn drained(&mut self, patience: Duration, hurry: &CancellationToken) -> bool {
        let all = async {
            for reader in self.readers.iter_mut().filter(|reader| !reader.is_finished()) {
                // A reader that panicked has ended too.
                let _ = reader.await;
            }
        };
        let drained = tokio::select! {
            drained = timeout(patience, all) => drained.is_ok(),
            () = hurry.cancelled() => false,
        };
        if drained {
            self.ends = None;
        }
        drained
    }

    /// Leaves later output to a process that outlives this one, and waits for it. Returns true
    /// if it has read to the end. `hurry` ends the wait.
    pub(super) async fn hand_over(mut self, patience: Duration, hurry: &CancellationToken) -> bool {
        if !keeper::is_there() {
            return self.drained(patience, hurry).await;
        }
        self.leave.cancel();
        let _ = timeout(LEFT_WITHIN, join_all(std::mem::take(&mut self.readers))).await;
        let Some(keeper) = self.give_away() else { return false };
        tokio::select! {
            ended = timeout(patience, keeper::ended(keeper)) => ended.is_ok(),
            () = hurry.cancelled() => false,
        }
    }

    /// Starts the process that reads on, unless all was read.
    fn give_away(&mut self) -> Option<u32> {
        let ends = self.ends.take().filter(|_| keeper::is_there())?;
        self.leave.cancel();
        let given = keeper::hand_over(ends, &self.logs);
        given
            .inspect_err(|error| {
                let log = self.logs.log.display();
                tracing::error!(%log, %error, "cannot leave a service's output to another process");
            })
            .ok()
    }
}

/// The time for a reader to stop. It stops at once, unless the disk that it logs to hangs.
const LEFT_WITHIN: Duration = Duration::from_secs(5);

impl Drop for Pipes {
    fn drop(&mut self) {
        self.give_away();
    }
}
