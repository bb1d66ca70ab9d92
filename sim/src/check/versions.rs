//! The mesh moves to a newer version only once all its members speak it, and never back.
//! So no host whose agent is older, and which said so, meets what it cannot read.

use std::collections::BTreeMap;

use proto::entry::Index;
use proto::form::Unreadable;
use proto::id::HostId;
use proto::node::{Halt, Node};

use super::{Claim, Verdict, Violation};
use crate::host::HostNo;

/// The first version of which an older agent cannot read everything that the mesh uses.
const FIRST: u16 = 5;

#[derive(Debug, Default)]
pub struct Versions {
    /// The newest version of the mesh that any host has folded, and where.
    newest: (Index, u16),
}

impl Versions {
    /// Checks a host that has folded further.
    pub fn folded(&mut self, host: HostNo, node: &Node, numbers: &BTreeMap<HostId, HostNo>) -> Verdict {
        let state = node.state();
        let (index, version) = (state.index(), state.mesh_version());
        let older = state.hosts().values().find(|known| known.record.wire < version);
        if let Some(older) = older.filter(|_| version >= FIRST) {
            let number = numbers.get(&older.record.host).copied().unwrap_or(host);
            let what = format!("the mesh is at version {version}, its agent speaks {}", older.record.wire);
            return violated(number, what);
        }
        let (at, newest) = self.newest;
        if index >= at && version < newest {
            return violated(host, format!("the mesh was at version {newest} before, and is at {version}"));
        }
        // Before the ledger said so, an older host could join.
        if index >= at && state.has_version() {
            self.newest = (index, version);
        }
        Ok(())
    }

    /// Checks a node that has handled an input. An agent may be too old only if the mesh took
    /// it for a newer one, as after a downgrade by mistake.
    pub fn sees(host: HostNo, node: &Node) -> Verdict {
        let halted = node.halted();
        let is_too_old =
            matches!(halted, Some(Halt::Unreadable { cause: Unreadable::NeedsVersion { .. }, .. }));
        let known = node.state().host(node.host()).map(|known| known.record.wire);
        match halted {
            Some(halt) if is_too_old && known == Some(node.config().wire) => {
                violated(host, format!("the mesh knew its version: {halt}"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn violated(host: HostNo, what: String) -> Verdict {
    Err(Violation::new(Claim::Versions, [host], what))
}
