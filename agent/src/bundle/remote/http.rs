//! A resource at an `https://` address.

use std::fmt;
use std::time::Duration;

use reqwest::header::{
    ACCEPT_RANGES, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, IF_RANGE, RANGE, RETRY_AFTER,
};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Response, StatusCode, Url};

use super::{Again, Body, CONNECT_MAX, OpenError, Opened, Resume, SILENCE_MAX, again, content_range};
use crate::bundle::source::WebAddress;

/// The most redirects to follow.
const REDIRECTS_MAX: usize = 5;

/// A resource of a web server.
pub(in crate::bundle) struct Resource {
    client: Client,
    url: Url,
    headers: HeaderMap,
    /// Returns the advice to add to a message about a status.
    advice: fn(&Answer<'_>) -> String,
}

/// The status and headers of a server's refusal.
pub(super) struct Answer<'a> {
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    /// True if the request had a token or a password.
    pub(super) had_credentials: bool,
}

/// The reason why a redirect is not followed.
#[derive(Debug)]
enum Refusal {
    Insecure(String),
    TooMany,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Insecure(to) => write!(f, "it sends us on to {to}, which is not https://"),
            Refusal::TooMany => write!(f, "too many redirects: at most {REDIRECTS_MAX} are followed"),
        }
    }
}

impl std::error::Error for Refusal {}

impl Resource {
    pub(super) fn new(url: Url) -> Result<Resource, OpenError> {
        Resource::with(url, HeaderMap::new(), advice)
    }

    /// Creates a resource with extra headers; secret ones go only to the first server.
    pub(super) fn with(
        url: Url,
        headers: HeaderMap,
        advice: fn(&Answer<'_>) -> String,
    ) -> Result<Resource, OpenError> {
        let client = Client::builder()
            .https_only(true)
            .redirect(Policy::custom(follow))
            .connect_timeout(CONNECT_MAX)
            .read_timeout(SILENCE_MAX)
            // The downloader retries, and knows when to stop.
            .retry(reqwest::retry::never())
            .referer(false)
            .user_agent(concat!("skein/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|cause| OpenError::Refused {
                whom: "web servers".into(),
                advice: ": is SSL_CERT_FILE, or a proxy variable, what it should be?",
                cause: cause.into(),
            })?;
        Ok(Resource { client, url, headers, advice })
    }

    pub(super) async fn open(&self, from: Option<&Resume>) -> Result<Opened, OpenError> {
        let mut request = self.client.get(self.url.clone()).headers(self.headers.clone());
        if let Some(Resume { byte, tag }) = from {
            request = request.header(RANGE, format!("bytes={byte}-")).header(IF_RANGE, tag);
        }
        let answer = request.send().await.map_err(|error| self.unreachable(error))?;
        match answer.status() {
            StatusCode::OK => Ok(whole(answer)),
            StatusCode::PARTIAL_CONTENT => self.rest(answer, from),
            // The part on disk is longer than what is there now.
            StatusCode::RANGE_NOT_SATISFIABLE if from.is_some() => Err(self.status(&answer, Again::Later)),
            status => {
                let after = text(answer.headers(), RETRY_AFTER);
                let after = after.as_deref();
                // GitHub's secondary rate limit is a 403 that says when to retry.
                let again = match status.as_u16() {
                    403 if after.is_some() => again(429, after),
                    status => again(status, after),
                };
                Err(self.status(&answer, again))
            }
        }
    }

    fn rest(&self, answer: Response, from: Option<&Resume>) -> Result<Opened, OpenError> {
        let odd = |problem| OpenError::Odd { whom: host(answer.url()), problem };
        let range = text(answer.headers(), CONTENT_RANGE);
        let Some((start, total)) = range.as_deref().and_then(content_range) else {
            return Err(odd("a part, without a word which"));
        };
        match from {
            Some(from) if from.byte == start => {}
            Some(_) | None => return Err(odd("another part than was asked for")),
        }
        let tag = strong_tag(answer.headers());
        Ok(Opened { start, total: Some(total), tag, body: Body::Http(answer) })
    }

    fn status(&self, answer: &Response, again: Again) -> OpenError {
        let (status, headers) = (answer.status(), answer.headers());
        let had_credentials =
            !self.url.username().is_empty() || self.headers.contains_key(reqwest::header::AUTHORIZATION);
        let advice = (self.advice)(&Answer { status, headers, had_credentials });
        OpenError::Status { whom: host(answer.url()), status: status.to_string(), advice, again }
    }

    fn unreachable(&self, error: reqwest::Error) -> OpenError {
        let whom = host(error.url().unwrap_or(&self.url));
        let error = error.without_url();
        let is_certificate = crate::telemetry::chain(&error).contains("certificate");
        if error.is_redirect() {
            return OpenError::Refused { whom, advice: "", cause: error.into() };
        }
        if is_certificate {
            let advice = ": if its certificate is of your own authority, name that in SSL_CERT_FILE";
            return OpenError::Refused { whom, advice, cause: error.into() };
        }
        OpenError::Unreachable { whom, cause: error.into() }
    }
}

/// Returns the address without its password and query.
fn host(url: &Url) -> String {
    WebAddress::shown(url)
}

fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    if attempt.url().scheme() != "https" {
        let to = WebAddress::shown(attempt.url());
        return attempt.error(Refusal::Insecure(to));
    }
    if attempt.previous().len() > REDIRECTS_MAX {
        return attempt.error(Refusal::TooMany);
    }
    attempt.follow()
}

fn whole(answer: Response) -> Opened {
    let can_resume = text(answer.headers(), ACCEPT_RANGES).is_none_or(|ranges| ranges != "none");
    let tag = strong_tag(answer.headers()).filter(|_| can_resume);
    Opened { start: 0, total: answer.content_length(), tag, body: Body::Http(answer) }
}

/// Returns the `ETag` unless it is weak: a weak one does not promise the same bytes.
fn strong_tag(headers: &HeaderMap) -> Option<String> {
    text(headers, ETAG).filter(|tag| tag.starts_with('"'))
}

pub(super) fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn advice(answer: &Answer<'_>) -> String {
    let words = match (answer.status.as_u16(), answer.had_credentials) {
        (404 | 410, _) => "there is nothing at this address",
        (401 | 403, true) => "the name and password in the address, or its signature, are not taken",
        (401 | 403, false) => {
            "it wants to know who asks: write https://NAME:PASSWORD@HOST/…, or a signed address"
        }
        (407, _) => "the proxy wants a password: write it into HTTPS_PROXY as http://NAME:PASSWORD@HOST:PORT",
        _ => return String::new(),
    };
    format!(": {words}")
}

/// Returns the time until GitHub allows requests again, if the hour's requests are used up.
pub(super) fn used_up_for(headers: &HeaderMap) -> Option<Duration> {
    let left = text(headers, HeaderName::from_static("x-ratelimit-remaining"))?;
    let reset: i64 = text(headers, HeaderName::from_static("x-ratelimit-reset"))?.parse().ok()?;
    let wait = reset.saturating_sub(jiff::Timestamp::now().as_second()).max(0);
    (left == "0").then(|| Duration::from_secs(wait.unsigned_abs()))
}
