//! Sends one `GET`. Only the status decides, and redirects are answers like any
//! other: their target is not this application.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use proto::health::Endpoint;

use super::{ProbeError, connect, last_line};

/// The most bytes of a failed probe's answer to read, for its last line.
const BODY_BYTES_MAX: usize = 4 * 1024;
/// The most characters of that line to report.
const SAID_CHARS_MAX: usize = 80;

pub(super) async fn get(url: &str) -> Result<(), ProbeError> {
    let refused = || ProbeError::Target(url.to_owned());
    let (endpoint, path) = Endpoint::of_url(url).ok_or_else(refused)?;
    let path = match path {
        path if path.starts_with('/') => path.to_owned(),
        path => format!("/{path}"),
    };
    let request = Request::builder()
        .uri(path)
        .header("host", endpoint.to_string())
        .header("user-agent", concat!("skein/", env!("CARGO_PKG_VERSION")))
        .header("connection", "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| refused())?;
    let stream = connect(Some(endpoint), url).await?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(ProbeError::Http)?;
    let asking = async {
        let answer = sender.send_request(request).await.map_err(ProbeError::Http)?;
        judge(answer).await
    };
    // Poll the connection only together with the request, so that it ends with
    // this probe and not after it.
    let mut asking = std::pin::pin!(asking);
    tokio::select! {
        judged = &mut asking => judged,
        ended = connection => match ended {
            // Everything was received; the rest of the work needs no connection.
            Ok(()) => asking.await,
            Err(error) => Err(ProbeError::Http(error)),
        },
    }
}

async fn judge(answer: Response<Incoming>) -> Result<(), ProbeError> {
    let status = answer.status();
    if status.is_success() || status.is_redirection() {
        return Ok(());
    }
    let mut body = answer.into_body();
    let mut read = Vec::new();
    while read.len() < BODY_BYTES_MAX
        && let Some(Ok(frame)) = body.frame().await
    {
        read.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
    }
    read.truncate(BODY_BYTES_MAX);
    Err(ProbeError::Status { status, said: last_line(&read, SAID_CHARS_MAX) })
}
