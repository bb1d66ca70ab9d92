//! A listener with a limit on open connections. When all are in use, new ones
//! wait in the kernel's queue, at no cost here.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

/// A listener with a limit.
pub(super) struct Limited<L> {
    listener: L,
    free: Arc<Semaphore>,
    limit: usize,
}

/// A connection; it counts until it is dropped.
pub(super) struct Counted<Io> {
    io: Io,
    _permit: OwnedSemaphorePermit,
}

impl<L> Limited<L> {
    pub(super) fn new(listener: L, limit: usize) -> Self {
        Limited { listener, free: Arc::new(Semaphore::new(limit)), limit }
    }
}

impl<Io> Counted<Io> {
    /// Returns the connection itself.
    pub(super) fn inner(&self) -> &Io {
        &self.io
    }
}

async fn permit(free: &Arc<Semaphore>, limit: usize) -> OwnedSemaphorePermit {
    if let Ok(permit) = Arc::clone(free).try_acquire_owned() {
        return permit;
    }
    warn!(limit, "all connections to the API are taken: the next one waits until one ends");
    let permit = Arc::clone(free).acquire_owned().await;
    permit.expect("the semaphore is never closed")
}

impl<L: Listener> Listener for Limited<L> {
    type Io = Counted<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let permit = permit(&self.free, self.limit).await;
        let (io, address) = self.listener.accept().await;
        (Counted { io, _permit: permit }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Counted<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Counted<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn who_comes_when_all_are_taken_is_served_as_soon_as_one_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("its address");
        let mut limited = Limited::new(listener, 1);
        let mut first = TcpStream::connect(address).await.expect("connected");
        let mut second = TcpStream::connect(address).await.expect("connected, in the kernel's queue");

        let (mut taken, _) = limited.accept().await;
        first.write_all(b"hi").await.expect("written");
        let mut read = [0; 2];
        taken.read_exact(&mut read).await.expect("read");
        assert_eq!(&read, b"hi");
        let waiting = tokio::time::timeout(Duration::from_millis(50), limited.accept()).await;
        assert!(waiting.is_err(), "the second one waits");

        drop(taken);
        let (mut taken, _) = limited.accept().await;
        taken.write_all(b"yo").await.expect("written");
        second.read_exact(&mut read).await.expect("read");
        assert_eq!(&read, b"yo");
    }
}
