//! Server-sent events, read for as long as somebody listens, across the
//! agent's restarts.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use tokio::sync::mpsc;

use super::Client;
use super::words::Lines;
use crate::view::HistoryLine;

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
    Happened(HistoryLine),
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
    let mut cutter = Cutter::new(EVENT_BYTES_MAX);
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame?.ok()?,
            () = signals.closed() => return None,
        };
        for signal in heard(client, cutter.feed(frame.data_ref()?)) {
            signals.send(signal).await.ok()?;
        }
    }
}

/// Cuts a stream into events.
pub(super) struct Cutter {
    rest: Vec<u8>,
    bytes_max: usize,
}

/// One event of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RawEvent {
    pub(super) name: String,
    pub(super) data: String,
}

impl Cutter {
    /// For events of at most so many bytes.
    pub(super) fn new(bytes_max: usize) -> Cutter {
        Cutter { rest: Vec::new(), bytes_max }
    }

    /// The events that are whole now, without comments, which only keep the
    /// connection alive; `None` if one is too long: its bytes are dropped.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Option<Vec<RawEvent>> {
        // What was searched before is not searched again.
        let mut from = self.rest.len().saturating_sub(1);
        self.rest.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.rest[from..].windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = self.rest.drain(..from + end + 2).collect();
            events.extend(raw_event(&String::from_utf8_lossy(&event)));
            from = 0;
        }
        if self.rest.len() > self.bytes_max {
            self.rest.clear();
            return None;
        }
        Some(events)
    }
}

fn raw_event(event: &str) -> Option<RawEvent> {
    let of = |field| event.lines().filter_map(move |line| line.strip_prefix(field)).map(str::trim_start);
    let data: String = of("data:").collect();
    (!data.is_empty()).then(|| RawEvent { name: of("event:").collect(), data })
}

fn heard(client: &Client, events: Option<Vec<RawEvent>>) -> Vec<Signal> {
    let signal = |event: RawEvent| {
        client.parse(event.data.as_bytes(), Lines::One).map_or(Signal::Missed, Signal::Happened)
    };
    events.map_or(vec![Signal::Missed], |events| events.into_iter().map(signal).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_cut_at_empty_lines_wherever_the_network_cuts() {
        let text = "event: folded\ndata: {\"index\":7,\"hash\":null,\"at\":null,\"kind\":\"Tick\",\"group\":null,\
                    \"deployment\":null,\"host\":null,\"text\":\"time passed\"}\n\n:\n\nevent: missed\ndata: 3\n\n";
        let (client, mut cutter) = (Client::new("none.sock".into()), Cutter::new(1024));
        let signals: Vec<Signal> =
            text.bytes().flat_map(|byte| heard(&client, cutter.feed(&[byte]))).collect();
        assert_eq!(signals.len(), 2);
        assert!(matches!(&signals[0], Signal::Happened(line) if line.index == Some(7)));
        assert_eq!(signals[1], Signal::Missed);
        assert_eq!(cutter.feed(&[b'x'; 2_000]), None, "too long");
    }
}
