//! The progress of a download, between the task that downloads and the one that waits.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// The progress of a download.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Far {
    /// The source, as its origin is displayed.
    pub(crate) source: String,
    /// The number of bytes received.
    pub(crate) bytes: u64,
    /// The total number of bytes; `None` if the server does not say.
    pub(crate) total: Option<u64>,
    /// The last problem, and when the next try starts; `None` again once bytes arrive.
    pub(crate) trouble: Option<String>,
    /// True once the download has ended, successfully or not.
    pub(crate) is_over: bool,
}

/// The sender of the progress. Only the newest value is kept, so it may be
/// updated as often as it changes.
#[derive(Clone, Debug)]
pub(crate) struct Progress(Arc<watch::Sender<Far>>);

impl Progress {
    /// Creates a progress without a reader.
    pub(crate) fn unheard() -> Progress {
        Progress(Arc::new(watch::Sender::default()))
    }

    /// Creates a progress and its receiver, which ends with the last copy of the sender.
    pub(crate) fn heard() -> (Progress, watch::Receiver<Far>) {
        let (sender, receiver) = watch::channel(Far::default());
        (Progress(Arc::new(sender)), receiver)
    }

    pub(crate) fn tell(&self, change: impl FnOnce(&mut Far)) {
        self.0.send_modify(change);
    }
}
