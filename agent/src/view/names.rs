//! Hosts' names, with which two that have the same can be told apart.
//!
//! Nothing forbids that: a machine that is replaced comes back under its name
//! with a new store, and so a new id, while the old one is still a member.

use std::collections::BTreeSet;

use proto::id::HostId;
use proto::state::State;

use super::name_of;

/// The names of a mesh, counted once for all hosts of a list.
pub(super) struct Names<'s> {
    pub(super) state: &'s State,
    shared: BTreeSet<&'s str>,
}

impl<'s> Names<'s> {
    pub(super) fn of(state: &'s State) -> Self {
        let mut all: Vec<&str> = state.hosts().values().map(|host| host.record.name.as_str()).collect();
        all.sort_unstable();
        let shared = all.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        Names { state, shared }
    }

    /// The host's name; of namesakes with the end of their id, as all ids begin
    /// alike.
    pub(super) fn name(&self, host: HostId) -> String {
        let name = name_of(self.state, host);
        match self.shared.contains(name.as_str()) {
            true => format!("{name} ({})", host.short()),
            false => name,
        }
    }
}
