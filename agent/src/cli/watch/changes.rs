//! Where nobody redraws: a line for each thing that has changed.

use std::collections::BTreeMap;

use crate::cli::group::short_revision;
use crate::view::{DeploymentView, TurnView, Why};

/// The first lines of a deployment: what it is, and what has happened so far.
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

/// What is different.
pub(super) fn between(before: &DeploymentView, now: &DeploymentView) -> Vec<String> {
    let id = &now.id;
    // What has ended stands before what began, as it went: the next one began by it.
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

/// What it waits for, as far as it is worth a line.
pub(super) fn waits(view: &DeploymentView) -> impl Iterator<Item = String> {
    let worth_it = view.blockers.iter().filter(|blocker| is_worth_a_line(blocker, view));
    // Of one that is queued the message is a whole sentence.
    worth_it.map(|blocker| match blocker.message.starts_with("waits ") {
        true => blocker.message.clone(),
        false => format!("waits: {}", blocker.message),
    })
}

/// The hosts that are elsewhere in their turns.
fn moved<'v>(before: &'v DeploymentView, now: &'v DeploymentView) -> impl Iterator<Item = &'v TurnView> {
    let before = before.hosts().iter().map(|host| (host.who.host.as_str(), place(host)));
    let before: BTreeMap<&str, _> = before.collect();
    now.hosts().iter().filter(move |host| match before.get(host.who.host.as_str()) {
        Some(known) => *known != place(host),
        None => host.status != "Pending",
    })
}

/// A rolling deployment always waits for the turn under way, as long as nobody else is
/// out of service: that is no news.
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

/// Whether it waits for something that may not come about by itself.
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
