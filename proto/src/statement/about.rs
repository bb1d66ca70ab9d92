//! The facts that hold for a whole kind of statement: one row for each.

use crate::id::{DeploymentId, GroupName, HostId};

/// The group, deployment and host that an entry names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct About<'a> {
    /// The group, if the entry itself names it. An entry that names a deployment
    /// may leave this out.
    pub group: Option<&'a GroupName>,
    /// The deployment, if the entry names one.
    pub deployment: Option<DeploymentId>,
    /// The host, if the entry names one.
    pub host: Option<HostId>,
}

/// The row of one kind of statement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    /// The name of the kind, as the history shows it.
    pub(crate) kind: &'static str,
    /// The group, deployment and host that it names.
    pub(crate) about: About<'a>,
    /// True if only the host that it names may propose it.
    pub(crate) is_of_its_host: bool,
    /// True if folding it once more could undo a later entry.
    pub(crate) may_undo: bool,
}

impl<'a> Row<'a> {
    /// Makes the row of a statement that names nothing, that any member may propose, and
    /// that undoes nothing.
    pub(super) const fn new(kind: &'static str) -> Self {
        let about = About { group: None, deployment: None, host: None };
        Row { kind, about, is_of_its_host: false, may_undo: false }
    }

    pub(super) const fn group(self, group: &'a GroupName) -> Self {
        Row { about: About { group: Some(group), ..self.about }, ..self }
    }

    pub(super) const fn deployment(self, deployment: DeploymentId) -> Self {
        Row { about: About { deployment: Some(deployment), ..self.about }, ..self }
    }

    pub(super) const fn host(self, host: HostId) -> Self {
        Row { about: About { host: Some(host), ..self.about }, ..self }
    }

    /// Names the host, which alone may propose the statement.
    pub(super) const fn by_host(self, host: HostId) -> Self {
        Row { is_of_its_host: true, ..self.host(host) }
    }

    pub(super) const fn undoes(self) -> Self {
        Row { may_undo: true, ..self }
    }
}
