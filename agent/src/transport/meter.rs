//! Limits the bytes that a connection may send before it is admitted.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::io::{AsyncRead, AsyncWrite};

/// The number of bytes that are still accepted.
#[derive(Clone)]
pub(super) struct Meter(Arc<AtomicUsize>);

impl Meter {
    pub(super) fn of(bytes: usize) -> Self {
        Meter(Arc::new(AtomicUsize::new(bytes)))
    }

    /// Removes the limit on the bytes of this connection.
    pub(super) fn lift(&self) {
        self.0.store(usize::MAX, Ordering::Relaxed);
    }

    pub(super) fn is_spent(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

/// A connection whose incoming bytes are counted.
pub(super) struct Metered<S> {
    stream: S,
    meter: Meter,
}

impl<S> Metered<S> {
    pub(super) fn new(stream: S, meter: Meter) -> Self {
        Metered { stream, meter }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let left = self.meter.0.load(Ordering::Relaxed);
        if left == 0 {
            return Poll::Ready(Err(io::Error::other("it sent too much before it was admitted")));
        }
        let wanted = bytes.len().min(left);
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut bytes[..wanted]);
        if let Poll::Ready(Ok(read)) = read
            && left != usize::MAX
        {
            // If the limit was lifted meanwhile, it stays lifted.
            let _ = self.meter.0.compare_exchange(left, left - read, Ordering::Relaxed, Ordering::Relaxed);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures::io::{AsyncReadExt, Cursor};

    use super::*;

    #[tokio::test]
    async fn it_takes_so_much_and_no_more_until_the_limit_is_lifted() {
        let meter = Meter::of(4);
        let mut metered = Metered::new(Cursor::new(vec![7; 100]), meter.clone());
        let mut bytes = Vec::new();
        assert!(metered.read_to_end(&mut bytes).await.is_err());
        assert_eq!((bytes.len(), meter.is_spent()), (4, true));
        meter.lift();
        metered.read_to_end(&mut bytes).await.expect("the rest");
        assert_eq!(bytes.len(), 100);
    }
}
