//! Waits for resources of a killed agent. Its socket, port and store stay open for a moment if it was
//! just starting a process, until that process executes its own program. The next agent waits for this.

use std::time::{Duration, Instant};

/// The longest wait, and `LOOK_EVERY`, the interval of attempts.
pub(crate) const HELD_MAX: Duration = Duration::from_secs(2);
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Repeats the attempt until it is not refused as held, or for [`HELD_MAX`].
pub(crate) async fn once_let_go<T, E>(
    mut attempt: impl AsyncFnMut() -> Result<T, E>,
    is_held: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let until = Instant::now() + HELD_MAX;
    loop {
        match attempt().await {
            Err(error) if is_held(&error) && Instant::now() < until => tokio::time::sleep(LOOK_EVERY).await,
            ended => return ended,
        }
    }
}
