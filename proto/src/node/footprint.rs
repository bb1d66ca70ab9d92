//! What a node holds, in numbers: nothing of it may grow with the time that an
//! agent has run.

use super::Node;

impl Node {
    /// What each part holds, by its name: bytes of the folded state as it is
    /// stored, and the number of things in every queue, map and log.
    pub fn footprint(&self) -> Vec<(&'static str, usize)> {
        let mut parts = vec![
            ("bytes of state", self.state.encode().len()),
            ("neighbours heard", self.heard.len()),
            ("proposals", self.proposals.len()),
            ("duties", self.duties.len()),
            ("own turns", self.turns.len()),
            ("outputs", self.outputs.len()),
            ("unwritten changes", self.changes.len()),
            ("unwritten journal records", self.recording.len() + self.recorded.len()),
            ("progress of turns", self.progress.len()),
            ("hosts", self.members.len() + self.addresses.len() + self.neighbours.len()),
            ("voters", self.voter_hosts.len()),
            ("bundles to fetch", self.to_prefetch.len()),
            ("removals to answer", self.farewells.len()),
        ];
        parts.extend(self.ledger.footprint());
        parts
    }
}
