//! The source of a bundle outside the mesh, in CodeDeploy's terms: an object in S3,
//! or a commit on GitHub. This module only parses and formats text. An origin holds
//! no secret.
//!
//! The ledger holds the text ([`crate::revision::Revision::origin`]). Every host
//! derives from it the variables that scripts get.

use std::fmt;
use std::str::FromStr;

/// An object in a bucket: `s3://bucket/key?versionId=…&etag=…`.
///
/// The key is taken literally. What follows the last `?` is the query, which is
/// percent-encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct S3Object {
    /// The bucket (CodeDeploy's Bucket).
    pub bucket: String,
    /// The key of the object (CodeDeploy's Key).
    pub key: String,
    /// `versionId=`: the version of the object; `None` for the newest.
    pub version: Option<String>,
    /// `etag=`: the ETag that the object must have, without its quotation marks.
    pub etag: Option<String>,
    /// `region=`: the region of the bucket.
    pub region: Option<String>,
    /// `pathStyle=true`: the bucket's name is part of the path, not of the host
    /// name.
    pub path_style: Option<bool>,
    /// `anonymous=true`: send requests without credentials.
    pub anonymous: Option<bool>,
}

/// A commit in a repository: `github:owner/repo@commit`, followed by `?zip` to
/// fetch it as a zipball.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitHubCommit {
    /// The owner of the repository (CodeDeploy's Account).
    pub owner: String,
    /// The name of the repository (CodeDeploy's Repository).
    pub repository: String,
    /// The commit (CodeDeploy's CommitId), or the name of a branch or a tag.
    pub commit: String,
    /// True for GitHub's zipball, false for its tarball.
    pub is_zip: bool,
}

/// The source of a bundle, if it is one of CodeDeploy's kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An object in S3, or on a server that speaks the same protocol.
    S3(S3Object),
    /// A commit on GitHub, or on a GitHub Enterprise server.
    GitHub(GitHubCommit),
}

/// An error from parsing an origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnOrigin {
    /// An S3 source without a bucket or a key.
    #[error("`{0}` names no object of S3: write s3://BUCKET/KEY, for example s3://releases/shop/1.2.tgz")]
    NoObject(String),
    /// An unknown parameter in the query.
    #[error(
        "`{0}` is unknown behind the `?` of an S3 source: there are versionId=…, etag=…, region=…, \
         pathStyle=true and anonymous=true"
    )]
    UnknownParameter(String),
    /// A parameter that is neither `true` nor `false`.
    #[error("`{name}={value}` is neither true nor false")]
    NotABoolean {
        /// The name of the parameter.
        name: &'static str,
        /// The value that was given.
        value: String,
    },
    /// A GitHub source that is not of the form `owner/repo@commit`.
    #[error(
        "`{0}` names no commit on GitHub: write github:OWNER/REPO@COMMIT, for example \
         github:acme/shop@8c2f1de"
    )]
    NoCommit(String),
}

/// The longest part of a GitHub source, in bytes. A branch's name may have 244.
const GITHUB_PART_MAX: usize = 255;

impl Origin {
    /// Returns the variables for the scripts' environment: CodeDeploy's `BUNDLE_*`,
    /// as far as the operator gave their values.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        match self {
            Origin::S3(object) => {
                let optional = [("BUNDLE_VERSION", &object.version), ("BUNDLE_ETAG", &object.etag)];
                let given = optional.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
                let always = [("BUNDLE_BUCKET", object.bucket.clone()), ("BUNDLE_KEY", object.key.clone())];
                always.into_iter().chain(given).collect()
            }
            Origin::GitHub(commit) => vec![("BUNDLE_COMMIT", commit.commit.clone())],
        }
    }
}

impl FromStr for Origin {
    type Err = NotAnOrigin;
    fn from_str(text: &str) -> Result<Origin, NotAnOrigin> {
        match text.strip_prefix("github:") {
            Some(rest) => GitHubCommit::parse(rest)
                .map(Origin::GitHub)
                .ok_or_else(|| NotAnOrigin::NoCommit(text.to_owned())),
            None => S3Object::parse(text).map(Origin::S3),
        }
    }
}

impl GitHubCommit {
    fn parse(text: &str) -> Option<GitHubCommit> {
        let (text, is_zip) = text.strip_suffix("?zip").map_or((text, false), |text| (text, true));
        // A branch may have `@` and `/` in its name; owners and repositories may not.
        let (repository, commit) = text.split_once('@')?;
        let (owner, repository) = repository.split_once('/')?;
        GitHubCommit::new(owner, repository, commit, is_zip)
    }

    /// Makes a commit. Returns `None` if a part is invalid: all parts become part
    /// of a URL.
    pub fn new(owner: &str, repository: &str, commit: &str, is_zip: bool) -> Option<GitHubCommit> {
        let is_name = |text: &str| {
            let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
            text.chars().all(is_plain) && !text.is_empty() && !text.starts_with('.')
        };
        let is_reference = |text: &str| {
            let is_plain = |letter: char| letter.is_ascii_graphic() && !"?#%\\^:~*[".contains(letter);
            let is_part = |part: &str| !part.is_empty() && !part.starts_with('.');
            text.chars().all(is_plain) && text.split('/').all(is_part)
        };
        let is_short = [owner, repository, commit].iter().all(|part| part.len() <= GITHUB_PART_MAX);
        (is_name(owner) && is_name(repository) && is_reference(commit) && is_short).then(|| GitHubCommit {
            owner: owner.to_owned(),
            repository: repository.to_owned(),
            commit: commit.to_owned(),
            is_zip,
        })
    }
}

impl S3Object {
    fn parse(text: &str) -> Result<S3Object, NotAnOrigin> {
        let nothing = || NotAnOrigin::NoObject(text.to_owned());
        let rest = text.strip_prefix("s3://").ok_or_else(nothing)?;
        let (place, query) = rest.rsplit_once('?').unwrap_or((rest, ""));
        let (bucket, key) = place.split_once('/').ok_or_else(nothing)?;
        let is_odd = |text: &str| text.is_empty() || text.chars().any(char::is_control);
        if is_odd(bucket) || is_odd(key) {
            return Err(nothing());
        }
        let mut object = S3Object { bucket: bucket.into(), key: key.into(), ..S3Object::default() };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            object.set(pair)?;
        }
        Ok(object)
    }

    /// Sets one parameter. Its name is case-insensitive, as in codedeploy-local. An
    /// empty text value counts as not given.
    fn set(&mut self, pair: &str) -> Result<(), NotAnOrigin> {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(value);
        let text = (!value.is_empty()).then(|| value.clone());
        let boolean = |name| match value.as_str() {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            _ => Err(NotAnOrigin::NotABoolean { name, value: value.clone() }),
        };
        match name.to_ascii_lowercase().as_str() {
            "versionid" => self.version = text,
            "etag" => self.etag = text.map(|etag| unquoted(&etag).to_owned()),
            "region" => self.region = text,
            "pathstyle" => self.path_style = boolean("pathStyle")?,
            "anonymous" => self.anonymous = boolean("anonymous")?,
            _ => return Err(NotAnOrigin::UnknownParameter(name.to_owned())),
        }
        Ok(())
    }
}

/// Removes the quotation marks around an ETag.
pub fn unquoted(etag: &str) -> &str {
    etag.trim_matches('"')
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::S3(object) => object.fmt(f),
            Origin::GitHub(commit) => commit.fmt(f),
        }
    }
}

impl fmt::Display for GitHubCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let GitHubCommit { owner, repository, commit, is_zip } = self;
        write!(f, "github:{owner}/{repository}@{commit}{}", if *is_zip { "?zip" } else { "" })
    }
}

impl fmt::Display for S3Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)?;
        let texts = [("versionId", &self.version), ("etag", &self.etag), ("region", &self.region)];
        let texts = texts.into_iter().filter_map(|(name, value)| Some((name, encoded(value.as_ref()?))));
        let booleans = [("pathStyle", self.path_style), ("anonymous", self.anonymous)];
        let booleans = booleans.into_iter().filter_map(|(name, value)| Some((name, value?.to_string())));
        let query: Vec<String> =
            texts.chain(booleans).map(|(name, value)| format!("{name}={value}")).collect();
        // A key may contain a `?`. The last one begins the query, so an empty query
        // is written too.
        if query.is_empty() && !self.key.contains('?') {
            return Ok(());
        }
        write!(f, "?{}", query.join("&"))
    }
}

fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// Decodes percent-encoding. Text that is not validly encoded stays as it is.
fn decoded(text: &str) -> String {
    let (bytes, mut decoded, mut at) = (text.as_bytes(), Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        let hex = text.get(at + 1..at + 3).filter(|hex| *byte == b'%' && !hex.starts_with('+'));
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests;
