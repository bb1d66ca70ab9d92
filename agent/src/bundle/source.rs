//! Where a bundle comes from, as users type it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use proto::id::{Digest, NotAName};
use proto::origin::{GitHubCommit, NotAnOrigin, Origin};
use url::Url;

/// A bundle's source. Its text form has no secret in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A directory or an archive file on this host.
    Path(PathBuf),
    /// A bundle that is in the cache already.
    Cached(Digest),
    /// In S3 or on GitHub.
    Origin(Origin),
    /// On some web server.
    Web(WebAddress),
}

/// An `https://` address. It may hold a password, or a signature in its query:
/// only [`WebAddress::secret`] gives them away.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct WebAddress(Url);

/// A text that names no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotASource {
    #[error("`{scheme}` is an unknown kind of source: {KINDS}")]
    UnknownKind { scheme: String },
    #[error("what stands after `blake3:` is no digest")]
    Digest(#[source] NotAName),
    #[error(transparent)]
    Origin(#[from] NotAnOrigin),
    #[error(
        "http:// is refused: on the way anybody could swap the bundle for one of their own, and it runs as the \
         agent's user; use https://"
    )]
    Insecure,
    #[error("this is no web address ({0}): write https://HOST/PATH")]
    NoAddress(url::ParseError),
    #[error("the source is empty: {KINDS}")]
    Empty,
    #[error("the source is longer than {TEXT_BYTES_MAX} bytes: {KINDS}")]
    TooLong,
}

/// The longest text: it goes into the ledger, and no path is longer.
const TEXT_BYTES_MAX: usize = 4_096;
/// What can be given, for messages.
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
        // A file may have a colon in its name, but such a start is meant as a kind.
        match text.split_once("://") {
            Some(("file", path)) => Ok(Source::Path(path.into())),
            Some(("https", _)) => web(text),
            Some(("http", _)) => Err(NotASource::Insecure),
            Some((scheme, _)) => Err(NotASource::UnknownKind { scheme: scheme.to_owned() }),
            None => Ok(Source::Path(text.into())),
        }
    }
}

/// GitHub's own addresses, as codedeploy-local takes them, mean a commit: what
/// lies at the address itself is a page, or wants a token.
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
    /// The whole address, for the request alone.
    pub(super) fn secret(&self) -> &Url {
        &self.0
    }

    /// With another address's secrets left out of it.
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
