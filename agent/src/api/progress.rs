//! Download progress for a client that wants it. A request with `Accept: text/event-stream` is
//! answered with events, the last of which is the answer.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::http::header::ACCEPT;
use axum::middleware::Next;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::bundle::transfer_progress::{Far, Progress};

/// The name of the progress event; its data is a [`Far`].
pub(crate) const PROGRESS: &str = "progress";
/// The name of the last event; its data is an [`AnswerEvent`].
pub(crate) const ANSWER: &str = "answer";
/// The interval between two events of a download.
pub(crate) const TOLD_EVERY: Duration = Duration::from_millis(200);
/// The longest answer, in bytes: the view of a deployment to 20,000 hosts.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The answer that the same request would have got without events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AnswerEvent {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

struct Telling {
    answer: BoxFuture<'static, Response>,
    /// `None` once the answer was sent.
    far: Option<watch::Receiver<Far>>,
    stopping: CancellationToken,
}

/// Gives every request a [`Progress`] for its downloads.
pub(super) async fn told(State(shared): State<Shared>, mut request: Request, next: Next) -> Response {
    let accepted = request.headers().get(ACCEPT).and_then(|accepted| accepted.to_str().ok());
    let wants_events = accepted.is_some_and(|accepted| accepted.contains("text/event-stream"));
    if request.method() != Method::POST || !wants_events {
        request.extensions_mut().insert(Progress::unheard());
        return next.run(request).await;
    }
    let (progress, far) = Progress::heard();
    request.extensions_mut().insert(progress);
    let answer = Box::pin(next.run(request));
    let telling = Telling { answer, far: Some(far), stopping: shared.stopping };
    let events = futures::stream::unfold(telling, |mut telling| async {
        let event = telling.next().await?;
        Some((Ok::<_, Infallible>(event), telling))
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

impl Telling {
    async fn next(&mut self) -> Option<Event> {
        let far = self.far.as_mut()?;
        let told = async {
            match far.changed().await {
                Ok(()) => tokio::time::sleep(TOLD_EVERY).await,
                // The download is over; the rest of the work takes its time.
                Err(_) => std::future::pending().await,
            }
        };
        let stopping = self.stopping.clone();
        tokio::select! {
            answer = &mut self.answer => {
                self.far = None;
                answer_event(answer).await
            }
            () = told => Event::default().event(PROGRESS).json_data(&*far.borrow_and_update()).ok(),
            () = stopping.cancelled() => None,
        }
    }
}

async fn answer_event(answer: Response) -> Option<Event> {
    let status = answer.status().as_u16();
    let body = to_bytes(answer.into_body(), ANSWER_BYTES_MAX).await.ok()?;
    let body = serde_json::from_slice(&body).unwrap_or_default();
    Event::default().event(ANSWER).json_data(AnswerEvent { status, body }).ok()
}
