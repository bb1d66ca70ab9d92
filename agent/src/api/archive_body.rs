//! A bundle that a client sends as the body of its request.

use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use futures::StreamExt;
use url::form_urlencoded;

use super::ApiError;
use crate::bundle::source::Source;
use crate::bundle::upload::Upload;

/// The content type that says so.
pub(crate) const ARCHIVE: &str = "application/octet-stream";
/// The part of the query that says where the client has it from.
pub(crate) const ORIGIN: &str = "origin";

/// What is said of a bundle whose client names no origin.
const UNNAMED: &str = "an upload";

/// Where the archive in the body comes from; none if the body is none.
pub(super) fn of(request: &Request) -> Result<Option<String>, ApiError> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with(ARCHIVE) {
        return Ok(None);
    }
    let query = request.uri().query().unwrap_or_default();
    let named = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == ORIGIN);
    named.map_or(Ok(UNNAMED.into()), |(_, named)| origin(named.into_owned())).map(Some)
}

/// An origin as a client may name it: a path of its own. Scripts believe what is said
/// of S3 and GitHub, so no client may claim that.
pub(super) fn origin(text: String) -> Result<String, ApiError> {
    match text.parse() {
        Ok(Source::Path(_)) => Ok(text),
        Ok(Source::Cached(_) | Source::Origin(_) | Source::Web(_)) => {
            let message = format!("`{text}` is no origin of a bundle that was sent: name its path");
            Err(ApiError::invalid("INVALID_BODY", message))
        }
        Err(error) => Err(ApiError::invalid("INVALID_BODY", format!("the origin: {error}"))),
    }
}

/// The archive in the body.
pub(super) fn archive(request: Request, origin: String) -> Upload {
    let total = request.headers().get(CONTENT_LENGTH);
    let total = total.and_then(|total| total.to_str().ok()?.parse().ok());
    let bytes = request.into_body().into_data_stream();
    Upload { origin, total, bytes: bytes.map(|piece| piece.map_err(|error| error.to_string())).boxed() }
}
