//! Describes how the deployment ended, in numbers, and with the output of failed scripts.

use std::time::Duration;

use crate::cli::Exit;
use crate::cli::group::short_revision;
use crate::view::{DeploymentView, TurnView};

/// The most lines of a failed script's log to show; `skein logs` has the rest.
const LOG_LINES_MAX: usize = 10;
/// The number of failed hosts to show with their logs; later failures repeat the same causes.
const FAILED_SHOWN_MAX: usize = 3;

/// Returns the last lines of a deployment.
pub(super) fn of(view: &DeploymentView) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let failed: Vec<&TurnView> = view.hosts().iter().filter(|host| host.status == "Failed").collect();
    for host in failed.iter().take(FAILED_SHOWN_MAX) {
        lines.extend(failure(host));
    }
    if failed.len() > FAILED_SHOWN_MAX {
        lines.push(format!("… and {} more failed", failed.len() - FAILED_SHOWN_MAX));
    }
    lines.push(headline(view));
    if let Some(reason) = &view.reason {
        lines.push(format!("  {} ({})", reason.message, reason.code));
    }
    if let Some(words) = view.rollback_words() {
        lines.push(format!("  {words}"));
    } else if (view.status == "Failed" || view.alarm.is_some())
        && !view.kind().traits().goes_back
        && !view.never_began()
    {
        let why = match view.counts.succeeded + view.counts.failed {
            0 => ", as no host was touched",
            _ => "",
        };
        lines.push(format!("  not rolled back{why}"));
    }
    lines
}

fn headline(view: &DeploymentView) -> String {
    let counts = view.counts;
    let DeploymentView { id, group, healthy, .. } = view;
    let revision = short_revision(&view.revision);
    let all = counts.succeeded + counts.failed + counts.skipped;
    let took = took(view);
    match view.status.as_str() {
        "Succeeded" => format!(
            "{id} Succeeded{took}: {group} is at {revision} on {} of {all} hosts; never fewer than {} of {} in service",
            counts.succeeded, healthy.lowest_seen, healthy.total
        ),
        status if view.never_began() => format!("{id} {status}: it never began, and no host was touched"),
        status => format!(
            "{id} {status}{took}: {} of {all} hosts succeeded, {} failed, {} skipped; {} of {} were in service at its end, {} must be",
            counts.succeeded, counts.failed, counts.skipped, healthy.now, healthy.total, healthy.minimum
        ),
    }
}

/// Formats ` after 1m 7s`, counted from its submission; empty if that is not known.
fn took(view: &DeploymentView) -> String {
    let at = |text: &str| humantime::parse_rfc3339(text).ok();
    let ended = view.finished_at.as_deref().and_then(at);
    let lasted = ended.zip(at(&view.created_at)).and_then(|(ended, began)| ended.duration_since(began).ok());
    let lasted = lasted.map(|lasted| match lasted.as_secs() {
        0..10 => format!(" after {:.1}s", lasted.as_secs_f64()),
        seconds => format!(" after {}", humantime::format_duration(Duration::from_secs(seconds))),
    });
    lasted.unwrap_or_default()
}

fn failure(host: &TurnView) -> Vec<String> {
    let message = host.message.as_deref().unwrap_or("no reason was given");
    let event = host.event.as_deref().filter(|event| !message.contains(event));
    let event = event.map(|event| format!(" in {event}")).unwrap_or_default();
    let mut lines = vec![format!("{} failed{event}: {message}", host.who.label())];
    let log: Vec<&str> = host.log.as_deref().unwrap_or("").lines().collect();
    let last = &log[log.len().saturating_sub(LOG_LINES_MAX)..];
    lines.extend(last.iter().map(|line| format!("  | {line}")));
    lines
}

/// Returns the exit code. `asked_for` is the deployment that was followed first,
/// if `last` is its rollback.
pub(super) fn exit(asked_for: Option<&DeploymentView>, last: &DeploymentView) -> Exit {
    let asked_for = asked_for.unwrap_or(last);
    let is_rolled_back = asked_for.id != last.id && last.status == "Succeeded";
    match asked_for.status.as_str() {
        "Succeeded" => Exit::Done,
        // A deployment that an alarm stopped counts as failed; one that a person stopped does
        // not.
        "Stopped" if !is_rolled_back || is_by_hand(asked_for) => Exit::Stopped,
        _ if is_rolled_back => Exit::RolledBack,
        _ => Exit::Failed,
    }
}

fn is_by_hand(view: &DeploymentView) -> bool {
    view.reason.as_ref().is_none_or(|reason| reason.code == "MANUAL_STOP")
}
