//! A host for tests, on which every task succeeds at once unless a test holds it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use proto::alarm::{AlarmState, Reading};
use proto::lifecycle::LifecycleEvent;
use proto::task::{Run, Task, TaskResult};
use tokio_util::sync::CancellationToken;

/// The behaviour of an agent's events, and a record of them.
#[derive(Default)]
pub(crate) struct Hands {
    pub(crate) ran: AtomicU32,
    /// While set, events do not end.
    pub(crate) held: AtomicBool,
    pub(crate) cancelled: AtomicU32,
    pub(crate) times: Mutex<Vec<(LifecycleEvent, Instant)>>,
}

impl Hands {
    pub(crate) async fn run(&self, task: Task, cancel: CancellationToken) -> TaskResult {
        match task {
            Task::RunEvent(run) => {
                self.event(*run, cancel).await;
                TaskResult::Event(Ok(()))
            }
            Task::FetchBundle { .. } => TaskResult::Fetched(Ok(())),
            Task::ReadAlarm { .. } => TaskResult::Alarm(Reading::new(AlarmState::Ok, "")),
            Task::Notify { .. } => TaskResult::Notified(Ok(())),
            Task::Probe(_) => TaskResult::Probed(Ok(())),
        }
    }

    async fn event(&self, run: Run, cancel: CancellationToken) {
        self.ran.fetch_add(1, Ordering::Relaxed);
        self.times.lock().unwrap().push((run.event, Instant::now()));
        while self.held.load(Ordering::Relaxed) {
            if cancel.is_cancelled() {
                self.cancelled.fetch_add(1, Ordering::Relaxed);
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
