//! How far a download is: told by whoever downloads, read by whoever waits.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// How far a download is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Far {
    /// What is downloaded, as its origin is shown.
    pub(crate) source: String,
    /// Bytes that are here.
    pub(crate) bytes: u64,
    /// Bytes of the whole; the server need not say.
    pub(crate) total: Option<u64>,
    /// What went wrong last, and when it is tried again; gone once bytes come.
    pub(crate) trouble: Option<String>,
    /// Whether it is over, well or not.
    pub(crate) is_over: bool,
}

/// Where to tell it. Only the newest is kept, so it may be told as often as it
/// changes.
#[derive(Clone, Debug)]
pub(crate) struct Progress(Arc<watch::Sender<Far>>);

impl Progress {
    /// Told to nobody.
    pub(crate) fn unheard() -> Progress {
        Progress(Arc::new(watch::Sender::default()))
    }

    /// Told to the receiver, which ends with the last copy of the first.
    pub(crate) fn heard() -> (Progress, watch::Receiver<Far>) {
        let (sender, receiver) = watch::channel(Far::default());
        (Progress(Arc::new(sender)), receiver)
    }

    pub(crate) fn tell(&self, change: impl FnOnce(&mut Far)) {
        self.0.send_modify(change);
    }
}
