//! Server-sent events, read for as long as the receiver exists, across restarts of the agent.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use tokio::sync::mpsc;

use super::Client;
use super::words::Lines;
use crate::view::HistoryLine;

/// The interval of attempts to reach the agent.
const RETRY_EVERY: Duration = Duration::from_millis(250);
/// The number of signals that the listener may be behind. Beyond it the reader
/// waits, and the agent then says that something was missed.
const SIGNALS_MAX: usize = 256;
/// The longest event, in bytes: a turn's end with its log is a few kilobytes.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// A signal to the listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// An event of the mesh or of a host.
    Happened(HistoryLine),
    /// Events may have been missed: read the whole state again.
    Missed,
}

/// A stream of signals. It ends on drop.
pub(crate) struct Events {
    signals: mpsc::Receiver<Signal>,
}

impl Events {
    /// Listens at `path`, and reconnects whenever the connection is lost.
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

    /// Returns the next signal. Waits until something happens.
    pub(crate) async fn next(&mut self) -> Signal {
        match self.signals.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }
}

/// Listens until the connection ends; returns `None` then, or once the receiver is gone.
async fn listen_once(client: &Client, path: &str, signals: &mpsc::Sender<Signal>) -> Option<()> {
    let answer = client.ask(Method::GET, path, bytes::Bytes::new()).await.ok()?;
    if !answer.status().is_success() {
        return None;
    }
    // Events before the connection was up were missed.
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
    /// Creates a cutter for events of at most this many bytes.
    pub(super) fn new(bytes_max: usize) -> Cutter {
        Cutter { rest: Vec::new(), bytes_max }
    }

    /// Returns the events that are complete now, without comments, which only keep the
    /// connection alive. Returns `None` if one is too long: its bytes are dropped.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Option<Vec<RawEvent>> {
        // Do not search the same bytes again.
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
