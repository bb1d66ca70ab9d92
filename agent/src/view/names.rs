//! The names of hosts, and labels that tell hosts of the same name apart.
//!
//! Two hosts may have one name: a replaced machine returns under its name
//! with a new store, and so a new id, while the old one is still a member.

use std::collections::BTreeSet;

use proto::id::HostId;
use proto::node::Node;
use proto::state::State;
use serde::{Deserialize, Serialize};

use super::name_of;

/// The host that a part of a view is about.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Named {
    /// The host's id.
    pub(crate) host: String,
    /// The host's name, which others may have as well.
    pub(crate) name: String,
    /// The name; if others have the same, with the end of the id. Empty if an older agent sent it.
    #[serde(default)]
    pub(crate) label: String,
}

impl Named {
    /// Returns the key by which lists are sorted.
    pub(super) fn order(&self) -> (&str, &str) {
        (&self.name, &self.host)
    }

    /// Returns the text that people read, and may type for the host.
    pub(crate) fn label(&self) -> &str {
        if self.label.is_empty() { &self.name } else { &self.label }
    }
}

/// The names of a mesh's hosts, collected once for a whole list.
pub(super) struct Names<'s> {
    pub(super) state: &'s State,
    /// Hosts that no reachable host hears. Empty where only the ledger counts.
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

    /// Returns the names, together with the hosts that no host in reach hears now.
    pub(super) fn seen(node: &'s Node) -> Self {
        Names { unheard: node.mesh().unheard, ..Names::of(node.state()) }
    }

    /// Returns the names that more than one host has.
    pub(super) fn shared(&self) -> Vec<String> {
        self.shared.iter().map(ToString::to_string).collect()
    }

    /// Returns the shortest text that commands accept for the host.
    pub(super) fn word(&self, host: HostId) -> String {
        let name = name_of(self.state, host);
        if self.shared.contains(name.as_str()) { host.short() } else { name }
    }

    /// Returns the host with its name.
    pub(super) fn named(&self, host: HostId) -> Named {
        let name = name_of(self.state, host);
        let label = if self.shared.contains(name.as_str()) { label(&name, host) } else { name.clone() };
        Named { host: host.to_string(), name, label }
    }
}

/// Returns the name with the end of the id, because all ids begin alike.
pub(super) fn label(name: &str, host: HostId) -> String {
    format!("{name} ({})", host.short())
}
