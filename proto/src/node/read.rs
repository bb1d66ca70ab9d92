//! Read access to a node. Nothing here changes it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Node, decode_entry};
use crate::entry::{Entry, Index};
use crate::form::{Unreadable, Version};
use crate::id::{DeploymentId, GroupName, HostId, VoterId};
use crate::ledger::{LogEntry, chain};
use crate::lifecycle::LifecycleEvent;
use crate::rollout::{Blocker, Rollout, Turn};
use crate::state::Freeze;
use crate::time::Time;
use crate::trigger::Failing;
use crate::trigger::delivery::Subscription;

/// The mesh as this node sees it.
#[derive(Clone, Debug, Default)]
pub struct MeshView {
    /// The hosts that this one is connected to, without itself.
    pub connected: BTreeSet<HostId>,
    /// The hosts that this one has not heard for too long.
    pub lost: BTreeSet<HostId>,
    /// The hosts that vote.
    pub voters: BTreeSet<HostId>,
    /// The hosts that voted before, while the voters change: a majority of them is needed
    /// until that is done.
    pub outgoing: BTreeSet<HostId>,
    /// The host that leads, as far as this one knows.
    pub leader: Option<HostId>,
    /// Hosts that too many observers have lost, and that are not yet Down by the
    /// ledger.
    pub suspects: BTreeSet<HostId>,
    /// Hosts that neither this host hears nor any host that it hears.
    pub unheard: BTreeSet<HostId>,
    /// The hash of the ledger up to the state's index.
    pub hash: [u8; 32],
    /// The number of heartbeats that claimed that this host's log is longer than it
    /// is.
    pub beyond_log: u64,
    /// The newest index that was heard of from any host.
    pub newest_heard: Index,
    /// The lead of each host's own clock over the ledger's at its last beacon, in
    /// milliseconds.
    pub clocks_ahead: BTreeMap<HostId, i64>,
}

impl Node {
    /// Returns the mesh as this node sees it.
    pub fn mesh(&self) -> MeshView {
        let host_of = |voter: &VoterId| self.mesh.voter_hosts().get(voter).copied();
        MeshView {
            connected: self.mesh.neighbours(),
            lost: self.mesh.lost().clone(),
            voters: self.ledger.voters().voters.iter().filter_map(host_of).collect(),
            outgoing: self.ledger.voters().outgoing.iter().filter_map(host_of).collect(),
            leader: self.leader().and_then(|leader| host_of(&leader)),
            suspects: self.suspects(),
            unheard: self.mesh.unheard(),
            hash: self.ledger.head().1,
            beyond_log: self.mesh.beyond_log(),
            newest_heard: self.newest_heard(),
            clocks_ahead: self.clocks_ahead(),
        }
    }

    /// Returns the event that a host is in during its turn, as far as was heard.
    pub fn progress(&self, deployment: DeploymentId, host: HostId) -> Option<LifecycleEvent> {
        self.mesh.progress.get(deployment, host)
    }

    /// Returns what keeps the deployment from its next turn, including this host's
    /// own doubts.
    pub fn blockers(&self, deployment: DeploymentId) -> Vec<Blocker> {
        let Some(rollout) = self.state.rollout(deployment) else { return Vec::new() };
        if rollout.started_at.is_none() {
            return self.no_majority().into_iter().chain(self.queued_behind(rollout)).collect();
        }
        let me = self.config.host;
        let mut blockers: Vec<Blocker> = self.no_majority().into_iter().collect();
        // The reason for which other hosts wait comes first.
        if let deferred @ 1.. = self.state.deferrals(deployment).count() {
            blockers.push(Blocker::Deferred { deferred: u32::try_from(deferred).unwrap_or(u32::MAX) });
        }
        blockers.extend(self.no_room(deployment));
        let has_said_so = self.state.deferral(deployment, me).is_some();
        if rollout.may_start(me) && !has_said_so {
            blockers.extend(crate::run::start_blocker(rollout, me, &self.suspects()));
        }
        match rollout.turn() {
            Turn::Blocked(of_all) => blockers.extend(of_all),
            Turn::Of(_) | Turn::Over(_) => {}
        }
        blockers
    }

    /// Returns a blocker if hosts lack disk space for their turn to come.
    fn no_room(&self, deployment: DeploymentId) -> Option<Blocker> {
        let name = |host| self.state.host(host).map(|known| known.record.name.clone()).unwrap_or_default();
        let short: Vec<_> = self.state.shortages(deployment).map(|(host, it)| (name(host), it)).collect();
        let (host, first) = short.iter().min_by_key(|(name, _)| name)?;
        Some(Blocker::NoRoom {
            host: host.clone(),
            shortage: first.shortage,
            short: u32::try_from(short.len()).unwrap_or(u32::MAX),
        })
    }

    /// Returns a blocker if this host reaches too few voters for anything to be
    /// committed. A host that has not heard of its mesh yet knows no voters, and
    /// gets `None`.
    pub fn no_majority(&self) -> Option<Blocker> {
        let (voters_up, voters) = self.voters_up();
        (voters > 0 && voters_up <= voters / 2).then_some(Blocker::NoMajority { voters_up, voters })
    }

    /// Returns the newest index that was heard of from any host.
    pub fn newest_heard(&self) -> Index {
        self.mesh.reports().values().map(|heard| heard.index).max().unwrap_or(0)
    }

    /// Returns when this host last heard a majority of the voters, by its own
    /// clock; `None` if it has not since it started, or if it is a majority by
    /// itself.
    pub fn majority_heard_at(&self) -> Option<Time> {
        let voters = &self.ledger.voters().voters;
        let others = voters.iter().filter(|voter| **voter != self.own.meta.voter);
        let heard = others.map(|voter| self.mesh.last_heard(*self.mesh.voter_hosts().get(voter)?));
        let mut newest_first: Vec<Option<Time>> = heard.collect();
        newest_first.sort_unstable_by(|a, b| b.cmp(a));
        let own = usize::from(voters.contains(&self.own.meta.voter));
        let wanted = (voters.len() / 2 + 1).checked_sub(own + 1)?;
        newest_first.get(wanted).copied().flatten()
    }

    /// Returns the failures of a trigger, if this host has the duty to tell it and
    /// they go on; `None` on all other hosts.
    pub fn failing_trigger(&self, group: &GroupName, trigger: &str) -> Option<&Failing> {
        self.deliveries.failing(&Subscription { group: group.clone(), trigger: trigger.into() })
    }

    fn queued_behind(&self, rollout: &Rollout) -> Vec<Blocker> {
        let Some(group) = self.state.group(&rollout.submission.group) else { return Vec::new() };
        let is_free = group.running.is_none() && group.owes_rollback_of.is_none();
        match self.state.freezes().holding(&rollout.submission) {
            Some(freeze) if is_free => {
                let Freeze { until, by, reason, .. } = freeze.clone();
                vec![Blocker::Frozen { until, by, reason }]
            }
            Some(_) | None => vec![Blocker::Queued { behind: group.running.or(group.catching_up) }],
        }
    }

    /// Returns the committed entries that this node still holds, the oldest first.
    /// Each comes with its index and with the hash of the chain up to it. The entry
    /// is `None` if consensus made it for itself.
    pub fn entries(&self) -> Vec<(Index, [u8; 32], Option<Entry>)> {
        let (_, hash, entries) = self.ledger.held();
        chained(hash, entries)
    }

    /// Returns only those entries that follow an index, at which the head of the
    /// chain is known. Returns all of them if the entries there are no longer held.
    pub fn entries_after(&self, after: Index, hash_there: [u8; 32]) -> Vec<(Index, [u8; 32], Option<Entry>)> {
        match self.ledger.held_after(after) {
            Some(entries) => chained(hash_there, entries),
            None => self.entries(),
        }
    }

    /// Returns the reason why this agent cannot read what some neighbour sends, which a
    /// newer agent wrote.
    pub fn newer_heard(&self) -> Option<Unreadable> {
        self.mesh.newer()
    }

    /// Hashes the held entries again. Returns the range of indexes that match the
    /// head of the chain.
    /// # Errors
    /// The index at which the chain does not match.
    pub fn verify_chain(&self) -> Result<(Index, Index), Index> {
        let (base, mut hash, entries) = self.ledger.held();
        for entry in &entries {
            hash = chain(&hash, entry);
        }
        let (head, expected) = self.ledger.head();
        if hash == expected { Ok((base + 1, head)) } else { Err(head) }
    }
}

fn chained(mut hash: [u8; 32], entries: Vec<LogEntry>) -> Vec<(Index, [u8; 32], Option<Entry>)> {
    let chained = entries.into_iter().map(|entry| {
        hash = chain(&hash, &entry);
        (entry.index, hash, decode_entry(&entry, Version::NEWEST).ok().flatten())
    });
    chained.collect()
}
