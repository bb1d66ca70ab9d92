//! The bundle of a deployment: sent by the client, fetched from elsewhere, or already installed.

use axum::body::Bytes;
use axum::extract::{FromRequest as _, Request, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use proto::id::{Digest, GroupName};
use proto::io::Refusal;
use proto::node::Node;
use proto::policy::Policy;
use proto::revision::Revision;

use super::read::RevisionView;
use super::write::{PushBody, parse};
use super::{ApiError, Shared, archive_body};
use crate::backend::Brought;
use crate::bundle::source::Source;
use crate::bundle::transfer_progress::Progress;

pub(super) async fn push(
    State(shared): State<Shared>,
    Extension(progress): Extension<Progress>,
    request: Request,
) -> Result<(StatusCode, Json<RevisionView>), ApiError> {
    let Brought { revision, warnings } = match archive_body::of(&request)? {
        Some(origin) => shared.backend.take(archive_body::archive(request, origin)).await?,
        None => {
            let PushBody { source } = parse(Bytes::from_request(request, &()).await)?;
            bring(&shared, source, progress).await?
        }
    };
    let (digest, size, origin) = (revision.digest.to_string(), revision.size, revision.origin);
    Ok((StatusCode::CREATED, Json(RevisionView { digest, size, origin, warnings })))
}

/// Returns the revision to deploy, or to restart.
pub(super) async fn wanted_revision(
    shared: &Shared,
    group: &GroupName,
    policy: &Policy,
    wanted: Wanted,
    progress: Progress,
) -> Result<Brought, ApiError> {
    match policy.kind().installs() {
        true => revision_of(shared, wanted, progress).await,
        false => installed(shared, group, wanted.source.or(wanted.digest)).await.map(Brought::from),
    }
}

/// A bundle, as the request names it.
pub(super) struct Wanted {
    pub(super) source: Option<String>,
    pub(super) digest: Option<String>,
    pub(super) origin: Option<String>,
}

/// Returns the revision that a restart uses: the group's last good one.
async fn installed(shared: &Shared, group: &GroupName, source: Option<String>) -> Result<Revision, ApiError> {
    if source.is_some() {
        let message = "a restart brings no bundle: leave source and digest out, or mode = RESTART";
        return Err(ApiError::invalid("INVALID_BODY", message.into()));
    }
    let name = group.clone();
    let look = move |node: &Node| {
        let good = node.state().group(&name).and_then(|group| group.good.last());
        good.map(|good| good.revision.clone()).ok_or(Refusal::NothingToRestart(name))
    };
    Ok(shared.backend.node.read(look).await??)
}

async fn revision_of(shared: &Shared, wanted: Wanted, progress: Progress) -> Result<Brought, ApiError> {
    let Wanted { source, digest, origin } = wanted;
    match (source, digest) {
        (Some(source), None) => bring(shared, source, progress).await,
        (None, Some(digest)) => {
            let digest: Digest = digest.parse()?;
            let mut brought = shared.backend.bring(digest.to_string(), progress).await?;
            if let Some(origin) = origin {
                brought.revision.origin = archive_body::origin(origin)?;
            }
            Ok(brought)
        }
        (Some(_), Some(_)) | (None, None) => {
            Err(ApiError::invalid("INVALID_BODY", "say what to deploy: either `source` or `digest`".into()))
        }
    }
}

/// Fetches a bundle from elsewhere. The agent can read more files than its
/// clients may, so it opens no path for them.
async fn bring(shared: &Shared, source: String, progress: Progress) -> Result<Brought, ApiError> {
    if let Ok(Source::Path(path)) = source.parse() {
        let message = format!(
            "the agent opens no files for its clients, so it does not read `{}`: `skein push` and `skein deploy` \
             send a bundle themselves; a script sends the archive as the body of POST /v1/bundles, with \
             `content-type: {}`, and then deploys its digest",
            path.display(),
            archive_body::ARCHIVE
        );
        return Err(ApiError::invalid("LOCAL_PATH", message));
    }
    Ok(shared.backend.bring(source, progress).await?)
}
