//! Sends a bundle's bytes.

use std::io;

use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::{Method, Request};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use super::{Client, ClientError};
use crate::api::ARCHIVE;

/// Pieces of an archive. An error among them ends the request, and the agent keeps
/// nothing.
pub(crate) type Pieces = mpsc::Receiver<io::Result<Bytes>>;

impl Client {
    /// Sends all of them, and reads the answer.
    pub(crate) async fn upload<T: DeserializeOwned>(
        &self,
        path: &str,
        pieces: Pieces,
        size: Option<u64>,
    ) -> Result<T, ClientError> {
        // Whoever has answered wants no more of it.
        let (answered, is_answered) = oneshot::channel::<()>();
        let pieces = ReceiverStream::new(pieces).take_until(is_answered);
        let body = StreamBody::new(pieces.map(|piece| piece.map(Frame::data)));
        let mut request = Request::builder().method(Method::POST).uri(path).header("content-type", ARCHIVE);
        if let Some(size) = size {
            request = request.header("content-length", size);
        }
        let answer = self.send(request, BodyExt::boxed(body)).await?;
        let read = self.read(answer).await;
        drop(answered);
        read
    }
}
