//! The questions that one agent asks another outside the ledger: to read a log on
//! that host, to keep a copy of a bundle, and to say if it has one.

use std::sync::Arc;

use proto::id::{DeploymentId, Digest, GroupName, HostId};
use proto::revision::Revision;
use serde::{Deserialize, Serialize};

use crate::ask::{self, AskError};
use crate::backend::{BackendError, BackendErrorKind, LogPage, LogRequest};
use crate::bundle::bundle_store::Bundles;
use crate::host_side::HostSide;
use crate::log_page;
use crate::telemetry::chain;
use crate::transport::{AcceptedElsewhere, Handle};

/// A question as sent: JSON, because questions are rare and may get new fields.
#[derive(Debug, Serialize, Deserialize)]
enum Question {
    Log { group: GroupName, request: LogRequest },
    Hold { digest: Digest, size: u64, origin: String },
    Have { digest: Digest },
}

/// The answer to any question.
#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Log(LogPage),
    Held,
    No { not_found: bool, message: String },
}

/// Answers other hosts' questions from now on.
/// # Errors
/// If another part of this agent does so already.
pub(crate) fn serve(
    handle: &Handle,
    host_side: Arc<HostSide>,
    bundles: Bundles,
) -> Result<(), AcceptedElsewhere> {
    ask::serve_asks(handle, move |from, question| {
        let (host_side, bundles) = (host_side.clone(), bundles.clone());
        async move {
            let answer = match serde_json::from_slice(&question) {
                Ok(question) => answer(question, from, &host_side, &bundles).await,
                Err(_) => no(false, "the question is of a version that this agent does not know".into()),
            };
            serde_json::to_vec(&answer).unwrap_or_default()
        }
    })
}

async fn answer(question: Question, from: HostId, host_side: &HostSide, bundles: &Bundles) -> Answer {
    match question {
        Question::Log { group, request } => match own_log(host_side, &group, request).await {
            Ok(page) => Answer::Log(page),
            Err(error) => no(error.kind == BackendErrorKind::NotFound, error.message),
        },
        Question::Hold { digest, size, origin } => {
            match bundles.hold(&Revision { digest, size, origin }, from).await {
                Ok(()) => Answer::Held,
                Err(error) => no(false, chain(&error)),
            }
        }
        Question::Have { digest } => match own_have(host_side, digest).await {
            true => Answer::Held,
            false => no(true, format!("bundle {digest} is neither in the cache nor unpacked here")),
        },
    }
}

fn no(not_found: bool, message: String) -> Answer {
    Answer::No { not_found, message }
}

/// Reads a script log of this host.
pub(crate) async fn own_log(
    host_side: &HostSide,
    group: &GroupName,
    request: LogRequest,
) -> Result<LogPage, BackendError> {
    let Some(path) = host_side.logs(group, request.deployment).into_iter().next() else {
        return Err(no_log(request.deployment));
    };
    let read = tokio::task::spawn_blocking(move || log_page::read(&path, request.event, request.from));
    let unavailable = |message| BackendError { kind: BackendErrorKind::Unavailable, message };
    match read.await {
        Ok(Ok(page)) => Ok(page),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => Err(no_log(request.deployment)),
        Ok(Err(error)) => Err(unavailable(format!("the log cannot be read: {error}"))),
        Err(error) => Err(unavailable(format!("the log cannot be read: {error}"))),
    }
}

fn no_log(deployment: DeploymentId) -> BackendError {
    BackendError {
        kind: BackendErrorKind::NotFound,
        message: format!("no script of {deployment} has written anything on this host"),
    }
}

/// Reads a script log of another host.
pub(crate) async fn log_of(
    handle: &Handle,
    group: GroupName,
    request: LogRequest,
) -> Result<LogPage, BackendError> {
    match put(handle, request.host, &Question::Log { group, request }).await? {
        Answer::Log(page) => Ok(page),
        Answer::No { not_found, message } => {
            let kind = if not_found { BackendErrorKind::NotFound } else { BackendErrorKind::Unavailable };
            Err(BackendError { kind, message })
        }
        Answer::Held => Err(odd(request.host)),
    }
}

/// Returns true if this host has a bundle, packed or unpacked.
pub(crate) async fn own_have(host_side: &HostSide, digest: Digest) -> bool {
    let host_side = host_side.clone();
    tokio::task::spawn_blocking(move || host_side.has(&digest)).await.unwrap_or(false)
}

/// Asks if another host has a bundle. A host that does not answer, or is too old
/// to know the question, counts as one that does not.
pub(crate) async fn have(handle: &Handle, host: HostId, digest: Digest) -> bool {
    match put(handle, host, &Question::Have { digest }).await {
        Ok(Answer::Held) => true,
        Ok(Answer::No { .. } | Answer::Log(_)) | Err(_) => false,
    }
}

/// Asks a host to keep a copy of a bundle that this host has.
pub(crate) async fn hold(handle: &Handle, host: HostId, revision: &Revision) -> Result<(), BackendError> {
    let Revision { digest, size, origin } = revision.clone();
    match put(handle, host, &Question::Hold { digest, size, origin }).await? {
        Answer::Held => Ok(()),
        Answer::No { message, .. } => Err(BackendError { kind: BackendErrorKind::Unavailable, message }),
        Answer::Log(_) => Err(odd(host)),
    }
}

async fn put(handle: &Handle, host: HostId, question: &Question) -> Result<Answer, BackendError> {
    let unavailable = |message| BackendError { kind: BackendErrorKind::Unavailable, message };
    let question = serde_json::to_vec(question).map_err(|error| unavailable(error.to_string()))?;
    let answer = ask::ask(handle, host, &question).await;
    let answer = answer.map_err(|error: AskError| unavailable(chain(&error)))?;
    serde_json::from_slice(&answer).map_err(|_| odd(host))
}

fn odd(host: HostId) -> BackendError {
    BackendError {
        kind: BackendErrorKind::Unavailable,
        message: format!("{host} gave an answer that this agent does not understand"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_whose_names_are_paths_is_not_read() {
        let (host, deployment) = (HostId::from_public_key([1; 32]), DeploymentId::derive(b"one"));
        let request = LogRequest { deployment, host, event: None, from: 0 };
        let group = "web/prod".parse().expect("a name");
        let good = serde_json::to_string(&Question::Log { group, request }).expect("JSON");
        assert!(serde_json::from_str::<Question>(&good).is_ok(), "{good}");
        for path in ["../../x", "..", ".", "", "a/b"] {
            let bad = good.replace("\"web\"", &format!("\"{path}\""));
            assert_ne!(bad, good);
            assert!(serde_json::from_str::<Question>(&bad).is_err(), "{bad}");
        }
    }
}
