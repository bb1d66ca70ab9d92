//! The mark in the data directory of a host that begins its mesh's ledger.

use std::path::PathBuf;

use tokio::sync::broadcast::error::RecvError;

use crate::command::NodeHandle;

/// Removes the founding mark once something is committed. A host begins its mesh's ledger only
/// once: if its store is lost later, the mark must not make it begin another ledger.
pub(crate) async fn forget(node: NodeHandle, mark: PathBuf) {
    let mut notices = node.watch();
    while node.read(|node| node.state().index() <= 1).await == Ok(true) {
        // A missed notice serves as well as one that arrived: something has happened.
        if let Err(RecvError::Closed) = notices.recv().await {
            return;
        }
    }
    match std::fs::remove_file(&mark) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(mark = %mark.display(), %cause, "the founding mark stays: remove it by hand");
        }
        Ok(()) | Err(_) => {}
    }
}
