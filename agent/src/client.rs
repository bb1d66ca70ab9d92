//! The command line's client of the API: HTTP over the agent's Unix socket.

mod event_stream;
mod push_progress;
mod sending;
mod sockets;
mod words;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::http::request::Builder;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::{BY, ErrorBody, ErrorDocument, FRESHNESS};
use crate::view::Freshness;

pub(crate) use event_stream::{Events, Signal};
pub(crate) use sending::Pieces;
use sockets::{Sockets, allowed};
use words::{Lines, harmless};

/// The time in which an agent answers a read: milliseconds, or some seconds on a
/// busy machine. An agent that takes longer is suspended, or hangs.
const READ_WITHIN: Duration = Duration::from_secs(60);
/// The longest answer to read, in bytes: a deployment of 20,000 hosts whose turns
/// all failed with full logs.
const ANSWER_BYTES_MAX: usize = 128 * 1024 * 1024;

/// A client of an agent.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    sockets: Sockets,
    is_verbose: bool,
    is_exact: bool,
    /// The freshness of the last answer; shared by all clones.
    freshness: Arc<Mutex<Freshness>>,
}

/// The reason why there is no answer, or only an error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error(
        "no agent answers at {sockets}: is it running? Start it with `skein agent`, or say where it is with --api \
         SOCKET or SKEIN_API"
    )]
    NotThere {
        sockets: Sockets,
        #[source]
        cause: io::Error,
    },
    #[error("you may not use the agent's socket {}: {}", socket.display(), allowed(socket))]
    NotAllowed { socket: PathBuf },
    #[error("the agent at {} went away before it answered; what was asked may or may not have happened", socket.display())]
    Broken {
        socket: PathBuf,
        #[source]
        cause: hyper::Error,
    },
    #[error("the agent at {} has not answered for {} s: it is suspended or hangs; see its log, or restart it", socket.display(), READ_WITHIN.as_secs())]
    Silent { socket: PathBuf },
    #[error("the agent at {} gave an answer that this skein does not understand ({problem}): are both of one version?", socket.display())]
    Unreadable { socket: PathBuf, problem: String },
    #[error("{}", .0.message)]
    Refused(ErrorBody),
}

impl ClientError {
    /// Returns true if the agent could not be reached, rather than having refused.
    pub(crate) fn is_unreachable(&self) -> bool {
        match self {
            ClientError::NotThere { .. } | ClientError::Broken { .. } | ClientError::Silent { .. } => true,
            ClientError::Refused(body) => body.code == "STOPPING",
            ClientError::NotAllowed { .. } | ClientError::Unreadable { .. } => false,
        }
    }
}

impl Client {
    /// Creates a client of the agent at this socket.
    pub(crate) fn new(socket: PathBuf) -> Self {
        Client::of(vec![socket])
    }

    /// Creates a client of the first of these sockets at which an agent answers.
    pub(crate) fn of(sockets: Vec<PathBuf>) -> Self {
        let sockets = Sockets(sockets);
        Client { sockets, is_verbose: false, is_exact: false, freshness: Arc::default() }
    }

    /// Sets if each request is reported on standard error.
    pub(crate) fn verbose(self, is_verbose: bool) -> Self {
        Client { is_verbose, ..self }
    }

    /// Sets if answers are returned unchanged, for scripts, rather than made safe for a terminal.
    pub(crate) fn exact(self, is_exact: bool) -> Self {
        Client { is_exact, ..self }
    }

    /// Returns the freshness of the last answer.
    pub(crate) fn freshness(&self) -> Freshness {
        self.freshness.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the socket at which the agent probably is.
    pub(crate) fn socket(&self) -> PathBuf {
        self.sockets.likely()
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let answer = self.ask(Method::GET, path, Bytes::new()).await?;
        self.read(answer).await
    }

    /// Does the same for an answer that is text of many lines.
    pub(crate) async fn get_lines<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let answer = self.ask(Method::GET, path, Bytes::new()).await?;
        self.read_as(answer, Lines::Many).await
    }

    pub(crate) async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let answer = self.ask(Method::DELETE, path, Bytes::new()).await?;
        self.read(answer).await
    }

    pub(crate) async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let answer = self.ask(Method::PUT, path, self.encode(body)?).await?;
        self.read(answer).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let answer = self.ask(Method::POST, path, self.encode(body)?).await?;
        self.read(answer).await
    }

    fn encode(&self, body: &impl Serialize) -> Result<Bytes, ClientError> {
        serde_json::to_vec(body).map(Bytes::from).map_err(|error| self.unreadable(error.to_string()))
    }

    /// Sends a request on a connection of its own: on a Unix socket that costs
    /// microseconds, and no connection is ever stale.
    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, ClientError> {
        self.ask_for(method, path, body, "application/json").await
    }

    async fn ask_for(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        accept: &str,
    ) -> Result<Response<Incoming>, ClientError> {
        let request = Request::builder().method(method).uri(path).header("accept", accept);
        let body = Full::new(body).map_err(|never| match never {}).boxed();
        self.send(request.header("content-type", "application/json"), body).await
    }

    async fn send(
        &self,
        request: Builder,
        body: BoxBody<Bytes, io::Error>,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = self.sockets.connect().await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| self.broken(e))?;
        // The request below returns the connection's error.
        tokio::spawn(async move { connection.await.ok() });
        let request = request.header("host", "skein").header(BY, user()).body(body);
        let request = request.map_err(|error| self.unreadable(error.to_string()))?;
        let asked = format!("{} {}", request.method(), request.uri().path());
        let is_read = request.method() == Method::GET;
        let answer = sender.send_request(request);
        // A write may take long: the agent downloads, or waits until most voters have the entry.
        let answer = if is_read {
            let answer = tokio::time::timeout(READ_WITHIN, answer).await;
            answer.map_err(|_| ClientError::Silent { socket: self.socket() })?
        } else {
            answer.await
        };
        let answer = answer.map_err(|cause| self.broken(cause))?;
        if self.is_verbose {
            eprintln!("{asked}: {}", answer.status());
        }
        self.note_freshness(&answer);
        Ok(answer)
    }

    fn note_freshness(&self, answer: &Response<Incoming>) {
        let said = answer.headers().get(FRESHNESS);
        let said = said.and_then(|said| self.parse(said.as_bytes(), Lines::One).ok()).unwrap_or_default();
        *self.freshness.lock().unwrap_or_else(PoisonError::into_inner) = said;
    }

    async fn read<T: DeserializeOwned>(&self, answer: Response<Incoming>) -> Result<T, ClientError> {
        self.read_as(answer, Lines::One).await
    }

    async fn read_as<T: DeserializeOwned>(
        &self,
        answer: Response<Incoming>,
        lines: Lines,
    ) -> Result<T, ClientError> {
        let status = answer.status();
        let body = self.collect(answer).await?;
        if !status.is_success() {
            return Err(self.refusal(status, &body));
        }
        self.parse(&body, lines).map_err(|error| self.unreadable(error.to_string()))
    }

    /// Parses an answer. All data from an agent enters here.
    fn parse<T: DeserializeOwned>(&self, text: &[u8], lines: Lines) -> serde_json::Result<T> {
        if self.is_exact {
            return serde_json::from_slice(text);
        }
        let mut value = serde_json::from_slice(text)?;
        harmless(&mut value, lines);
        serde_json::from_value(value)
    }

    async fn collect(&self, answer: Response<Incoming>) -> Result<Bytes, ClientError> {
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
            Ok(cause) => self.broken(*cause),
            Err(other) => self.unreadable(other.to_string()),
        })?;
        Ok(body.to_bytes())
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> ClientError {
        match self.parse::<ErrorDocument>(body, Lines::Many) {
            Ok(ErrorDocument { mut error }) => {
                // A missing object may only be too new for an old view.
                if let (StatusCode::NOT_FOUND, Some(why)) = (status, self.freshness().stalled) {
                    error.message.push_str(&format!("\n{}", why.message));
                }
                ClientError::Refused(error)
            }
            Err(_) => self.unreadable(format!("status {status} without a reason")),
        }
    }

    fn broken(&self, cause: hyper::Error) -> ClientError {
        ClientError::Broken { socket: self.socket(), cause }
    }

    fn unreadable(&self, problem: String) -> ClientError {
        ClientError::Unreadable { socket: self.socket(), problem }
    }
}

/// Returns the user at the keyboard, for the history; under `sudo`, the user who called it.
pub(crate) fn user() -> String {
    let name = || nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|user| user.name);
    let user = std::env::var("SUDO_USER").ok().filter(|user| !user.is_empty()).or_else(name);
    // The name goes into a header.
    let is_plain = |user: &String| user.bytes().all(|byte| byte.is_ascii_graphic());
    user.filter(is_plain).unwrap_or_else(|| format!("uid {}", nix::unistd::getuid()))
}

#[cfg(test)]
mod tests;
