//! The checkers: one file for each claim, and what they share.
//!
//! Each checker is a value that gets to know what happened, and returns a
//! [`Violation`] as soon as its claim does not hold. No checker asks a node what it
//! thinks: they rely on the committed entries and on what really ran.

mod acknowledged;
mod agreement;
mod catch_up;
mod fold;
mod health;
mod ledger_time;
mod minimum;
mod outcomes;
mod promises;
mod recovery;
mod removal;
mod rolled_back;
mod room;
mod told;
mod turns;
mod versions;
mod waves;

use std::collections::BTreeMap;
use std::fmt;

use proto::entry::{Entry, Failure, Index};
use proto::id::{DeploymentId, HostId};
use proto::io::{Reply, Request};
use proto::node::Node;
use proto::task::Run;
use proto::time::LedgerTime;

use crate::chronicle::Chronicle;
use crate::clock::Moment;
use crate::disk::Contents;
use crate::host::HostNo;
use crate::model::Model;

pub use acknowledged::Acknowledged;
pub use agreement::{Agreement, Line};
pub use catch_up::CatchUps;
pub use health::Health;
pub use ledger_time::LedgerClock;
pub use minimum::Minimum;
pub use outcomes::Outcomes;
pub use promises::Promises;
pub use recovery::Recoveries;
pub use removal::Removal;
pub use room::Room;
pub use told::all_told;
pub use turns::Turns;
pub use versions::Versions;
pub use waves::Waves;

/// The claims that must hold in every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// No two hosts ever fold different entries at one index.
    Agreement,
    /// The fold follows its rules.
    Fold,
    /// A turn never takes a host out of service that the minimum needs.
    Minimum,
    /// The next wave begins only after the one before it is over and was
    /// watched.
    Waves,
    /// No event runs before the start of its turn is committed.
    CommittedStart,
    /// No event of a turn runs twice or out of order.
    Once,
    /// A host has at most one turn of a group at a time.
    OneTurn,
    /// Nothing that was acknowledged is lost.
    Acknowledged,
    /// Every request is answered.
    Answered,
    /// After healing everything ends, and all hosts are equal.
    Progress,
    /// An active alarm stops a deployment that heeds it.
    Alarms,
    /// Every receiver hears of every happening at least once, or the ledger
    /// records that it was given up.
    Told,
    /// Exactly the hosts that are behind are caught up, each a limited number
    /// of times.
    CatchUp,
    /// A node never panics, and starts from anything that a crash may leave on its
    /// disk.
    Alive,
    /// In a group with a check, no turn succeeds unless the check has passed.
    Checked,
    /// A host that flaps costs the ledger a bounded number of entries.
    Damped,
    /// A host that was removed from the mesh takes no further part in anything.
    Removal,
    /// The ledger's time advances by the time that passes, whatever the clocks
    /// show.
    LedgerTime,
    /// After healing, no healthy host has a revision whose deployment failed
    /// and had to be rolled back.
    RolledBack,
    /// A host promises only what is on its disk.
    Promises,
    /// The ledger reports of a turn only what really ran.
    Outcomes,
    /// A host does not begin its turn on a full disk.
    Room,
    /// A recovery is signed, keeps all that its host had, and begins one history.
    Recovery,
    /// The mesh moves on only with all its members, and never back.
    Versions,
    /// Once all is quiet, no host has more connections than its overlay allows.
    Degree,
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Claim::Agreement => "hosts agree on every committed entry",
            Claim::Fold => "the fold agrees with the model",
            Claim::Minimum => "never fewer in service than the minimum because of a turn",
            Claim::Waves => "no wave before the one before it is through and was watched",
            Claim::CommittedStart => "no event without a committed start of its turn",
            Claim::Once => "no event of a turn is run twice or out of order",
            Claim::OneTurn => "one turn of a group at a time on one host",
            Claim::Acknowledged => "nothing acknowledged is lost",
            Claim::Answered => "every request is answered",
            Claim::Progress => "after healing every deployment ends and all hosts are equal",
            Claim::Alarms => "an active alarm stops the deployment",
            Claim::Told => "receivers hear of everything, or it is recorded that they did not",
            Claim::CatchUp => {
                "hosts that are behind are caught up, at no other host's cost, and not endlessly"
            }
            Claim::Alive => "a node never panics and starts from what a crash left",
            Claim::Checked => "no turn ends well before the group's check has passed",
            Claim::Damped => "a host that flaps costs a bounded number of entries",
            Claim::LedgerTime => "the ledger's time goes on by what passes",
            Claim::RolledBack => "no healthy host stays at a revision that was to be rolled back",
            Claim::Removal => "a host that was taken out has no turn, no vote and no way back",
            Claim::Room => "no turn begins on a disk that is full",
            Claim::Promises => "what a host promises is on its disk at that moment",
            Claim::Recovery => {
                "a recovery is signed, keeps what its host had on its disk, and begins one history"
            }
            Claim::Degree => "no host has more connections than its overlay allows",
            Claim::Outcomes => "what the ledger says of a turn is what ran",
            Claim::Versions => "the mesh moves to a version that all its members speak, and never back",
        })
    }
}

/// A claim that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub claim: Claim,
    pub hosts: Vec<HostNo>,
    pub what: String,
}

impl Violation {
    pub fn new(claim: Claim, hosts: impl Into<Vec<HostNo>>, what: impl Into<String>) -> Self {
        Violation { claim, hosts: hosts.into(), what: what.into() }
    }
}

pub type Verdict = Result<(), Violation>;

/// A violation, with context that helps to understand it.
#[derive(Clone, Debug)]
pub struct Counterexample {
    pub violation: Violation,
    pub at: Moment,
    pub last_entries: Vec<String>,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<String> = self.violation.hosts.iter().map(HostNo::to_string).collect();
        let (claim, what) = (self.violation.claim, &self.violation.what);
        writeln!(f, "{claim}: violated at {} by {}", self.at, hosts.join(" "))?;
        writeln!(f, "  {what}")?;
        self.last_entries.iter().try_for_each(|entry| writeln!(f, "  {entry}"))
    }
}

/// The number of entries that a counterexample shows.
const ENTRIES_SHOWN: usize = 12;

/// In meshes larger than this the model is compared only now and then, because
/// it is slow and has been compared in thousands of small meshes.
const ALWAYS_COMPARED_MAX: usize = 40;
const COMPARED_EVERY: u64 = 50;

/// All checkers of one run.
#[derive(Debug, Default)]
pub struct Checks {
    pub agreement: Agreement,
    pub model: Model,
    pub minimum: Minimum,
    pub waves: Waves,
    pub turns: Turns,
    pub catch_ups: CatchUps,
    pub acknowledged: Acknowledged,
    pub chronicle: Chronicle,
    pub health: Health,
    pub removal: Removal,
    pub ledger_time: LedgerClock,
    pub promises: Promises,
    pub recoveries: Recoveries,
    pub outcomes: Outcomes,
    pub room: Room,
    pub versions: Versions,
    numbers: BTreeMap<HostId, HostNo>,
    counterexample: Option<Counterexample>,
}

impl Checks {
    pub fn know(&mut self, id: HostId, no: HostNo) {
        self.numbers.insert(id, no);
    }

    /// The agent of the founder has this version.
    pub fn founded_by(&mut self, version: u16) {
        self.model.begin_at(version);
    }

    pub fn number(&self, id: HostId) -> Option<HostNo> {
        self.numbers.get(&id).copied()
    }

    /// Returns the first violation. Later ones only follow from it.
    pub fn counterexample(&self) -> Option<&Counterexample> {
        self.counterexample.as_ref()
    }

    pub fn report(&mut self, verdict: Verdict, now: Moment) {
        let Err(violation) = verdict else { return };
        if self.counterexample.is_none() {
            let mut last_entries = self.last_entries();
            last_entries.extend(self.unfinished_lines());
            let what = self.with_names(violation.what);
            let violation = Violation { what, ..violation };
            self.counterexample = Some(Counterexample { violation, at: now, last_entries });
        }
    }

    /// Handles that a host has folded further. Returns the entries that no host
    /// had folded before.
    pub fn folded(&mut self, host: HostNo, node: &Node, now: Moment) -> Vec<Entry> {
        let verdict = self.promises.counts(host, node);
        self.report(verdict, now);
        let index = node.state().index();
        let mesh = node.mesh();
        let head = mesh.hash;
        let known = self.agreement.last();
        let mut fresh = Vec::new();
        if index > known {
            self.ledger_time.voters(mesh.voters.iter().filter_map(|host| self.number(*host)).collect());
            // The entries are chained to the hash on which all hosts agree. If
            // this host had another past, the hash of its head would differ.
            for (at, hash, entry) in node.entries_after(known, self.agreement.hash(known)) {
                if at > index {
                    break;
                }
                let verdict = self.agreement.holds(host, at, hash, entry.as_ref());
                self.report(verdict, now);
                if at > known
                    && let Some(entry) = entry
                {
                    self.apply(at, &entry, now);
                    fresh.push(entry);
                }
            }
        }
        let verdict = self.versions.folded(host, node, &self.numbers);
        self.report(verdict, now);
        self.ledger_time.folded(host, index, now);
        let verdict = self.agreement.sees(host, index, head);
        self.report(verdict, now);
        if index <= known {
            return fresh;
        }
        if self.model.hosts().len() <= ALWAYS_COMPARED_MAX || index.is_multiple_of(COMPARED_EVERY) {
            let verdict = fold::agrees(host, &self.model, node.state());
            self.report(verdict, now);
        }
        fresh
    }

    fn apply(&mut self, index: Index, entry: &Entry, now: Moment) {
        let health = self.health.entry(index, entry, &self.model, &self.numbers);
        self.report(health, now);
        self.model.apply_at(index, entry);
        self.chronicle.entry(now, &self.model);
        let verdicts = [
            self.ledger_time.entry(index, entry.at, now),
            self.minimum.entry(index, &self.model),
            self.waves.entry(index, &self.model),
            self.turns.entry(&self.model, &self.numbers),
            self.catch_ups.entry(&self.model),
            self.removal.entry(entry, &self.model, &self.numbers),
            self.outcomes.entry(entry, &self.model, &self.numbers),
            self.room.entry(&self.model, &self.numbers, now),
        ];
        verdicts.into_iter().for_each(|verdict| self.report(verdict, now));
    }

    pub fn event_begins(&mut self, host: HostNo, run: &Run, node: &Node, now: Moment) {
        self.report(Removal::event_begins(host, node), now);
        let first = !self.turns.has_begun(run.deployment, host);
        if first {
            let verdict = self.minimum.turn_begins(host, run, &self.model, &self.numbers);
            self.report(verdict, now);
        }
        let verdict = self.turns.event_begins(host, run);
        self.report(verdict, now);
        self.outcomes.event_begins(host, run);
    }

    pub fn event_ends(&mut self, host: HostNo, run: &Run, outcome: &Result<(), Failure>) {
        self.turns.event_ends(host, run);
        self.minimum.event_ends(host, run, outcome.is_ok());
        self.outcomes.event_ends(host, run, outcome);
        self.health.event_ends(host, run);
    }

    pub fn host_up(&mut self, host: HostNo, shows: LedgerTime, now: Moment) {
        self.ledger_time.host_up(host, shows, now);
    }

    pub fn host_down(&mut self, host: HostNo) {
        self.turns.host_down(host);
        self.health.host_down(host);
        self.removal.host_down(host);
        self.ledger_time.host_down(host);
        self.outcomes.host_down(host);
        self.room.host_down(host);
    }

    /// Handles the loss of a disk. From now on only the checkers know what the
    /// host had promised.
    pub fn disk_lost(&mut self, host: HostNo, synced: &Contents) {
        self.promises.lost(host, synced);
        self.outcomes.disk_lost(host);
    }

    /// Handles that a node has processed an input.
    pub fn sees(&mut self, host: HostNo, node: &Node, now: Moment) {
        let verdict = self.removal.sees(host, node);
        self.report(verdict, now);
        let verdict = self.recoveries.sees(host, node);
        self.report(verdict, now);
        let verdict = Versions::sees(host, node);
        self.report(verdict, now);
    }

    pub fn replied(&mut self, host: HostNo, request: &Request, reply: &Reply, node: &Node, now: Moment) {
        let verdict = self.acknowledged.replied(host, request, reply, node.state());
        self.report(verdict, now);
        self.report(Removal::replied(host, request, reply, node), now);
        let verdict = self.recoveries.replied(host, request, reply, node);
        self.report(verdict, now);
    }

    /// Checks everything that must hold once all faults are over and all is
    /// quiet.
    pub fn quiet<'a>(&mut self, nodes: impl Iterator<Item = (HostNo, &'a Node)>, now: Moment) {
        self.report(catch_up::quiet(&self.model), now);
        self.report(rolled_back::quiet(&self.model), now);
        let verdict = self.acknowledged.committed(self.agreement.lines());
        self.report(verdict, now);
        for (host, node) in nodes {
            for (index, hash, entry) in node.entries() {
                if index <= node.state().index() {
                    let verdict = self.agreement.holds(host, index, hash, entry.as_ref());
                    self.report(verdict, now);
                }
            }
            if let Err(index) = node.verify_chain() {
                let what = format!("the hash chain that it holds breaks at {index}");
                self.report(Err(Violation::new(Claim::Agreement, [host], what)), now);
            }
            let verdict = self.acknowledged.kept(host, node.state());
            self.report(verdict, now);
            let verdict = fold::agrees(host, &self.model, node.state());
            self.report(verdict, now);
        }
    }

    pub fn last_entries(&self) -> Vec<String> {
        self.agreement.latest(ENTRIES_SHOWN).map(|(index, line)| self.describe(index, line)).collect()
    }

    fn describe(&self, index: Index, line: &Line) -> String {
        match &line.entry {
            Some(entry) => {
                let text =
                    format!("{index} {:?} by {:?}: {:?}", entry.at, entry.proposal.host, entry.statement);
                self.with_names(text)
            }
            None => format!("{index} (of consensus itself)"),
        }
    }

    /// Replaces the keys of hosts by h1, h2 and so on.
    fn with_names(&self, mut text: String) -> String {
        for (id, no) in &self.numbers {
            text = text.replace(&format!("{id:?}"), &no.to_string());
        }
        text
    }

    /// Returns the unfinished deployments, turn by turn.
    fn unfinished_lines(&self) -> impl Iterator<Item = String> {
        self.model.unfinished().into_iter().filter_map(|id| {
            let deployment = self.model.deployment(id)?;
            let turn = |turn: &crate::model::Turn| {
                let down = if turn.down { ", Down" } else { "" };
                let health = if turn.healthy { "healthy" } else { "unhealthy" };
                format!("{:?} {:?} {health}{down}", turn.host, turn.stage)
            };
            let turns: Vec<String> = deployment.turns.iter().map(turn).collect();
            let (status, ends_as, minimum) = (deployment.status, deployment.ends_as, deployment.minimum);
            let text = format!("{id} {status:?} {ends_as:?}, minimum {minimum}: {}", turns.join("; "));
            Some(self.with_names(text))
        })
    }

    /// Returns the deployments that are not over, by the committed entries.
    pub fn unfinished(&self) -> Vec<DeploymentId> {
        self.model.unfinished()
    }
}
