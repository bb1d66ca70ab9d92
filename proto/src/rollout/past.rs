//! The record of a rollout that is over. It says in about seven bytes for each host
//! how and when its turn ended. It keeps the full messages of the first
//! [`FAILURES_TOLD`] failures, and of later ones the event and the error code.
//!
//! A group numbers its hosts once ([`Roster`]), and each of its past deployments
//! refers to hosts by these numbers. So fifty deployments of 10,000 hosts take a
//! few megabytes of a snapshot, and do not fill a frame.
//!
//! Hosts whose turns ended in the same way are stored together, and each time is
//! stored as the difference from the one before. That keeps the numbers small:
//! hosts with neighbouring numbers have neighbouring names, and so have their turns
//! one after the other.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Member, Rollout, Stage, Wave};
use crate::entry::{ErrorCode, Failure, TurnOutcome};
use crate::id::HostId;
use crate::lifecycle::LifecycleEvent;
use crate::time::LedgerTime;

/// The number of failures of one deployment that keep everything that their hosts
/// said. A person who looks at more than these wants to see a pattern, not
/// messages. Of later failures only event and error code are kept, and each host
/// has its own log.
pub const FAILURES_TOLD: u32 = 32;

/// The part of one host in a deployment that is under way or over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// The stage of its turn.
    pub stage: Cow<'a, Stage>,
    /// The wave that it belongs to; `None` if it is not targeted.
    pub wave: Option<&'a Wave>,
    /// The time at which the mesh counted it Down; known only while the deployment
    /// runs.
    pub down: Option<LedgerTime>,
    /// The time at which the check found it unwell; known only while the deployment
    /// runs.
    pub ailing: Option<LedgerTime>,
    /// The event in which its turn was interrupted before it began again.
    pub interrupted: Option<LifecycleEvent>,
}

/// The numbers of the hosts that a group's past deployments refer to.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Roster(pub(super) BTreeMap<HostId, u32>);

/// The turns of all hosts, grouped by what they have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Past {
    pub(super) turns: BTreeMap<Kind, Vec<PastTurn>>,
    /// The messages of hosts about their failures.
    pub(super) told: BTreeMap<HostId, Told>,
    /// Hosts whose turn began again, with the event in which it was interrupted; at
    /// most [`FAILURES_TOLD`] of them.
    pub(super) anew: BTreeMap<HostId, LifecycleEvent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    pub(super) wave: u32,
    /// True if the turn started, so that the application was touched.
    pub(super) started: bool,
    pub(super) how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum How {
    NotTargeted,
    Skipped,
    Succeeded,
    /// Only read from older states: the host was lost after its turn had succeeded.
    /// Today such a turn counts as failed.
    Lost,
    Failed {
        event: Option<LifecycleEvent>,
        code: ErrorCode,
    },
}

/// One host, stored as the difference from the one before of the same kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PastTurn {
    /// The numbers that lie between the two hosts.
    pub(super) gap: u32,
    /// The milliseconds by which the turn ended later; for the first host, since
    /// the deployment began.
    pub(super) later: i64,
    /// The milliseconds from the turn's start to its end.
    pub(super) took: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) script: String,
    pub(super) message: String,
    pub(super) log: String,
}

/// The current place in the list of one kind, when writing or reading it.
#[derive(Clone, Copy, Default)]
struct Place {
    next: u32,
    ended: i64,
}

impl Place {
    fn write(&mut self, number: u32, ended: i64, took: u64) -> PastTurn {
        let turn = PastTurn { gap: number - self.next, later: ended - self.ended, took };
        *self = Place { next: number + 1, ended };
        turn
    }

    /// Returns the host's number, and when its turn ended.
    fn read(&mut self, turn: &PastTurn) -> (u32, i64) {
        let number = self.next.saturating_add(turn.gap);
        *self = Place { next: number.saturating_add(1), ended: self.ended.saturating_add(turn.later) };
        (number, self.ended)
    }
}

impl Roster {
    /// Gives the lowest free numbers to the hosts that have none yet.
    pub(super) fn enter(&mut self, hosts: impl Iterator<Item = HostId>) {
        let taken: BTreeSet<u32> = self.0.values().copied().collect();
        let mut free = (0..).filter(|number| !taken.contains(number));
        for host in hosts {
            self.0.entry(host).or_insert_with(|| free.next().expect("fewer hosts than 2^32"));
        }
    }

    fn by_number(&self) -> BTreeMap<u32, HostId> {
        self.0.iter().map(|(host, number)| (*number, *host)).collect()
    }

    /// Forgets the hosts that none of these rollouts refers to.
    pub(crate) fn keep<'a>(&mut self, spoken_of_by: impl Iterator<Item = &'a Rollout>) {
        let pasts = spoken_of_by.filter_map(|rollout| rollout.past.as_ref());
        let mut used: Vec<u32> = pasts.flat_map(Past::turns).map(|(_, number, ..)| number).collect();
        // The numbers come in long ascending runs, which the stable sort makes use
        // of.
        used.sort();
        used.dedup();
        self.0.retain(|_, number| used.binary_search(number).is_ok());
    }
}

impl Past {
    fn of(rollout: &Rollout, roster: &Roster) -> Past {
        let began = rollout.began();
        let mut numbered: Vec<(u32, HostId, &Member)> =
            rollout.members.iter().map(|(host, member)| (roster.0[host], *host, member)).collect();
        numbered.sort_unstable_by_key(|(number, ..)| *number);
        let mut past = Past { turns: BTreeMap::new(), told: BTreeMap::new(), anew: BTreeMap::new() };
        let mut places: BTreeMap<Kind, Place> = BTreeMap::new();
        for (number, host, member) in numbered {
            let (kind, ended, took) = told_of(member, began);
            let turn = places.entry(kind).or_default().write(number, ended, took);
            past.turns.entry(kind).or_default().push(turn);
            past.told.extend(Told::of(member).map(|told| (host, told)));
            if past.anew.len() < FAILURES_TOLD as usize {
                past.anew.extend(member.interrupted.map(|event| (host, event)));
            }
        }
        past
    }

    /// Returns for every host its kind, its number, when its turn ended and how
    /// long it took.
    fn turns(&self) -> impl Iterator<Item = (Kind, u32, i64, u64)> {
        self.turns.iter().flat_map(|(kind, turns)| {
            let mut place = Place::default();
            turns.iter().map(move |turn| {
                let (number, ended) = place.read(turn);
                (*kind, number, ended, turn.took)
            })
        })
    }

    pub(super) fn total(&self) -> usize {
        self.turns.values().map(Vec::len).sum()
    }
}

/// Returns what is kept of a host, except for its messages.
fn told_of(member: &Member, began: LedgerTime) -> (Kind, i64, u64) {
    let wave = member.wave;
    let of = |how| (Kind { wave, started: false, how }, 0, 0);
    let (started, at, outcome) = match &member.stage {
        Stage::NotTargeted => return of(How::NotTargeted),
        Stage::Ended { started, at, outcome } => (*started, *at, outcome),
        // No turn is left to come when a deployment is over.
        Stage::Skipped | Stage::Pending | Stage::Leased { .. } | Stage::Started { .. } => {
            return of(How::Skipped);
        }
    };
    let how = match outcome {
        TurnOutcome::Succeeded => How::Succeeded,
        TurnOutcome::Failed(failure) => How::Failed { event: failure.event, code: failure.code },
    };
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let ended = i64::try_from(millis(at.since(began))).unwrap_or(i64::MAX);
    let took = started.map_or(0, |started| millis(at.since(started)));
    (Kind { wave, started: started.is_some(), how }, ended, took)
}

impl Told {
    fn of(member: &Member) -> Option<Told> {
        let Stage::Ended { outcome: TurnOutcome::Failed(failure), .. } = &member.stage else { return None };
        let Failure { script, message, log, .. } = failure.clone();
        let is_silent = script.is_empty() && message.is_empty() && log.is_empty();
        (!is_silent).then_some(Told { script, message, log })
    }
}

impl Kind {
    /// Returns the stage of a host of this kind.
    fn stage(self, began: LedgerTime, ended: i64, took: u64, told: Option<&Told>) -> Stage {
        let ended = began.as_millis().saturating_add_signed(ended);
        let started = self.started.then(|| LedgerTime::from_millis(ended.saturating_sub(took)));
        let outcome = match self.how {
            How::NotTargeted => return Stage::NotTargeted,
            How::Skipped => return Stage::Skipped,
            How::Succeeded | How::Lost => TurnOutcome::Succeeded,
            How::Failed { event, code } => {
                let said = |pick: fn(&Told) -> &String| told.map(pick).cloned().unwrap_or_default();
                let (script, message, log) =
                    (said(|it| &it.script), said(|it| &it.message), said(|it| &it.log));
                TurnOutcome::Failed(Failure { event, code, script, message, log })
            }
        };
        Stage::Ended { started, at: LedgerTime::from_millis(ended), outcome }
    }
}

impl Rollout {
    /// Returns when the deployment began, or when it was submitted if it never
    /// began.
    fn began(&self) -> LedgerTime {
        self.started_at.unwrap_or(self.created_at)
    }

    /// Replaces the members of a rollout that is over by a short record.
    pub(crate) fn shorten(&mut self, roster: &mut Roster) {
        assert!(self.status.is_over(), "only what is over is shortened");
        let mut by_name: Vec<(u32, HostId)> =
            self.members.iter().map(|(host, member)| (member.place(), *host)).collect();
        by_name.sort_unstable();
        roster.enter(by_name.into_iter().map(|(_, host)| host));
        self.past = Some(Past::of(self, roster));
        self.members.clear();
    }

    /// Returns the part of every host in the deployment.
    pub fn parts(&self, roster: &Roster) -> BTreeMap<HostId, Part<'_>> {
        let Some(past) = &self.past else {
            return self.members.iter().map(|(host, member)| (*host, self.live(member))).collect();
        };
        let hosts = roster.by_number();
        let named = past.turns().filter_map(|turn| Some((*hosts.get(&turn.1)?, turn)));
        named.map(|(host, turn)| (host, self.passed(host, turn))).collect()
    }

    /// Returns the part of one host in the deployment; `None` if it had none.
    pub fn part(&self, host: HostId, roster: &Roster) -> Option<Part<'_>> {
        let Some(past) = &self.past else { return self.members.get(&host).map(|member| self.live(member)) };
        let known = roster.0.get(&host)?;
        let turn = past.turns().find(|(_, number, ..)| number == known)?;
        Some(self.passed(host, turn))
    }

    fn live<'a>(&'a self, member: &'a Member) -> Part<'a> {
        Part {
            stage: Cow::Borrowed(&member.stage),
            wave: self.wave_at(&member.stage, member.wave),
            down: member.down,
            ailing: member.ailing,
            interrupted: member.interrupted,
        }
    }

    fn passed(&self, host: HostId, (kind, _, ended, took): (Kind, u32, i64, u64)) -> Part<'_> {
        let told = self.past.as_ref().and_then(|past| past.told.get(&host));
        let stage = kind.stage(self.began(), ended, took, told);
        let wave = self.wave_at(&stage, kind.wave);
        let interrupted = self.past.as_ref().and_then(|past| past.anew.get(&host)).copied();
        Part { stage: Cow::Owned(stage), wave, down: None, ailing: None, interrupted }
    }

    fn wave_at(&self, stage: &Stage, wave: u32) -> Option<&Wave> {
        self.waves().get(wave as usize).filter(|_| *stage != Stage::NotTargeted)
    }

    /// Returns the hosts whose application was touched.
    pub fn touched(&self, roster: &Roster) -> Vec<HostId> {
        if let Some(past) = &self.past {
            let hosts = roster.by_number();
            let touched = past.turns().filter(|(kind, ..)| kind.started);
            return touched.filter_map(|(_, number, ..)| hosts.get(&number).copied()).collect();
        }
        let is_touched = |member: &Member| match member.stage {
            Stage::Started { .. } | Stage::Ended { started: Some(_), .. } => true,
            Stage::NotTargeted
            | Stage::Pending
            | Stage::Leased { .. }
            | Stage::Ended { started: None, .. }
            | Stage::Skipped => false,
        };
        self.members.iter().filter(|(_, member)| is_touched(member)).map(|(host, _)| *host).collect()
    }

    /// Returns the durations of the turns that succeeded.
    pub fn took(&self) -> Vec<Duration> {
        let went_well = |kind: Kind| kind.started && kind.how == How::Succeeded;
        let began = self.began();
        let live =
            self.members.values().map(|member| told_of(member, began)).map(|(kind, _, took)| (kind, took));
        let past = self.past.iter().flat_map(Past::turns).map(|(kind, _, _, took)| (kind, took));
        let turns = past.chain(live).filter(|(kind, _)| went_well(*kind));
        turns.map(|(_, took)| Duration::from_millis(took)).collect()
    }

    /// Returns what is kept of a turn's outcome: all of it, except that a failure
    /// beyond [`FAILURES_TOLD`] keeps only event and error code.
    pub(super) fn kept(&self, outcome: TurnOutcome) -> TurnOutcome {
        match outcome {
            TurnOutcome::Failed(Failure { event, code, .. }) if self.counts.failed >= FAILURES_TOLD => {
                let (script, message, log) = (String::new(), String::new(), String::new());
                TurnOutcome::Failed(Failure { event, code, script, message, log })
            }
            TurnOutcome::Failed(_) | TurnOutcome::Succeeded => outcome,
        }
    }
}
