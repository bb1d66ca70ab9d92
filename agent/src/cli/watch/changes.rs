//! Output without redrawing: one line per change.

use std::collections::BTreeMap;

use crate::cli::group::short_revision;
use crate::view::{DeploymentView, TurnView, Why};

/// Returns the first lines of a deployment: what it is, and what has happened so far.
pub(super) fn opening(view: &DeploymentView) -> Vec<String> {
    let DeploymentView { id, group, config, .. } = view;
    let what = match &view.rollback_of {
        Some(undone) => format!("rollback of {undone}: "),
        None => String::new(),
    };
    let revision = short_revision(&view.revision);
    let mut lines = vec![format!("{id} {what}{group} to {revision} ({config}): {}", view.status)];
    let begun = view.hosts().iter().filter(|host| host.status != "Pending");
    lines.extend(begun.map(|host| format!("{id} {}", turn_line(host))));
    lines.extend(waits(view).map(|words| format!("{id} {words}")));
    lines
}

/// Returns the lines for the changes between two states.
pub(super) fn between(before: &DeploymentView, now: &DeploymentView) -> Vec<String> {
    let id = &now.id;
    // Print ended turns before new ones, in the order of events: an end lets the next turn begin.
    let mut moved: Vec<&TurnView> = moved(before, now).collect();
    moved.sort_by_key(|host| host.finished_at.is_none());
    let mut lines: Vec<String> = moved.iter().map(|host| format!("{id} {}", turn_line(host))).collect();
    if before.status != now.status && !now.is_over() {
        lines.push(format!("{id} {}", now.status));
    }
    if now.reason.is_some()
        && before.reason.is_none()
        && !now.is_over()
        && let Some(reason) = &now.reason
    {
        lines.push(format!("{id} stops: {}", reason.message));
    }
    if codes(before) != codes(now) {
        lines.extend(waits(now).map(|words| format!("{id} {words}")));
    }
    lines
}

/// Describes what it waits for, as far as that is worth a line.
pub(super) fn waits(view: &DeploymentView) -> impl Iterator<Item = String> {
    let worth_it = view.blockers.iter().filter(|blocker| is_worth_a_line(blocker, view));
    // For a queued deployment the message is a whole sentence.
    worth_it.map(|blocker| match blocker.message.starts_with("waits ") {
        true => blocker.message.clone(),
        false => format!("waits: {}", blocker.message),
    })
}

/// Returns the hosts whose turns have moved on.
fn moved<'v>(before: &'v DeploymentView, now: &'v DeploymentView) -> impl Iterator<Item = &'v TurnView> {
    let before = before.hosts().iter().map(|host| (host.who.host.as_str(), place(host)));
    let before: BTreeMap<&str, _> = before.collect();
    now.hosts().iter().filter(move |host| match before.get(host.who.host.as_str()) {
        Some(known) => *known != place(host),
        None => host.status != "Pending",
    })
}

/// Returns true unless the blocker is routine: a rolling deployment always waits
/// for the turn in progress, as long as no other host is out of service.
fn is_worth_a_line(blocker: &Why, view: &DeploymentView) -> bool {
    let is_out = |what: &str| blocker.numbers.get(what).is_some_and(|count| *count > 0);
    match blocker.code.as_str() {
        "TURNS_IN_FLIGHT" | "ZONE_TURNS_IN_FLIGHT" | "LAST_TURNS" | "ENDING" | "WAVE_ENDING" => false,
        "HEALTH_CONSTRAINTS" | "ZONE_HEALTH_CONSTRAINTS" => {
            view.counts.in_progress == 0 || is_out("down") || is_out("unwell")
        }
        _ => true,
    }
}

/// Returns true if the deployment waits for something that may not happen without a person.
pub(super) fn needs_a_person(view: &DeploymentView) -> bool {
    const BY_ITSELF: [&str; 5] = ["QUEUED", "BAKING", "FROZEN", "ALARM_UNREAD", "WAVE_ENDING"];
    let worth_it = view.blockers.iter().filter(|blocker| is_worth_a_line(blocker, view));
    worth_it.take(1).any(|blocker| !BY_ITSELF.contains(&blocker.code.as_str()))
}

fn codes(view: &DeploymentView) -> Vec<&str> {
    view.blockers.iter().map(|blocker| blocker.code.as_str()).collect()
}

fn place(host: &TurnView) -> (&str, Option<&str>) {
    (&host.status, host.event.as_deref())
}

fn turn_line(host: &TurnView) -> String {
    let event = host.event.as_deref().map(|event| format!(" {event}")).unwrap_or_default();
    let message = host.message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
    format!("{} {}{event}{message}", host.who.label(), host.status)
}
