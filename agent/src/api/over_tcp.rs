//! HTTP on TCP, where any client may connect. Each request has limits on time and size, and
//! each address a share of the connections. When all places are taken, the connection that has
//! been open longest without a request in progress is closed.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

/// Time for the head of a request to arrive, and for a connection to be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest head of a request, and the size of an answer's buffer, in bytes.
/// Hyper's own limit is 400 KiB per connection.
const BUFFER_BYTES_MAX: usize = 32 * 1024;
/// The number of open connections, and `CONNECTIONS_OF_ADDRESS`, the number of
/// one address. A proxy with a hundred users has one address.
const CONNECTIONS_MAX: usize = 512;
const CONNECTIONS_OF_ADDRESS: usize = 128;
/// The wait after a connection could not be accepted because no file descriptor is left.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Serves on TCP until `stopping` is cancelled.
pub(super) async fn serve(listener: TcpListener, router: Router, stopping: CancellationToken) {
    let (open, answering) = (Arc::new(Open::default()), TaskTracker::new());
    while let Some(accepted) = stopping.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, from)) => {
                // A connection that gets no place is closed.
                if let Some(place) = Open::enter(&open, from.ip()) {
                    answering.spawn(answer(stream, router.clone(), place, stopping.clone()));
                }
            }
            Err(error) => {
                tracing::debug!(%error, "no connection to the API was accepted");
                tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
            }
        }
    }
    answering.close();
    answering.wait().await;
}

async fn answer(stream: TcpStream, router: Router, place: Place, stopping: CancellationToken) {
    let asked = place.asked.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (mut router, answering) = (router.clone(), Answering::new(&asked));
        async move {
            let answer = router.call(request.map(Body::new)).await;
            drop(answering);
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // The client knows how it ended.
        _ = connection.as_mut() => return,
        () = place.displaced.cancelled() => return,
        () = stopping.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// The connections that are open, in the order in which they were made.
#[derive(Default)]
struct Open {
    connections: Mutex<Connections>,
}

#[derive(Default)]
struct Connections {
    /// The connections by number, so that the oldest comes first.
    by_id: BTreeMap<u64, Connection>,
    next: u64,
}

struct Connection {
    from: IpAddr,
    /// The number of requests that are being answered. The body of an answer does not count:
    /// events are sent for as long as the client listens.
    asked: Arc<AtomicUsize>,
    displaced: CancellationToken,
}

/// A place among the open connections, held until it is dropped.
struct Place {
    open: Arc<Open>,
    id: u64,
    asked: Arc<AtomicUsize>,
    displaced: CancellationToken,
}

impl Open {
    /// Returns a place for a connection from this address. If necessary, closes
    /// the oldest connection that has no request in progress.
    fn enter(this: &Arc<Self>, from: IpAddr) -> Option<Place> {
        let from = from.to_canonical();
        let mut connections = this.lock();
        connections.make_room(CONNECTIONS_OF_ADDRESS, |open| open.from == from)?;
        connections.make_room(CONNECTIONS_MAX, |_| true)?;
        let (id, asked, displaced) = (connections.next, Arc::default(), CancellationToken::new());
        connections.next += 1;
        let connection = Connection { from, asked: Arc::clone(&asked), displaced: displaced.clone() };
        connections.by_id.insert(id, connection);
        Some(Place { open: this.clone(), id, asked, displaced })
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connections {
    /// Makes room for one more of these connections; `None` if all are busy.
    fn make_room(&mut self, most: usize, is_one: impl Fn(&Connection) -> bool) -> Option<()> {
        if self.by_id.values().filter(|open| is_one(open)).count() < most {
            return Some(());
        }
        let is_idle = |open: &Connection| open.asked.load(Ordering::Relaxed) == 0;
        let idle = self.by_id.iter().find(|(_, open)| is_one(open) && is_idle(open));
        let id = *idle?.0;
        self.by_id.remove(&id)?.displaced.cancel();
        Some(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.lock().by_id.remove(&self.id);
    }
}

/// A request that is being answered, until it is dropped.
struct Answering(Arc<AtomicUsize>);

impl Answering {
    fn new(asked: &Arc<AtomicUsize>) -> Self {
        asked.fetch_add(1, Ordering::Relaxed);
        Answering(asked.clone())
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(number: u8) -> IpAddr {
        [10, 0, 0, number].into()
    }

    #[test]
    fn one_address_has_a_share_and_its_oldest_idle_connection_makes_room() {
        let open = Arc::new(Open::default());
        let mut places: Vec<Place> =
            (0..CONNECTIONS_OF_ADDRESS).map(|_| Open::enter(&open, from(1)).expect("a place")).collect();
        let busy = Answering::new(&places[0].asked);
        places.push(Open::enter(&open, from(1)).expect("a place"));
        assert!(!places[0].displaced.is_cancelled() && places[1].displaced.is_cancelled());
        let all_busy: Vec<Answering> = places.iter().map(|place| Answering::new(&place.asked)).collect();
        assert!(Open::enter(&open, from(1)).is_none());
        assert!(Open::enter(&open, from(2)).is_some());
        drop((busy, all_busy));
        assert!(Open::enter(&open, from(1)).is_some());
    }

    #[test]
    fn when_all_places_are_taken_the_oldest_idle_connection_goes() {
        let open = Arc::new(Open::default());
        let enter = |number: usize| Open::enter(&open, from((number % 200) as u8)).expect("a place");
        let places: Vec<Place> = (0..CONNECTIONS_MAX).map(enter).collect();
        let newcomer = enter(201);
        assert!(places[0].displaced.is_cancelled() && !newcomer.displaced.is_cancelled());
        drop(places);
        drop(newcomer);
        assert!(open.lock().by_id.is_empty());
    }
}
