//! Short questions from one agent to another, such as for the output of its hooks:
//! one request and one answer, both bytes whose meaning is defined elsewhere.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::StreamProtocol;
use proto::id::HostId;
use tokio::time::timeout;

use crate::share::{Own, Shares};
use crate::transport::{AcceptedElsewhere, Handle, HeldStream, OpenError};

const PROTOCOL: StreamProtocol = StreamProtocol::new("/skein/ask/1");
/// The longest request. A question is a line or two of JSON.
const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// The longest answer. The answering host cuts the log of a deployment to this.
pub(crate) const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The time limit from the question to the end of the answer; a person is waiting.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The number of questions that are answered at the same time, and `ANSWERED_TO_HOST_MAX`,
/// the number for one host; others wait. It takes sixteen malicious hosts to delay the
/// others, and each can do so for no longer than [`TIMEOUT`].
const ANSWERED_AT_ONCE_MAX: usize = 64;
const ANSWERED_TO_HOST_MAX: usize = 4;
/// The time limit for receiving a question, which is sent in one piece.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// The reason why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("cannot ask {host}")]
    Open {
        host: HostId,
        #[source]
        cause: OpenError,
    },
    #[error("{host} did not answer within {} s", TIMEOUT.as_secs())]
    Timeout { host: HostId },
    #[error("{host} did not answer")]
    Io {
        host: HostId,
        #[source]
        cause: io::Error,
    },
}

/// Asks a host, which must be connected, or have known addresses.
pub(crate) async fn ask(handle: &Handle, host: HostId, request: &[u8]) -> Result<Vec<u8>, AskError> {
    let asked = async {
        let opened = handle.open(host, PROTOCOL).await;
        let mut stream = opened.map_err(|cause| AskError::Open { host, cause })?;
        let answered = async {
            write(&mut stream, request).await?;
            read(&mut stream, ANSWER_BYTES_MAX).await
        };
        answered.await.map_err(|cause| AskError::Io { host, cause })
    };
    timeout(TIMEOUT, asked).await.unwrap_or(Err(AskError::Timeout { host }))
}

/// Answers other hosts until the transport stops. An answer longer than
/// [`ANSWER_BYTES_MAX`] is not sent.
pub(crate) fn serve_asks<A, F>(handle: &Handle, answer: A) -> Result<(), AcceptedElsewhere>
where
    A: Fn(HostId, Vec<u8>) -> F + Send + Sync + 'static,
    F: Future<Output = Vec<u8>> + Send,
{
    let mut incoming = handle.accept(PROTOCOL)?;
    let shares = Arc::new(Shares::new(ANSWERED_AT_ONCE_MAX, ANSWERED_TO_HOST_MAX));
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Some((host, stream)) = incoming.next().await {
            let (answer, shares) = (answer.clone(), shares.clone());
            tokio::spawn(async move {
                let own = shares.own(host).await;
                let answered = answer_one(host, stream, answer.as_ref(), (&shares, own));
                let answered = timeout(TIMEOUT, answered).await.unwrap_or_else(|elapsed| Err(elapsed.into()));
                if let Err(cause) = answered {
                    tracing::debug!(%host, %cause, "question not answered");
                }
            });
        }
    });
    Ok(())
}

async fn answer_one<F: Future<Output = Vec<u8>>>(
    host: HostId,
    mut stream: HeldStream,
    answer: &impl Fn(HostId, Vec<u8>) -> F,
    (shares, own): (&Shares, Own),
) -> io::Result<()> {
    let request = timeout(REQUEST_TIMEOUT, read(&mut stream, REQUEST_BYTES_MAX)).await??;
    let _share = shares.of_all(own).await;
    let answer = answer(host, request).await;
    if answer.len() > ANSWER_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} bytes of answer", answer.len())));
    }
    write(&mut stream, &answer).await?;
    stream.close().await
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(bytes).await?;
    stream.flush().await
}

async fn read(stream: &mut (impl AsyncRead + Unpin), bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let length = u32::from_be_bytes(length) as usize;
    if length > bytes_max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{length} bytes are too many")));
    }
    let mut bytes = Vec::new();
    let read = stream.take(length as u64).read_to_end(&mut bytes).await?;
    if read == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests;
