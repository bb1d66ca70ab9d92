//! Sends the bytes of a bundle.

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

/// The pieces of an archive. An error among them ends the request, and the agent keeps nothing.
pub(crate) type Pieces = mpsc::Receiver<io::Result<Bytes>>;

impl Client {
    /// Sends all pieces and reads the answer.
    pub(crate) async fn upload<T: DeserializeOwned>(
        &self,
        path: &str,
        pieces: Pieces,
        size: Option<u64>,
    ) -> Result<T, ClientError> {
        let (answered, is_answered) = oneshot::channel::<()>();
        let pieces = ReceiverStream::new(until(is_answered, pieces));
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

/// Passes the pieces on until there is an answer. An agent that has answered wants no
/// more of them, and their producer must not wait for a connection that takes none.
fn until(is_answered: oneshot::Receiver<()>, mut pieces: Pieces) -> Pieces {
    let (out, wanted) = mpsc::channel(1);
    tokio::spawn(async move {
        let forward = async {
            while let Some(piece) = pieces.recv().await
                && out.send(piece).await.is_ok()
            {}
        };
        tokio::select! {
            () = forward => {}
            _ = is_answered => {}
        }
    });
    wanted
}
