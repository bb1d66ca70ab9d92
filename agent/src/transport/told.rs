//! The queue of events to the transport's user. A large frame keeps its host's
//! permit for large frames until it is taken from here.

use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::TransportEvent;

/// An event, and the permit that it holds.
pub(super) struct Told {
    event: TransportEvent,
    _room: Option<OwnedSemaphorePermit>,
}

/// The receiver of events, in order.
pub(crate) struct Events(mpsc::Receiver<Told>);

/// The sender of events.
#[derive(Clone)]
pub(super) struct Teller(mpsc::Sender<Told>);

/// The error if the receiver of the events is gone.
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

    /// Waits until the receiver of the events is gone.
    pub(super) async fn unheard(&self) {
        self.0.closed().await;
    }
}

impl Events {
    /// Returns the next event; `None` once the transport has stopped.
    pub(crate) async fn recv(&mut self) -> Option<TransportEvent> {
        self.0.recv().await.map(|told| told.event)
    }
}

#[cfg(test)]
impl Events {
    /// Returns an event if one is there already.
    pub(crate) fn try_recv(&mut self) -> Result<TransportEvent, mpsc::error::TryRecvError> {
        self.0.try_recv().map(|told| told.event)
    }

    pub(crate) fn close(&mut self) {
        self.0.close();
    }
}
