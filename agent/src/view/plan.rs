//! What a deployment would do, worked out by the very fold that will do it:
//! who goes when, what would stop it, how long it takes, and, if it cannot
//! finish, the smallest change after which it can.

mod pace;
mod play;

use std::time::Duration;

use proto::id::{Digest, HostId};
use proto::policy::{Minimum, Policy};
use proto::rollout::{Health, Rollout, Verdict, WaveKind};
use proto::state::{GroupState, State};
use serde::{Deserialize, Serialize};

use super::{Why, name_of, written};
use pace::Pace;
use play::{Batch, Play, Played};

/// A deployment as it would go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlanView {
    pub(crate) group: String,
    pub(crate) config: String,
    /// N.
    pub(crate) total: u32,
    /// M.
    pub(crate) minimum: u32,
    /// At most so many at a time.
    pub(crate) turns_max: u32,
    /// Whether it can end well as things are now.
    pub(crate) is_possible: bool,
    /// Why not.
    #[serde(default)]
    pub(crate) reason: Option<Why>,
    /// What would make it possible, the smallest change first.
    #[serde(default)]
    pub(crate) advice: Vec<String>,
    /// The hosts' names in the order of their turns, if all go well.
    pub(crate) batches: Vec<Vec<String>>,
    /// Of each batch: canary or zone, if it is one, and when it begins, by past
    /// turns.
    #[serde(default)]
    pub(crate) waves: Vec<StepView>,
    /// Hosts that are Down: they are tried first, and fail if they stay away.
    #[serde(default)]
    pub(crate) down: Vec<DownView>,
    /// Hosts that are healthy now.
    #[serde(default)]
    pub(crate) healthy: u32,
    /// Fewest hosts in service at any moment, if all go well.
    pub(crate) lowest_in_service: u32,
    /// So many turns must fail, one after the other from the first, for the
    /// deployment to fail.
    pub(crate) stopped_by_failures: u32,
    /// So many turns may fail if they are the last ones.
    #[serde(default)]
    pub(crate) last_may_fail: u32,
    /// How it ends if every turn fails.
    #[serde(default)]
    pub(crate) worst: Option<WorstView>,
    /// How long it takes, by past turns; none if there were none.
    #[serde(default)]
    pub(crate) seconds: Option<SecondsView>,
}

/// When a batch goes, and as part of what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StepView {
    /// The canary, or a zone; none if all hosts are one wave.
    pub(crate) wave: Option<String>,
    /// Seconds from the first turn, bakes counted; turns too, as far as past
    /// ones say how long they take.
    pub(crate) after: u64,
}

/// A host that is Down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DownView {
    pub(crate) name: String,
    pub(crate) since: String,
}

/// The end of a deployment of which every turn fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorstView {
    pub(crate) failed: u32,
    /// Hosts that it never touches.
    pub(crate) untouched: u32,
    /// Hosts in service at its end.
    pub(crate) in_service: u32,
}

/// How long it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SecondsView {
    /// If every turn takes as long as half of the past ones did at most.
    pub(crate) typical: u64,
    /// If every turn takes as long as nine of ten did at most.
    pub(crate) slow: u64,
    /// Of one turn.
    pub(crate) turn: u64,
    /// How many turns that is known from.
    pub(crate) past_turns: usize,
}

/// What a deployment of the revision under the policy would do now.
pub(crate) fn plan(state: &State, known: &GroupState, policy: &Policy, digest: Digest) -> PlanView {
    let pace = pace::pace(state, known);
    let turn = pace.map_or(Duration::from_secs(1), |pace| pace.median);
    let play = Play::new(state, known, policy, digest, turn);
    let well = play.through(&|_| false);
    let badly = play.through(&|_| true);
    let is_possible = ends_well(&well);
    let total = well.rollout.total();
    let bounds = policy.bounds(total);
    let names = |hosts: &[HostId]| hosts.iter().map(|host| name_of(state, *host)).collect();
    PlanView {
        group: known.group.name.to_string(),
        config: policy.to_string(),
        total,
        minimum: bounds.minimum,
        turns_max: bounds.turns_max,
        is_possible,
        reason: if is_possible { None } else { Why::of_rollout(&well.rollout) },
        advice: if is_possible { Vec::new() } else { advice(state, &play, policy, bounds.minimum) },
        batches: well.batches.iter().map(|batch| names(&batch.hosts)).collect(),
        waves: well.batches.iter().map(step).collect(),
        down: down(state, &play),
        healthy: healthy(&play),
        lowest_in_service: well.rollout.lowest_available,
        stopped_by_failures: badly.rollout.counts().failed,
        last_may_fail: if is_possible { last_may_fail(&play, &well) } else { 0 },
        worst: is_possible.then(|| worst(&badly.rollout)),
        seconds: pace.filter(|_| is_possible).map(|pace| seconds(&play, pace, &well)),
    }
}

fn step(batch: &Batch) -> StepView {
    let wave = match &batch.wave {
        WaveKind::Rest => None,
        WaveKind::Canary | WaveKind::Zone(_) => Some(batch.wave.to_string()),
    };
    StepView { wave, after: rounded(batch.after) }
}

fn ends_well(played: &Played) -> bool {
    matches!(played.rollout.verdict, Some(Verdict::Succeeded))
}

fn is_healthy(entrant: &proto::rollout::Entrant) -> bool {
    entrant.down.is_none()
        && entrant.ailing.is_none()
        && entrant.standing.is_some_and(|standing| standing.health == Health::Healthy)
}

fn healthy(play: &Play) -> u32 {
    u32::try_from(play.entrants().iter().filter(|entrant| is_healthy(entrant)).count()).unwrap_or(u32::MAX)
}

fn down(state: &State, play: &Play) -> Vec<DownView> {
    play.entrants()
        .iter()
        .filter_map(|entrant| {
            Some(DownView { name: name_of(state, entrant.host), since: written(entrant.down?) })
        })
        .collect()
}

fn worst(badly: &Rollout) -> WorstView {
    let counts = badly.counts();
    WorstView { failed: counts.failed, untouched: counts.skipped, in_service: counts.available }
}

/// The most turns that may fail at the end of it: what the minimum leaves, if
/// the fold agrees.
fn last_may_fail(play: &Play, well: &Played) -> u32 {
    let order: Vec<HostId> = well.batches.iter().flat_map(|batch| batch.hosts.iter().copied()).collect();
    let survives = |failing: usize| {
        let last: std::collections::HashSet<HostId> =
            order[order.len() - failing.min(order.len())..].iter().copied().collect();
        ends_well(&play.through(&|host| last.contains(&host)))
    };
    let counts = well.rollout.counts();
    let spare =
        counts.healthy.saturating_sub(well.rollout.bounds.minimum).min(counts.succeeded.saturating_sub(1));
    if survives(spare as usize) { spare } else { 0 }
}

fn seconds(play: &Play, pace: Pace, well: &Played) -> SecondsView {
    let slow = play.at_pace(pace.slow).through(&|_| false);
    SecondsView {
        typical: rounded(well.lasted),
        slow: rounded(slow.lasted),
        turn: rounded(pace.median),
        past_turns: pace.turns,
    }
}

/// Whole seconds, up.
fn rounded(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// What would make an impossible deployment possible, the smallest change
/// first.
fn advice(state: &State, play: &Play, policy: &Policy, minimum: u32) -> Vec<String> {
    /// More names than this are counted, not listed.
    const NAMED_MAX: usize = 3;
    let mut advice = Vec::new();
    let total = u32::try_from(play.entrants().len()).unwrap_or(u32::MAX);
    let missing: Vec<String> = down(state, play).into_iter().map(|host| host.name).collect();
    if !missing.is_empty() && ends_well(&play.with_all_up().through(&|_| false)) {
        let more = missing.len().saturating_sub(NAMED_MAX);
        let mut names = missing.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
        if more > 0 {
            names.push_str(&format!(" and {more} more"));
        }
        advice.push(format!(
            "bring back what is Down ({names}), or take it out of the mesh: skein mesh remove {}",
            missing.first().map_or("HOST", String::as_str)
        ));
    }
    if let Some(most) = largest_minimum(play, policy, minimum.min(total)) {
        advice.push(format!("let {most} of {total} stay healthy: --override minimum_healthy={most}"));
    }
    if missing.is_empty()
        && let Some(hosts) = hosts_needed(policy.minimum, total)
    {
        advice.push(format!("add hosts to the group: with {hosts} it can begin"));
    }
    advice
}

/// The largest minimum, up to `below`, under which it can finish.
fn largest_minimum(play: &Play, policy: &Policy, below: u32) -> Option<u32> {
    let works = |hosts: u32| {
        let policy = Policy { minimum: Minimum::HostCount(hosts), ..policy.clone() };
        ends_well(&play.under(policy).through(&|_| false))
    };
    // The lower the minimum, the more is possible.
    let (mut low, mut high) = (0, below);
    if !works(low) {
        return None;
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if works(middle) { low = middle } else { high = middle }
    }
    Some(low)
}

/// The smallest group larger than `total` that the minimum lets go, if the
/// next hundred hosts make one.
fn hosts_needed(minimum: Minimum, total: u32) -> Option<u32> {
    const LOOKED_AT: u32 = 100;
    (total + 1..=total.saturating_add(LOOKED_AT)).find(|hosts| minimum.is_possible(*hosts))
}
