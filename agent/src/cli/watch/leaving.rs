//! Handles a signal that ends the command: tells the user that the deployment continues.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::Exit;
use crate::view::DeploymentView;

/// Listens from now on for Ctrl-C and SIGTERM. Returns the exit code for the signal that arrives.
pub(super) fn told() -> impl Future<Output = Exit> {
    let interrupted = listen(SignalKind::interrupt());
    let terminated = listen(SignalKind::terminate());
    async {
        tokio::select! {
            () = comes(interrupted) => Exit::Interrupted,
            () = comes(terminated) => Exit::Terminated,
        }
    }
}

/// Returns `None` if it cannot listen: the signal then ends the process as usual.
fn listen(kind: SignalKind) -> Option<Signal> {
    signal(kind).ok()
}

async fn comes(signals: Option<Signal>) {
    match signals {
        Some(mut signals) => drop(signals.recv().await),
        None => std::future::pending().await,
    }
}

/// Describes what continues, and the commands for it.
pub(super) fn words(shown: &DeploymentView) -> String {
    let id = &shown.id;
    if shown.is_over() {
        return format!("{id} is {}; skein explain {id} shows what becomes of it", shown.status);
    }
    format!("{id} goes on without you: skein status {id} --watch shows it, skein stop {id} stops it")
}
