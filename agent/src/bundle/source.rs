//! The source of a bundle, as users type it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use proto::id::{Digest, NotAName};
use proto::origin::{GitHubCommit, NotAnOrigin, Origin};
use url::Url;

/// A bundle's source. Its text form contains no secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A directory or an archive file on this host.
    Path(PathBuf),
    /// A bundle that is in the cache already.
    Cached(Digest),
    /// An object in S3 or a commit on GitHub.
    Origin(Origin),
    /// A resource on another web server.
    Web(WebAddress),
}

/// An `https://` address. It may contain a password, or a signature in its query;
/// only [`WebAddress::secret`] reveals them.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct WebAddress(Url);

/// The reason why a text does not name a source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotASource {
    #[error("`{scheme}` is an unknown kind of source: {KINDS}")]
    UnknownKind { scheme: String },
    #[error("invalid digest after `blake3:`")]
    Digest(#[source] NotAName),
    #[error(transparent)]
    Origin(#[from] NotAnOrigin),
    #[error(
        "http:// is refused: on the way anybody could swap the bundle for one of their own, and it runs as the \
         agent's user; use https://"
    )]
    Insecure,
    #[error("invalid web address ({0}): write https://HOST/PATH")]
    NoAddress(url::ParseError),
    #[error("the source is empty: {KINDS}")]
    Empty,
    #[error("the source is longer than {TEXT_BYTES_MAX} bytes: {KINDS}")]
    TooLong,
}

/// The longest text, in bytes: it goes into the ledger, and no path is longer.
const TEXT_BYTES_MAX: usize = 4_096;
/// The forms that users can give, for messages.
pub(crate) const KINDS: &str = "give a directory, a .zip, .tar, .tgz or .tar.zst file, s3://BUCKET/KEY, \
                                github:OWNER/REPO@COMMIT, https://…, or blake3:DIGEST";

impl FromStr for Source {
    type Err = NotASource;
    fn from_str(text: &str) -> Result<Source, NotASource> {
        if text.is_empty() {
            return Err(NotASource::Empty);
        }
        if text.len() > TEXT_BYTES_MAX {
            return Err(NotASource::TooLong);
        }
        if text.starts_with("blake3:") {
            return text.parse().map(Source::Cached).map_err(NotASource::Digest);
        }
        if text.starts_with("github:") || text.starts_with("s3://") {
            return Ok(Source::Origin(text.parse()?));
        }
        // A file may have a colon in its name, but a start like this is meant as a kind of source.
        match text.split_once("://") {
            Some(("file", path)) => Ok(Source::Path(path.into())),
            Some(("https", _)) => web(text),
            Some(("http", _)) => Err(NotASource::Insecure),
            Some((scheme, _)) => Err(NotASource::UnknownKind { scheme: scheme.to_owned() }),
            None => Ok(Source::Path(text.into())),
        }
    }
}

/// Parses a web address. GitHub's own addresses, in the forms that codedeploy-local
/// takes, mean a commit: the address itself leads to a page, or requires a token.
fn web(text: &str) -> Result<Source, NotASource> {
    let url: Url = text.parse().map_err(NotASource::NoAddress)?;
    let parts: Vec<&str> =
        url.path_segments().into_iter().flatten().filter(|part| !part.is_empty()).collect();
    let commit = match (url.host_str(), parts.as_slice()) {
        (Some("github.com"), [owner, repository]) => {
            let repository = repository.strip_suffix(".git").unwrap_or(repository);
            GitHubCommit::new(owner, repository, "HEAD", false)
        }
        (
            Some("api.github.com"),
            ["repos", owner, repository, archive @ ("tarball" | "zipball"), commit @ ..],
        ) => {
            let commit = if commit.is_empty() { "HEAD".to_owned() } else { commit.join("/") };
            GitHubCommit::new(owner, repository, &commit, *archive == "zipball")
        }
        (Some(_) | None, _) => None,
    };
    Ok(match commit {
        Some(commit) => Source::Origin(Origin::GitHub(commit)),
        None => Source::Web(WebAddress(url)),
    })
}

impl WebAddress {
    /// Returns the whole address; only for the request itself.
    pub(super) fn secret(&self) -> &Url {
        &self.0
    }

    /// Formats an address without its secrets.
    pub(super) fn shown(url: &Url) -> String {
        let mut shown = url.clone();
        // Neither can fail for an address that has a host.
        let _ = shown.set_username("");
        let _ = shown.set_password(None);
        shown.set_fragment(None);
        let had_query = shown.query().is_some();
        shown.set_query(None);
        format!("{shown}{}", if had_query { "?…" } else { "" })
    }
}

impl fmt::Display for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&WebAddress::shown(&self.0))
    }
}

impl fmt::Debug for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebAddress({self})")
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Path(path) => write!(f, "{}", path.display()),
            Source::Cached(digest) => write!(f, "{digest}"),
            Source::Origin(origin) => write!(f, "{origin}"),
            Source::Web(address) => write!(f, "{address}"),
        }
    }
}

#[cfg(test)]
mod tests;
