//! The promises of a group's health check: in a checked group, no turn succeeds
//! before the check has passed since its last event, and a host that flaps
//! costs the ledger a bounded number of entries.

use std::collections::{BTreeMap, VecDeque};

use proto::entry::{Entry, Index, TurnOutcome};
use proto::health::{FLAP_WINDOW, HealthCheck, WORDS_PER_HOUR_MAX};
use proto::id::{DeploymentId, GroupName, HostId};
use proto::state::State;
use proto::statement::{Report, Statement};
use proto::task::{Run, TaskId};

use super::{Claim, Verdict, Violation};
use crate::host::HostNo;
use crate::model::{Deployment, Millis, Model, Stage};

/// The findings of the probes about one application on one host since its last
/// event.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// The group's check, as far as this host has folded. The host uses this check,
    /// even if the ledger has a newer one by now.
    check: Option<HealthCheck>,
    /// The number of successive successes under that check.
    in_row: u32,
    /// True if the turn could end at some moment since then: its check had
    /// passed, or there was none.
    may_end: bool,
    /// The probe that is under way. If another one begins before it ended, it
    /// has failed.
    under_way: Option<TaskId>,
}

#[derive(Debug, Default)]
pub struct Health {
    seen: BTreeMap<(HostNo, GroupName), Seen>,
    words: BTreeMap<(HostId, GroupName), VecDeque<Millis>>,
}

impl Seen {
    /// Forgets earlier probes, which no longer count as evidence.
    fn begin_anew(&mut self) {
        (self.in_row, self.under_way) = (0, None);
    }

    fn saw(&mut self, is_well: bool) {
        self.in_row = if is_well { self.in_row + 1 } else { 0 };
        self.may_end |= self.check.as_ref().is_some_and(|check| self.in_row >= check.rise);
    }
}

impl Health {
    /// Handles that a host has folded further, but not yet acted on it.
    pub fn folded(&mut self, host: HostNo, state: &State) {
        for (name, group) in state.groups() {
            let check = &group.group.health;
            let seen = self.seen.entry((host, name.clone())).or_default();
            if seen.check != *check {
                seen.begin_anew();
                seen.check.clone_from(check);
                seen.may_end |= check.is_none();
            }
        }
    }

    /// Handles that a host begins to probe its own application.
    pub fn probes(&mut self, host: HostNo, group: &GroupName, probe: TaskId) {
        let seen = self.seen.entry((host, group.clone())).or_default();
        if seen.under_way.replace(probe).is_some() {
            seen.saw(false);
        }
    }

    /// Handles the end of a probe.
    pub fn probed(&mut self, host: HostNo, group: &GroupName, probe: TaskId, is_well: bool) {
        let seen = self.seen.entry((host, group.clone())).or_default();
        // A probe that began before the last event says nothing about the
        // application that runs now.
        if seen.under_way == Some(probe) {
            seen.under_way = None;
            seen.saw(is_well);
        }
    }

    pub fn event_ends(&mut self, host: HostNo, run: &Run) {
        let seen = self.seen.entry((host, run.group.clone())).or_default();
        seen.begin_anew();
        seen.may_end = seen.check.is_none();
    }

    /// Handles the end of an agent, which loses everything that it had counted.
    pub fn host_down(&mut self, host: HostNo) {
        let its = self.seen.iter_mut().filter(|((of, _), _)| *of == host);
        its.for_each(|(_, seen)| seen.begin_anew());
    }

    /// Checks a committed entry that the model has not folded yet.
    pub fn entry(
        &mut self,
        index: Index,
        entry: &Entry,
        model: &Model,
        numbers: &BTreeMap<HostId, HostNo>,
    ) -> Verdict {
        if let Statement::Report(Report::TurnStarted { deployment, host }) = &entry.statement {
            self.turn_begins(model.deployment(*deployment), *host, numbers);
        } else if let Statement::Report(Report::TurnEnded {
            deployment,
            host,
            outcome: TurnOutcome::Succeeded,
        }) = &entry.statement
        {
            return self.turn_ends_well(index, model, *deployment, *host, numbers);
        } else if let Statement::Report(Report::HealthChanged { group, host, healthy, as_of, .. }) =
            &entry.statement
            && model.is_news(group, *host, *healthy, *as_of)
        {
            return self.word(index, (*host, group.clone()), entry.at.as_millis(), numbers);
        }
        Ok(())
    }

    fn turn_begins(
        &mut self,
        deployment: Option<&Deployment>,
        host: HostId,
        numbers: &BTreeMap<HostId, HostNo>,
    ) {
        let Some(deployment) = deployment else { return };
        // The same start may be committed twice.
        let begins = deployment.turn(host).is_some_and(|turn| matches!(turn.stage, Stage::Leased { .. }));
        if let Some(number) = numbers.get(&host).filter(|_| begins) {
            let place = (*number, deployment.submission.group.clone());
            self.seen.entry(place).or_default().may_end = false;
        }
    }

    fn turn_ends_well(
        &mut self,
        index: Index,
        model: &Model,
        deployment: DeploymentId,
        host: HostId,
        numbers: &BTreeMap<HostId, HostNo>,
    ) -> Verdict {
        let Some(deployment) = model.deployment(deployment) else { return Ok(()) };
        let counts = deployment.turn(host).is_some_and(|turn| matches!(turn.stage, Stage::Started { .. }));
        let name = &deployment.submission.group;
        if counts {
            self.words.remove(&(host, name.clone()));
        }
        let (Some(number), true) = (numbers.get(&host), counts) else { return Ok(()) };
        let seen = self.seen.get(&(*number, name.clone())).cloned().unwrap_or_default();
        if seen.may_end {
            return Ok(());
        }
        let rise = seen.check.map_or(0, |check| check.rise);
        let what = format!(
            "at {index}: {number} has ended its turn well, but was found well {} times in a row, not {rise}",
            seen.in_row
        );
        Err(Violation::new(Claim::Checked, [*number], what))
    }

    fn word(
        &mut self,
        index: Index,
        of: (HostId, GroupName),
        at: Millis,
        numbers: &BTreeMap<HostId, HostNo>,
    ) -> Verdict {
        let window = u64::try_from(FLAP_WINDOW.as_millis()).expect("an hour");
        let words = self.words.entry(of.clone()).or_default();
        words.push_back(at);
        while words.front().is_some_and(|first| at.saturating_sub(*first) >= window) {
            words.pop_front();
        }
        if words.len() <= WORDS_PER_HOUR_MAX {
            return Ok(());
        }
        let hosts: Vec<HostNo> = numbers.get(&of.0).copied().into_iter().collect();
        let what = format!("at {index}: {} words about its health in {} within an hour", words.len(), of.1);
        Err(Violation::new(Claim::Damped, hosts, what))
    }
}

#[cfg(test)]
mod tests;
