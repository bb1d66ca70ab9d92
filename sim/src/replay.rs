//! Replays a recorded run: the same inputs at the same times, without a world.
//!
//! A replay has no network, no disk and no random numbers. If the nodes do the
//! same again, to the last byte, then all that they did follows from their
//! inputs.

use std::collections::BTreeMap;

use proto::io::{Input, Output};
use proto::node::{Node, Stored};
use proto::task::Task;
use proto::time::Time;

use crate::check::Checks;
use crate::clock::Moment;
use crate::host::HostNo;
use crate::panics;
use crate::record::{NotATrace, Record};
use crate::story::Story;
use crate::trace::Trace;

/// The result of a replay.
#[derive(Debug, Default)]
pub struct Replayed {
    pub story: Story,
    /// The time at which the story begins.
    pub zero: Moment,
    pub inputs: u64,
    /// The first difference from the recorded run, if any.
    pub difference: Option<String>,
}

/// The reason why a trace cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotReplay {
    #[error(transparent)]
    Read(#[from] NotATrace),
    #[error("{0} is told something and was never started: the trace is not whole")]
    NotStarted(HostNo),
    #[error("the trace has no end: it was not written to the end")]
    NoEnd,
}

#[derive(Default)]
struct Replay {
    nodes: BTreeMap<HostNo, Node>,
    trace: Trace,
    checks: Checks,
    done: Replayed,
}

/// Replays the records up to the end or the first difference.
/// # Errors
/// Fails if the records are damaged or incomplete.
pub fn replay(records: impl Iterator<Item = Result<Record, NotATrace>>) -> Result<Replayed, CannotReplay> {
    let mut replay = Replay::default();
    for record in records {
        let is_end = replay.take(record?)?;
        if is_end || replay.done.difference.is_some() {
            replay.done.inputs = replay.trace.inputs();
            return Ok(replay.done);
        }
    }
    Err(CannotReplay::NoEnd)
}

impl Replay {
    /// Replays one record. Returns true if it was the last one.
    fn take(&mut self, record: Record) -> Result<bool, CannotReplay> {
        let story = &mut self.done.story;
        match record {
            Record::Host { no, id } => {
                story.know(id, no);
                self.checks.know(id, no);
            }
            Record::Bundle { digest, name } => story.know_bundle(digest, &name),
            Record::Started { at, host, local, config, stored, fence } => {
                let stored = Stored { contents: stored.into_iter().collect(), fence };
                match panics::guard(|| Node::start(*config, stored, Time::from_micros(local))) {
                    Ok(Ok(node)) => {
                        self.nodes.insert(host, node);
                        self.after_input(host, at);
                    }
                    Ok(Err(error)) => self.differs(at, format!("{host} does not start: {error}")),
                    Err(said) => self.differs(at, format!("{host} panics as it starts: {said}")),
                }
            }
            Record::Input { at, host, local, input } => self.input(at, host, local, input)?,
            Record::Check(check) if check != self.trace.check() => {
                let what = format!("after {} inputs a node does not do what it did", self.trace.inputs());
                self.differs(Moment::START, what);
            }
            Record::Check(_) => {}
            Record::Down { host } => {
                self.nodes.remove(&host);
            }
            Record::Said { at, line } => story.tell(at, line),
            Record::Begins { at } => {
                story.begin_anew(at);
                self.done.zero = at;
            }
            Record::End { trace } => {
                if trace != self.trace.hash() {
                    self.differs(Moment::START, "its hash is another one".into());
                }
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn input(&mut self, at: Moment, host: HostNo, local: u64, input: Input) -> Result<(), CannotReplay> {
        let node = self.nodes.get_mut(&host).ok_or(CannotReplay::NotStarted(host))?;
        if let Input::Request { request, .. } = &input {
            self.done.story.asked(at, host, request);
        }
        self.trace.input(at, host, &input);
        match panics::guard(|| node.handle(input, Time::from_micros(local))) {
            Ok(()) => self.after_input(host, at),
            Err(said) => self.differs(at, format!("{host} panics: {said}")),
        }
        Ok(())
    }

    fn after_input(&mut self, host: HostNo, at: Moment) {
        let Some(node) = self.nodes.get_mut(&host) else { return };
        while let Some(output) = node.poll_output() {
            self.trace.output(at, host, &output);
            match &output {
                Output::Reply { reply, .. } => self.done.story.replied(at, host, reply),
                Output::Start { task: Task::RunEvent(run), .. } => {
                    self.done.story.event_begins(at, host, run);
                }
                Output::Send { .. }
                | Output::Publish { .. }
                | Output::Connect { .. }
                | Output::Disconnect { .. }
                | Output::Persist(_)
                | Output::Start { .. }
                | Output::Cancel { .. }
                | Output::Notify(_) => {}
            }
        }
        self.done.story.folded(host, node, &mut self.checks, at);
    }

    fn differs(&mut self, at: Moment, what: String) {
        self.done.difference = Some(if at == Moment::START { what } else { format!("at {at} {what}") });
    }
}
