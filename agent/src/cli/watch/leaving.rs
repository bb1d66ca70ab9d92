//! Who is told to leave by a signal: the deployment goes on, and they are told
//! so.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::Exit;
use crate::view::DeploymentView;

/// Listens from now on for Ctrl-C and SIGTERM. The answer is the exit code that
/// says which came.
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

/// None if it cannot: then the signal ends us as it ends everybody.
fn listen(kind: SignalKind) -> Option<Signal> {
    signal(kind).ok()
}

async fn comes(signals: Option<Signal>) {
    match signals {
        Some(mut signals) => drop(signals.recv().await),
        None => std::future::pending().await,
    }
}

/// What goes on without them, and the commands for it.
pub(super) fn words(shown: &DeploymentView) -> String {
    let id = &shown.id;
    if shown.is_over() {
        return format!("{id} is {}; skein explain {id} shows what becomes of it", shown.status);
    }
    format!("{id} goes on without you: skein status {id} --watch shows it, skein stop {id} stops it")
}
