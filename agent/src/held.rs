//! What an agent that was killed had open (its socket, its port, its store)
//! stays open a moment longer if it was starting a process just then, until
//! that one becomes its own program. Who comes next waits for it.

use std::time::{Duration, Instant};

/// How long at most, and how often we look.
pub(crate) const HELD_MAX: Duration = Duration::from_secs(2);
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Attempts it until it is no longer refused as held, or for [`HELD_MAX`].
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
