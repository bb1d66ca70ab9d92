//! Where a bundle comes from, as users type it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use proto::id::{Digest, NotAName};

/// A bundle's source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A directory or an archive file on this host.
    Path(PathBuf),
    /// A bundle that is in the cache already.
    Cached(Digest),
}

/// A text that names no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotASource {
    #[error(
        "`{scheme}` is an unknown kind of source: give a directory, a .zip, .tar, .tgz or .tar.zst file, or \
         blake3:DIGEST"
    )]
    UnknownKind { scheme: String },
    #[error("the source's digest is none")]
    Digest(#[source] NotAName),
    #[error("the source is empty: give a directory, a .zip, .tar, .tgz or .tar.zst file, or blake3:DIGEST")]
    Empty,
}

impl FromStr for Source {
    type Err = NotASource;
    fn from_str(text: &str) -> Result<Source, NotASource> {
        if text.is_empty() {
            return Err(NotASource::Empty);
        }
        if text.starts_with("blake3:") {
            return text.parse().map(Source::Cached).map_err(NotASource::Digest);
        }
        if let Some(path) = text.strip_prefix("file://") {
            return Ok(Source::Path(path.into()));
        }
        // A file may have a colon in its name, but such a start is meant as a kind.
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        let scheme = scheme.or_else(|| text.strip_prefix("github:").map(|_| "github:"));
        match scheme {
            Some(scheme) => Err(NotASource::UnknownKind { scheme: scheme.to_owned() }),
            None => Ok(Source::Path(text.into())),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Path(path) => write!(f, "{}", path.display()),
            Source::Cached(digest) => write!(f, "{digest}"),
        }
    }
}
