//! The command line's side of the API: HTTP over the agent's Unix socket.

mod events;
mod progress;
mod words;

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::api::{ErrorBody, ErrorDocument};

pub(crate) use events::{Events, Signal};
use words::{Lines, harmless};

/// The longest answer that is read: a deployment of 20,000 hosts whose turns
/// all failed with full logs.
const ANSWER_BYTES_MAX: usize = 128 * 1024 * 1024;

/// A way to an agent.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    socket: PathBuf,
    is_verbose: bool,
    is_exact: bool,
}

/// Why there is no answer, or not the one that was hoped for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error(
        "no agent answers at {}: is it running? Start it with `skein agent`, or say where it is with --api SOCKET \
         or SKEIN_API",
        socket.display()
    )]
    NotThere {
        socket: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("you may not use the agent's socket {}: try with sudo, or as a member of its group", socket.display())]
    NotAllowed { socket: PathBuf },
    #[error("the agent at {} went away before it answered; what was asked may or may not have happened", socket.display())]
    Broken {
        socket: PathBuf,
        #[source]
        cause: hyper::Error,
    },
    #[error("the agent at {} gave an answer that this skein does not understand ({problem}): are both of one version?", socket.display())]
    Unreadable { socket: PathBuf, problem: String },
    #[error("{}", .0.message)]
    Refused(ErrorBody),
}

impl ClientError {
    /// Whether the agent could not be reached, as opposed to having said no.
    pub(crate) fn is_unreachable(&self) -> bool {
        match self {
            ClientError::NotThere { .. } | ClientError::Broken { .. } => true,
            ClientError::Refused(body) => body.code == "STOPPING",
            ClientError::NotAllowed { .. } | ClientError::Unreadable { .. } => false,
        }
    }
}

impl Client {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Client { socket, is_verbose: false, is_exact: false }
    }

    /// Tells of each request on standard error.
    pub(crate) fn verbose(self, is_verbose: bool) -> Self {
        Client { is_verbose, ..self }
    }

    /// Gives answers as they are, for scripts, and not as a terminal may show them.
    pub(crate) fn exact(self, is_exact: bool) -> Self {
        Client { is_exact, ..self }
    }

    /// Where the agent is looked for.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let answer = self.ask(Method::GET, path, Bytes::new()).await?;
        self.read(answer).await
    }

    /// The same, of what is text of many lines.
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

    /// One connection a request: on a Unix socket it costs microseconds, and
    /// none is ever stale.
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
        let stream = UnixStream::connect(&self.socket).await.map_err(|cause| self.no_connection(cause))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| self.broken(e))?;
        // Its error is that of the request below.
        tokio::spawn(async move { connection.await.ok() });
        let asked = format!("{method} {path}");
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "skein")
            .header("accept", accept)
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| self.unreadable(error.to_string()))?;
        let answer = sender.send_request(request).await.map_err(|cause| self.broken(cause))?;
        if self.is_verbose {
            eprintln!("{asked}: {}", answer.status());
        }
        Ok(answer)
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

    /// The only way in for what an agent says.
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
            Ok(document) => ClientError::Refused(document.error),
            Err(_) => self.unreadable(format!("status {status} without a reason")),
        }
    }

    fn no_connection(&self, cause: io::Error) -> ClientError {
        let socket = self.socket.clone();
        if cause.kind() == io::ErrorKind::PermissionDenied {
            return ClientError::NotAllowed { socket };
        }
        ClientError::NotThere { socket, cause }
    }

    fn broken(&self, cause: hyper::Error) -> ClientError {
        ClientError::Broken { socket: self.socket.clone(), cause }
    }

    fn unreadable(&self, problem: String) -> ClientError {
        ClientError::Unreadable { socket: self.socket.clone(), problem }
    }
}

/// A text as one part of a path or a query.
pub(crate) fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests;
