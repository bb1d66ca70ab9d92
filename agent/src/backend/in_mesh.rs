//! What this host asks all hosts of the mesh for clients: who has a bundle, and a script's log.

use futures::{StreamExt as _, stream};
use proto::id::{Digest, HostId};
use proto::time::LedgerTime;

use super::{BackendError, BackendErrorKind, LogPage, LogRequest};
use crate::command::NodeHandle;
use crate::host_side::HostSide;
use crate::transport::Handle;
use crate::{questions, view};

/// The number of hosts that are asked at the same time whether they have a bundle.
const ASKED_AT_ONCE: usize = 16;

pub(super) async fn have(
    transport: &Handle,
    host_side: &HostSide,
    digest: Digest,
) -> Result<bool, BackendError> {
    if questions::own_have(host_side, digest).await {
        return Ok(true);
    }
    let ask = |host| questions::have(transport, host, digest);
    let mut answers = stream::iter(transport.connected()).map(ask).buffer_unordered(ASKED_AT_ONCE);
    while let Some(has_it) = answers.next().await {
        if has_it {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) async fn logs(
    node: &NodeHandle,
    host_side: &HostSide,
    transport: &Handle,
    request: LogRequest,
) -> Result<LogPage, BackendError> {
    let deployment = request.deployment;
    let look = move |node: &proto::node::Node| {
        let group = node.state().rollout(deployment).map(|rollout| rollout.submission.group.clone());
        let name = view::name_of(node.state(), request.host);
        let down = node.state().host(request.host).and_then(|known| known.down);
        (node.host(), group, name, down)
    };
    let unavailable = |message: String| BackendError { kind: BackendErrorKind::Unavailable, message };
    let (me, group, name, down) = node.read(look).await.map_err(|error| unavailable(error.to_string()))?;
    let Some(group) = group else {
        let message = format!("no deployment {deployment}");
        return Err(BackendError { kind: BackendErrorKind::NotFound, message });
    };
    if request.host == me {
        questions::own_log(host_side, &group, request).await
    } else {
        let answer = questions::log_of(transport, group, request).await;
        answer.map_err(|error| away(error, request.host, &name, down))
    }
}

/// Rewrites an error about another host for people, who know hosts by their names.
fn away(error: BackendError, host: HostId, name: &str, down: Option<LedgerTime>) -> BackendError {
    let is_away = error.kind == BackendErrorKind::Unavailable;
    let message = match down.filter(|_| is_away) {
        Some(since) => format!("{name} cannot be reached (Down since {})", view::written(since)),
        None => error.message.replace(&host.to_string(), name),
    };
    BackendError { message, ..error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_cannot_be_asked_is_named_as_people_know_it() {
        let host = HostId::from_public_key([1; 32]);
        let error = |kind| BackendError { kind, message: format!("no way to {host}") };
        let told = |kind, down| away(error(kind), host, "web-5", down).message;
        let down = Some(LedgerTime::from_millis(0));
        let unavailable = BackendErrorKind::Unavailable;
        assert_eq!(told(unavailable, down), "web-5 cannot be reached (Down since 1970-01-01T00:00:00.000Z)");
        assert_eq!(told(unavailable, None), "no way to web-5");
        assert_eq!(told(BackendErrorKind::NotFound, down), "no way to web-5");
    }
}
