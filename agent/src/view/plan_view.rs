//! Predicts a deployment by the same fold that will run it: who goes when, what would stop it, and how
//! long it takes. If it cannot finish or would be refused, gives the smallest change with which it can.

mod advice;
mod pace;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proto::entry::Submission;
use proto::id::HostId;
use proto::io::Refusal;
use proto::policy::{Minimum, Policy};
use proto::rollout::forecast::{Batch, Forecast, Outlook, Played, Worst};
use proto::rollout::{Blocker, Entrant, WaveKind};
use proto::state::{GroupState, State, check_shape};
use proto::statement::Intent;
use serde::{Deserialize, Serialize};

use super::names::{Named, Names};
use super::service::in_service;
use super::{Why, name_of, written};
use advice::Change;
use pace::Pace;

/// The prediction of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlanView {
    pub(crate) group: String,
    pub(crate) config: String,
    /// The number of hosts in the group, N.
    pub(crate) total: u32,
    /// The number of hosts that it would deploy to; not all
    /// if it covers only outdated hosts, or is a restart.
    #[serde(default)]
    pub(crate) targets: u32,
    /// The number of hosts that must stay healthy, M.
    pub(crate) minimum: u32,
    /// The most turns that run at a time.
    pub(crate) turns_max: u32,
    /// True if it would be accepted now and can end well in the present state.
    pub(crate) is_possible: bool,
    /// The first of `reasons`; `None` if it is possible.
    #[serde(default)]
    pub(crate) reason: Option<Why>,
    /// All obstacles, in the order in which they would be met, each with what helps against it alone.
    #[serde(default)]
    pub(crate) reasons: Vec<CauseView>,
    /// True if only temporary obstacles refuse it (a freeze, an alarm, another deployment)
    /// and it could end well after them. The batches are then a prediction for that time.
    #[serde(default)]
    pub(crate) passes: bool,
    /// Changes that would make it possible, the smallest
    /// first; they address the reason that does not pass.
    #[serde(default)]
    pub(crate) advice: Vec<String>,
    /// Other facts to know before it begins.
    #[serde(default)]
    pub(crate) notes: Vec<String>,
    /// Oddities of the bundle.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
    /// The hosts' names in the order of their turns, if all go well.
    pub(crate) batches: Vec<Vec<String>>,
    /// For each batch: its canary or zone, if any, and when it begins according to past turns.
    #[serde(default)]
    pub(crate) waves: Vec<StepView>,
    /// Hosts that are Down: their turns come last, and fail if they stay away.
    #[serde(default)]
    pub(crate) down: Vec<DownView>,
    /// The time, in seconds, that a Down host has to return once its turn has come.
    #[serde(default)]
    pub(crate) lost_after_seconds: u64,
    /// Hosts that are up but unhealthy: they go first, too.
    #[serde(default)]
    pub(crate) unhealthy: Vec<UnwellView>,
    /// The number of hosts that get their first turn; they count as unhealthy until then.
    #[serde(default)]
    pub(crate) never_deployed: u32,
    /// Hosts that are out of service and get no turn, and why they are out of service.
    #[serde(default)]
    pub(crate) left_out: Vec<UnwellView>,
    /// The number of hosts that are healthy now.
    #[serde(default)]
    pub(crate) healthy: u32,
    /// The fewest hosts in service at any moment, if all turns go well.
    pub(crate) lowest_in_service: u32,
    /// The fewest failed turns that can stop it: fewer never do, whichever hosts fail. It
    /// is 0 if the deployment cannot end well. If it goes zone by zone, this counts the
    /// first turns. Down hosts fail if they stay Down, and are not counted, here or below.
    pub(crate) stopped_by_failures: u32,
    /// The same number for the turns after the canary; `None`
    /// without a canary, and 0 if all of them may fail.
    #[serde(default)]
    pub(crate) stopped_after_canary: Option<u32>,
    /// The most turns that may fail if they are the last ones and none is a canary's. One more failure
    /// stops the deployment, whichever hosts fail. If this is less than the number above, the last
    /// turns have no exception.
    #[serde(default)]
    pub(crate) last_may_fail: u32,
    /// The number of turns of hosts that are up, without the canary's.
    #[serde(default)]
    pub(crate) turns_after_canary: u32,
    /// True if it goes zone by zone, each with its own minimum.
    #[serde(default)]
    pub(crate) is_zonal: bool,
    /// The end of the deployment if every turn fails.
    #[serde(default)]
    pub(crate) worst: Option<WorstView>,
    /// True if a failure is rolled back. `rollback_to` is the revision.
    #[serde(default)]
    pub(crate) rolls_back: bool,
    #[serde(default)]
    pub(crate) rollback_to: Option<String>,
    /// The predicted duration, from past turns; `None` if there were none.
    #[serde(default)]
    pub(crate) seconds: Option<SecondsView>,
}

/// The start of a batch, and the wave that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StepView {
    /// The canary or a zone; `None` if all hosts are one wave.
    pub(crate) wave: Option<String>,
    /// Seconds from the first turn. Includes bakes, and
    /// turns as far as past ones show how long they take.
    pub(crate) after: u64,
}

/// An obstacle to a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CauseView {
    #[serde(flatten)]
    pub(crate) why: Why,
    /// True if it passes without a change of the deployment or the group.
    pub(crate) passes: bool,
    /// Changes, any one of which removes it; the smallest first.
    pub(crate) advice: Vec<String>,
}

/// A host that is Down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DownView {
    #[serde(flatten)]
    pub(crate) who: Named,
    pub(crate) since: String,
}

/// A host that is out of service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnwellView {
    #[serde(flatten)]
    pub(crate) who: Named,
    pub(crate) why: String,
}

/// The end of a deployment in which every turn fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorstView {
    pub(crate) failed: u32,
    /// Hosts that it never touches.
    pub(crate) untouched: u32,
    /// Hosts in service at its end.
    pub(crate) in_service: u32,
}

/// The predicted duration of a deployment, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SecondsView {
    /// The duration if every turn takes the median of past turns.
    pub(crate) typical: u64,
    /// The duration if every turn takes the 90th percentile of past turns.
    pub(crate) slow: u64,
    /// The duration of one turn.
    pub(crate) turn: u64,
    /// The number of past turns that this is based on.
    pub(crate) past_turns: usize,
}

/// Everything that the node knows of a possible deployment. It is taken out of the node's loop,
/// because a look inside the loop must be shorter than it takes to play a large deployment through.
pub(crate) struct Planned {
    group: String,
    /// Set if nothing can be committed now, so that it could not be submitted.
    no_majority: Option<Blocker>,
    /// The reason why it would be refused if it were submitted now.
    refusal: Option<Refusal>,
    forecast: Forecast,
    /// The deployment as requested.
    wish: Submission,
    /// Changes with which it would be accepted.
    changes: Vec<Change>,
    /// True if it would be accepted with another minimum.
    takes_minimum: bool,
    pace: Option<Pace>,
    names: BTreeMap<HostId, String>,
    /// The names of the Down hosts only, because formatting an id takes long.
    down: BTreeMap<HostId, Named>,
    /// The first Down host, as a command takes it.
    first_down: Option<String>,
    /// The number of the group's hosts in service now.
    healthy: u32,
    unhealthy: Vec<UnwellView>,
    left_out: Vec<UnwellView>,
    rollback_to: Option<String>,
    notes: Vec<String>,
}

impl Planned {
    /// Collects what the state knows of the deployment.
    /// # Errors
    /// The group does not exist. Any other reason to refuse the deployment is part of the plan.
    pub(crate) fn of(state: &State, wish: Submission) -> Result<Self, Refusal> {
        let unknown = || Refusal::UnknownGroup(wish.group.clone());
        let known = state.group(&wish.group).ok_or_else(unknown)?;
        // Check the policy first, as `deploy` does, which would not fetch a bundle for a bad policy.
        let refusal = state.check_policy(&wish.group, &wish.policy).err();
        let refusal = refusal.or_else(|| state.check_intent(&Intent::Deploy(Box::new(wish.clone()))).err());
        let pace = pace::pace(state, known);
        let turn = pace.map_or(Duration::from_secs(1), |pace| pace.median);
        let notes = notes(known, &wish);
        let forecast = state.forecast(wish.clone(), turn).ok_or_else(unknown)?;
        let labels = Names::of(state);
        let names = |entrant: &Entrant| (entrant.host, name_of(state, entrant.host));
        let down = forecast.entrants().iter().filter(|entrant| entrant.down.is_some());
        let down = down.map(|entrant| (entrant.host, labels.named(entrant.host))).collect();
        let first_down = forecast.entrants().iter().find(|entrant| entrant.down.is_some());
        let first_down = first_down.map(|entrant| labels.word(entrant.host));
        let targets = || forecast.entrants().iter().filter(|entrant| entrant.target);
        let others = || forecast.entrants().iter().filter(|entrant| !entrant.target);
        let refused = refusal.as_ref().filter(|refusal| !refusal.passes());
        let changes = refused.map(|refusal| advice::changes(state, &wish, refusal, turn)).unwrap_or_default();
        let takes_minimum = refused.is_none_or(|_| {
            let policy = Policy { minimum: Minimum::AllAtOnce, ..wish.policy.clone() };
            let wish = Submission { policy, ..wish.clone() };
            state.check_policy(&wish.group, &wish.policy).is_ok()
                && state.check_intent(&Intent::Deploy(Box::new(wish))).is_ok()
        });
        Ok(Planned {
            no_majority: None,
            wish,
            changes,
            takes_minimum,
            group: known.group.name.to_string(),
            refusal,
            pace,
            names: forecast.entrants().iter().map(names).collect(),
            down,
            first_down,
            healthy: u32::try_from(in_service(
                state,
                known,
                &state.members_of(&known.group),
                &BTreeSet::new(),
            ))
            .unwrap_or(u32::MAX),
            unhealthy: targets().filter_map(|entrant| unwell(&labels, known, entrant)).collect(),
            left_out: others().filter_map(|entrant| left_out(&labels, known, entrant)).collect(),
            rollback_to: known.good.last().map(|good| good.revision.digest.to_string()),
            notes,
            forecast,
        })
    }

    /// Adds the fact that this host may reach too few voters for anything to begin.
    #[must_use]
    pub(crate) fn without_majority(self, no_majority: Option<Blocker>) -> Self {
        Planned { no_majority, ..self }
    }

    /// Plays the deployment through and describes the result.
    pub(crate) fn view(self) -> PlanView {
        let outlook = self.forecast.outlook(self.pace.map(|pace| pace.slow));
        let (rollout, counts) = (&outlook.well.rollout, outlook.well.rollout.counts());
        let ends_well = outlook.well.ends_well();
        let policy = self.forecast.policy();
        let bounds = policy.bounds(rollout.total());
        let entrants = self.forecast.entrants();
        let is_new =
            |entrant: &&Entrant| entrant.target && entrant.standing.is_none() && entrant.down.is_none();
        let reasons = self.reasons(&outlook);
        let is_possible = reasons.is_empty();
        let passes = !is_possible && reasons.iter().all(|cause| cause.passes);
        // A deployment that would never be accepted has no course to show.
        let is_playable = self.is_playable();
        let batches: &[Batch] = if is_playable { &outlook.well.batches } else { &[] };
        PlanView {
            group: self.group.clone(),
            config: policy.to_string(),
            total: rollout.total(),
            targets: count(entrants.iter().filter(|entrant| entrant.target)),
            minimum: bounds.minimum,
            turns_max: bounds.turns_max,
            is_possible,
            reason: reasons.first().map(|cause| cause.why.clone()),
            passes,
            advice: reasons.iter().flat_map(|cause| cause.advice.iter().cloned()).collect(),
            reasons,
            batches: batches.iter().map(|batch| self.names_of(&batch.hosts)).collect(),
            waves: batches.iter().map(step).collect(),
            down: self.down(|entrant| entrant.target),
            lost_after_seconds: policy.lost_after.min(policy.start_timeout).as_secs(),
            never_deployed: count(entrants.iter().filter(is_new)),
            healthy: self.healthy,
            lowest_in_service: rollout.lowest_available,
            stopped_by_failures: outlook.stops.fewest,
            stopped_after_canary: outlook.stops.after_canary,
            last_may_fail: outlook.stops.last,
            turns_after_canary: outlook.stops.turns,
            is_zonal: policy.zonal.is_some(),
            worst: (ends_well && counts.succeeded > 0).then(|| WorstView::of(outlook.worst)),
            rolls_back: policy.rollback.failure,
            seconds: self.pace.zip(outlook.slow).map(|(pace, slow)| seconds(pace, outlook.well.lasted, slow)),
            rollback_to: self.rollback_to,
            unhealthy: self.unhealthy,
            left_out: self.left_out,
            notes: self.notes,
            warnings: Vec::new(),
        }
    }

    /// Returns true if it would be accepted now or later; one that never would has no course to show.
    fn is_playable(&self) -> bool {
        self.refusal.as_ref().is_none_or(Refusal::passes)
    }

    /// Returns what prevents its submission, what refuses it, and then what would make it fail.
    fn reasons(&self, outlook: &Outlook) -> Vec<CauseView> {
        let away = self.no_majority.iter().map(|blocker| CauseView {
            why: Why::of_blocker(blocker),
            passes: true,
            advice: Vec::new(),
        });
        let mut reasons: Vec<CauseView> = away.collect();
        if let Some(refusal) = &self.refusal {
            let passes = refusal.passes();
            // The message of a temporary refusal says what ends it.
            let advice = if passes { Vec::new() } else { self.advice() };
            reasons.push(CauseView { why: Why::of_refusal(refusal), passes, advice });
        }
        if let Some(why) = foretold(&outlook.well).filter(|_| self.is_playable()) {
            reasons.push(CauseView { why, passes: false, advice: self.advice() });
        }
        reasons
    }

    fn named(&self, host: HostId) -> Named {
        let unknown = || Named { host: host.to_string(), name: host.short(), ..Named::default() };
        self.down.get(&host).cloned().unwrap_or_else(unknown)
    }

    fn names_of(&self, hosts: &[HostId]) -> Vec<String> {
        hosts.iter().map(|host| self.names.get(host).cloned().unwrap_or_else(|| host.short())).collect()
    }

    /// Returns the hosts among these that are Down.
    fn down(&self, of: impl Fn(&Entrant) -> bool) -> Vec<DownView> {
        let of = self.forecast.entrants().iter().filter(|entrant| of(entrant));
        let down = of.filter_map(|entrant| Some((entrant.host, entrant.down?)));
        let view = |(host, since)| DownView { who: self.named(host), since: written(since) };
        down.map(view).collect()
    }

    fn goes_with_all_up(&self) -> bool {
        self.forecast.with_all_up().play(|_| false).ends_well()
    }

    fn goes_without_down(&self) -> bool {
        let left = self.forecast.without_down();
        let zones = advice::zones(left.entrants().iter());
        check_shape(&self.wish.group, &self.wish.policy, &zones).is_ok() && left.play(|_| false).ends_well()
    }

    /// Returns the changes that would make an impossible deployment possible, the smallest first.
    fn advice(&self) -> Vec<String> {
        /// The number of names to list; more are only counted.
        const NAMED_MAX: usize = 3;
        let mut advice: Vec<String> = self.changes.iter().filter_map(Change::words).collect();
        let missing = self.down(|_| true).into_iter();
        let missing: Vec<String> = missing.map(|host| host.who.label().into()).collect();
        let is_refused = self.refusal.as_ref().is_some_and(|refusal| !refusal.passes());
        if !missing.is_empty() && !is_refused {
            let more = missing.len().saturating_sub(NAMED_MAX);
            let mut names = missing.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
            if more > 0 {
                names.push_str(&format!(" and {more} more"));
            }
            let remove = format!("skein mesh remove {}", self.first_down.as_deref().unwrap_or(&missing[0]));
            match (self.goes_with_all_up(), self.goes_without_down()) {
                (true, true) => {
                    advice.push(format!(
                        "bring back what is Down ({names}), or take it out of the mesh: {remove}"
                    ));
                }
                (true, false) => advice.push(format!("bring back what is Down ({names})")),
                (false, true) => {
                    advice.push(format!("take what is Down ({names}) out of the mesh: {remove}"))
                }
                (false, false) => {}
            }
        }
        if let Some(most) = self.takes_minimum.then(|| self.forecast.largest_minimum()).flatten() {
            let total = self.forecast.entrants().len();
            advice.push(format!("let {most} of {total} stay healthy: --override minimum_healthy={most}"));
        }
        if missing.is_empty()
            && self.takes_minimum
            && let Some(hosts) = advice::hosts_needed(&self.wish, &self.forecast)
        {
            advice.push(format!("add hosts to the group: with {hosts} it can begin"));
        }
        advice
    }
}

impl WorstView {
    fn of(worst: Worst) -> Self {
        let Worst { failed, untouched, in_service } = worst;
        WorstView { failed, untouched, in_service }
    }
}

/// Describes why it would not end well. Nothing of it has
/// happened, and the sentence must not read as if it had.
fn foretold(well: &Played) -> Option<Why> {
    if well.ends_well() {
        return None;
    }
    let foretold = |how: &str, why: Why| Why { message: format!("{how}: {}", why.message), ..why };
    let fails = Why::of_rollout(&well.rollout).map(|why| foretold("it would fail", why));
    let waits = || well.waits_for().first().map(Why::of_blocker);
    fails.or_else(|| waits().map(|why| foretold("it would wait until its time is up", why)))
}

fn count<T>(of: impl Iterator<Item = T>) -> u32 {
    u32::try_from(of.count()).unwrap_or(u32::MAX)
}

/// Returns why a host that is up is not in service; `None` if it is, or never had a turn.
fn unwell(labels: &Names<'_>, known: &GroupState, entrant: &Entrant) -> Option<UnwellView> {
    if entrant.is_in_service() || entrant.down.is_some() || entrant.standing.is_none() {
        return None;
    }
    let last_turn = || "its last turn failed".to_string();
    let why = super::health_words::unwell(labels.state, known, entrant.host).unwrap_or_else(last_turn);
    Some(UnwellView { who: labels.named(entrant.host), why })
}

/// Returns why a host without a turn is out of service; `None` if it is in service.
fn left_out(labels: &Names<'_>, known: &GroupState, entrant: &Entrant) -> Option<UnwellView> {
    let why = match (entrant.down, entrant.standing) {
        (Some(since), _) => format!("Down since {}", written(since)),
        (None, None) => "nothing was deployed to it yet".into(),
        (None, Some(_)) => return unwell(labels, known, entrant),
    };
    Some(UnwellView { who: labels.named(entrant.host), why })
}

/// Describes what happens before the first turn.
fn notes(known: &GroupState, wish: &Submission) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(running) = known.running.filter(|_| wish.queue) {
        notes.push(format!("It waits for {running} to be over."));
    }
    if let Some(catching_up) = known.catching_up.filter(|_| known.running.is_none()) {
        notes.push(format!(
            "It waits for the turns under way of {catching_up}, which brings hosts up to date; what is foretold \
             is of the hosts as they are now."
        ));
    }
    let read: Vec<&str> =
        known.group.alarms.iter().filter(|alarm| alarm.is_read()).map(|alarm| alarm.name.as_str()).collect();
    if !read.is_empty() && wish.heeds_alarms() {
        let (alarms, are) = if read.len() == 1 { ("Alarm", "is") } else { ("Alarms", "are") };
        notes
            .push(format!("{alarms} {} {are} read before the first turn, and may stop it.", read.join(", ")));
    }
    notes
}

fn step(batch: &Batch) -> StepView {
    let wave = match &batch.wave {
        WaveKind::Rest => None,
        WaveKind::Canary | WaveKind::Zone(_) => Some(batch.wave.to_string()),
    };
    StepView { wave, after: rounded(batch.after) }
}

fn seconds(pace: Pace, lasted: Duration, slow: Duration) -> SecondsView {
    SecondsView {
        typical: rounded(lasted),
        slow: rounded(slow),
        turn: rounded(pace.median),
        past_turns: pace.turns,
    }
}

/// Returns whole seconds, rounded up.
fn rounded(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
