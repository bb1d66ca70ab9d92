//! The operations that read.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use proto::id::{ConfigName, DeploymentId, GroupName, HostId};
use proto::io::Refusal;
use proto::lifecycle::LifecycleEvent;
use proto::node::Node;
use proto::rollout::Stage;
use serde::{Deserialize, Serialize};

use super::path::Path;
use super::seen::{seen, seen_list};
use super::{ApiError, Shared};
use crate::backend::LogRequest;
use crate::view::{
    self, ConfigView, Dated, DeploymentView, Freshness, GroupView, HistoryView, HostView, StatusView,
};

/// The default and the largest number of ledger entries in one answer.
const HISTORY_DEFAULT: usize = 1_000;
const HISTORY_MAX: usize = 100_000;

type Answer<T> = Result<Json<Dated<T>>, ApiError>;
type AnswerList<T> = Result<Json<Vec<Dated<T>>>, ApiError>;
type Asked<T> = Result<Query<T>, QueryRejection>;

/// A part of a script log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogsView {
    pub(crate) deployment: String,
    pub(crate) host: String,
    pub(crate) name: String,
    pub(crate) text: String,
    /// The value of `from` that continues the reading.
    pub(crate) next: u64,
    /// True if the host's turn is over, so that nothing more will follow.
    pub(crate) is_final: bool,
}

/// A bundle in the mesh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RevisionView {
    pub(crate) digest: String,
    pub(crate) size: u64,
    pub(crate) origin: String,
    /// Oddities of the bundle.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfGroup {
    group: Option<GroupText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryQuery {
    group: Option<GroupText>,
    limit: Option<usize>,
    #[serde(default)]
    verify: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogsQuery {
    event: Option<String>,
    #[serde(default)]
    from: u64,
}

/// A group's name in a query.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct GroupText(GroupName);

impl TryFrom<String> for GroupText {
    type Error = proto::id::NotAName;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(GroupText)
    }
}

pub(super) async fn status(State(shared): State<Shared>) -> Answer<StatusView> {
    let data_dir = shared.backend.data_dir.display().to_string();
    let addresses = shared.backend.addresses();
    let look = move |node: &Node| Ok::<_, Refusal>(view::status(node, addresses, &data_dir));
    let mut status = seen(&shared, look).await?;
    status.0.view.disk = shared.backend.disk();
    Ok(status)
}

pub(super) async fn hosts(State(shared): State<Shared>, asked: Asked<OfGroup>) -> AnswerList<HostView> {
    let group = asked?.0.group.map(|text| text.0);
    let look =
        move |node: &Node| known_group(node, group.as_ref()).map(|()| view::hosts(node, group.as_ref()));
    let mut hosts = seen_list(&shared, look).await?;
    for own in hosts.0.iter_mut().filter(|host| host.view.is_self) {
        own.view.addresses = shared.backend.addresses();
    }
    Ok(hosts)
}

pub(super) async fn groups(State(shared): State<Shared>) -> AnswerList<GroupView> {
    seen_list(&shared, |node| Ok::<_, Refusal>(view::groups(node))).await
}

pub(super) async fn group(
    State(shared): State<Shared>,
    Path((application, name)): Path<(String, String)>,
) -> Answer<GroupView> {
    let name = GroupName::new(&application, &name)?;
    seen(&shared, move |node| view::group(node, &name).ok_or(Refusal::UnknownGroup(name))).await
}

pub(super) async fn configs(State(shared): State<Shared>) -> AnswerList<ConfigView> {
    seen_list(&shared, |node| Ok::<_, Refusal>(view::configs(node.state()))).await
}

pub(super) async fn config(State(shared): State<Shared>, Path(name): Path<String>) -> Answer<ConfigView> {
    config_of(&shared, name.parse()?).await
}

/// Returns the configuration in the present state.
pub(super) async fn config_of(shared: &Shared, name: ConfigName) -> Answer<ConfigView> {
    let look = move |node: &Node| match view::config(node.state(), &name) {
        Some(view) => Ok(view),
        // It is not predefined either: the state's error lists those that exist.
        None => Err(node.state().config(&name).err().unwrap_or(Refusal::PredefinedConfig(name))),
    };
    seen(shared, look).await
}

pub(super) async fn deployments(
    State(shared): State<Shared>,
    asked: Asked<OfGroup>,
) -> AnswerList<DeploymentView> {
    let group = asked?.0.group.map(|text| text.0);
    let look = move |node: &Node| {
        known_group(node, group.as_ref()).map(|()| view::deployments(node, group.as_ref()))
    };
    seen_list(&shared, look).await
}

pub(super) async fn deployment(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Answer<DeploymentView> {
    let id: DeploymentId = id.parse()?;
    seen(&shared, move |node| view::deployment(node, id).ok_or(Refusal::UnknownDeployment(id))).await
}

/// Returns the deployment in the present state.
pub(super) async fn look_up(shared: &Shared, id: DeploymentId) -> Result<DeploymentView, ApiError> {
    let found = shared.backend.node.read(move |node| view::deployment(node, id)).await?;
    Ok(found.ok_or(Refusal::UnknownDeployment(id))?)
}

pub(super) async fn history(State(shared): State<Shared>, asked: Asked<HistoryQuery>) -> Answer<HistoryView> {
    let Query(HistoryQuery { group, limit, verify }) = asked?;
    let group = group.map(|text| text.0);
    let limit = limit.unwrap_or(HISTORY_DEFAULT).min(HISTORY_MAX);
    let look = move |node: &Node| {
        known_group(node, group.as_ref()).map(|()| view::history(node, group.as_ref(), limit, verify))
    };
    seen(&shared, look).await
}

pub(super) async fn logs(
    State(shared): State<Shared>,
    Path((id, host)): Path<(String, String)>,
    asked: Asked<LogsQuery>,
) -> Answer<LogsView> {
    let Query(LogsQuery { event, from }) = asked?;
    let deployment: DeploymentId = id.parse()?;
    let event: Option<LifecycleEvent> = event.map(|event| event.parse()).transpose()?;
    let look = move |node: &Node| (turn_of(node, deployment, &host), Freshness::of(node));
    let (turn, freshness) = shared.backend.node.read(look).await?;
    let (host, name, is_final) = turn?;
    let page = shared.backend.logs(LogRequest { deployment, host, event, from }).await?;
    let view = LogsView {
        deployment: deployment.to_string(),
        host: host.to_string(),
        name,
        // A page from before the turn's end may be followed by more.
        is_final: is_final && page.next == from,
        text: page.text,
        next: page.next,
    };
    Ok(Json(Dated { view, freshness }))
}

/// Returns the host's id, its name, and true if its turn in the deployment is over.
fn turn_of(node: &Node, deployment: DeploymentId, host: &str) -> Result<(HostId, String, bool), ApiError> {
    let state = node.state();
    let rollout = state.rollout(deployment).ok_or(Refusal::UnknownDeployment(deployment))?;
    let host = resolve(node, host)?;
    let Some(part) = state.part(deployment, host) else {
        let name = view::name_of(state, host);
        return Err(ApiError::not_found("UNKNOWN_HOST", format!("{name} has no part in {deployment}")));
    };
    let name = view::name_of(state, host);
    let is_over = rollout.status().is_over();
    if had_no_turn(&part.stage, is_over) {
        let message = format!("{name} had no turn in {deployment}: it has no log");
        return Err(ApiError::not_found("NO_TURN", message));
    }
    Ok((host, name, is_over || matches!(*part.stage, Stage::Ended { .. })))
}

/// Returns true if the host has started nothing in the deployment, and never will.
fn had_no_turn(stage: &Stage, is_over: bool) -> bool {
    match stage {
        Stage::Skipped | Stage::NotTargeted => true,
        Stage::Pending | Stage::Leased { .. } => is_over,
        Stage::Started { .. } | Stage::Ended { .. } => false,
    }
}

/// Finds the host that a user means.
pub(super) fn resolve(node: &Node, text: &str) -> Result<HostId, ApiError> {
    view::find_host(node.state(), text).map_err(|named| {
        let shown: String = text.chars().take(100).collect();
        match named.len() {
            0 => ApiError::not_found("UNKNOWN_HOST", format!("no host `{shown}`: `skein hosts` lists them")),
            _ => ambiguous(node, &shown, &named),
        }
    })
}

/// Returns the error for a name that several hosts have: their ids, with what distinguishes them.
fn ambiguous(node: &Node, name: &str, named: &[HostId]) -> ApiError {
    /// `skein hosts --json` lists them all.
    const NAMED_MAX: usize = 5;
    let one = |host: &HostId| match node.state().host(*host).and_then(|known| known.down) {
        Some(since) => format!("{host} (Down since {})", view::written(since)),
        None => format!("{host} (Up)"),
    };
    let ids: Vec<String> = named.iter().take(NAMED_MAX).map(one).collect();
    let (count, ids) = (named.len(), ids.join(", "));
    ApiError::invalid(
        "AMBIGUOUS_HOST",
        format!("{count} hosts are called `{name}`: give the id of one: {ids}"),
    )
}

fn known_group(node: &Node, group: Option<&GroupName>) -> Result<(), Refusal> {
    match group {
        Some(name) if node.state().group(name).is_none() => Err(Refusal::UnknownGroup(name.clone())),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_was_passed_over_has_no_log_and_one_still_to_come_may_get_one() {
        assert!(had_no_turn(&Stage::Skipped, true) && had_no_turn(&Stage::NotTargeted, false));
        assert!(had_no_turn(&Stage::Pending, true) && !had_no_turn(&Stage::Pending, false));
    }
}
