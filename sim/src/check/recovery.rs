//! A recovery is signed by the mesh's key, keeps every entry that its host had on its
//! disk, and begins one history: no two hosts are in the same epoch by different
//! recoveries.

use std::collections::{BTreeMap, BTreeSet};

use proto::entry::Index;
use proto::io::{Reply, Request};
use proto::node::Node;
use proto::promise::Held;
use proto::recovery::{History, SignedRecovery};

use super::{Claim, Verdict, Violation};
use crate::disk::Contents;
use crate::host::HostNo;

#[derive(Debug, Default)]
pub struct Recoveries {
    /// The histories that the mesh's key has signed.
    signed: BTreeSet<History>,
    /// The history of each epoch, and the first host that followed it.
    epochs: BTreeMap<u64, (History, HostNo)>,
    /// The terms of the entries that a host had on its disk when it was asked to recover.
    held: BTreeMap<HostNo, BTreeMap<Index, u64>>,
}

impl Recoveries {
    /// Notes that an operator has signed a recovery and asks the host for it.
    pub fn asked(&mut self, host: HostNo, signed: &SignedRecovery, synced: &Contents) {
        self.signed.insert(signed.history());
        let held = Held(synced);
        let places = (held.committed() + 1..).map_while(|index| Some((index, held.term_at(index)?)));
        self.held.insert(host, places.collect());
    }

    /// Checks a host that says that it has recovered the mesh.
    pub fn replied(&mut self, host: HostNo, request: &Request, reply: &Reply, node: &Node) -> Verdict {
        let (Request::Recover(_), Ok(_)) = (request, reply) else { return Ok(()) };
        let held = self.held.remove(&host).unwrap_or_default();
        let kept: BTreeMap<Index, u64> =
            node.places_after(0).iter().map(|place| (place.index, place.term)).collect();
        match held.iter().find(|(index, term)| kept.get(index) != Some(term)) {
            Some((index, _)) => {
                let what = format!("it had entry {index} on its disk, and goes on without it");
                Err(Violation::new(Claim::Recovery, [host], what))
            }
            None => Ok(()),
        }
    }

    /// Checks the history that a host follows.
    pub fn sees(&mut self, host: HostNo, node: &Node) -> Verdict {
        let history = node.history();
        if history.epoch == 0 {
            return Ok(());
        }
        if !self.signed.contains(&history) {
            let what = "it goes by a recovery that nobody has signed".to_string();
            return Err(Violation::new(Claim::Recovery, [host], what));
        }
        let (known, first) = *self.epochs.entry(history.epoch).or_insert((history, host));
        if known != history {
            let what = format!("two histories in epoch {}", history.epoch);
            return Err(Violation::new(Claim::Recovery, [first, host], what));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Moment;
    use crate::host::Profile;
    use crate::network::Quality;
    use crate::world::World;

    #[test]
    fn an_entry_that_was_on_the_disk_and_is_not_kept_is_found() {
        let mut world = World::new(1, Quality::default());
        let no = world.add_host(Profile::default());
        world.start_at(no, Moment::START);
        world.run_until(Moment::START + Duration::from_secs(5));
        let node = world.host(no).node().expect("it runs");
        let key = proto::recovery::RecoveryKey::from_secret(&[1; 32]);
        let offered = proto::recovery::Recovery {
            mesh: key.mesh(),
            epoch: 1,
            committed: 0,
            base: 0,
            hash: [0; 32],
            tail: Vec::new(),
            host: node.host(),
            voter: node.voter(),
            gone: Vec::new(),
            at: node.state().clock(),
            by: String::new(),
        };
        let request = Request::Recover(Box::new(key.sign(offered)));
        let reply = Ok(proto::io::Accepted::Done);
        let mut recoveries = Recoveries::default();
        recoveries.held.insert(no, node.places_after(0).iter().map(|it| (it.index, it.term)).collect());
        assert_eq!(recoveries.replied(no, &request, &reply, node), Ok(()));
        recoveries.held.insert(no, [(1 << 40, 1)].into());
        let violation = recoveries.replied(no, &request, &reply, node).expect_err("it is gone");
        assert_eq!((violation.claim, violation.hosts), (Claim::Recovery, vec![no]));
    }
}
