//! Finds changes that would make an impossible deployment possible. Each change
//! is tested on the same fold, and with the same checks, before it is advised.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::entry::Submission;
use proto::io::Refusal;
use proto::policy::{Canary, Policy, Share, Zonal};
use proto::rollout::Entrant;
use proto::rollout::forecast::Forecast;
use proto::state::{State, check_shape};
use proto::statement::Intent;

/// The most hosts to add to one zone in search of a size that fits.
const ADDED_MAX: u32 = 100;

/// A change with which a deployment would be accepted, and the resulting forecast.
pub(super) struct Change {
    words: String,
    forecast: Forecast,
}

impl Change {
    /// Describes the change; `None` if the deployment would not end well with it.
    pub(super) fn words(&self) -> Option<String> {
        self.forecast.play(|_| false).ends_well().then(|| self.words.clone())
    }
}

/// Returns the changes with which a refused deployment would be accepted, the smallest first.
pub(super) fn changes(state: &State, wish: &Submission, refusal: &Refusal, turn: Duration) -> Vec<Change> {
    let is_accepted = |wish: &Submission| {
        let intent = Intent::Deploy(Box::new(wish.clone()));
        state.check_policy(&wish.group, &wish.policy).and_then(|()| state.check_intent(&intent)).is_ok()
    };
    let accepted = candidates(state, wish, refusal).into_iter().filter_map(|(words, policy)| {
        let wish = Submission { policy, ..wish.clone() };
        let forecast = is_accepted(&wish).then(|| state.forecast(wish, turn))??;
        Some(Change { words, forecast })
    });
    accepted.chain(with_hosts_in_zones(state, wish, refusal, turn)).collect()
}

/// Returns the changes of the policy that could answer the refusal.
fn candidates(state: &State, wish: &Submission, refusal: &Refusal) -> Vec<(String, Policy)> {
    let policy = &wish.policy;
    let without_zones = || (said("go through all zones at once", &["zones.enabled=false"]), unzoned(policy));
    if let (Refusal::ImpossibleZoneMinimum { .. }, Some(zonal)) = (refusal, &policy.zonal) {
        return lower_in_zones(state, wish, zonal).into_iter().chain([without_zones()]).collect();
    }
    if let (Refusal::UnknownZones { known, .. }, Some(zonal)) = (refusal, &policy.zonal) {
        let mut order = zonal.order.clone();
        order.retain(|zone| known.contains(zone));
        let order = if order.is_empty() { known.clone() } else { order };
        let words = said("name only zones that there are", &[&format!("zones.order={}", order.join(","))]);
        let zonal = Some(Zonal { order, ..zonal.clone() });
        return vec![(words, Policy { zonal, ..policy.clone() }), without_zones()];
    }
    if let Refusal::NoZones { .. } = refusal {
        return vec![without_zones()];
    }
    if let (Refusal::ImpossibleCanary { total, .. }, Some(canary)) = (refusal, policy.canary) {
        let most = total.saturating_sub(1);
        let smaller =
            Policy { canary: Some(Canary { hosts: Share::Hosts(most), ..canary }), ..policy.clone() };
        let none = Policy { canary: None, ..policy.clone() };
        return vec![
            (said("make the canary smaller", &[&format!("canary.hosts={most}")]), smaller),
            (said("leave the canary out", &["canary.enabled=false"]), none),
        ];
    }
    if let Refusal::BakesTooLong { bakes, timeout } = refusal {
        return for_bakes(policy, bakes + timeout);
    }
    if let Refusal::NothingOutdated { .. } = refusal {
        let again = Policy { outdated_only: false, ..policy.clone() };
        return vec![(said("install it again everywhere", &["outdated_only=false"]), again)];
    }
    Vec::new()
}

fn said(what: &str, overrides: &[&str]) -> String {
    let overrides: Vec<String> = overrides.iter().map(|pair| format!("--override {pair}")).collect();
    format!("{what}: {}", overrides.join(" "))
}

fn unzoned(policy: &Policy) -> Policy {
    Policy { zonal: None, ..policy.clone() }
}

/// Returns the largest minimum per zone, below the requested one, that leaves every zone a turn.
fn lower_in_zones(state: &State, wish: &Submission, zonal: &Zonal) -> Option<(String, Policy)> {
    let share = |number: u32| match zonal.minimum {
        Share::Hosts(_) => Share::Hosts(number),
        Share::Percent(_) => Share::Percent(u8::try_from(number).unwrap_or(u8::MAX)),
    };
    let under = |number: u32| {
        let zonal = Some(Zonal { minimum: share(number), ..zonal.clone() });
        Policy { zonal, ..wish.policy.clone() }
    };
    let works = |number: u32| state.check_policy(&wish.group, &under(number)).is_ok();
    let asked = match zonal.minimum {
        Share::Hosts(hosts) => hosts,
        Share::Percent(percent) => percent.into(),
    };
    // A lower minimum allows more.
    let (mut low, mut high) = (0, works(0).then_some(asked)?);
    while high - low > 1 {
        let probe = low + (high - low) / 2;
        if works(probe) { low = probe } else { high = probe }
    }
    let sign = if matches!(zonal.minimum, Share::Percent(_)) { "%" } else { "" };
    let words = said("let fewer of each zone stay healthy", &[&format!("zones.minimum_healthy={low}{sign}")]);
    Some((words, under(low)))
}

fn for_bakes(policy: &Policy, seconds: u64) -> Vec<(String, Policy)> {
    let longer = Policy { deployment_timeout: Duration::from_secs(seconds), ..policy.clone() };
    let canary = policy.canary.map(|canary| Canary { bake: Duration::ZERO, ..canary });
    let zero = Some(Duration::ZERO);
    let unbaked = |zonal: &Zonal| Zonal {
        bake: Duration::ZERO,
        first_bake: zonal.first_bake.and(zero),
        ..zonal.clone()
    };
    let zonal = policy.zonal.as_ref().map(unbaked);
    let mut overrides = Vec::new();
    overrides.extend(canary.map(|_| "canary.bake=0s"));
    overrides.extend(zonal.as_ref().map(|_| "zones.bake=0s"));
    overrides.extend(zonal.as_ref().and_then(|zonal| zonal.first_bake).map(|_| "zones.first_bake=0s"));
    vec![
        (said("give it more time", &[&format!("timeout={seconds}s")]), longer),
        (said("leave the bakes out", &overrides), Policy { canary, zonal, ..policy.clone() }),
    ]
}

/// Counts the hosts in each zone.
pub(super) fn zones<'a>(entrants: impl Iterator<Item = &'a Entrant>) -> BTreeMap<&'a str, u32> {
    let mut zones = BTreeMap::new();
    entrants.for_each(|entrant| *zones.entry(entrant.zone.as_str()).or_insert(0) += 1);
    zones
}

/// Adds as many hosts as needed to each zone that is too small.
fn with_hosts_in_zones(
    state: &State,
    wish: &Submission,
    refusal: &Refusal,
    turn: Duration,
) -> Option<Change> {
    let zonal =
        wish.policy.zonal.as_ref().filter(|_| matches!(refusal, Refusal::ImpossibleZoneMinimum { .. }))?;
    let forecast = state.forecast(wish.clone(), turn)?;
    let mut needed = zones(forecast.entrants().iter());
    let mut added: Vec<&str> = Vec::new();
    let mut words = Vec::new();
    for (zone, hosts) in &mut needed {
        let fits = |hosts: &u32| zonal.bounds(*hosts).minimum < *hosts;
        let enough = (*hosts..=hosts.saturating_add(ADDED_MAX)).find(fits)?;
        if enough > *hosts {
            let name = if zone.is_empty() { "without a zone".into() } else { format!("in zone {zone}") };
            words.push(format!("{enough} {name} ({hosts} now)"));
            added.extend((*hosts..enough).map(|_| *zone));
            *hosts = enough;
        }
    }
    check_shape(&wish.group, &wish.policy, &needed).ok()?;
    let words = format!("add hosts to the group: with {} it can begin", words.join(", "));
    Some(Change { words, forecast: forecast.with_new(&added) })
}

/// Returns the size of the smallest larger group in which
/// it would end well, wherever the new hosts are.
pub(super) fn hosts_needed(wish: &Submission, forecast: &Forecast) -> Option<usize> {
    if wish.policy.zonal.is_some() {
        return None;
    }
    let hosts = usize::try_from(forecast.hosts_needed()?).ok()?;
    let added = vec![""; hosts.checked_sub(forecast.entrants().len())?];
    let larger = forecast.with_new(&added);
    check_shape(&wish.group, &wish.policy, &zones(larger.entrants().iter())).ok()?;
    larger.play(|_| false).ends_well().then_some(hosts)
}
