//! Requests that may take as long as a download, and report its progress.

use http_body_util::BodyExt;
use hyper::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::event_stream::Cutter;
use super::words::Lines;
use super::{ANSWER_BYTES_MAX, Client, ClientError};
use crate::api::{ANSWER, AnswerEvent, PROGRESS};
use crate::bundle::transfer_progress::Far;

impl Client {
    /// Does the same as [`Client::post`], and calls `far` with the progress.
    pub(crate) async fn post_watching<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        mut far: impl FnMut(Far),
    ) -> Result<T, ClientError> {
        let answer = self.ask_for(Method::POST, path, self.encode(body)?, "text/event-stream").await?;
        // The request was refused before it began, or the agent reports no progress.
        let is_told = answer.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream");
        if !is_told {
            return self.read(answer).await;
        }
        let (mut body, mut cutter) = (answer.into_body(), Cutter::new(ANSWER_BYTES_MAX));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|cause| self.broken(cause))?;
            let Some(bytes) = frame.data_ref() else { continue };
            let Some(events) = cutter.feed(bytes) else {
                return Err(self.unreadable("it is too long".into()));
            };
            for event in events {
                match event.name.as_str() {
                    PROGRESS => self.parse(event.data.as_bytes(), Lines::One).map_or((), &mut far),
                    ANSWER => return self.answer(&event.data),
                    // An event of a newer agent.
                    _ => {}
                }
            }
        }
        Err(self.unreadable("it ended before the answer came: the agent was stopped".into()))
    }

    fn answer<T: DeserializeOwned>(&self, data: &str) -> Result<T, ClientError> {
        let unreadable = |error: serde_json::Error| self.unreadable(error.to_string());
        let AnswerEvent { status, body } = serde_json::from_str(data).map_err(unreadable)?;
        let text = body.to_string();
        match StatusCode::from_u16(status) {
            Ok(status) if status.is_success() => self.parse(text.as_bytes(), Lines::One).map_err(unreadable),
            Ok(status) => Err(self.refusal(status, text.as_bytes())),
            Err(error) => Err(self.unreadable(error.to_string())),
        }
    }
}
