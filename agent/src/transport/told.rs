//! The way of events to whoever uses the transport. A large frame keeps its
//! host's room for large frames until it is taken from here.

use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::TransportEvent;

/// An event, and the room that it takes.
pub(super) struct Told {
    event: TransportEvent,
    _room: Option<OwnedSemaphorePermit>,
}

/// What happens, in order.
pub(crate) struct Events(mpsc::Receiver<Told>);

/// Where it is told.
#[derive(Clone)]
pub(super) struct Teller(mpsc::Sender<Told>);

/// Nobody listens to the events any more.
pub(super) struct Unheard;

pub(super) fn channel(size: usize) -> (Teller, Events) {
    let (sender, receiver) = mpsc::channel(size);
    (Teller(sender), Events(receiver))
}

impl Teller {
    pub(super) async fn tell(&self, event: TransportEvent) -> Result<(), Unheard> {
        self.tell_with(event, None).await
    }

    pub(super) async fn tell_with(
        &self,
        event: TransportEvent,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<(), Unheard> {
        self.0.send(Told { event, _room: room }).await.map_err(|_| Unheard)
    }

    /// Waits until nobody listens.
    pub(super) async fn unheard(&self) {
        self.0.closed().await;
    }
}

impl Events {
    /// The next event; `None` once the transport has stopped.
    pub(crate) async fn recv(&mut self) -> Option<TransportEvent> {
        self.0.recv().await.map(|told| told.event)
    }
}

#[cfg(test)]
impl Events {
    /// An event that is there already.
    pub(crate) fn try_recv(&mut self) -> Result<TransportEvent, mpsc::error::TryRecvError> {
        self.0.try_recv().map(|told| told.event)
    }

    pub(crate) fn close(&mut self) {
        self.0.close();
    }
}
