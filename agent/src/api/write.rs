//! The operations that change something.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::{Extension, Json};
use proto::id::{ConfigName, DeploymentId, Digest, GroupName};
use proto::io::{self, Accepted, DeployRequest, Refusal, Request};
use proto::node::Node;
use proto::policy::Policy;
use proto::revision::Revision;
use proto::statement::Intent;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::path::Path;
use super::peer::Who;
use super::read::{look_up, resolve};
use super::wanted::{Wanted, wanted_revision};
use super::{ApiError, Shared};
use crate::backend::Brought;
use crate::bundle::transfer_progress::Progress;
use crate::group_file::{ConfigFile, GroupFile, GroupFileError, with_overrides};
use crate::toml_file::with_suggestion;
use crate::view::{self, ConfigView, Dated, DeploymentView, GroupView, PlanView, Planned};

pub(super) type Body = Result<Bytes, BytesRejection>;
type Submitted = Result<(StatusCode, Json<DeploymentView>), ApiError>;

/// The body of `POST /v1/deployments`: the group, and `source` or `digest`, or
/// neither with `mode = RESTART` among the overrides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeployBody {
    pub(crate) group: String,
    /// A remote SOURCE: S3, GitHub, the web, or a digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
    /// The digest of a bundle that is in the mesh already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
    /// The origin of a bundle that the client sent, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) origin: Option<String>,
    #[serde(default)]
    pub(crate) description: String,
    /// Settings by their keys in a group file's `[deployment]`.
    #[serde(default)]
    pub(crate) overrides: BTreeMap<String, String>,
    /// True to wait behind a running deployment instead of being refused.
    #[serde(default)]
    pub(crate) queue: bool,
}

/// The body of `POST /v1/plan`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlanBody {
    pub(crate) group: String,
    /// As in [`DeployBody`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
    /// As in [`DeployBody`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
    /// As in [`DeployBody`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) origin: Option<String>,
    #[serde(default)]
    pub(crate) overrides: BTreeMap<String, String>,
    /// As in [`DeployBody`].
    #[serde(default)]
    pub(crate) queue: bool,
}

/// The body of `POST /v1/deployments/check`: a deployment's group and policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckBody {
    pub(crate) group: String,
    #[serde(default)]
    pub(crate) overrides: BTreeMap<String, String>,
}

/// The body of `POST /v1/bundles`, if it is not an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PushBody {
    pub(crate) source: String,
}

/// The body of `POST /v1/deployments/{id}/stop`; if it is empty, both are false.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StopBody {
    #[serde(default)]
    pub(crate) rollback: bool,
    /// True to cut running events short, too.
    #[serde(default)]
    pub(crate) now: bool,
}

/// The body of `POST /v1/groups/{application}/{name}/rollback`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RollbackBody {
    /// A digest or its first digits. `None` means the last good revision before the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
    /// As in [`DeployBody`].
    #[serde(default)]
    pub(crate) overrides: BTreeMap<String, String>,
}

pub(super) async fn set_group(
    State(shared): State<Shared>,
    Path((application, name)): Path<(String, String)>,
    body: Body,
) -> Result<Json<GroupView>, ApiError> {
    let file: GroupFile = parse(body)?;
    let group = file.group()?;
    let name = GroupName::new(&application, &name)?;
    if group.name != name {
        let message = format!("the path names group {name}, the body {}", group.name);
        return Err(ApiError::invalid("INVALID_GROUP", message));
    }
    request(&shared, Request::Intent(Intent::SetGroup(group))).await?;
    let look = move |node: &Node| view::group(node, &name).ok_or(Refusal::UnknownGroup(name));
    Ok(Json(shared.backend.node.read(look).await??))
}

pub(super) async fn delete_group(
    State(shared): State<Shared>,
    Path((application, name)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let name = GroupName::new(&application, &name)?;
    request(&shared, Request::Intent(Intent::DeleteGroup(name.clone()))).await?;
    Ok(Json(serde_json::json!({ "deleted": name.to_string() })))
}

pub(super) async fn remove_host(
    State(shared): State<Shared>,
    Path(host): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let host = shared.backend.node.read(move |node| resolve(node, &host)).await??;
    // Look first: the removal ends its turn.
    let counted_in = shared.backend.node.read(move |node| view::waiting_for(node.state(), host)).await?;
    request(&shared, Request::Intent(Intent::RemoveHost(host))).await?;
    let mut answer = serde_json::json!({ "removed": host.to_string() });
    if !counted_in.is_empty() {
        answer["counted_in"] = counted_in.into();
    }
    Ok(Json(answer))
}

pub(super) async fn plan(
    State(shared): State<Shared>,
    Extension(progress): Extension<Progress>,
    body: Body,
) -> Result<Json<PlanView>, ApiError> {
    let PlanBody { group, source, digest, origin, overrides, queue } = parse(body)?;
    let wanted_bundle = Wanted { source, digest, origin };
    let (group, policy) = policy_of(&shared, group.parse()?, Policy::clone, &overrides).await?;
    let (name, wanted) = (group.clone(), policy.clone());
    let is_refused = move |node: &Node| node.state().check_policy(&name, &wanted).is_err();
    let Brought { revision, warnings } = match shared.backend.node.read(is_refused).await? {
        // A refused policy needs no bundle, so none is fetched.
        true => Revision { digest: Digest([0; 32]), size: 0, origin: String::new() }.into(),
        false => wanted_revision(&shared, &group, &policy, wanted_bundle, progress).await?,
    };
    let request = DeployRequest {
        group,
        revision,
        policy: None,
        description: String::new(),
        holders: vec![],
        queue,
        by: String::new(),
    };
    let wish = io::submission(request, DeploymentId::derive(b"a plan"), policy);
    let look = move |node: &Node| {
        Planned::of(node.state(), wish).map(|planned| planned.without_majority(node.no_majority()))
    };
    let planned = shared.backend.node.read(look).await??;
    let view = tokio::task::spawn_blocking(move || planned.view()).await;
    let mut view = view.map_err(|error| ApiError::ours(format!("the plan was not worked out: {error}")))?;
    view.warnings = warnings;
    Ok(Json(view))
}

pub(super) async fn deploy(
    State(shared): State<Shared>,
    Extension(progress): Extension<Progress>,
    who: Who,
    body: Body,
) -> Submitted {
    let DeployBody { group, source, digest, origin, description, overrides, queue } = parse(body)?;
    // Check the group first: a mistyped name must not cost an upload.
    let (group, policy) = policy_of(&shared, group.parse()?, Policy::clone, &overrides).await?;
    let (name, wanted) = (group.clone(), policy.clone());
    shared.backend.node.read(move |node| node.state().check_policy(&name, &wanted)).await??;
    let wanted = Wanted { source, digest, origin };
    let brought = wanted_revision(&shared, &group, &policy, wanted, progress).await?;
    let Brought { revision, warnings } = brought;
    let own = shared.backend.node.read(Node::host).await?;
    let by = signed(&shared, who).await?;
    let policy = (!overrides.is_empty()).then_some(policy);
    let deploy = DeployRequest { group, revision, policy, description, holders: vec![own], queue, by };
    let accepted = request(&shared, Request::Deploy(Box::new(deploy))).await?;
    let (status, Json(view)) = submitted(&shared, accepted).await?;
    Ok((status, Json(DeploymentView { warnings, ..view })))
}

/// Checks a deployment's group and policy. Clients call this before they send a
/// bundle, because a mistyped name must not cost an upload.
pub(super) async fn check(State(shared): State<Shared>, body: Body) -> Result<Json<Value>, ApiError> {
    let CheckBody { group, overrides } = parse(body)?;
    let (group, policy) = policy_of(&shared, group.parse()?, Policy::clone, &overrides).await?;
    let name = group.clone();
    shared.backend.node.read(move |node| node.state().check_policy(&name, &policy)).await??;
    Ok(Json(serde_json::json!({ "group": group.to_string() })))
}

pub(super) async fn rollback(
    State(shared): State<Shared>,
    who: Who,
    Path((application, name)): Path<(String, String)>,
    body: Body,
) -> Submitted {
    let RollbackBody { to, overrides } = parse(body)?;
    let group = GroupName::new(&application, &name)?;
    // Overrides apply to the rollback as well, even a canary.
    let (group, policy) = policy_of(&shared, group, Policy::of_rollback, &overrides).await?;
    if !policy.kind().installs() || policy.outdated_only {
        let message = "a rollback installs a revision where it is not: leave out mode and outdated_only";
        return Err(ApiError::invalid("INVALID_OVERRIDE", message.into()));
    }
    let policy = (!overrides.is_empty()).then(|| Box::new(policy));
    let wanted = group.clone();
    let look = move |node: &Node| {
        let known = node.state().group(&wanted).ok_or_else(|| Refusal::UnknownGroup(wanted.clone()))?;
        let to = to.map(|text| view::find_revision(known, &text)).transpose()?;
        Ok::<_, ApiError>(node.way_back_to(&wanted, to)?)
    };
    let digest = shared.backend.node.read(look).await??.digest;
    if !shared.backend.have(digest).await? {
        return Err(ApiError::revision_missing(format!(
            "no host that can be reached has revision {digest} any longer, packed or unpacked: `skein push SOURCE` \
             brings a bundle into the mesh"
        )));
    }
    let by = signed(&shared, who).await?;
    let accepted = request(&shared, Request::Rollback { group, to: Some(digest), policy, by }).await?;
    submitted(&shared, accepted).await
}

pub(super) async fn stop(
    State(shared): State<Shared>,
    who: Who,
    Path(id): Path<String>,
    body: Body,
) -> Result<Json<DeploymentView>, ApiError> {
    let StopBody { rollback, now } = parse(body)?;
    let deployment: DeploymentId = id.parse()?;
    let by = signed(&shared, who).await?;
    request(&shared, Request::Intent(Intent::Stop { deployment, rollback, now, by })).await?;
    Ok(Json(look_up(&shared, deployment).await?))
}

pub(super) async fn set_config(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Dated<ConfigView>>, ApiError> {
    let file: ConfigFile = parse(body)?;
    let config = file.config()?;
    if config.name.as_str() != name {
        let message = format!("the path names configuration {name}, the body {}", config.name);
        return Err(ApiError::invalid("INVALID_CONFIG", message));
    }
    let name = config.name.clone();
    request(&shared, Request::Intent(Intent::SetConfig(config))).await?;
    super::read::config_of(&shared, name).await
}

pub(super) async fn delete_config(
    State(shared): State<Shared>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let name: ConfigName = name.parse()?;
    request(&shared, Request::Intent(Intent::DeleteConfig(name.clone()))).await?;
    Ok(Json(serde_json::json!({ "deleted": name.to_string() })))
}

/// Returns the person who asks, as the kernel knows them, and the host.
pub(super) async fn signed(shared: &Shared, who: Who) -> Result<String, ApiError> {
    let host = shared.backend.node.read(|node: &Node| node.config().name.clone()).await?;
    Ok(format!("{} on {host}", who.name))
}

pub(super) async fn request(shared: &Shared, request: Request) -> Result<Accepted, ApiError> {
    Ok(shared.backend.node.request(request).await??)
}

async fn submitted(shared: &Shared, accepted: Accepted) -> Submitted {
    match accepted {
        Accepted::Deployment(id) => Ok((StatusCode::CREATED, Json(look_up(shared, id).await?))),
        Accepted::Done => Err(ApiError::ours("a deployment was accepted without an id".into())),
    }
}

/// Returns the group, and the policy that `made` derives from its policy, with the overrides applied.
async fn policy_of(
    shared: &Shared,
    name: GroupName,
    made: fn(&Policy) -> Policy,
    overrides: &BTreeMap<String, String>,
) -> Result<(GroupName, Policy), ApiError> {
    let (wanted, overrides) = (name.clone(), overrides.clone());
    let look = move |node: &Node| {
        let state = node.state();
        let known = state.group(&wanted).ok_or(Refusal::UnknownGroup(wanted))?;
        let policy = made(&state.policy_of(&known.group)?);
        with_overrides(&policy, &overrides, &|name| Ok(state.config(name)?.clone()))
    };
    let policy = shared.backend.node.read(look).await?.map_err(|error| {
        if let GroupFileError::Refused(refusal) = error {
            // The override is valid, but this mesh refuses it.
            let is_unknown_config = matches!(refusal, Refusal::UnknownConfig { .. });
            let error = ApiError::from(refusal);
            return if is_unknown_config { error.refused() } else { error };
        }
        let is_refused = error.is_of_policy();
        let invalid = ApiError::invalid("INVALID_OVERRIDE", error.to_string());
        if is_refused { invalid.refused() } else { invalid }
    })?;
    Ok((name, policy))
}

/// Parses a body; an empty one stands for an empty object.
pub(super) fn parse<T: DeserializeOwned>(body: Body) -> Result<T, ApiError> {
    let body = body?;
    let body = if body.is_empty() { &b"{}"[..] } else { &body[..] };
    // serde would accept an array as the fields in order. A client that sends one has made a mistake.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(ApiError::invalid("INVALID_BODY", "the body: an object is expected".into()));
    }
    serde_json::from_slice(body).map_err(|error| {
        ApiError::invalid("INVALID_BODY", format!("the body: {}", with_suggestion(&error.to_string())))
    })
}
