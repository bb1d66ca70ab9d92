//! A bundle that a client sends as the body of its request.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{BodyDataStream, Bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use futures::{Stream, StreamExt};
use tokio::runtime::Handle;
use url::form_urlencoded;

use super::ApiError;
use crate::bundle::source::Source;
use crate::bundle::upload::Upload;

/// The content type of such a body.
pub(crate) const ARCHIVE: &str = "application/octet-stream";
/// The query parameter with the client's origin of the bundle.
pub(crate) const ORIGIN: &str = "origin";

/// The time for which a refused client's upload is still read: the client ends as
/// soon as it has read the answer.
const REFUSED_READ_MAX: Duration = Duration::from_secs(10);
/// The origin to record if the client names none.
const UNNAMED: &str = "an upload";

/// Returns the origin of the archive in the body; `None` if the body is not an archive.
pub(super) fn of(request: &Request) -> Result<Option<String>, ApiError> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with(ARCHIVE) {
        return Ok(None);
    }
    let query = request.uri().query().unwrap_or_default();
    let named = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == ORIGIN);
    named.map_or(Ok(UNNAMED.into()), |(_, named)| origin(named.into_owned())).map(Some)
}

/// Checks an origin that a client names: it must be a path. Scripts trust origins
/// in S3 and GitHub, so no client may claim one.
pub(super) fn origin(text: String) -> Result<String, ApiError> {
    match text.parse() {
        Ok(Source::Path(_)) => Ok(text),
        Ok(Source::Cached(_) | Source::Origin(_) | Source::Web(_)) => {
            let message = format!("invalid origin `{text}` of a bundle that was sent: name its path");
            Err(ApiError::invalid("INVALID_BODY", message))
        }
        Err(error) => Err(ApiError::invalid("INVALID_BODY", format!("the origin: {error}"))),
    }
}

/// Returns the archive in the body.
pub(super) fn archive(request: Request, origin: String) -> Upload {
    let total = request.headers().get(CONTENT_LENGTH);
    let total = total.and_then(|total| total.to_str().ok()?.parse().ok());
    let body = Sent { body: Some(request.into_body().into_data_stream()) };
    Upload { origin, total, bytes: body.boxed() }
}

/// The bytes of a body. If dropped early, the rest is still read for a while: a
/// client that is sending reads its answer only as long as it can send.
struct Sent {
    /// `None` once it has ended.
    body: Option<BodyDataStream>,
}

impl Stream for Sent {
    type Item = Result<Bytes, String>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let next = ready!(body.poll_next_unpin(cx));
        if !matches!(next, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(next.map(|piece| piece.map_err(|error| error.to_string())))
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if let (Some(mut body), Ok(runtime)) = (self.body.take(), Handle::try_current()) {
            let rest = async move { while let Some(Ok(_)) = body.next().await {} };
            runtime.spawn(tokio::time::timeout(REFUSED_READ_MAX, rest));
        }
    }
}
