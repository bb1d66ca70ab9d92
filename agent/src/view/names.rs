//! Hosts' names, with which two that have the same can be told apart.
//!
//! Nothing forbids that: a machine that is replaced comes back under its name
//! with a new store, and so a new id, while the old one is still a member.

use std::collections::BTreeSet;

use proto::id::HostId;
use proto::node::Node;
use proto::state::State;
use serde::{Deserialize, Serialize};

use super::name_of;

/// Which host a part of a view is about.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Named {
    /// Its id.
    pub(crate) host: String,
    /// Its name, which others may have as well.
    pub(crate) name: String,
    /// The name, and if others have the same with what tells them apart. An older
    /// agent does not say it.
    #[serde(default)]
    pub(crate) label: String,
}

impl Named {
    /// Lists are in this order.
    pub(super) fn order(&self) -> (&str, &str) {
        (&self.name, &self.host)
    }

    /// What people read, and may write in its place.
    pub(crate) fn label(&self) -> &str {
        if self.label.is_empty() { &self.name } else { &self.label }
    }
}

/// The names of a mesh, counted once for all hosts of a list.
pub(super) struct Names<'s> {
    pub(super) state: &'s State,
    /// Hosts that nobody in reach hears. Empty where only the ledger counts.
    pub(super) unheard: BTreeSet<HostId>,
    shared: BTreeSet<&'s str>,
}

impl<'s> Names<'s> {
    pub(super) fn of(state: &'s State) -> Self {
        let mut all: Vec<&str> = state.hosts().values().map(|host| host.record.name.as_str()).collect();
        all.sort_unstable();
        let shared = all.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        Names { state, unheard: BTreeSet::new(), shared }
    }

    /// The same, with the hosts that the answering host knows nothing of now.
    pub(super) fn seen(node: &'s Node) -> Self {
        Names { unheard: node.mesh().unheard, ..Names::of(node.state()) }
    }

    /// Names that more than one host has.
    pub(super) fn shared(&self) -> Vec<String> {
        self.shared.iter().map(ToString::to_string).collect()
    }

    /// What a command takes for it.
    pub(super) fn word(&self, host: HostId) -> String {
        let name = name_of(self.state, host);
        if self.shared.contains(name.as_str()) { host.short() } else { name }
    }

    /// The host with its name.
    pub(super) fn named(&self, host: HostId) -> Named {
        let name = name_of(self.state, host);
        let label = if self.shared.contains(name.as_str()) { label(&name, host) } else { name.clone() };
        Named { host: host.to_string(), name, label }
    }
}

/// The name with the end of the id: all ids begin alike.
pub(super) fn label(name: &str, host: HostId) -> String {
    format!("{name} ({})", host.short())
}
