//! Checks the host names that the API answers to on TCP. Without this check, a web page could point a
//! name of its own at this address, send a visitor's browser here, and read the answer (DNS rebinding).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::ApiError;

/// The names in `http_hosts`, in lower case.
pub(super) type Names = Arc<BTreeSet<String>>;

/// Passes on a request to a literal IP address, `localhost` or one of the names; refuses others.
pub(super) async fn refuse(State(names): State<Names>, request: Request, next: Next) -> Response {
    let told = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let told = request.uri().authority().map(Authority::as_str).or(told).unwrap_or_default();
    if is_ours(told, &names) {
        return next.run(request).await;
    }
    let name: String = told.chars().take(100).filter(|letter| !letter.is_control()).collect();
    let message = format!(
        "this agent does not answer to the host name `{name}`: use its IP address, or add the name to \
         `http_hosts` in its agent.toml"
    );
    ApiError::misdirected(message).into_response()
}

fn is_ours(told: &str, names: &BTreeSet<String>) -> bool {
    let Ok(authority) = told.parse::<Authority>() else { return false };
    let host = authority.host().trim_end_matches('.').to_ascii_lowercase();
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    literal.parse::<IpAddr>().is_ok() || host == "localhost" || names.contains(&host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_localhost_and_configured_names_are_ours() {
        let names = BTreeSet::from(["metrics.example".to_string()]);
        let ours = ["127.0.0.1:7718", "10.0.0.1", "[::1]:80", "[2001:db8::1]", "localhost:7718", "LOCALHOST"];
        for told in ours.into_iter().chain(["metrics.example", "Metrics.Example.:7718"]) {
            assert!(is_ours(told, &names), "{told}");
        }
        for told in
            ["", "evil.example", "evil.example:7718", "127.0.0.1.evil.example", "localhost.evil", "a b"]
        {
            assert!(!is_ours(told, &names), "{told}");
        }
    }
}
