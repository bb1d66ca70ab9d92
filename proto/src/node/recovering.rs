//! Continuing when most voters are gone for good. [`crate::recovery`] says what a
//! recovery is and how it is proven.
//!
//! On the host that continues, the recovery, the host's new number and the ledger's
//! entry are one write; nothing is sent about it before that is durable. When two
//! hosts with different histories meet, the one in the later epoch sends its proofs.
//! The other verifies them, gives up its number in consensus if it votes, so that no
//! old promise counts in the new epoch, and follows. A host with committed entries
//! that the recovered ledger lacks halts and keeps them. Of two recoveries of one
//! epoch, a host keeps the first that it hears of, and accepts nothing from hosts
//! that follow the other. A rule that chose one of the two would delete what the
//! other side has acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use super::{Halt, Node, StartError, Why};
use crate::entry::{Entry, Index, ProposalId};
use crate::form;
use crate::id::{HostId, VoterId};
use crate::io::{Accepted, Refusal, RequestId, WriteId};
use crate::ledger::{Change, Content, LogEntry};
use crate::recovery::{
    BY_BYTES_MAX, History, NotRecovered, Prefix, RECOVERIES_MAX, Recovery, SignedRecovery, TAIL_SIGNED_MAX,
};
use crate::statement::{Intent, Report, Statement};
use crate::time::Time;
use crate::wire::Message;

/// The key of their record in the store.
const KEY: &[u8] = b"R";

/// A recovery that this host has verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownRecovery {
    pub(crate) signed: SignedRecovery,
    /// False if this host holds committed entries that the recovered ledger lacks.
    pub(crate) is_followed: bool,
}

/// The recoveries that this host knows, and the history that it follows.
#[derive(Debug, Default)]
pub(super) struct Recoveries {
    known: Vec<KnownRecovery>,
    /// The history that this host follows.
    history: History,
    /// The history that its frames name: a newer one is not durable yet.
    told: History,
    /// The write that makes the newest recovery durable, and the request that waits for
    /// it.
    unwritten: Option<(WriteId, Option<RequestId>)>,
    /// Hosts that follow another recovery of the same epoch.
    contradicting: BTreeSet<HostId>,
}

impl Recoveries {
    pub(super) fn read(stored: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Self, StartError> {
        let Some(bytes) = stored.get(KEY) else { return Ok(Recoveries::default()) };
        let known: Vec<KnownRecovery> =
            form::decode_record(bytes).map_err(|cause| StartError::of_record((KEY, cause)))?;
        let followed = known.iter().rfind(|known| known.is_followed);
        let history = followed.map(|known| known.signed.history()).unwrap_or_default();
        Ok(Recoveries { known, history, told: history, ..Recoveries::default() })
    }

    fn to_change(&self) -> Change {
        (KEY.to_vec(), Some(form::encode_record(&self.known)))
    }

    fn followed(&self) -> impl DoubleEndedIterator<Item = &SignedRecovery> {
        self.known.iter().filter(|known| known.is_followed).map(|known| &known.signed)
    }

    fn add(&mut self, signed: SignedRecovery, is_followed: bool) {
        if is_followed {
            self.history = signed.history();
        }
        self.known.push(KnownRecovery { signed, is_followed });
        if self.known.len() > RECOVERIES_MAX {
            self.known.remove(0);
        }
    }
}

/// A recovery that this host could make, and what its operator should know before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The statement to sign.
    pub recovery: Recovery,
    /// The voters that this host does not hear from.
    pub out_of_reach: Vec<OutOfReach>,
    /// The voters that it hears from, including itself if it votes.
    pub in_reach: Vec<HostId>,
    /// The other hosts that it hears from, and the newest entry that each has.
    pub others: Vec<(HostId, Index)>,
}

/// A voter that this host does not hear from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfReach {
    /// Its host; `None` if the ledger no longer knows whose the number is.
    pub host: Option<HostId>,
    /// Its number in consensus.
    pub voter: VoterId,
    /// The time at which it was last heard, by this host's own clock. `None` if it was
    /// not heard since the agent started.
    pub heard_at: Option<Time>,
}

/// Returns the entry that records a recovery.
pub(super) fn as_entry(signed: &SignedRecovery) -> Entry {
    let Recovery { host, at, epoch, .. } = signed.recovery();
    let proposal = ProposalId { host: *host, incarnation: 0, number: *epoch };
    Entry { at: *at, proposal, statement: Intent::Recover(Box::new(signed.clone())).into() }
}

impl Node {
    /// Returns the history that this host follows.
    pub fn history(&self) -> History {
        self.own.recoveries.history
    }

    /// Returns the history that this host's frames name.
    pub(super) fn told_history(&self) -> History {
        self.own.recoveries.told
    }

    /// Returns the hosts that follow another recovery of the same epoch.
    pub fn contradicting(&self) -> &BTreeSet<HostId> {
        &self.own.recoveries.contradicting
    }

    /// Returns the recovery that this host could make now.
    /// # Errors
    /// The reason why the mesh must not be recovered from this host.
    pub fn recovery_offer(&self, by: &str) -> Result<Offer, Refusal> {
        if let Some(removed) = self.removed() {
            return Err(Refusal::Removed { at: removed.at });
        }
        if let Some(halt) = &self.own.halted {
            return Err(Refusal::Halted(halt.clone()));
        }
        if self.state.host(self.config.host).is_none() {
            return Err(Refusal::NotJoined("no neighbour has answered yet".into()));
        }
        self.refuse_if_there_is_a_majority()?;
        self.refuse_if_another_has_more()?;
        let (out_of_reach, in_reach) = self.voters_in_reach();
        let tail = self.ledger.tail();
        let mut heads = tail.heads;
        heads.truncate(TAIL_SIGNED_MAX);
        let mut gone: Vec<HostId> = out_of_reach.iter().filter_map(|voter| voter.host).collect();
        gone.sort_unstable();
        let recovery = Recovery {
            mesh: self.config.mesh,
            epoch: self.history().epoch + 1,
            committed: tail.committed,
            base: tail.last,
            hash: tail.hash,
            tail: heads,
            host: self.config.host,
            voter: self.number_after(&tail.hash),
            gone,
            at: self.ledger_now(self.time.handled_at),
            by: crate::entry::keep_start(by, BY_BYTES_MAX).to_string(),
        };
        let heard = self.mesh.reports().iter().filter(|(host, _)| self.mesh.hears(**host));
        let others = heard.map(|(host, heard)| (*host, heard.last.1)).collect();
        Ok(Offer { recovery, out_of_reach, in_reach, others })
    }

    /// Returns a number that no host has had: it depends on this start's random number.
    fn number_after(&self, hash: &[u8; 32]) -> VoterId {
        let seed = self.own.start ^ self.history().epoch.rotate_left(32);
        crate::recovery::renumbered(hash, VoterId(seed ^ self.own.meta.voter.0))
    }

    fn voters_in_reach(&self) -> (Vec<OutOfReach>, Vec<HostId>) {
        let voters = self.ledger.voters();
        let all: BTreeSet<VoterId> = voters.voters.union(&voters.outgoing).copied().collect();
        let (mut out, mut here) = (Vec::new(), Vec::new());
        for voter in all {
            let host = self.mesh.voter_hosts().get(&voter).copied();
            match host.filter(|host| self.is_in_reach(*host)) {
                Some(host) => here.push(host),
                None => {
                    let heard_at = host.and_then(|host| self.mesh.last_heard(host));
                    out.push(OutOfReach { host, voter, heard_at });
                }
            }
        }
        (out, here)
    }

    fn is_in_reach(&self, host: HostId) -> bool {
        host == self.config.host || self.mesh.hears(host)
    }

    /// While the voters change, both sets must agree, so nothing is committed without a
    /// majority of each.
    fn refuse_if_there_is_a_majority(&self) -> Result<(), NotRecovered> {
        let voters = self.ledger.voters();
        let is_here = |voter: &&VoterId| {
            self.mesh.voter_hosts().get(voter).is_some_and(|host| self.is_in_reach(*host))
                || **voter == self.own.meta.voter
        };
        let up = |set: &BTreeSet<VoterId>| set.iter().filter(is_here).count();
        let has_most = |set: &BTreeSet<VoterId>| set.is_empty() || up(set) > set.len() / 2;
        if has_most(&voters.voters) && has_most(&voters.outgoing) {
            let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
            let (voters_up, voters) = (number(up(&voters.voters)), number(voters.voters.len()));
            return Err(NotRecovered::MajorityThere { voters_up, voters });
        }
        Ok(())
    }

    /// The log whose last entry has the highest term, and of these the longest, holds all
    /// acknowledged entries that any reachable host has.
    fn refuse_if_another_has_more(&self) -> Result<(), NotRecovered> {
        let own = self.ledger.last();
        let reachable = self.mesh.reports().iter().filter(|(host, _)| self.mesh.hears(**host));
        let furthest = reachable.map(|(host, heard)| (heard.last, *host)).max();
        match furthest {
            Some(((term, theirs), host)) if (term, theirs) > own => {
                Err(NotRecovered::Further { host, theirs, ours: own.1 })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Handles an operator's request to recover the mesh from this host.
    pub(super) fn on_recover(&mut self, id: RequestId, signed: SignedRecovery) {
        if let Err(refusal) = self.check_recovery(&signed) {
            return self.reply(id, Err(refusal));
        }
        let Recovery { epoch, base, voter, .. } = *signed.recovery();
        tracing::warn!(epoch, base, "the mesh is recovered: this host goes on as its only voter");
        self.own.meta.voter = voter;
        self.write_meta();
        self.add_recovery(signed.clone(), true, Some(id));
        self.ledger.recover(voter, signed);
    }

    fn check_recovery(&self, signed: &SignedRecovery) -> Result<(), Refusal> {
        if self.own.leaving {
            return Err(Refusal::Leaving);
        }
        signed.verify(self.config.mesh)?;
        let recovery = signed.recovery();
        self.check_epoch(signed)?;
        let Offer { recovery: offered, .. } = self.recovery_offer(&recovery.by)?;
        let Recovery { committed, base, hash, tail, host, voter, gone, .. } = &offered;
        let same = |is_same: bool, what| if is_same { Ok(()) } else { Err(NotRecovered::Moved(what)) };
        same(*host == recovery.host, "the host")?;
        same(*gone == recovery.gone, "which voters are out of reach")?;
        same((base, hash, tail) == (&recovery.base, &recovery.hash, &recovery.tail), "the ledger")?;
        same(*committed == recovery.committed && *voter == recovery.voter, "the ledger")?;
        Ok(())
    }

    /// Checks that a recovery is the next one in the history that this host follows.
    fn check_epoch(&self, signed: &SignedRecovery) -> Result<(), NotRecovered> {
        let (of, epoch) = (signed.recovery().epoch, self.history().epoch);
        let same_epoch = self.own.recoveries.followed().find(|known| known.recovery().epoch == of);
        match same_epoch.filter(|known| *known != signed) {
            Some(known) => Err(NotRecovered::Contradicts { epoch: of, host: known.recovery().host }),
            None if of != epoch + 1 => Err(NotRecovered::Epoch { of, epoch }),
            None => Ok(()),
        }
    }

    fn add_recovery(&mut self, signed: SignedRecovery, is_followed: bool, request: Option<RequestId>) {
        self.own.recoveries.add(signed, is_followed);
        self.own.recoveries.contradicting.clear();
        // Synced: a power loss must not bring back the old number or the old history.
        let write = self.writes.add_identity(self.own.recoveries.to_change());
        self.own.recoveries.unwritten = Some((write, request));
        self.mesh.forget_reports();
        self.mesh.fetch.restart();
        self.proposals.duties.derived_from = None;
        // A pending one names the old number, and would bring it back.
        self.proposals.withdraw(|statement, _| matches!(statement, Statement::Report(Report::HostJoined(_))));
    }

    pub(super) fn on_recovery_written(&mut self, write: WriteId, now: Time) {
        let Some((_, request)) = self.own.recoveries.unwritten.take_if(|(waits, _)| *waits <= write) else {
            return;
        };
        self.own.recoveries.told = self.own.recoveries.history;
        if let Some(request) = request {
            self.reply(request, Ok(Accepted::Done));
        }
        self.time.deadlines.set(Why::Beacon, now);
    }

    /// Returns true if a frame is to be handled. From hosts that follow another history,
    /// only proofs are.
    pub(super) fn is_of_this_history(&mut self, from: HostId, history: History, message: &Message) -> bool {
        if matches!(message, Message::Recoveries(_)) {
            return true;
        }
        let own = self.history();
        if history == own {
            self.own.recoveries.contradicting.remove(&from);
            return true;
        }
        self.mesh.forget_report(from);
        if history.epoch == own.epoch {
            self.note_contradiction(from);
        } else if history.epoch < self.told_history().epoch && matches!(message, Message::Beacon(_)) {
            let newer = self.own.recoveries.followed().filter(|known| known.recovery().epoch > history.epoch);
            let newer = newer.cloned().collect();
            self.send(from, &Message::Recoveries(newer));
        }
        false
    }

    fn note_contradiction(&mut self, from: HostId) {
        if self.own.recoveries.contradicting.insert(from) {
            let epoch = self.history().epoch;
            tracing::error!(
                %from,
                epoch,
                "a neighbour goes by another recovery of the same epoch: nothing is taken from it. Decide which one \
                 goes on; on each host of the other one stop the agent, move the store out of the data directory and \
                 start the agent again"
            );
        }
    }

    /// Handles the proofs of a neighbour that the mesh was recovered.
    pub(super) fn on_recoveries(&mut self, from: HostId, recoveries: Vec<SignedRecovery>, now: Time) {
        for signed in recoveries.into_iter().take(RECOVERIES_MAX) {
            if self.own.halted.is_some() {
                return;
            }
            if self.own.recoveries.known.iter().any(|known| known.signed == signed) {
                continue;
            }
            if let Err(why) = self.take_recovery(signed, now) {
                tracing::warn!(%from, %why, "a neighbour's recovery of the mesh is refused");
                if matches!(why, NotRecovered::Contradicts { .. }) {
                    self.note_contradiction(from);
                }
                return;
            }
        }
    }

    fn take_recovery(&mut self, signed: SignedRecovery, now: Time) -> Result<(), NotRecovered> {
        signed.verify(self.config.mesh)?;
        self.check_epoch(&signed)?;
        let (index, hash) = self.ledger.head();
        let Recovery { base, epoch, host, .. } = *signed.recovery();
        if signed.prefix(index, &hash) != Prefix::Yes {
            self.add_recovery(signed, false, None);
            self.halt(Halt::Superseded { index, base, epoch });
            return Ok(());
        }
        tracing::warn!(epoch, base, %host, "the mesh was recovered: this host follows the recovered ledger");
        if self.is_needed() {
            self.own.meta.voter = signed.renumbered(self.own.meta.voter);
            self.ledger.forget_votes(self.own.meta.voter);
            self.write_meta();
        }
        self.add_recovery(signed, true, None);
        self.time.deadlines.set(Why::Beacon, now);
        Ok(())
    }

    /// Returns the host from which the mesh continues, until this host has folded the
    /// recovery. The recovery key vouches for that host.
    pub(super) fn recovering_host(&self) -> Option<HostId> {
        let last = self.own.recoveries.followed().next_back()?.recovery();
        let is_folded = self.state.recoveries().any(|folded| folded.epoch == last.epoch);
        (!is_folded).then_some(last.host)
    }

    /// Cuts entries off at the first recovery that was not proven to this host. So every
    /// recovery in its log was verified before.
    pub(super) fn up_to_a_stranger_recovery(&self, mut entries: Vec<LogEntry>) -> Vec<LogEntry> {
        let is_proven = |entry: &LogEntry| match &entry.content {
            Content::Recovered(signed) => self.own.recoveries.followed().any(|known| known == &**signed),
            Content::Empty | Content::Entry(_) | Content::Voters(_) => true,
        };
        let proven = entries.iter().position(|entry| !is_proven(entry)).unwrap_or(entries.len());
        entries.truncate(proven);
        entries
    }

    pub(super) fn fold_recovery(&mut self, logged: &LogEntry, signed: &SignedRecovery, now: Time) {
        let (index, hash) = self.ledger.head();
        let Recovery { base, hash: base_hash, epoch, .. } = *signed.recovery();
        if (index, hash) != (base, base_hash) {
            return self.halt(Halt::Superseded { index, base, epoch });
        }
        let entry = as_entry(signed);
        self.ledger.note_folded(logged);
        self.state.recover(logged.index, signed);
        self.mesh.note_all_changed();
        self.time.ledger.note(entry.at, now);
        self.notice(logged.index, &entry);
        self.seal_if_due();
    }

    /// Halts again after a restart, if this host holds committed entries that the recovered
    /// ledger lacks.
    pub(super) fn halt_if_superseded(&mut self) {
        let Some(known) = self.own.recoveries.known.last().filter(|known| !known.is_followed) else { return };
        let Recovery { base, epoch, .. } = *known.signed.recovery();
        let (index, _) = self.ledger.head();
        self.halt(Halt::Superseded { index, base, epoch });
    }
}
