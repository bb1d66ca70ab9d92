//! What scripts wrote: read here, or asked of the host where they ran.

use std::io;
use std::path::Path;

use futures::future::BoxFuture;
use proto::id::{GroupName, HostId};
use proto::lifecycle::LifecycleEvent;
use serde::{Deserialize, Serialize};

use crate::ask::{ANSWER_BYTES_MAX, ask};
use crate::backend::{BackendError, BackendErrorKind, LogPage, LogRequest};
use crate::command::NodeHandle;
use crate::host_side::HostSide;
use crate::telemetry::chain;
use crate::transport::Handle;

/// As JSON a control character takes six bytes: this fits into an answer.
const PAGE_BYTES_MAX: usize = ANSWER_BYTES_MAX / 8;
/// How the agent heads the lines of an event, after the time.
const EVENT_HEAD: &str = "LifecycleEvent - ";
/// `2026-11-23 01:02:03 `
const TIME_CHARACTERS: usize = 20;

/// What another host answers.
#[derive(Serialize, Deserialize)]
enum Answer {
    Page(LogPage),
    Failed(String),
}

#[derive(Clone)]
pub(super) struct Logs {
    host_side: HostSide,
    transport: Handle,
    node: NodeHandle,
    own: HostId,
}

impl Logs {
    pub(super) fn new(host_side: HostSide, transport: Handle, node: NodeHandle, own: HostId) -> Self {
        Logs { host_side, transport, node, own }
    }

    /// A page of any host's log.
    pub(super) async fn read(self, request: LogRequest) -> Result<LogPage, BackendError> {
        if request.host == self.own {
            return self.own_page(request).await.map_err(unavailable);
        }
        let question = serde_json::to_vec(&request).map_err(|error| unavailable(error.to_string()))?;
        let answer = ask(&self.transport, request.host, &question).await;
        let answer = answer.map_err(|error| unavailable(chain(&error)))?;
        match serde_json::from_slice(&answer) {
            Ok(Answer::Page(page)) => Ok(page),
            Ok(Answer::Failed(message)) => Err(unavailable(message)),
            Err(error) => Err(unavailable(format!("the host's answer cannot be read: {error}"))),
        }
    }

    /// What other hosts are answered.
    pub(super) fn answers(
        &self,
    ) -> impl Fn(HostId, Vec<u8>) -> BoxFuture<'static, Vec<u8>> + Send + Sync + 'static {
        let logs = self.clone();
        move |_, question| {
            let logs = logs.clone();
            Box::pin(async move {
                let answer = match serde_json::from_slice::<LogRequest>(&question) {
                    Ok(request) => logs.own_page(request).await.map_or_else(Answer::Failed, Answer::Page),
                    Err(error) => Answer::Failed(format!("the question cannot be read: {error}")),
                };
                serde_json::to_vec(&answer).unwrap_or_default()
            })
        }
    }

    async fn own_page(&self, request: LogRequest) -> Result<LogPage, String> {
        let LogRequest { deployment, event, from, .. } = request;
        let group_of = move |node: &proto::node::Node| {
            node.state().rollout(deployment).map(|rollout| rollout.submission.group.clone())
        };
        let group: Option<GroupName> = self.node.read(group_of).await.map_err(|error| error.to_string())?;
        let group = group.ok_or_else(|| format!("this host knows no deployment {deployment}"))?;
        let Some(path) = self.host_side.logs(&group, deployment).into_iter().next() else {
            return Ok(LogPage { text: String::new(), next: from });
        };
        let read =
            tokio::task::spawn_blocking(move || page(&path, event, from).map_err(|error| (path, error)));
        let read = read.await.map_err(|error| error.to_string())?;
        read.map_err(|(path, error)| format!("cannot read {}: {error}", path.display()))
    }
}

/// Whole lines from the byte `from` on. Which event a line belongs to is said
/// above it, so one event's lines are found by reading from the start.
fn page(path: &Path, event: Option<LifecycleEvent>, from: u64) -> io::Result<LogPage> {
    let bytes = std::fs::read(path)?;
    let mut page = LogPage { text: String::new(), next: from };
    let mut at: u64 = 0;
    let mut is_wanted = event.is_none();
    for line in bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
        let text = String::from_utf8_lossy(line);
        if let (Some(event), Some(head)) = (event, head_of(&text)) {
            is_wanted = head == event.name();
        }
        let starts_at = at;
        at += line.len() as u64;
        if starts_at < from {
            continue;
        }
        if is_wanted && page.text.len() + text.len() > PAGE_BYTES_MAX && !page.text.is_empty() {
            break;
        }
        if is_wanted {
            page.text.push_str(&text);
        }
        page.next = at;
    }
    Ok(page)
}

/// The event that begins with this line, if one does.
fn head_of(line: &str) -> Option<&str> {
    line.get(TIME_CHARACTERS..)?.strip_prefix(EVENT_HEAD).map(str::trim)
}

fn unavailable(message: String) -> BackendError {
    BackendError { kind: BackendErrorKind::Unavailable, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
2026-11-23 01:02:03 LifecycleEvent - ApplicationStop
2026-11-23 01:02:03 [stdout]stopped
2026-11-23 01:02:04 LifecycleEvent - ApplicationStart
2026-11-23 01:02:04 [stdout]started
2026-11-23 01:02:04 [stdout]half a li";

    fn check(event: Option<LifecycleEvent>, from: u64, lines: &[&str]) -> u64 {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), LOG).expect("written");
        let page = page(file.path(), event, from).expect("a page");
        let got: Vec<&str> = page.text.lines().map(|line| &line[TIME_CHARACTERS..]).collect();
        assert_eq!(got, lines);
        page.next
    }

    #[test]
    fn a_log_is_read_in_whole_lines_and_by_event() {
        let all = [
            "LifecycleEvent - ApplicationStop",
            "[stdout]stopped",
            "LifecycleEvent - ApplicationStart",
            "[stdout]started",
        ];
        let next = check(None, 0, &all);
        assert_eq!(check(None, next, &[]), next);
        check(Some(LifecycleEvent::ApplicationStart), 0, &all[2..]);
        check(Some(LifecycleEvent::ValidateService), 0, &[]);
        let second = LOG.find('\n').expect("a line") as u64 + 1;
        check(Some(LifecycleEvent::ApplicationStop), second, &all[1..2]);
    }
}
