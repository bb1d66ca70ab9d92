//! Reads from the node, and says how fresh the answer is: in its body and, if the node is not
//! current, in a header, which errors and empty lists have too.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response;
use proto::node::Node;

use super::{ApiError, Shared};
use crate::view::{Dated, Freshness};

/// The header of an answer that is not current; its value is a [`Freshness`] as JSON.
pub(crate) const FRESHNESS: &str = "skein-freshness";

/// Reads one object from the node, and adds the freshness to its JSON.
pub(super) async fn seen<T: Send + 'static, E: Into<ApiError> + Send + 'static>(
    shared: &Shared,
    look: impl FnOnce(&Node) -> Result<T, E> + Send + 'static,
) -> Result<Json<Dated<T>>, ApiError> {
    let (freshness, view) = shared.backend.node.read(|node| (Freshness::of(node), look(node))).await?;
    Ok(Json(Dated { view: view.map_err(Into::into)?, freshness }))
}

/// Reads a list; each element has its own freshness.
pub(super) async fn seen_list<T: Send + 'static, E: Into<ApiError> + Send + 'static>(
    shared: &Shared,
    look: impl FnOnce(&Node) -> Result<Vec<T>, E> + Send + 'static,
) -> Result<Json<Vec<Dated<T>>>, ApiError> {
    let (freshness, views) = shared.backend.node.read(|node| (Freshness::of(node), look(node))).await?;
    let views = views.map_err(Into::into)?;
    Ok(Json(views.into_iter().map(|view| Dated { view, freshness: freshness.clone() }).collect()))
}

/// Adds the header to an answer if the node is not current.
pub(super) async fn dated(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let freshness = shared.backend.node.read(Freshness::of).await.unwrap_or_default();
    let mut answer = next.run(request).await;
    if freshness.stalled.is_some()
        && let Ok(json) = serde_json::to_string(&freshness)
        && let Ok(value) = HeaderValue::from_str(&json)
    {
        answer.headers_mut().insert(FRESHNESS, value);
    }
    answer
}
