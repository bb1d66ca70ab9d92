//! What a group's health check promises: no turn of a checked group ends well
//! before the check has passed since its last event, and a host that flaps
//! costs the ledger a bounded number of entries.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proto::entry::{Body, Entry, Index, TurnOutcome};
use proto::health::{FLAP_WINDOW, WORDS_PER_HOUR_MAX};
use proto::id::{DeploymentId, GroupName, HostId};
use proto::io::{ProbeId, Run};

use super::{Claim, Verdict, Violation};
use crate::host::HostNo;
use crate::model::{Deployment, Millis, Model, Stage};

/// What truly was seen of one application since its last event.
#[derive(Clone, Debug, Default)]
struct Seen {
    in_row: u32,
    best: u32,
    /// Looks that were begun since.
    under_way: BTreeSet<ProbeId>,
    /// The group was set anew in its turn: nobody can say which check counts.
    is_unsure: bool,
}

#[derive(Debug, Default)]
pub struct Health {
    seen: BTreeMap<(HostNo, GroupName), Seen>,
    words: BTreeMap<(HostId, GroupName), VecDeque<Millis>>,
}

impl Health {
    /// A host begins to look at its own application.
    pub fn probes(&mut self, host: HostNo, group: &GroupName, probe: ProbeId) {
        self.seen.entry((host, group.clone())).or_default().under_way.insert(probe);
    }

    /// It has looked.
    pub fn probed(&mut self, host: HostNo, group: &GroupName, probe: ProbeId, is_well: bool) {
        let seen = self.seen.entry((host, group.clone())).or_default();
        // Begun before the last event, it says nothing of what runs now.
        if !seen.under_way.remove(&probe) {
            return;
        }
        seen.in_row = if is_well { seen.in_row + 1 } else { 0 };
        seen.best = seen.best.max(seen.in_row);
    }

    pub fn event_ends(&mut self, host: HostNo, run: &Run) {
        let seen = self.seen.entry((host, run.group.clone())).or_default();
        // The host may not have folded yet that its group was set anew.
        *seen = Seen { is_unsure: seen.is_unsure, ..Seen::default() };
    }

    /// An entry was committed; the model has not folded it yet.
    pub fn entry(
        &mut self,
        index: Index,
        entry: &Entry,
        model: &Model,
        numbers: &BTreeMap<HostId, HostNo>,
    ) -> Verdict {
        if let Body::GroupSet(group) = &entry.body {
            let of_it = self.seen.iter_mut().filter(|((_, name), _)| *name == group.name);
            of_it.for_each(|(_, seen)| seen.is_unsure = true);
        } else if let Body::TurnStarted { deployment, host } = &entry.body {
            self.turn_begins(model.deployment(*deployment), *host, numbers);
        } else if let Body::TurnEnded { deployment, host, outcome: TurnOutcome::Succeeded } = &entry.body {
            return self.turn_ends_well(index, model, *deployment, *host, numbers);
        } else if let Body::HealthChanged { group, host, healthy, as_of, .. } = &entry.body
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
        // It may be said twice.
        let begins = deployment.turn(host).is_some_and(|turn| matches!(turn.stage, Stage::Leased { .. }));
        if let Some(number) = numbers.get(&host).filter(|_| begins) {
            self.seen.insert((*number, deployment.submission.group.clone()), Seen::default());
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
        let check = model.groups().get(name).and_then(|group| group.group.health.as_ref());
        let (Some(check), Some(number), true) = (check, numbers.get(&host), counts) else { return Ok(()) };
        let seen = self.seen.get(&(*number, name.clone())).cloned().unwrap_or_default();
        if seen.is_unsure || seen.best >= check.rise {
            return Ok(());
        }
        let what = format!(
            "at {index}: {number} has ended its turn well, but was found well {} times in a row, not {}",
            seen.best, check.rise
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
