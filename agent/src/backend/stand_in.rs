//! A double for tests of the API, with no bundles, no logs and no other hosts.

use std::time::Duration;

use futures::StreamExt as _;
use proto::id::Digest;
use proto::revision::Revision;

use super::{BackendError, BackendErrorKind, Brought, LogPage, LogRequest};
use crate::api::TOLD_EVERY;
use crate::bundle::transfer_progress::Progress;
use crate::bundle::upload::Upload;

pub(crate) enum StandIn {
    /// Takes uploads, and finds no AppSpec file in what it fetches.
    Takes,
    /// May only be asked questions.
    Answers,
}

impl StandIn {
    pub(super) async fn bring(&self, source: &str, progress: &Progress) -> Result<Brought, BackendError> {
        assert!(matches!(self, StandIn::Takes), "no bundle may be fetched");
        progress.tell(|far| far.bytes = 7);
        // Lasts as long as a client may want to hear of the progress.
        tokio::time::sleep(if source == "s3://b/slow" { 2 * TOLD_EVERY } else { Duration::ZERO }).await;
        let message = format!("{source} holds no appspec.yml");
        let is_unfit = source == "s3://b/unfit";
        let kind = if is_unfit { BackendErrorKind::Unfit } else { BackendErrorKind::Invalid };
        Err(BackendError { kind, message })
    }

    /// Counts the bytes received; does not even read a bundle that is announced as too large.
    pub(super) async fn take(&self, mut upload: Upload) -> Result<Brought, BackendError> {
        assert!(matches!(self, StandIn::Takes), "no bundle may be sent");
        let invalid = |message: String| BackendError { kind: BackendErrorKind::Invalid, message };
        if upload.total.is_some_and(|total| total > 1_000_000) {
            return Err(invalid("too large".into()));
        }
        let mut size = 0;
        while let Some(piece) = upload.bytes.next().await {
            size += piece.map_err(|error| invalid(format!("cut: {error}")))?.len() as u64;
        }
        Ok(Revision { digest: Digest([9; 32]), size, origin: upload.origin }.into())
    }

    pub(super) fn logs(&self, request: LogRequest) -> LogPage {
        assert!(matches!(self, StandIn::Takes), "no log may be read");
        LogPage { text: String::new(), next: request.from }
    }
}
