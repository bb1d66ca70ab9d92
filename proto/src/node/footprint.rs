//! The sizes of what a node holds. None of them may grow with the time that an
//! agent has run.

use super::Node;

impl Node {
    /// Returns the size of each part, with its name: the bytes of the encoded
    /// state, and the number of items in every queue, map and log.
    pub fn footprint(&self) -> Vec<(&'static str, usize)> {
        let (changes, records) = self.writes.footprint();
        let mut parts = vec![
            ("bytes of state", self.state.encode().len()),
            ("neighbours heard", self.mesh.reports().len()),
            ("proposals", self.proposals.len()),
            ("duties", self.proposals.duties.len()),
            ("own turns", self.turns.len()),
            ("tasks", self.tasks.len()),
            ("outputs", self.outputs.len()),
            ("unwritten changes", changes),
            ("unwritten journal records", records),
            ("progress of turns", self.mesh.progress.len()),
            ("hosts", self.mesh.hosts_held()),
            ("voters", self.mesh.voter_hosts().len()),
            ("bundles to fetch", self.turns.to_prefetch.len()),
            ("removals to answer", self.mesh.departures.len()),
        ];
        parts.extend(self.ledger.footprint());
        parts
    }
}
