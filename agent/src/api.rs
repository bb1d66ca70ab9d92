//! The HTTP and JSON API: the only interface of the command line, of users' scripts and of dashboards.
//!
//! The Unix socket offers everything; the file's permissions decide who may use
//! it. TCP, where nothing shows who asks, only answers reads.

mod archive_body;
mod error;
mod events;
mod limit;
mod listen;
mod metrics;
mod misdirected;
mod openapi;
mod over_tcp;
mod path;
mod peer;
mod progress;
mod read;
mod recovery;
mod seen;
mod wanted;
mod watches;
mod write;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::Method;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

use crate::backend::Backend;

pub(crate) use archive_body::{ARCHIVE, ORIGIN};
pub(crate) use error::{ApiError, ErrorBody, ErrorDocument};
use limit::Limited;
pub(crate) use listen::ApiSocket;
pub(crate) use peer::BY;
use peer::Peer;
#[cfg(test)]
pub(crate) use progress::TOLD_EVERY;
pub(crate) use progress::{ANSWER, AnswerEvent, PROGRESS};
pub(crate) use read::{LogsView, RevisionView};
pub(crate) use recovery::RecoverBody;
pub(crate) use seen::FRESHNESS;
pub(crate) use watches::{AlarmBody, FreezeBody, parse_until};
pub(crate) use write::{CheckBody, DeployBody, PlanBody, PushBody, RollbackBody, StopBody};

/// The longest request body, in bytes. Group files and overrides are far shorter,
/// and nothing else is sent.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// The number of connections that the socket keeps open: far more than people
/// watch, and far fewer than the files that an agent may open.
const CONNECTIONS_MAX: usize = 512;

/// The state that every handler gets.
#[derive(Clone)]
struct Shared {
    backend: Arc<Backend>,
    /// Ends the event streams, which would otherwise keep the agent from ending.
    stopping: CancellationToken,
}

/// Serves the API on the Unix socket until `stopping` is cancelled.
pub(crate) async fn serve_socket(
    listener: UnixListener,
    backend: Arc<Backend>,
    stopping: CancellationToken,
) -> std::io::Result<()> {
    let router = router(Shared { backend, stopping: stopping.clone() });
    let service = router.into_make_service_with_connect_info::<Peer>();
    axum::serve(Limited::new(listener, CONNECTIONS_MAX), service)
        .with_graceful_shutdown(stopping.cancelled_owned())
        .await
}

/// Serves reads on TCP until `stopping` is cancelled, if the request names an IP
/// address or one of `names` as its host.
pub(crate) async fn serve_tcp(
    listener: TcpListener,
    backend: Arc<Backend>,
    names: BTreeSet<String>,
    stopping: CancellationToken,
) -> std::io::Result<()> {
    let router = router(Shared { backend, stopping: stopping.clone() })
        .layer(middleware::from_fn(read_only))
        .layer(middleware::from_fn_with_state(Arc::new(names), misdirected::refuse));
    over_tcp::serve(listener, router, stopping).await;
    Ok(())
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/v1/status", get(read::status))
        .route("/v1/hosts", get(read::hosts))
        .route("/v1/hosts/{host}", axum::routing::delete(write::remove_host))
        .route("/v1/mesh/recovery", get(recovery::offer).post(recovery::recover))
        .route("/v1/groups", get(read::groups))
        .route(
            "/v1/groups/{application}/{name}",
            get(read::group).put(write::set_group).delete(write::delete_group),
        )
        .route("/v1/groups/{application}/{name}/rollback", post(write::rollback))
        .route("/v1/groups/{application}/{name}/alarms", get(watches::alarms))
        .route("/v1/groups/{application}/{name}/alarms/{alarm}/set", post(watches::set_alarm))
        .route("/v1/groups/{application}/{name}/alarms/{alarm}/clear", post(watches::clear_alarm))
        .route("/v1/groups/{application}/{name}/freeze", post(watches::freeze))
        .route("/v1/groups/{application}/{name}/unfreeze", post(watches::unfreeze))
        .route("/v1/configs", get(read::configs))
        .route("/v1/configs/{name}", get(read::config).put(write::set_config).delete(write::delete_config))
        .route("/v1/bundles", post(wanted::push))
        .route("/v1/plan", post(write::plan))
        .route("/v1/deployments", get(read::deployments).post(write::deploy))
        .route("/v1/deployments/check", post(write::check))
        .route("/v1/deployments/{id}", get(read::deployment))
        .route("/v1/deployments/{id}/stop", post(write::stop))
        .route("/v1/deployments/{id}/hosts/{host}/logs", get(read::logs))
        .route("/v1/history", get(read::history))
        .route("/v1/events", get(events::events))
        .route("/v1/openapi.json", get(openapi::document))
        .route("/metrics", get(metrics::metrics))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn_with_state(shared.clone(), progress::told))
        .layer(middleware::from_fn_with_state(shared.clone(), seen::dated))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(shared)
}

async fn no_such_path(request: Request) -> ApiError {
    ApiError::not_found(
        "NO_SUCH_PATH",
        format!("there is nothing at {}: GET /v1/openapi.json lists what is", request.uri().path()),
    )
}

async fn no_such_method(request: Request) -> ApiError {
    ApiError::method_not_allowed(format!("{} cannot be asked of {}", request.method(), request.uri().path()))
}

async fn read_only(request: Request, next: Next) -> Response {
    if request.method() == Method::GET || request.method() == Method::HEAD {
        return next.run(request).await;
    }
    let message = "changes are only taken on the agent's Unix socket: nothing on TCP says who asks";
    ApiError::forbidden("READ_ONLY", message.into()).into_response()
}

#[cfg(test)]
mod tests;
