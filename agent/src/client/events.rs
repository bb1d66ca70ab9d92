//! Server-sent events, read for as long as somebody listens, across the
//! agent's restarts.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use tokio::sync::mpsc;

use super::Client;
use crate::view::Happening;

/// Between two tries to reach the agent.
const RETRY_EVERY: Duration = Duration::from_millis(250);
/// What the listener may be behind; beyond it the reader waits, and then the
/// agent says that something was missed.
const SIGNALS_MAX: usize = 256;
/// The longest event: a turn's end with its log is a few kilobytes.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// What a listener hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Something happened.
    Happened(Happening),
    /// Something may have been missed: look at the whole again.
    Missed,
}

/// A stream of signals. Ends when dropped.
pub(crate) struct Events {
    signals: mpsc::Receiver<Signal>,
}

impl Events {
    /// Listens at `path`, and again whenever the connection is lost.
    pub(crate) fn listen(client: Client, path: String) -> Self {
        let (sender, signals) = mpsc::channel(SIGNALS_MAX);
        tokio::spawn(async move {
            while !sender.is_closed() {
                let _ = listen_once(&client, &path, &sender).await;
                tokio::time::sleep(RETRY_EVERY).await;
            }
        });
        Events { signals }
    }

    /// The next signal. Waits for ever if nothing happens.
    pub(crate) async fn next(&mut self) -> Signal {
        match self.signals.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }
}

/// Ends when the connection does; none if nobody listens any more.
async fn listen_once(client: &Client, path: &str, signals: &mpsc::Sender<Signal>) -> Option<()> {
    let answer = client.ask(Method::GET, path, bytes::Bytes::new()).await.ok()?;
    if !answer.status().is_success() {
        return None;
    }
    // Whatever happened before the connection was up was not heard.
    signals.send(Signal::Missed).await.ok()?;
    let mut body: Incoming = answer.into_body();
    let mut parser = Parser::default();
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame?.ok()?,
            () = signals.closed() => return None,
        };
        for signal in parser.feed(frame.data_ref()?) {
            signals.send(signal).await.ok()?;
        }
    }
}

/// Cuts the stream into events.
#[derive(Default)]
struct Parser {
    rest: Vec<u8>,
}

impl Parser {
    fn feed(&mut self, bytes: &[u8]) -> Vec<Signal> {
        self.rest.extend_from_slice(bytes);
        let mut signals = Vec::new();
        while let Some(end) = self.rest.windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = self.rest.drain(..end + 2).collect();
            signals.extend(signal(&String::from_utf8_lossy(&event)));
        }
        if self.rest.len() > EVENT_BYTES_MAX {
            self.rest.clear();
            signals.push(Signal::Missed);
        }
        signals
    }
}

/// None for comments, which only keep the connection alive.
fn signal(event: &str) -> Option<Signal> {
    let data: String = event.lines().filter_map(|line| line.strip_prefix("data:")).collect();
    if data.is_empty() {
        return None;
    }
    Some(serde_json::from_str(&data).map_or(Signal::Missed, Signal::Happened))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_cut_at_empty_lines_wherever_the_network_cuts() {
        let text = "event: folded\ndata: {\"index\":7,\"hash\":null,\"at\":null,\"kind\":\"Tick\",\"group\":null,\
                    \"deployment\":null,\"host\":null,\"text\":\"time passed\"}\n\n:\n\nevent: missed\ndata: 3\n\n";
        let mut parser = Parser::default();
        let signals: Vec<Signal> = text.bytes().flat_map(|byte| parser.feed(&[byte])).collect();
        assert_eq!(signals.len(), 2);
        assert!(matches!(&signals[0], Signal::Happened(happening) if happening.index == Some(7)));
        assert_eq!(signals[1], Signal::Missed);
    }
}
