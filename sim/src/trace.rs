//! The trace: a running hash of everything that any node was told and asked
//! for. Two runs are the same if and only if their hashes are equal.

use std::fmt::{self, Write as _};

use proto::io::{Input, Notice, Output};

use crate::clock::Moment;
use crate::host::HostNo;
use crate::record::{Record, Writer};

#[derive(Debug, Default)]
pub struct Trace {
    hasher: blake3::Hasher,
    lines: Option<Vec<String>>,
    record: Option<Writer>,
    inputs: u64,
}

impl Trace {
    /// Makes the trace also keep one readable line for each input and output.
    pub fn keep_lines(&mut self) {
        self.lines = Some(Vec::new());
    }

    /// Keeps a record of the run, so that it can be replayed.
    pub fn keep_record(&mut self) {
        self.record = Some(Writer::default());
    }

    /// Adds a record other than an input.
    pub fn note(&mut self, record: impl FnOnce() -> Record) {
        if let Some(writer) = &mut self.record {
            writer.write(&record());
        }
    }

    /// Adds a check: the nodes have done everything that follows from the last
    /// input.
    pub fn settled(&mut self) {
        if self.record.is_some() {
            let check = self.check();
            self.note(|| Record::Check(check));
        }
    }

    /// Returns the trace file of the whole run; empty if no record was kept.
    pub fn recorded(&mut self) -> &[u8] {
        let trace = self.hash();
        self.note(|| Record::End { trace });
        self.record.as_ref().map(Writer::bytes).unwrap_or_default()
    }

    /// Returns the first eight bytes of the hash so far.
    pub fn check(&self) -> u64 {
        let hash = self.hasher.finalize();
        let (first, _) = hash.as_bytes().split_first_chunk::<8>().expect("a hash has 32 bytes");
        u64::from_le_bytes(*first)
    }

    pub fn input(&mut self, at: Moment, host: HostNo, input: &Input) {
        self.inputs += 1;
        self.begin(at, host);
        match input {
            Input::Received { from, frame } => self.frame(b'r', from.public_key(), frame),
            Input::Gossip { by, frame } => self.frame(b'g', by.public_key(), frame),
            Input::Wake
            | Input::Connected { .. }
            | Input::Disconnected { .. }
            | Input::Persisted(_)
            | Input::Ended { .. }
            | Input::Request { .. }
            | Input::Leaving
            | Input::Disk { .. } => self.words(input),
        }
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{at} {host} < {}", ShortInput(input)));
        }
    }

    pub fn output(&mut self, at: Moment, host: HostNo, output: &Output) {
        self.begin(at, host);
        match output {
            Output::Send { to, frame } => self.frame(b's', to.public_key(), frame),
            Output::Publish { frame } => self.frame(b'p', &[0; 32], frame),
            Output::Persist(write) => {
                self.hasher.update(&write.id.0.to_le_bytes());
                self.hasher.update(&[u8::from(write.sync)]);
                for (key, value) in &write.changes {
                    self.frame(b'k', &[0; 32], key);
                    self.frame(u8::from(value.is_some()), &[0; 32], value.as_deref().unwrap_or_default());
                }
            }
            // The frames already held the entry itself.
            Output::Notify(Notice::Folded { index, .. }) => {
                self.frame(b'f', &[0; 32], &index.to_le_bytes());
            }
            Output::Connect { .. }
            | Output::Disconnect { .. }
            | Output::Start { .. }
            | Output::Cancel { .. }
            | Output::Reply { .. }
            | Output::Notify(Notice::Progress(_) | Notice::Diverged { .. }) => self.words(output),
        }
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{at} {host} > {}", ShortOutput(output)));
        }
    }

    /// Returns the hash so far, as 32 hexadecimal digits.
    pub fn hash(&self) -> String {
        self.hasher.finalize().to_hex()[..32].to_string()
    }

    /// Returns the number of inputs that were handled.
    pub fn inputs(&self) -> u64 {
        self.inputs
    }

    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }

    fn begin(&mut self, at: Moment, host: HostNo) {
        self.hasher.update(&at.as_micros().to_le_bytes());
        self.hasher.update(&host.0.to_le_bytes());
    }

    fn frame(&mut self, kind: u8, with: &[u8; 32], bytes: &[u8]) {
        self.hasher.update(&[kind]);
        self.hasher.update(with);
        self.hasher.update(&(bytes.len() as u64).to_le_bytes());
        self.hasher.update(bytes);
    }

    /// Hashes a rare value in its `Debug` form.
    fn words(&mut self, words: &dyn fmt::Debug) {
        struct Into<'a>(&'a mut blake3::Hasher);
        impl fmt::Write for Into<'_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0.update(text.as_bytes());
                Ok(())
            }
        }
        write!(Into(&mut self.hasher), "{words:?}").expect("a hasher takes everything");
    }
}

struct ShortInput<'a>(&'a Input);

impl fmt::Display for ShortInput<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Input::Received { from, frame } => write!(f, "Received {} B from {from:?}", frame.len()),
            Input::Gossip { by, frame } => write!(f, "Gossip {} B by {by:?}", frame.len()),
            Input::Wake
            | Input::Connected { .. }
            | Input::Disconnected { .. }
            | Input::Persisted(_)
            | Input::Ended { .. }
            | Input::Request { .. }
            | Input::Leaving
            | Input::Disk { .. } => write!(f, "{:?}", self.0),
        }
    }
}

struct ShortOutput<'a>(&'a Output);

impl fmt::Display for ShortOutput<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Output::Send { to, frame } => write!(f, "Send {} B to {to:?}", frame.len()),
            Output::Publish { frame } => write!(f, "Publish {} B", frame.len()),
            Output::Persist(write) => {
                let sync = if write.sync { ", sync" } else { "" };
                write!(f, "Persist {:?}: {} changes{sync}", write.id, write.changes.len())
            }
            Output::Connect { .. }
            | Output::Disconnect { .. }
            | Output::Start { .. }
            | Output::Cancel { .. }
            | Output::Reply { .. }
            | Output::Notify(_) => write!(f, "{:?}", self.0),
        }
    }
}
