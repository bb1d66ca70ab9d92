//! The forms of everything that is stored, put into an entry or sent to another host.
//!
//! The code works with its own types, which may change. Their bytes may not, because
//! agents of several versions run beside each other in one mesh, and an agent must read
//! what earlier versions stored. So each [`Version`] has forms of its own: plain structs,
//! frozen, with the conversions from and to the types of the code (`form/v4/`, and in
//! `form/v5/` what differs from it). Golden files hold bytes of every version.
//!
//! Each thing is written in the oldest version that can say it, so that agents of the
//! previous release read all but what they cannot know; nothing is said that some agent of
//! the mesh cannot read (see `State::mesh_version`). Reading finds the version in the bytes:
//!
//! - An entry begins with it.
//! - A frame has it in its envelope.
//! - A state and a record of the store begin with `MARK` and the version; states bear
//!   the number before. The records of version 4 have neither. No number begins with the
//!   mark, and so no such record does.
//!
//! Bytes of a version that is not in the tree are never decoded, because they could be
//! taken for something else. They are refused with a reason that names the version.
//!
//! To change a form: add a version with the new form, and write what the old versions
//! imply into their conversions. A version that writes a record of the store in a new form
//! also raises the format of `Meta`: the release before this one looks at nothing else to
//! tell a newer store from a damaged one.
//!
//! Every host's record tells the version that its agent reads, and a policy that some
//! host of the mesh could not fold is refused at submission. Given up: an agent reads
//! every version since 4 for good.

mod bincoded;
#[cfg(test)]
mod tests;
pub(crate) mod v4;
pub(crate) mod v5;
pub(crate) mod v6;
pub(crate) mod written;

use std::collections::BTreeMap;

use crate::entry::Entry;
use crate::ledger::{Base, Hard, LogEntry, Snapshot};
use crate::node::{Fence, KnownRecovery, Meta};
use crate::recovery::{Recovery, SignedRecovery};
use crate::run::Record;
use crate::state::State;
use crate::statement::{Finding, Report, Statement};
use crate::wire::{Gossip, Message};
use written::{As, Formed};

/// A version of all forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// The version of the previous release.
    V4,
    /// Adds reports that a disk lacks room.
    V5,
    /// Adds the version of the mesh. Not released yet, so its forms may still grow.
    V6,
}

impl Version {
    /// The oldest version that this agent reads.
    pub const OLDEST: Version = Version::V4;
    /// The newest version that this agent reads.
    pub const NEWEST: Version = Version::V6;

    /// Returns the number that stands in the bytes.
    pub const fn number(self) -> u16 {
        match self {
            Version::V4 => 4,
            Version::V5 => 5,
            Version::V6 => 6,
        }
    }

    /// Returns the version with this number.
    /// # Errors
    /// If this agent does not read it.
    pub const fn of(number: u16) -> Result<Version, Unreadable> {
        match number {
            4 => Ok(Version::V4),
            5 => Ok(Version::V5),
            6 => Ok(Version::V6),
            0..4 => Err(Unreadable::Outdated { version: number, reads_from: Version::OLDEST.number() }),
            7.. => Err(Unreadable::needs(number, Version::NEWEST)),
        }
    }

    /// Returns the newest version that an agent reads which claims to speak this one. An
    /// agent that plays an earlier release reads no more than that release did.
    pub const fn read_by(wire: u16) -> Version {
        match wire {
            0..5 => Version::V4,
            5 => Version::V5,
            6.. => Version::V6,
        }
    }

    /// Returns the version with this number, if an agent reads it that reads up to `self`.
    pub(crate) fn read(self, number: u16) -> Result<Version, Unreadable> {
        let version = Version::of(number);
        match version {
            Ok(version) if version > self => Err(Unreadable::needs(number, self)),
            Err(Unreadable::NeedsVersion { .. }) => Err(Unreadable::needs(number, self)),
            Ok(_) | Err(_) => version,
        }
    }
}

/// The reason why bytes cannot be read. It completes a sentence that begins with what they
/// are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A newer agent wrote them.
    #[error("needs version {needs}, this agent reads up to {reads_up_to}")]
    NeedsVersion {
        /// The version in which they are written.
        needs: u16,
        /// The newest version that this agent reads.
        reads_up_to: u16,
    },
    /// An agent wrote them that is too old.
    #[error("is of version {version}, this agent reads from {reads_from} on")]
    Outdated {
        /// The version in which they are written.
        version: u16,
        /// The oldest version that this agent reads.
        reads_from: u16,
    },
    /// They are not what they should be, in a version that this agent reads.
    #[error("is malformed")]
    Malformed,
}

impl Unreadable {
    pub(crate) const fn needs(version: u16, newest: Version) -> Self {
        Unreadable::NeedsVersion { needs: version, reads_up_to: newest.number() }
    }
}

/// Something that is stored or sent, and has a form in each version.
pub(crate) trait Versioned: Sized {
    /// Returns the oldest version that can say this.
    fn version(&self) -> Version;

    /// Encodes the bare form in that version, without the version.
    fn encode(&self) -> Vec<u8> {
        self.to_form(self.version())
    }

    /// Encodes the bare form, without its version.
    fn to_form(&self, version: Version) -> Vec<u8>;

    /// Decodes the bare form.
    /// # Errors
    /// [`Unreadable::Malformed`].
    fn from_form(bytes: &[u8], version: Version) -> Result<Self, Unreadable>;
}

/// The table of everything that has a form, and of its form in each version. A row without
/// a rule for its version says the same in all of them.
macro_rules! versioned {
    (@version) => { Version::OLDEST };
    (@version $rule:expr) => { $rule };
    ($($of:ty $(, |$value:ident| $rule:expr)? => { $($version:ident: $form:ty),* })*) => {$(
        impl Versioned for $of {
            fn version(&self) -> Version {
                $(let $value = self;)?
                versioned!(@version $($rule)?)
            }

            fn to_form(&self, version: Version) -> Vec<u8> {
                match version {
                    $(Version::$version => bincoded::encode(&As::<$form, _>::new(self)),)*
                }
            }

            fn from_form(bytes: &[u8], version: Version) -> Result<Self, Unreadable> {
                match version {
                    $(Version::$version => bincoded::decode(bytes).map(Formed::<$form>::read),)*
                }
            }
        }
    )*};
}

versioned! {
    Statement, |statement| of_statement(statement) => {
        V4: v4::bodies::Body,
        V5: v5::bodies::Body,
        V6: v6::bodies::Body
    }
    Entry, |entry| of_statement(&entry.statement) => {
        V4: v4::bodies::Entry,
        V5: v5::bodies::Entry,
        V6: v6::bodies::Entry
    }
    Message, |message| of_message(message) => {
        V4: v4::frames::Message,
        V5: v5::frames::Message,
        V6: v6::frames::Message
    }
    State, |state| of_state(state) => {
        V4: crate::state::form_v4::State,
        V5: crate::state::form_v5::State,
        V6: crate::state::form_v6::State
    }
    SignedRecovery => {
        V4: v4::bodies::SignedRecovery,
        V5: v4::bodies::SignedRecovery,
        V6: v4::bodies::SignedRecovery
    }
    Recovery => { V4: v4::bodies::Recovery, V5: v4::bodies::Recovery, V6: v4::bodies::Recovery }
    Gossip => { V4: v4::frames::Gossip, V5: v4::frames::Gossip, V6: v4::frames::Gossip }
    LogEntry => { V4: v4::records::LogEntry, V5: v4::records::LogEntry, V6: v4::records::LogEntry }
    Snapshot => { V4: v4::records::Snapshot, V5: v4::records::Snapshot, V6: v4::records::Snapshot }
    Hard => { V4: v4::records::Hard, V5: v4::records::Hard, V6: v4::records::Hard }
    Base => { V4: v4::records::Base, V5: v4::records::Base, V6: v4::records::Base }
    Meta => { V4: v4::records::Meta, V5: v4::records::Meta, V6: v4::records::Meta }
    Record => { V4: v4::records::Turn, V5: v4::records::Turn, V6: v4::records::Turn }
    Vec<KnownRecovery> => {
        V4: Vec<v4::records::KnownRecovery>,
        V5: Vec<v4::records::KnownRecovery>,
        V6: Vec<v4::records::KnownRecovery>
    }
    Fence => { V4: v4::records::Fence, V5: v4::records::Fence, V6: v4::records::Fence }
}

fn of_statement(statement: &Statement) -> Version {
    match statement {
        // An agent that does not speak the version stops here, before it meets an entry,
        // frame or record that it cannot read.
        Statement::Finding(Finding::MeshVersion(version)) => Version::of(*version).unwrap_or(Version::NEWEST),
        Statement::Report(Report::RoomReported { .. }) => Version::V5,
        Statement::Intent(_) | Statement::Report(_) | Statement::Finding(_) => Version::V4,
    }
}

fn of_message(message: &Message) -> Version {
    match message {
        Message::Propose { statement, .. } => of_statement(statement),
        // New kinds of messages go before this arm. They may be sent only once
        // `State::mesh_version` is their version.
        Message::Beacon(_)
        | Message::Raft(_)
        | Message::Want { .. }
        | Message::Committed(_)
        | Message::Snapshot(_)
        | Message::Progress(_)
        | Message::Look { .. }
        | Message::Seen { .. }
        | Message::Confirm { .. }
        | Message::Confirmed { .. }
        | Message::WhereAre(_)
        | Message::Places(_)
        | Message::Recoveries(_) => Version::V4,
    }
}

fn of_state(state: &State) -> Version {
    if state.has_version() {
        Version::V6
    } else if state.has_shortages() {
        Version::V5
    } else {
        Version::V4
    }
}

/// Encodes an entry for the log.
pub(crate) fn encode_entry(entry: &Entry) -> Vec<u8> {
    [entry.version().number().to_be_bytes().as_slice(), &entry.encode()].concat()
}

/// Decodes what [`encode_entry`] wrote, in versions up to `newest`.
/// # Errors
/// The reason why it cannot be read.
pub(crate) fn decode_entry(bytes: &[u8], newest: Version) -> Result<Entry, Unreadable> {
    let (number, form) = bytes.split_first_chunk().ok_or(Unreadable::Malformed)?;
    Entry::from_form(form, newest.read(u16::from_be_bytes(*number))?)
}

/// The byte before the version of a state, and of a record that is newer than version 4.
const MARK: u8 = 255;
/// Encodes the folded state.
pub(crate) fn encode_state(state: &State) -> Vec<u8> {
    let [high, low] = (state.version().number() - 1).to_be_bytes();
    [[MARK, high, low].as_slice(), &Versioned::encode(state)].concat()
}

/// Decodes what [`encode_state`] wrote, in versions up to `newest`. The parts of the state
/// may contradict each other.
/// # Errors
/// The reason why it cannot be read.
pub(crate) fn decode_state(bytes: &[u8], newest: Version) -> Result<State, Unreadable> {
    let (number, form) = marked(bytes).ok_or(Unreadable::Malformed)?;
    State::from_form(form, newest.read(number.saturating_add(1))?)
}

/// Encodes a record of the store.
pub(crate) fn encode_record<T: Versioned>(record: &T) -> Vec<u8> {
    match record.version() {
        Version::V4 => record.encode(),
        version @ (Version::V5 | Version::V6) => {
            let [high, low] = version.number().to_be_bytes();
            [[MARK, high, low].as_slice(), &record.encode()].concat()
        }
    }
}

/// Decodes what [`encode_record`] wrote.
/// # Errors
/// The reason why it cannot be read.
pub(crate) fn decode_record<T: Versioned>(bytes: &[u8]) -> Result<T, Unreadable> {
    match marked(bytes) {
        Some((number, form)) => T::from_form(form, version_of_marked(number)?),
        None => T::from_form(bytes, Version::V4),
    }
}

/// Finds a record of the store that a newer agent wrote. Then nothing in the store may be
/// taken for damage.
/// # Errors
/// The reason why that record cannot be read. The other half is its key.
pub(crate) fn check_records(
    contents: &BTreeMap<Vec<u8>, Vec<u8>>,
    newest: Version,
) -> Result<(), (&[u8], Unreadable)> {
    for (key, record) in contents {
        if let Some((number, _)) = marked(record) {
            let version = version_of_marked(number).and_then(|version| newest.read(version.number()));
            version.map_err(|why| (key.as_slice(), why))?;
        }
    }
    Ok(())
}

/// Splits bytes that begin with the mark into their version and the form.
fn marked(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let ([MARK, high, low], form) = bytes.split_first_chunk::<3>()? else { return None };
    Some((u16::from_be_bytes([*high, *low]), form))
}

/// Returns the version of a marked record. Those of version 4 and before are not marked.
fn version_of_marked(number: u16) -> Result<Version, Unreadable> {
    if number <= Version::V4.number() { Err(Unreadable::Malformed) } else { Version::of(number) }
}

/// Writes a part of something in its form, and reads it again.
#[cfg(test)]
pub(crate) fn written_and_read<F: serde::de::DeserializeOwned, T: Formed<F>>(part: &T) -> T {
    T::read(bincoded::decode(&bincoded::encode(&As::<F, _>::new(part))).expect("it was written so"))
}

/// Reads a leaf, a value that is its own form, from what another value is written as.
#[cfg(test)]
pub(crate) fn read_leaf<T: serde::de::DeserializeOwned>(
    value: &impl serde::Serialize,
) -> Result<T, Unreadable> {
    bincoded::decode(&bincoded::encode(value))
}
