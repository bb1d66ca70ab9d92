//! Live events, as server-sent events.
//!
//! Events are hints and may be missed: a client that needs the exact state asks
//! for the deployment again.

use std::convert::Infallible;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use proto::io::Notice;
use serde::Deserialize;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::{ApiError, Shared};
use crate::view::{self, HistoryLine};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    deployment: Option<String>,
    group: Option<String>,
}

struct Watcher {
    notices: Receiver<Notice>,
    shared: Shared,
    only: EventsQuery,
}

pub(super) async fn events(
    State(shared): State<Shared>,
    asked: Result<Query<EventsQuery>, QueryRejection>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let Query(only) = asked?;
    let watcher = Watcher { notices: shared.backend.node.watch(), shared, only };
    let stream = futures::stream::unfold(watcher, |mut watcher| async {
        let event = watcher.next().await?;
        Some((Ok(event), watcher))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}

impl Watcher {
    /// Returns the next event; `None` when the agent stops.
    async fn next(&mut self) -> Option<Event> {
        let stopping = self.shared.stopping.clone();
        loop {
            let notice = tokio::select! {
                () = stopping.cancelled() => return None,
                notice = self.notices.recv() => notice,
            };
            match notice {
                Ok(notice) => {
                    let (name, line) = self.describe(notice).await?;
                    if self.wants(&line) {
                        let event = Event::default().event(name);
                        return event.json_data(line).ok();
                    }
                }
                Err(RecvError::Lagged(missed)) => {
                    return Some(Event::default().event("missed").data(missed.to_string()));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    async fn describe(&self, notice: Notice) -> Option<(&'static str, HistoryLine)> {
        let node = &self.shared.backend.node;
        let described = node.read(move |node| {
            let state = node.state();
            match notice {
                Notice::Folded { index, at, statement } => {
                    let (index, at) = (Some(index), Some(view::written(at)));
                    ("folded", HistoryLine { index, at, ..view::history_line(state, &statement) })
                }
                Notice::Progress(progress) => ("progress", view::progress(state, &progress)),
                Notice::Diverged { with, index } => ("diverged", view::diverged(state, with, index)),
            }
        });
        described.await.ok()
    }

    fn wants(&self, line: &HistoryLine) -> bool {
        let EventsQuery { deployment, group } = &self.only;
        (deployment.is_none() || line.deployment == *deployment) && (group.is_none() || line.group == *group)
    }
}
