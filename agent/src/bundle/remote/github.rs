//! A commit's archive, from GitHub or a GitHub Enterprise server.

use std::path::Path;

use proto::origin::GitHubCommit;
use reqwest::Url;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use super::http::{Answer, Resource, used_up_for};
use super::{OpenError, Settings};
use crate::child_env::GITHUB_TOKEN;
use crate::private;

const API: &str = "https://api.github.com";
/// The version of the API; GitHub keeps it stable.
const API_VERSION: HeaderValue = HeaderValue::from_static("2022-11-28");
/// The longest file that is accepted as a token, in bytes.
const TOKEN_BYTES_MAX: usize = 4_096;

/// Returns the archive's resource. Only the API gets the token: it redirects to another server.
pub(super) fn resource(commit: &GitHubCommit, settings: &Settings) -> Result<Resource, OpenError> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
    headers.insert(HeaderName::from_static("x-github-api-version"), API_VERSION);
    if let Some(token) = token(settings)? {
        headers.insert(AUTHORIZATION, token);
    }
    Resource::with(address(commit, settings)?, headers, advice)
}

fn address(commit: &GitHubCommit, settings: &Settings) -> Result<Url, OpenError> {
    let configured = settings.github_api.as_ref().map(|api| ("github_api", api.clone()));
    let environment = || variable("GITHUB_API_URL").map(|api| ("GITHUB_API_URL", api));
    let (setting, api) = configured.or_else(environment).unwrap_or(("github_api", API.to_owned()));
    let GitHubCommit { owner, repository, commit, is_zip } = commit;
    let archive = if *is_zip { "zipball" } else { "tarball" };
    let url = format!("{}/repos/{owner}/{repository}/{archive}/{commit}", api.trim_end_matches('/'));
    let url: Option<Url> = url.parse().ok();
    let advice = "write https://HOST/api/v3";
    url.filter(|url| url.scheme() == "https").ok_or(OpenError::Setting { setting, value: api, advice })
}

fn token(settings: &Settings) -> Result<Option<HeaderValue>, OpenError> {
    let (setting, token) = match &settings.github_token_file {
        Some(path) => ("github_token_file", Some(read(path)?)),
        None => (GITHUB_TOKEN, variable(GITHUB_TOKEN)),
    };
    let Some(token) = token.as_deref().map(str::trim).filter(|token| !token.is_empty()) else {
        return Ok(None);
    };
    let value = "(not shown)".to_owned();
    let advice = "a token is one word of letters and digits";
    let mut header = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| OpenError::Setting {
        setting,
        value,
        advice,
    })?;
    header.set_sensitive(true);
    Ok(Some(header))
}

fn read(path: &Path) -> Result<String, OpenError> {
    let no_token = |cause| OpenError::TokenFile { path: path.to_owned(), cause };
    let text = private::open_secret(path).and_then(std::io::read_to_string).map_err(no_token)?;
    if text.len() > TOKEN_BYTES_MAX {
        return Err(no_token(std::io::Error::other("it is too long for a token")));
    }
    Ok(text)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn advice(answer: &Answer<'_>) -> String {
    if let (403 | 429, Some(wait)) = (answer.status.as_u16(), used_up_for(answer.headers)) {
        let more = if answer.had_credentials { "" } else { "; with a GITHUB_TOKEN more are allowed" };
        let minutes = wait.as_secs().div_ceil(60);
        return format!(": this hour's requests are used up, there will be more in {minutes} minutes{more}");
    }
    let words = match (answer.status.as_u16(), answer.had_credentials) {
        (404, true) => "there is no such repository or commit, or the token may not see it",
        (404, false) => {
            "there is no such repository or commit, or it is private: no token was given (GITHUB_TOKEN, or \
             github_token_file in agent.toml)"
        }
        (401, _) => "the token is wrong or has expired",
        (403, true) => "the token may not read this repository",
        (403, false) => "no token was given (GITHUB_TOKEN, or github_token_file in agent.toml)",
        _ => return String::new(),
    };
    format!(": {words}")
}
