//! `skein plan`: shows what a deployment would do, before it does anything.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;

use super::deploy::{DeployOptions, Sent, bring, sent, warn};
use super::group::short_revision;
use super::packing::Place;
use super::{Exit, Session};
use crate::api::{CheckBody, PlanBody};
use crate::harmless::clean;
use crate::view::plan_view::{CauseView, UnwellView};
use crate::view::{PlanView, SecondsView};

/// The number of first batches to show, and of last ones; `--json` has all.
const FIRST_SHOWN: usize = 12;
const LAST_SHOWN: usize = 2;
/// The number of names to show per batch; `--json` has all.
const NAMES_SHOWN: usize = 8;
/// The number of hosts out of service to name; `--json` has all.
const OUT_SHOWN: usize = 5;

#[derive(Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    options: DeployOptions,
}

pub(super) async fn plan(session: &Session, args: PlanArgs) -> anyhow::Result<Exit> {
    let options = args.options;
    let (group, overrides, place) = (options.group.to_string(), options.overrides()?, options.place()?);
    let Sent { source, digest, origin } = match is_ruled_out(session, &group, &overrides, &place).await {
        // The bundle makes no difference then.
        true => Sent::default(),
        false => sent(session, place).await?,
    };
    let body = PlanBody { group, source, digest, origin, overrides, queue: options.queue };
    let plan: PlanView = bring(session, "/v1/plan", &body).await?;
    warn(session, &plan.warnings);
    session.answer(&plan, || words(&plan))?;
    Ok(if plan.is_possible { Exit::Done } else { Exit::Refused })
}

/// Returns true if the group or the policy rules the deployment out, before a
/// bundle on this machine is sent. The plan gives the reason.
async fn is_ruled_out(
    session: &Session,
    group: &str,
    overrides: &BTreeMap<String, String>,
    place: &Option<Place>,
) -> bool {
    let check = CheckBody { group: group.into(), overrides: overrides.clone() };
    let is_here = matches!(place, Some(Place::Here(_)));
    is_here && session.client.post::<serde_json::Value>("/v1/deployments/check", &check).await.is_err()
}

fn words(plan: &PlanView) -> String {
    let mut text = head(plan);
    plan.notes.iter().for_each(|note| text.push_str(&format!("{note}\n")));
    if !plan.is_possible {
        text.push_str(&refusal(plan));
    }
    if plan.is_possible || plan.passes {
        text.push_str(&format!("\n{}\n{}", batches(plan), course(plan)));
    }
    text.trim_end().to_string()
}

/// Describes the group, its hosts, and the rule.
fn head(plan: &PlanView) -> String {
    let PlanView { group, config, total, minimum, turns_max, healthy, targets, .. } = plan;
    let of_all = if targets == total { String::new() } else { format!(", for {targets} of them") };
    let at_once = match minimum < total {
        true => format!("at most {turns_max} at a time"),
        false => "so none at a time".into(),
    };
    let mut text = format!(
        "{group}: {}, {healthy} in service now{of_all}.\n{config}: {minimum} must stay in service, {at_once}.\n",
        hosts(*total)
    );
    text.push_str(&out_of_service(plan));
    if *targets > 1 && (plan.is_possible || plan.passes) {
        text.push_str(&line("Order", ORDER.into()));
    }
    text
}

/// The order in which hosts have their turns: within a wave, if there are waves.
pub(super) const ORDER: &str = "hosts of no service first, then those with an older revision, then those that have \
    this one, equals by name; hosts that are Down last";
/// The same for a deployment that undoes another one.
pub(super) const ORDER_BACK: &str = "hosts of no service first, then those with the revision that is undone, equals by \
    name; a host that is Down is waited for";

/// Describes the hosts that are out of service before it begins, and the consequences.
fn out_of_service(plan: &PlanView) -> String {
    let mut text = String::new();
    if !plan.down.is_empty() {
        let down: Vec<String> =
            plan.down.iter().map(|host| format!("{} since {}", host.who.label(), host.since)).collect();
        let within = written(plan.lost_after_seconds);
        let then = format!("its turn comes last, and fails if it is not back within {within}");
        text.push_str(&line("Down", format!("{}: {then}", some_of(&down))));
    }
    let why = |host: &UnwellView| format!("{}, {}", host.who.label(), clean(&host.why));
    let goes_in_waves = plan.is_zonal || plan.stopped_after_canary.is_some();
    let first = if goes_in_waves { "first of those it goes with" } else { "first in line" };
    if !plan.unhealthy.is_empty() {
        let unhealthy: Vec<String> = plan.unhealthy.iter().map(why).collect();
        text.push_str(&line("Unhealthy", format!("{}: {first}", some_of(&unhealthy))));
    }
    match plan.never_deployed {
        0 => {}
        new if new == plan.targets => {
            text.push_str(&line("New", "all: nothing was deployed here yet".into()))
        }
        new => text.push_str(&line("New", format!("{} that never had a turn: {first}", hosts(new)))),
    }
    if !plan.left_out.is_empty() {
        let left_out: Vec<String> = plan.left_out.iter().map(why).collect();
        let then = "out of service, and no part of this deployment";
        text.push_str(&line("Left out", format!("{}: {then}", some_of(&left_out))));
    }
    text
}

/// Lists the first ones, and counts the rest.
fn some_of(all: &[String]) -> String {
    let more = all.len().saturating_sub(OUT_SHOWN);
    let more = if more > 0 { format!("; and {more} more (--json shows all)") } else { String::new() };
    format!("{}{more}", all[..all.len().min(OUT_SHOWN)].join("; "))
}

/// Describes all obstacles in order, each with what helps.
fn refusal(plan: &PlanView) -> String {
    let mut text = String::from(match plan.reasons.first().is_some_and(|cause| cause.passes) {
        true => "\nNOT NOW: it would not be accepted.\n",
        false => "\nNOT POSSIBLE as things are.\n",
    });
    let (mut lead, mut then) = ("Why:", "");
    for CauseView { why, passes: _, advice } in &plan.reasons {
        text.push_str(&format!("{lead} {} ({})\n", clean(&why.message), why.code));
        text.push_str(&remedies(advice, then));
        (lead, then) = ("And then:", " then");
    }
    if plan.passes {
        text.push_str("Once that is over it would go like this:\n");
    }
    text
}

fn remedies(advice: &[String], then: &str) -> String {
    let mut text = match advice.len() {
        0 => String::new(),
        1 => format!("This would{then} make it possible:\n"),
        _ => format!("Any one of these would{then} make it possible, the smallest change first:\n"),
    };
    advice.iter().for_each(|advice| text.push_str(&format!("  - {advice}\n")));
    text
}

/// Describes who goes when: the first batches, a summary, and the last ones.
fn batches(plan: &PlanView) -> String {
    let all = plan.batches.len();
    let is_cut = all > FIRST_SHOWN + LAST_SHOWN + 1;
    let first = if is_cut { FIRST_SHOWN } else { all };
    let mut text: String = (0..first).map(|at| batch(plan, at)).collect();
    if is_cut {
        let hidden = &plan.batches[first..all - LAST_SHOWN];
        let sizes = || hidden.iter().map(Vec::len);
        let each = match (sizes().min().unwrap_or(0), sizes().max().unwrap_or(0)) {
            (1, 1) => "1 host each".to_string(),
            (least, most) if least == most => format!("{most} hosts each"),
            (least, most) => format!("{least} to {most} hosts each"),
        };
        text.push_str(&format!("        … {} more batches, {each} (--json shows all)\n", hidden.len()));
        text.extend((all - LAST_SHOWN..all).map(|at| batch(plan, at)));
    }
    text
}

fn batch(plan: &PlanView, at: usize) -> String {
    let names = &plan.batches[at];
    let more = names.len().saturating_sub(NAMES_SHOWN);
    let shown = names.iter().take(NAMES_SHOWN).cloned().collect::<Vec<_>>().join(", ");
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("  {:>5}. {shown}{more}{}\n", at + 1, step(plan, at))
}

/// Describes the wave of a batch and when it begins, as in
/// ` (zone a, about 5m after the first turn begins)`.
fn step(plan: &PlanView, at: usize) -> String {
    let Some(step) = plan.waves.get(at) else { return String::new() };
    let is_first = at == 0 || plan.waves[at - 1].wave != step.wave;
    let wave = step.wave.as_deref().unwrap_or("the others");
    match (is_first && at > 0, &step.wave) {
        (true, _) => format!(" ({wave}, about {} after the first turn begins)", written(step.after)),
        (false, Some(wave)) => format!(" ({wave})"),
        (false, None) => String::new(),
    }
}

/// Describes the costs and what the deployment can withstand, one line each.
fn course(plan: &PlanView) -> String {
    let mut text = line(
        "In service",
        format!("{} of {} at the fewest, if all goes well", plan.lowest_in_service, plan.total),
    );
    text.push_str(&line(
        "Takes",
        plan.seconds.map_or("nobody knows: no turn of this group has gone well yet".into(), lasts),
    ));
    text.push_str(&line("Stopped by", stops(plan)));
    if let Some(worst) = plan.worst {
        text.push_str(&line(
            "At worst",
            format!(
                "every turn fails: {} failed, {} never touched, {} of {} in service at its end",
                worst.failed, worst.untouched, worst.in_service, plan.total
            ),
        ));
    }
    let then = match (plan.rolls_back, plan.rollback_to.as_deref().map(short_revision)) {
        (true, Some(revision)) => format!("the hosts that were touched are rolled back to {revision}"),
        (true, None) => "nothing is rolled back: no revision was good here yet".into(),
        (false, _) => "nothing is rolled back: the policy does not ask for it".into(),
    };
    text.push_str(&line("If it fails", then));
    text
}

fn line(what: &str, how: String) -> String {
    format!("{what:<12} {how}\n")
}

/// Describes how many failed turns stop it, whichever hosts fail.
fn stops(plan: &PlanView) -> String {
    let canary = match plan.stopped_after_canary {
        Some(_) => "any failed turn of the canary; then ",
        None => "",
    };
    let fewest = plan.stopped_after_canary.unwrap_or(plan.stopped_by_failures);
    let down = if plan.down.is_empty() { "" } else { " (hosts that stay Down are not counted)" };
    format!("{canary}{}{down}", stops_after_canary(plan, fewest))
}

fn stops_after_canary(plan: &PlanView, fewest: u32) -> String {
    let PlanView { last_may_fail, turns_after_canary, .. } = *plan;
    let (stops, more) = (failed_turns(fewest), last_may_fail + 1);
    if fewest == 0 {
        return "nothing: all the others may fail".into();
    }
    let has_exception = last_may_fail >= fewest;
    if plan.is_zonal && has_exception {
        return format!(
            "{stops} if they are the first, {more} if they are the last; each zone has its minimum"
        );
    }
    if plan.is_zonal {
        return format!("{stops} if they are the first; each zone has its minimum");
    }
    match (has_exception, fewest) {
        (false, 1) => format!("{stops}, whichever host it is"),
        (false, all) if all == turns_after_canary => {
            format!("{stops} only, which is every one: one that goes well is enough")
        }
        (false, _) => format!("{stops}, whichever hosts they are"),
        (true, 1) => format!("{stops}; if only the last host fails, it still succeeds"),
        (true, _) => {
            format!("{stops} while others still wait for theirs; once nobody waits, it takes {more}")
        }
    }
}

fn failed_turns(failures: u32) -> String {
    if failures == 1 { "1 failed turn".into() } else { format!("{failures} failed turns") }
}

fn lasts(seconds: SecondsView) -> String {
    let SecondsView { typical, slow, turn, past_turns } = seconds;
    let slow =
        if slow > typical { format!(", or {} if turns are slow", written(slow)) } else { String::new() };
    let past = match past_turns {
        1 => "the one past turn took".to_string(),
        several => format!("half of {several} past turns took at most"),
    };
    format!("about {}{slow} ({past} {})", written(typical), written(turn))
}

fn written(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

fn hosts(count: u32) -> String {
    if count == 1 { "1 host".into() } else { format!("{count} hosts") }
}

#[cfg(test)]
mod tests;
