//! The bounds of the values in statements.
//!
//! The types that names and tags are decoded into hold them to their rules. The rest is
//! checked here: texts, origins, durations. A host checks each proposal that another
//! one makes, and the fold checks again, because the leader's own entries were never
//! another host's proposal. An entry that fails stands in the ledger and changes
//! nothing, on all hosts alike. To refuse its bytes instead would halt them all.
//!
//! What a host says of its own turn, health or alarms is not refused, or the deployment
//! would wait for it: [`one_line`] and [`Failure::fitted`] cut it to size when it is
//! folded.

use crate::entry::{
    FAILURE_LOG_MAX, FAILURE_MESSAGE_MAX, Failure, HostRecord, Submission, TurnOutcome, keep_end, keep_start,
};
use crate::group::InvalidGroup;
use crate::policy::InvalidPolicy;

use super::{Finding, Statement};

/// Longest name of a host or zone, in characters.
pub const HOST_NAME_MAX: usize = 100;
/// Tags that one host may have.
pub const TAGS_MAX: usize = 100;
/// Addresses that one host may have: interfaces, times TCP and QUIC.
pub const ADDRESSES_MAX: usize = 16;
/// Longest address, in bytes: a DNS name of 253 bytes, and what stands around it.
const ADDRESS_BYTES_MAX: usize = 320;
/// Longest [`crate::revision::Revision::origin`], in bytes: a path of Linux, or an
/// object's key of 1,024 bytes with each of them encoded.
pub const ORIGIN_BYTES_MAX: usize = 4_096;
/// Longest name of the person who asks, in bytes.
pub const BY_BYTES_MAX: usize = 256;
/// Longest location of a script, in bytes, that a failed turn names.
const SCRIPT_BYTES_MAX: usize = 1_024;

/// A value of an entry that is out of its bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEntry {
    /// Longer than anything that it is for.
    #[error("{what} is longer than {limit} bytes")]
    Long {
        /// The kind of value.
        what: &'static str,
        /// The longest length allowed.
        limit: usize,
    },
    /// It could change what a terminal shows.
    #[error("{0} holds a control character, such as a line break or a tab: leave it out")]
    Control(&'static str),
    /// More of them than the limit allows.
    #[error("{what}: at most {limit} are allowed")]
    Many {
        /// The kind of values.
        what: &'static str,
        /// The most that are allowed.
        limit: usize,
    },
    /// A group that is none.
    #[error(transparent)]
    Group(#[from] InvalidGroup),
    /// A policy that is none.
    #[error(transparent)]
    Policy(#[from] InvalidPolicy),
}

impl Statement {
    /// Checks the values that an operator or a host chooses.
    /// # Errors
    /// The first that is out of its bounds.
    pub fn check_values(&self) -> Result<(), InvalidEntry> {
        match self {
            Statement::Intent(intent) => intent.check_values(),
            Statement::Report(report) => report.check_values(),
            Statement::Finding(Finding::Spelled(submission)) => submission.check_values(),
            Statement::Finding(Finding::Tick | Finding::Finished { .. } | Finding::MeshVersion(_)) => Ok(()),
        }
    }
}

impl HostRecord {
    /// Checks what a host says of itself.
    /// # Errors
    /// The first value that is out of its bounds.
    pub fn check_values(&self) -> Result<(), InvalidEntry> {
        // A name, or an id of 52 characters.
        line("the name of the host that is replaced", &self.replaces, 4 * HOST_NAME_MAX)?;
        check_facts(&self.name, &self.zone, self.tags.len(), &self.addresses)
    }
}

/// Checks the facts of a host: name, zone, number of tags, addresses.
pub(crate) fn check_facts(
    name: &str,
    zone: &str,
    tags: usize,
    addresses: &[String],
) -> Result<(), InvalidEntry> {
    // A character has at most four bytes.
    line("the host's name", name, 4 * HOST_NAME_MAX)?;
    line("the host's zone", zone, 4 * HOST_NAME_MAX)?;
    if tags > TAGS_MAX {
        return Err(InvalidEntry::Many { what: "tags of a host", limit: TAGS_MAX });
    }
    if addresses.len() > ADDRESSES_MAX {
        return Err(InvalidEntry::Many { what: "addresses of a host", limit: ADDRESSES_MAX });
    }
    addresses.iter().try_for_each(|address| line("an address of the host", address, ADDRESS_BYTES_MAX))
}

impl Submission {
    /// Checks what is submitted, without a look at the mesh.
    /// # Errors
    /// The first value that is out of its bounds.
    pub fn check_values(&self) -> Result<(), InvalidEntry> {
        line("the bundle's origin", &self.revision.origin, ORIGIN_BYTES_MAX)?;
        line("the name of who asks", &self.by, BY_BYTES_MAX)?;
        // A commit message that a person pastes has line breaks.
        let is_control = |letter: char| letter.is_control() && !"\n\r\t".contains(letter);
        if self.description.chars().any(is_control) {
            return Err(InvalidEntry::Control("the description"));
        }
        Ok(self.policy.validate()?)
    }
}

pub(super) fn line(what: &'static str, text: &str, limit: usize) -> Result<(), InvalidEntry> {
    if text.len() > limit {
        return Err(InvalidEntry::Long { what, limit });
    }
    if text.chars().any(char::is_control) {
        return Err(InvalidEntry::Control(what));
    }
    Ok(())
}

/// The beginning of a text that programs wrote, as one line without control characters.
pub fn one_line(text: &str, bytes_max: usize) -> String {
    keep_start(text.trim(), bytes_max).replace(char::is_control, " ")
}

impl TurnOutcome {
    /// Cut to size, as it is folded.
    #[must_use]
    pub fn fitted(self) -> Self {
        match self {
            TurnOutcome::Succeeded => TurnOutcome::Succeeded,
            TurnOutcome::Failed(failure) => TurnOutcome::Failed(failure.fitted()),
        }
    }
}

impl Failure {
    fn fitted(self) -> Self {
        Failure {
            script: one_line(&self.script, SCRIPT_BYTES_MAX),
            message: one_line(&self.message, FAILURE_MESSAGE_MAX),
            log: keep_end(&self.log, FAILURE_LOG_MAX).to_owned(),
            ..self
        }
    }
}

#[cfg(test)]
mod tests;
