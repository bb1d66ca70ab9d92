//! Bundles on other servers. A remote only opens a stream at a byte and describes
//! it; [`super::download`] does everything else.

mod github;
mod http;
mod s3;

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use proto::origin::Origin;
use serde::Deserialize;

use super::source::WebAddress;
use http::Resource;
use s3::Object;

/// The time limit for connecting to a server.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// The time that a server may then be silent, before its answer and within it.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Settings for sources (`[sources]` in the agent's configuration file), in
/// addition to environment variables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// The largest archive to download, in bytes.
    pub(crate) bytes_max: Option<u64>,
    /// An S3 endpoint to use instead of AWS's; also `AWS_ENDPOINT_URL_S3` and `AWS_ENDPOINT_URL`.
    pub(crate) s3_endpoint: Option<String>,
    pub(crate) s3_region: Option<String>,
    /// A profile of AWS's configuration files; also `AWS_PROFILE`.
    pub(crate) s3_profile: Option<String>,
    /// True to put the bucket's name into the path. Default: true if the endpoint is not AWS's.
    pub(crate) s3_path_style: Option<bool>,
    /// True to send requests without credentials.
    pub(crate) s3_anonymous: Option<bool>,
    /// A GitHub Enterprise server's `https://HOST/api/v3`; also `GITHUB_API_URL`.
    pub(crate) github_api: Option<String>,
    /// A file with a token; also `GITHUB_TOKEN`.
    pub(crate) github_token_file: Option<PathBuf>,
}

/// A bundle on another server.
pub(super) enum Remote {
    S3(Box<Object>),
    Http(Box<Resource>),
}

/// The position at which to continue: `byte` of exactly the content with this tag.
pub(super) struct Resume {
    pub(super) byte: u64,
    pub(super) tag: String,
}

/// An answer whose body is about to arrive.
pub(super) struct Opened {
    /// The offset of the body's first byte: 0, or the requested one.
    pub(super) start: u64,
    /// The number of bytes of the whole content, not of this body.
    pub(super) total: Option<u64>,
    /// A tag that changes whenever the bytes do; `None` if the server gives none.
    pub(super) tag: Option<String>,
    pub(super) body: Body,
}

/// The body of an answer.
pub(super) enum Body {
    S3(aws_sdk_s3::primitives::ByteStream),
    Http(reqwest::Response),
}

type Cause = Box<dyn Error + Send + Sync>;

/// The reason why no stream could be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("cannot reach {whom}")]
    Unreachable {
        whom: String,
        #[source]
        cause: Cause,
    },
    /// As [`OpenError::Unreachable`], but another try would fail in the same way.
    #[error("cannot talk to {whom}{advice}")]
    Refused {
        whom: String,
        advice: &'static str,
        #[source]
        cause: Cause,
    },
    #[error("{whom} answered {status}{advice}")]
    Status { whom: String, status: String, advice: String, again: Again },
    #[error(
        "the object's ETag is {got}, not {wanted} as the source says: it was replaced since; give its \
         versionId=… too, or the new ETag"
    )]
    WrongEtag { wanted: String, got: String },
    #[error("there are no AWS credentials: {tried}; for a public bucket write ?anonymous=true")]
    NoCredentials {
        tried: &'static str,
        #[source]
        cause: Cause,
    },
    #[error("`{setting}` is `{value}`, which cannot be used: {advice}")]
    Setting { setting: &'static str, value: String, advice: &'static str },
    #[error("cannot read the token in `{}`", path.display())]
    TokenFile {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("{whom} answered with what was not asked for: {problem}")]
    Odd { whom: String, problem: &'static str },
}

/// Says if the same request may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    Never,
    Later,
    /// Not before this time has passed, according to the server.
    After(Duration),
}

impl OpenError {
    pub(super) fn again(&self) -> Again {
        match self {
            OpenError::Status { again, .. } => *again,
            OpenError::Unreachable { .. } | OpenError::Odd { .. } => Again::Later,
            OpenError::Refused { .. }
            | OpenError::WrongEtag { .. }
            | OpenError::NoCredentials { .. }
            | OpenError::Setting { .. }
            | OpenError::TokenFile { .. } => Again::Never,
        }
    }
}

/// Returns what a status means for another try; `after` is the `Retry-After` header.
fn again(status: u16, after: Option<&str>) -> Again {
    match status {
        408 | 429 | 500 | 502 | 503 | 504 => after.and_then(wait_of).map_or(Again::Later, Again::After),
        _ => Again::Never,
    }
}

/// Parses a `Retry-After` header: seconds, or the time of the next try.
fn wait_of(header: &str) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = jiff::fmt::rfc2822::parse(header).ok()?.timestamp();
    Some(then.duration_since(jiff::Timestamp::now()).try_into().unwrap_or(Duration::ZERO))
}

/// Parses the start and the total of `bytes START-END/TOTAL`.
fn content_range(header: &str) -> Option<(u64, u64)> {
    let (range, total) = header.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, total.parse().ok()?))
}

impl Remote {
    pub(super) async fn of_origin(origin: &Origin, settings: &Settings) -> Result<Remote, OpenError> {
        match origin {
            Origin::S3(object) => Ok(Remote::S3(Box::new(Object::connect(object, settings).await?))),
            Origin::GitHub(commit) => Ok(Remote::Http(Box::new(github::resource(commit, settings)?))),
        }
    }

    pub(super) fn of_web(address: &WebAddress) -> Result<Remote, OpenError> {
        Ok(Remote::Http(Box::new(Resource::new(address.secret().clone())?)))
    }

    /// Requests the whole content, or what is still missing. A server that cannot
    /// continue, or whose bytes have changed, answers from the start.
    pub(super) async fn open(&mut self, from: Option<&Resume>) -> Result<Opened, OpenError> {
        match self {
            Remote::S3(object) => object.open(from).await,
            Remote::Http(resource) => resource.open(from).await,
        }
    }
}

impl Body {
    /// Returns the next bytes; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Cause> {
        match self {
            Body::S3(body) => Ok(body.next().await.transpose()?),
            Body::Http(answer) => Ok(answer.chunk().await.map_err(reqwest::Error::without_url)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_say_when_to_come_again() {
        assert_eq!(again(503, None), Again::Later);
        assert_eq!(again(503, Some("7")), Again::After(Duration::from_secs(7)));
        assert_eq!(again(429, Some("Sun, 06 Nov 1994 08:49:37 GMT")), Again::After(Duration::ZERO));
        assert_eq!(again(429, Some("soon")), Again::Later);
        assert_eq!(again(404, Some("7")), Again::Never);
        assert_eq!(again(403, None), Again::Never);
    }

    #[test]
    fn a_range_says_where_it_begins_and_of_what() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, 10)));
        assert_eq!(content_range("bytes */10"), None);
        assert_eq!(content_range("bytes 5-9/*"), None);
    }
}
