//! `skein explain`: the reasons for a deployment's state, in numbers, with the
//! last output of failed scripts.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use clap::Args;
use proto::deployment_kind::Targets;

use super::group::path_of;
use super::show::{behind_words, deployment_path, headline, waves, why};
use super::which::{self, OfGroup};
use super::{Exit, Session, plan};
use crate::harmless::clean;
use crate::view::{DeploymentView, GroupView, OutOfServiceView, STILL_THERE, TurnView};

/// The number of failed hosts to show with their output, the first to fail first;
/// later failures repeat the same causes.
const FAILED_SHOWN: usize = 10;
/// The number of lines for hosts in their turn, or with some other message.
const OTHERS_SHOWN: usize = 20;

#[derive(Args)]
pub(crate) struct ExplainArgs {
    #[arg(help = which::WORDS)]
    deployment: String,
}

pub(super) async fn explain(session: &Session, args: ExplainArgs) -> anyhow::Result<Exit> {
    let id = which::deployment(session, &args.deployment, OfGroup::Last).await?;
    let view: DeploymentView = session.client.get(&deployment_path(id)).await?;
    let group: GroupView = session.client.get(&path_of(&view.group.parse()?)).await?;
    session.answer(&view, || {
        let mut text = format!("{}\n{}", headline(session, &view), why(&view));
        text.push_str(&numbers(&view));
        text.push_str(&waves(session, &view));
        text.push_str(&told(&view));
        text.push_str(&stranded(&view));
        text.push_str(&gone(&group, &view));
        text.push_str(&undelivered(&group, &view.id));
        text.push_str(behind_words(&group).trim_start());
        text
    })?;
    Ok(Exit::Done)
}

/// Formats the counts, whether the deployment succeeded or not.
fn numbers(view: &DeploymentView) -> String {
    let (healthy, counts) = (view.healthy, view.counts);
    if view.never_began() {
        let ended = view.finished_at.as_deref().unwrap_or("-");
        return format!("Time: submitted {}, over {ended}; it never began\n", view.created_at);
    }
    let sums = [
        (counts.succeeded, "succeeded"),
        (counts.failed, "failed"),
        (counts.in_progress, "in their turn"),
        (counts.pending, "still to come"),
        (counts.skipped, "never touched"),
    ];
    let targets: u32 = sums.iter().map(|(count, _)| count).sum();
    let (hosts, in_service) = scope(view, targets);
    let sums: Vec<String> =
        sums.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    let sums = if sums.is_empty() { "none had a turn yet".into() } else { sums.join(", ") };
    let when = if view.is_over() { "at its end" } else { "now" };
    let fewest = match view.status.as_str() {
        "Queued" => String::new(),
        _ => format!(", {} at the fewest", healthy.lowest_seen),
    };
    let mut text = format!(
        "Hosts: {hosts}; {sums}\n{in_service}: {} of {} {when}{fewest}; {} must be ({})\n",
        healthy.now, healthy.total, healthy.minimum, view.config
    );
    if targets > 1 {
        let order = if view.kind().traits().waits_for_down { plan::ORDER_BACK } else { plan::ORDER };
        text.push_str(&format!("Order: {order}\n"));
    }
    if let Some(times) = times(view) {
        text.push_str(&times);
    }
    text
}

/// Describes which hosts the counts cover: the group, or for a catch-up those
/// that were behind. A catch-up that runs beside a deployment counts no others.
fn scope(view: &DeploymentView, targets: u32) -> (String, &'static str) {
    let total = view.healthy.total;
    match view.kind().traits().targets == Targets::Behind && targets > 0 {
        true if targets == total => (format!("{targets} to catch up"), "Of these in service"),
        true => (format!("{targets} to catch up, of {total} in the group"), "In service"),
        false => (format!("{total} in the group"), "In service"),
    }
}

/// Describes when the deployment began and ended, who asked for it, and why.
fn times(view: &DeploymentView) -> Option<String> {
    let began = view.started_at.as_ref()?;
    let at = |text: &str| humantime::parse_rfc3339(text).ok();
    let end = view.finished_at.as_deref().map_or_else(|| Some(SystemTime::now()), at);
    let lasted = end.zip(at(began)).and_then(|(end, began)| end.duration_since(began).ok());
    let lasted = lasted.map(|lasted| humantime::format_duration(in_words(lasted)));
    Some(match (&view.finished_at, lasted) {
        (Some(finished), Some(lasted)) => format!("Time: began {began}, ended {finished}, after {lasted}\n"),
        (Some(finished), None) => format!("Time: began {began}, ended {finished}\n"),
        (None, Some(lasted)) => format!("Time: began {began}, {lasted} ago\n"),
        (None, None) => format!("Time: began {began}\n"),
    })
}

/// Returns whole seconds, or milliseconds below one second.
fn in_words(lasted: Duration) -> Duration {
    match lasted.as_secs() {
        0 => Duration::from_millis(lasted.subsec_millis().into()),
        seconds => Duration::from_secs(seconds),
    }
}

/// Describes single hosts, those that failed first.
fn told(view: &DeploymentView) -> String {
    let (mut failed, others): (Vec<&TurnView>, Vec<&TurnView>) =
        view.hosts().iter().partition(|host| host.status == "Failed");
    failed.sort_by(|a, b| (&a.finished_at, a.who.label()).cmp(&(&b.finished_at, b.who.label())));
    let mut text = String::new();
    failed.iter().take(FAILED_SHOWN).for_each(|host| text.push_str(&failure(host)));
    if failed.len() > FAILED_SHOWN {
        text.push_str(&format!("… and {}\n", alike(&failed[FAILED_SHOWN..])));
    }
    if !failed.is_empty() {
        text.push_str(&format!("All that a script wrote: skein logs {} --failed\n", view.id));
    }
    let others: Vec<String> = others.into_iter().filter_map(other).collect();
    others.iter().take(OTHERS_SHOWN).for_each(|line| text.push_str(line));
    if others.len() > OTHERS_SHOWN {
        text.push_str(&format!("… and {} more hosts (--json shows all)\n", others.len() - OTHERS_SHOWN));
    }
    text
}

/// Describes a host's failure, and the last output of its script.
fn failure(host: &TurnView) -> String {
    let message = host.message.as_deref().unwrap_or("no reason was given");
    let event = host.event.as_deref().map(|event| format!(" in {event}")).unwrap_or_default();
    let code = host.error_code.as_deref().map(|code| format!(" ({code})")).unwrap_or_default();
    let script = host.script.as_deref().filter(|script| !message.contains(script));
    let script = script.map(|script| format!("{}: ", clean(script))).unwrap_or_default();
    let log = host.log.as_deref().unwrap_or("").lines().map(|line| format!("    | {}\n", clean(line)));
    format!(
        "{}: Failed{event}{code}: {script}{}\n{}",
        host.who.label(),
        clean(message),
        log.collect::<String>()
    )
}

/// Counts failed hosts by what they have in common: `12 more failed in Install (ScriptFailed)`.
fn alike(failed: &[&TurnView]) -> String {
    let mut kinds: BTreeMap<(Option<&str>, Option<&str>), usize> = BTreeMap::new();
    for host in failed {
        *kinds.entry((host.event.as_deref(), host.error_code.as_deref())).or_default() += 1;
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let words = |((event, code), count): ((Option<&str>, Option<&str>), usize)| {
        let event = event.map(|event| format!(" in {event}")).unwrap_or_default();
        format!("{count} more failed{event} ({})", code.unwrap_or("no code"))
    };
    kinds.into_iter().map(words).collect::<Vec<_>>().join(", ")
}

/// Describes a host whose turn did not fail; `None` if there is nothing to say.
fn other(host: &TurnView) -> Option<String> {
    let event = host.event.as_deref().map(|event| format!(" in {event}")).unwrap_or_default();
    let since = host.started_at.as_deref().map(|since| format!(", its turn began {since}"));
    let what = match (host.status.as_str(), &host.message) {
        ("Skipped", _) => return None,
        ("InProgress", Some(message)) => {
            format!("{}: {}", since.unwrap_or_default(), clean(message))
        }
        (_, Some(message)) => format!(": {}", clean(message)),
        ("InProgress", None) => since.unwrap_or_else(|| ": it may begin, and has not yet".into()),
        (_, None) => return None,
    };
    Some(format!("{}: {}{event}{what}\n", host.who.label(), host.status))
}

/// Describes the hosts that a failed rollback did not bring back, and the command that does.
fn stranded(view: &DeploymentView) -> String {
    let is_broken_off = view.is_over() && view.status != "Succeeded";
    if !view.kind().traits().goes_back || !is_broken_off {
        return String::new();
    }
    let left = view.hosts().iter().filter(|host| host.status != "Succeeded");
    let left: Vec<&str> = left.map(|host| host.who.label()).collect();
    if left.is_empty() {
        return String::new();
    }
    let group = &view.group;
    // The reason already names the hosts that have the failed revision, and the automatic way
    // back.
    if view.reason.as_ref().is_some_and(|reason| reason.message.contains(STILL_THERE)) {
        return format!(
            "With fewer in service than the minimum: skein rollback {group} --override minimum_healthy=N\n"
        );
    }
    let more = left.len().saturating_sub(OTHERS_SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let named = left[..left.len().min(OTHERS_SHOWN)].join(", ");
    format!(
        "Not brought back: {named}{more}. They may still run the release that failed. Once enough hosts are in \
         service: skein rollback {group}; with fewer: skein rollback {group} --override minimum_healthy=N\n"
    )
}

/// Lists the hosts that are Down now, if that may be why the deployment did not succeed.
fn gone(group: &GroupView, view: &DeploymentView) -> String {
    let is_of_hosts = view.reason.as_ref().is_some_and(|reason| reason.code.contains("HEALTH_CONSTRAINTS"));
    let down = group.out_of_service.iter().filter(|host| is_of_hosts && host.why == "Down");
    let line = |host: &OutOfServiceView| format!("{}\n", clean(&host.line()));
    down.take(OTHERS_SHOWN).map(line).collect()
}

/// Describes the events that could not be delivered to receivers.
fn undelivered(group: &GroupView, deployment: &str) -> String {
    let mut text = String::new();
    for trigger in &group.triggers {
        for gone in trigger.last_given_up.iter().filter(|gone| gone.deployment == deployment) {
            text.push_str(&format!(
                "Trigger {} gave up to tell {} ({}): {}\n",
                trigger.name,
                gone.event,
                gone.id,
                clean(&gone.why)
            ));
        }
    }
    text
}

#[cfg(test)]
mod tests;
