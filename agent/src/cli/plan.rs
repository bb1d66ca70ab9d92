//! `skein plan`: what a deployment would do, before it does anything.

use std::time::Duration;

use clap::Args;
use proto::id::GroupName;

use super::deploy::{Overrides, absolute_source, bring};
use super::{Exit, Session};
use crate::api::PlanBody;
use crate::view::{PlanView, SecondsView};

/// Batches that are shown; `--json` has all.
const BATCHES_SHOWN: usize = 20;
/// Names of one batch that are shown; `--json` has all.
const NAMES_SHOWN: usize = 12;

#[derive(Args)]
pub(crate) struct PlanArgs {
    /// APPLICATION/GROUP
    group: GroupName,
    /// A directory or archive, s3://…, https://…, github:owner/repo@commit, blake3:DIGEST
    source: String,
    #[command(flatten)]
    overrides: Overrides,
}

pub(super) async fn plan(session: &Session, args: PlanArgs) -> anyhow::Result<Exit> {
    let source = absolute_source(&args.source)?;
    let body = PlanBody { group: args.group.to_string(), source, overrides: args.overrides.map()? };
    let plan: PlanView = bring(session, "/v1/plan", &body).await?;
    session.screen.result(&plan, || words(&plan))?;
    Ok(if plan.is_possible { Exit::Done } else { Exit::Refused })
}

fn words(plan: &PlanView) -> String {
    let PlanView { group, config, total, minimum, turns_max, healthy, .. } = plan;
    let mut text = format!(
        "{group}: {total} hosts, {healthy} of them healthy. {config}: {minimum} must stay healthy, {turns_max} at a \
         time at most.\n"
    );
    for host in &plan.down {
        text.push_str(&format!("{} is Down since {}: it is tried first.\n", host.name, host.since));
    }
    if plan.is_possible {
        text.push_str(&course(plan));
    } else {
        text.push_str(&refusal(plan));
    }
    text.trim_end().to_string()
}

fn refusal(plan: &PlanView) -> String {
    let mut text = String::from("It cannot finish as things are.\n");
    if let Some(reason) = &plan.reason {
        text.push_str(&format!("Why: {} ({})\n", reason.message, reason.code));
    }
    if !plan.advice.is_empty() {
        text.push_str("Any one of these would do, the smallest change first:\n");
    }
    plan.advice.iter().for_each(|advice| text.push_str(&format!("  - {advice}\n")));
    text
}

fn course(plan: &PlanView) -> String {
    let mut text = String::new();
    for (at, batch) in plan.batches.iter().take(BATCHES_SHOWN).enumerate() {
        let more = batch.len().saturating_sub(NAMES_SHOWN);
        let names = batch.iter().take(NAMES_SHOWN).cloned().collect::<Vec<_>>().join(", ");
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        text.push_str(&format!("  {:>3}. {names}{more}{}\n", at + 1, step(plan, at)));
    }
    let hidden = plan.batches.len().saturating_sub(BATCHES_SHOWN);
    if hidden > 0 {
        text.push_str(&format!("       … and {hidden} batches more (--json shows all)\n"));
    }
    text.push_str(&format!("In service at the fewest: {} of {}.\n", plan.lowest_in_service, plan.total));
    text.push_str(&match plan.seconds {
        Some(seconds) => lasts(seconds),
        None => "How long it takes is not known: no turn of this group has succeeded yet.\n".into(),
    });
    let stops = match plan.stopped_by_failures {
        1 => "The first failed turn stops it".to_string(),
        several => format!("{several} failed turns stop it"),
    };
    text.push_str(&match plan.last_may_fail {
        0 => format!("{stops}, whichever hosts they are.\n"),
        1 => format!("{stops}, unless it is the last host's: that one may fail.\n"),
        several => format!("{stops} while hosts are still to come; of the last turns {several} may fail.\n"),
    });
    if let Some(worst) = plan.worst {
        text.push_str(&format!(
            "At worst, if every turn fails: {} failed, {} never touched, {} in service at its end.\n",
            worst.failed, worst.untouched, worst.in_service
        ));
    }
    text
}

/// ` (zone a, after 5m)`: of what it is a part, and when that begins, if a bake
/// comes before it.
fn step(plan: &PlanView, at: usize) -> String {
    let Some(step) = plan.waves.get(at) else { return String::new() };
    let Some(wave) = &step.wave else { return String::new() };
    let is_first = at == 0 || plan.waves[at - 1].wave.as_ref() != Some(wave);
    if is_first && at > 0 {
        let after = humantime::format_duration(Duration::from_secs(step.after));
        return format!(" ({wave}, about {after} after the first turn begins)");
    }
    format!(" ({wave})")
}

fn lasts(seconds: SecondsView) -> String {
    let written = |seconds| humantime::format_duration(Duration::from_secs(seconds)).to_string();
    let SecondsView { typical, slow, turn, past_turns } = seconds;
    let slow = if slow > typical { format!(", {} if turns are slow", written(slow)) } else { String::new() };
    format!(
        "Takes about {}{slow}: a turn took {} or less in half of {past_turns} past ones.\n",
        written(typical),
        written(turn)
    )
}

#[cfg(test)]
mod tests;
