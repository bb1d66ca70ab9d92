//! Statements: what an entry of the ledger says, sorted by who may say it.
//!
//! - An [`Intent`] is what an operator wants. Any member may propose it in the operator's
//!   name until operators sign.
//! - A [`Report`] is what a host says of itself, or what it saw.
//! - A [`Finding`] is what every host works out from the ledger. It decides nothing:
//!   the fold computes it again, and refuses one that is not due.
//!
//! `State::check` is the one door: it is told the author and the statement, and every
//! host asks it before it folds an entry.
//!
//! A host that does not know whether its proposal was lost may propose it again, and two
//! hosts may propose the same. So folding a statement twice in a row has the same effect
//! as folding it once. If a statement could undo what came in between, a repeated
//! proposal of it is not folded again (`state/repeats.rs`).
//!
//! A new kind of statement needs a variant with its row in one of the three files here, an
//! arm in the fold (`state/*`), and its stored form.

mod about;
mod bounds;
mod finding;
mod intent;
mod report;

use serde::{Deserialize, Serialize};

use crate::entry::{Body, Submission};
use crate::id::HostId;
use crate::io::Refusal;

pub use about::About;
pub(crate) use about::Row;
pub(crate) use bounds::check_facts;
pub use bounds::{
    ADDRESSES_MAX, BY_BYTES_MAX, HOST_NAME_MAX, InvalidEntry, ORIGIN_BYTES_MAX, TAGS_MAX, one_line,
};
pub use finding::Finding;
pub use intent::Intent;
pub use report::{Report, SUSPECTS_NAMED_MAX};

/// The content of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Body", into = "Body")]
#[expect(clippy::large_enum_variant, reason = "held one at a time: the log keeps bytes")]
pub enum Statement {
    /// An intent of an operator.
    Intent(Intent),
    /// A report of a host about itself, or about what it saw.
    Report(Report),
    /// A finding, which every host works out from the ledger.
    Finding(Finding),
}

impl From<Intent> for Statement {
    fn from(intent: Intent) -> Self {
        Statement::Intent(intent)
    }
}

impl From<Report> for Statement {
    fn from(report: Report) -> Self {
        Statement::Report(report)
    }
}

impl From<Finding> for Statement {
    fn from(finding: Finding) -> Self {
        Statement::Finding(finding)
    }
}

impl Statement {
    fn row(&self) -> Row<'_> {
        match self {
            Statement::Intent(intent) => intent.row(),
            Statement::Report(report) => report.row(),
            Statement::Finding(finding) => finding.row(),
        }
    }

    /// Returns the name of the statement's kind, as the history shows it.
    pub fn kind(&self) -> &'static str {
        self.row().kind
    }

    /// Returns the group, deployment and host that the statement names.
    pub fn about(&self) -> About<'_> {
        self.row().about
    }

    /// Returns the only host that may propose this, because the statement is about that
    /// host itself; `None` if any member may propose it.
    pub fn author(&self) -> Option<HostId> {
        let row = self.row();
        row.about.host.filter(|_| row.is_of_its_host)
    }

    /// Checks that the host may propose this: only a host itself may speak of itself.
    /// # Errors
    /// [`Refusal::NotItsAuthor`] if the statement is another host's to make.
    pub(crate) fn check_author(&self, author: HostId) -> Result<(), Refusal> {
        match self.author() {
            Some(of) if of != author => Err(Refusal::NotItsAuthor { of, author }),
            Some(_) | None => Ok(()),
        }
    }

    /// Returns true if folding this statement once more could undo a later entry. Any
    /// other statement changes nothing when it is folded again.
    pub(crate) fn may_undo(&self) -> bool {
        self.row().may_undo
    }

    /// Returns the submission, if this submits a deployment with its contents.
    pub fn submission(&self) -> Option<&Submission> {
        match self {
            Statement::Intent(Intent::Deploy(submission))
            | Statement::Finding(Finding::Spelled(submission)) => Some(submission),
            Statement::Intent(_) | Statement::Report(_) | Statement::Finding(_) => None,
        }
    }
}
