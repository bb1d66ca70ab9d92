//! Where a bundle lies outside the mesh, in the words of CodeDeploy: an object
//! of S3, or a commit on GitHub. Text in, text out; nothing here is a secret.
//!
//! The ledger holds the text ([`crate::revision::Revision::origin`]), and every
//! host reads in it what scripts get to know.

use std::fmt;
use std::str::FromStr;

/// An object in a bucket: `s3://bucket/key?versionId=…&etag=…`.
///
/// A key is taken as it is; what follows the last `?` is the query, with
/// percent-encoding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct S3Object {
    /// CodeDeploy's Bucket.
    pub bucket: String,
    /// CodeDeploy's Key.
    pub key: String,
    /// `versionId=`; the newest if there is none.
    pub version: Option<String>,
    /// `etag=`, without its quotation marks: what the object must have.
    pub etag: Option<String>,
    /// `region=`: where the bucket is.
    pub region: Option<String>,
    /// `pathStyle=true`: the bucket's name stands in the path, not in the host.
    pub path_style: Option<bool>,
    /// `anonymous=true`: ask without credentials.
    pub anonymous: Option<bool>,
}

/// A commit of a repository: `github:owner/repo@commit`, and with `?zip` behind
/// it as a zipball.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitHubCommit {
    /// CodeDeploy's Account.
    pub owner: String,
    /// CodeDeploy's Repository.
    pub repository: String,
    /// CodeDeploy's CommitId; a branch's or a tag's name does too.
    pub commit: String,
    /// Which of GitHub's two archives.
    pub is_zip: bool,
}

/// A bundle's origin, as far as it is one of CodeDeploy's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In S3, or what speaks like it.
    S3(S3Object),
    /// On GitHub, or a GitHub Enterprise server.
    GitHub(GitHubCommit),
}

/// Why a text is no origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnOrigin {
    /// No bucket or no key.
    #[error("`{0}` names no object of S3: write s3://BUCKET/KEY, for example s3://releases/shop/1.2.tgz")]
    NoObject(String),
    /// A name that the query does not have.
    #[error(
        "`{0}` is unknown behind the `?` of an S3 source: there are versionId=…, etag=…, region=…, \
         pathStyle=true and anonymous=true"
    )]
    UnknownParameter(String),
    /// Neither true nor false.
    #[error("`{name}={value}` is neither true nor false")]
    NotABoolean {
        /// The parameter.
        name: &'static str,
        /// What it was given.
        value: String,
    },
    /// Not `owner/repo@commit`.
    #[error(
        "`{0}` names no commit on GitHub: write github:OWNER/REPO@COMMIT, for example \
         github:acme/shop@8c2f1de"
    )]
    NoCommit(String),
}

/// The longest part of a GitHub source: a branch's name may have 244 bytes.
const GITHUB_PART_MAX: usize = 255;

impl Origin {
    /// What scripts find in their environment: CodeDeploy's `BUNDLE_*`, only
    /// those that the operator gave.
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

    /// `None` if a part is none: it becomes part of an address.
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

    /// Names in any case, as codedeploy-local has it. An empty value is none.
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

/// An ETag without its quotation marks.
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
        // A key may hold a `?`: the last one begins the query, also an empty one.
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

/// What is no encoding stays as it is.
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
