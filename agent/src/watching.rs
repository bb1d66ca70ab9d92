//! The agent's log messages about the mesh, for the person on call.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::entry::HostRecord;
use proto::io::Notice;
use proto::statement::{Intent, Report, Statement};
use proto::time::LedgerTime;
use tokio::sync::broadcast::error::RecvError;

use crate::command::NodeHandle;
use crate::join;
use crate::telemetry::naming;

/// The interval at which all hosts' names are read: the longest time until a host
/// that came with a snapshot is named.
const NAMES_READ_EVERY: Duration = Duration::from_secs(60);

/// Logs what happens until the node's loop ends. Entries that were committed
/// before `started` were logged then, by this host's agent or by other hosts.
pub(crate) async fn log_notices(node: NodeHandle, started: LedgerTime, data_dir: PathBuf) {
    let mut notices = node.watch();
    let mut names_due = tokio::time::interval(NAMES_READ_EVERY);
    let mut is_noted = false;
    loop {
        let notice = tokio::select! {
            notice = notices.recv() => notice,
            _ = names_due.tick() => {
                read_names(&node).await;
                // Timers and snapshots also take out hosts.
                is_noted = is_noted || note_removal(&node, &data_dir).await;
                continue;
            }
        };
        match notice {
            Ok(Notice::Folded { index, at, statement }) => {
                if let Statement::Report(Report::HostJoined(record)) = &*statement {
                    joined(&node, record, at < started).await;
                } else {
                    log_watches(&statement, at < started);
                }
                // A host that joins may take the place of this one.
                if let Statement::Report(Report::HostJoined(_)) | Statement::Intent(Intent::RemoveHost(_)) =
                    &*statement
                {
                    is_noted = is_noted || note_removal(&node, &data_dir).await;
                }
                tracing::debug!(index, ?statement, "folded");
            }
            Ok(Notice::Diverged { with, index }) => {
                tracing::error!(%with, index, "ledgers differ: trust neither host before this is understood");
            }
            Ok(Notice::Progress(_)) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

async fn read_names(node: &NodeHandle) {
    let names = node.read(|node| {
        let hosts = node.state().hosts().values();
        hosts.map(|host| (host.record.host, host.record.name.clone())).collect::<Vec<_>>()
    });
    naming::know(names.await.unwrap_or_default());
}

/// Records the host's name, and warns if another host has the same name.
async fn joined(node: &NodeHandle, record: &HostRecord, is_old: bool) {
    naming::know([(record.host, record.name.clone())]);
    let (host, name) = (record.host, record.name.clone());
    let look = node.read(move |node| {
        let hosts = node.state().hosts().values();
        let namesakes = hosts.filter(|other| other.record.name == name && other.record.host != host).count();
        (host == node.host(), namesakes)
    });
    let Ok((is_own, namesakes)) = look.await else { return };
    if is_own {
        // The earlier hosts may have come with a snapshot, and not entry by entry.
        read_names(node).await;
    }
    if namesakes > 0 && !is_old {
        tracing::warn!(
            %host,
            name = record.name,
            others = namesakes,
            "a host joined whose name others have already: commands take its id; `skein mesh remove` takes out one \
             that is gone"
        );
    }
}

/// Records the removal in the data directory, so that a person who lets this host join again
/// sees why it is refused. Returns true if this host was taken out.
async fn note_removal(node: &NodeHandle, data_dir: &Path) -> bool {
    let removed = node.read(|node| node.removed().map(|_| node.config().mesh)).await;
    let Ok(Some(mesh)) = removed else { return false };
    tracing::warn!("this host was taken out of the mesh");
    if let Err(error) = join::note_removed(data_dir, mesh) {
        tracing::warn!(%error, "that this host was taken out of the mesh is not noted");
    }
    true
}

/// Logs what may need attention, on every host: the one that found it may be gone by then.
fn log_watches(statement: &Statement, is_old: bool) {
    if let Statement::Report(Report::AlarmRead { group, deployment, alarm, state, detail }) = statement {
        let state = state.name();
        match is_old {
            false => tracing::info!(%group, %deployment, alarm, state, detail, "alarm read"),
            true => tracing::debug!(%group, %deployment, alarm, state, detail, "alarm was read"),
        }
    }
    if let Statement::Report(Report::TriggersDelivered { group, trigger, given_up, .. }) = statement {
        for gone in given_up.iter().filter(|_| !is_old) {
            let (event, deployment) = (gone.event.name(), gone.deployment);
            tracing::warn!(%group, trigger, event, %deployment, id = gone.id, cause = gone.why, "trigger given up");
        }
    }
}
