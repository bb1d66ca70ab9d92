//! A recorded run: what every node was told, and when. It can be replayed
//! without the world that made it, on another machine, in a debugger, or after
//! a change of the simulator.
//!
//! The file is one line that identifies the format, then one record after
//! another, each with its length before it. It does not hold what the nodes
//! did, except for a check of eight bytes after each input: a replay must do
//! the same again.

use proto::config::Config;
use proto::id::{Digest, HostId};
use proto::io::Input;
use proto::node::Fence;
use serde::{Deserialize, Serialize};

use crate::clock::Moment;
use crate::host::HostNo;

/// One record of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Record {
    Host {
        no: HostNo,
        id: HostId,
    },
    Bundle {
        digest: Digest,
        name: String,
    },
    /// An agent starts with these contents of its disk.
    Started {
        at: Moment,
        host: HostNo,
        /// The time that the host's own clock shows, in microseconds.
        local: u64,
        config: Box<Config>,
        stored: Vec<(Vec<u8>, Vec<u8>)>,
        fence: Option<Fence>,
    },
    Input {
        at: Moment,
        host: HostNo,
        local: u64,
        input: Input,
    },
    /// A hash of what all nodes have done so far.
    Check(u64),
    Down {
        host: HostNo,
    },
    /// A line of the story from the world: a fault, or its end.
    Said {
        at: Moment,
        line: String,
    },
    /// The story begins here; what came before is not part of it.
    Begins {
        at: Moment,
    },
    End {
        trace: String,
    },
}

/// The first line of a trace file.
const MAGIC: &[u8] = b"skein-sim trace 2\n";

/// The most bytes of one record. The contents of a store at a start are the
/// largest.
const RECORD_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The reason why a file cannot be read as a trace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotATrace {
    #[error("it does not begin as a trace does: `skein-sim run FILE --trace OUT` writes one")]
    Magic,
    #[error("it breaks off after {0} records")]
    BreaksOff(usize),
    #[error(
        "its record {0} cannot be read: it was written by another version, whose words for what happens to a node \
         were others"
    )]
    Record(usize),
}

fn codec() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<RECORD_BYTES_MAX>()
}

/// Writes a trace into memory.
#[derive(Debug)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Default for Writer {
    fn default() -> Self {
        Writer { bytes: MAGIC.to_vec() }
    }
}

impl Writer {
    pub fn write(&mut self, record: &Record) {
        let bytes = bincode::serde::encode_to_vec(record, codec()).expect("our own types can be encoded");
        let length = u32::try_from(bytes.len()).expect("a record is below 4 GiB");
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(&bytes);
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads a trace, record by record.
/// # Errors
/// Fails at once if the file is not a trace; the iterator returns an error
/// where the file is damaged.
pub fn read(bytes: &[u8]) -> Result<impl Iterator<Item = Result<Record, NotATrace>>, NotATrace> {
    let mut rest = bytes.strip_prefix(MAGIC).ok_or(NotATrace::Magic)?;
    let mut number = 0;
    Ok(std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let record = next(&mut rest, number);
        number += 1;
        if record.is_err() {
            rest = &[];
        }
        Some(record)
    }))
}

fn next(rest: &mut &[u8], number: usize) -> Result<Record, NotATrace> {
    let (length, after) = rest.split_first_chunk::<4>().ok_or(NotATrace::BreaksOff(number))?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > after.len() {
        return Err(NotATrace::BreaksOff(number));
    }
    let (record, after) = after.split_at(length);
    *rest = after;
    match bincode::serde::decode_from_slice(record, codec()) {
        Ok((record, read)) if read == length => Ok(record),
        Ok(_) | Err(_) => Err(NotATrace::Record(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: &[Result<(), NotATrace>]) {
        let found: Vec<_> = match read(bytes) {
            Ok(records) => records.map(|record| record.map(|_| ())).collect(),
            Err(error) => vec![Err(error)],
        };
        assert_eq!(found, expected, "{bytes:?}");
    }

    #[test]
    fn what_is_no_trace_is_told_where_it_is_not() {
        let mut writer = Writer::default();
        writer.write(&Record::Check(7));
        let whole = writer.bytes().to_vec();
        check(&whole, &[Ok(())]);
        check(b"", &[Err(NotATrace::Magic)]);
        check(b"{}", &[Err(NotATrace::Magic)]);
        check(&whole[..whole.len() - 1], &[Err(NotATrace::BreaksOff(0))]);
        check(&[&whole[..], &[1]].concat(), &[Ok(()), Err(NotATrace::BreaksOff(1))]);
        check(&[&whole[..], &[1, 0, 0, 0, 99]].concat(), &[Ok(()), Err(NotATrace::Record(1))]);
        check(&[&whole[..], &[255; 4]].concat(), &[Ok(()), Err(NotATrace::BreaksOff(1))]);
    }
}
