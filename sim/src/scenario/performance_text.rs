//! Prints a performance as text: the story, then the result of each deployment,
//! host by host, in the words that users read.

use std::fmt::Write as _;

use proto::alarm::AlarmState;
use proto::entry::TurnOutcome;
use proto::id::{DeploymentId, HostId};
use proto::rollout::{Health, Rollout, Stage, Verdict};
use proto::state::{GroupState, State};

use super::Scenario;
use super::expect::{Unmet, furthest, heard, rollout};
use crate::clock::Moment;
use crate::host::HostNo;
use crate::world::World;

/// Returns the story and the results.
pub(super) fn text(scenario: &Scenario, world: &World, zero: Moment, tables: &str) -> String {
    let mut text = scenario.title.join("\n");
    text.push_str("\n\n");
    for (at, line) in world.story().lines().iter().filter(|(at, _)| *at >= zero) {
        writeln!(text, "{:>7}  {line}", at.since(zero)).expect("a text takes everything");
    }
    text.push('\n');
    text + tables
}

/// Returns the result of each deployment, the state of each group, and the
/// expectations that did not hold.
pub(super) fn tables(scenario: &Scenario, world: &World, zero: Moment, unmet: &[Unmet]) -> String {
    let mut text = String::new();
    if let Some(node) = furthest(world) {
        for id in world.story().told() {
            deployment(&mut text, world, id, zero);
            text.push('\n');
        }
        for group in node.state().groups().values() {
            group_lines(&mut text, world, node.state(), group);
            text.push('\n');
        }
    }
    outcome(&mut text, scenario, world, unmet);
    text
}

fn outcome(text: &mut String, scenario: &Scenario, world: &World, unmet: &[Unmet]) {
    let expected = scenario.lines.iter().filter(|line| matches!(line.does, super::Step::Expect(_))).count();
    if let Some(counterexample) = world.checks().counterexample() {
        writeln!(text, "A promise was broken: {counterexample}").expect("a text takes everything");
    }
    if unmet.is_empty() {
        writeln!(text, "All {expected} expectations hold.").expect("a text takes everything");
    }
    for Unmet { line, text: said, what } in unmet {
        writeln!(text, "{}:{line}: `{said}`: {what}", scenario.file).expect("a text takes everything");
    }
}

/// Returns where a deployment stands in the middle of the story.
pub(super) fn now(world: &World, name: &str, zero: Moment) -> Result<Vec<String>, String> {
    let id = world.story().deployment_called(name).ok_or_else(|| format!("there is no {name}"))?;
    let mut text = String::new();
    rollout(world, id)?;
    deployment(&mut text, world, id, zero);
    Ok(text.lines().map(|line| format!("    {line}")).collect())
}

fn deployment(text: &mut String, world: &World, id: DeploymentId, zero: Moment) {
    let Ok(rollout) = rollout(world, id) else { return };
    let name = world.story().deployment(id);
    let submission = &rollout.submission;
    let ended = match &rollout.verdict {
        Some(Verdict::Failed(reason) | Verdict::Stopped(reason)) => format!(", {}", reason.code.name()),
        Some(Verdict::Succeeded) | None => String::new(),
    };
    let mut line = |line: String| writeln!(text, "{line}").expect("a text takes everything");
    let bundle = world.story().bundle(&submission.revision.digest);
    line(format!(
        "{name}  {bundle} to {}, {}: {}{ended}",
        submission.group,
        submission.policy.minimum,
        rollout.status().name()
    ));
    if let Some(Verdict::Failed(reason) | Verdict::Stopped(reason)) = &rollout.verdict {
        line(format!("    {}", world.story().named(reason.to_string())));
    }
    if let Some(by) = &rollout.stopped_by {
        line(format!("    {}: {}", world.story().named(by.sentence()), by.detail));
    }
    blockers(world, id).into_iter().for_each(|blocker| line(format!("    waits: {blocker}")));
    if let Some(undone) = submission.rollback_of {
        line(format!("    rolls back {}", world.story().deployment(undone)));
    }
    if let Some(by) = rollout.rolled_back_by {
        line(format!("    rolled back by {}", world.story().deployment(by)));
    }
    line(format!("    {}", numbers(world, id, rollout)));
    host_lines(world, id, zero).into_iter().for_each(line);
}

fn numbers(world: &World, id: DeploymentId, rollout: &Rollout) -> String {
    if rollout.started_at.is_none() {
        return "it has not begun".into();
    }
    let Some(course) = world.checks().chronicle.course(id) else { return "it never began".into() };
    format!(
        "{} hosts, {} must stay healthy, at most {} at a time; in a turn together: {}; fewest in service: {}",
        rollout.total(),
        rollout.bounds.minimum,
        rollout.bounds.turns_max,
        course.most_in_flight,
        course.lowest.unwrap_or_default()
    )
}

/// Returns what blocks the deployment, as the nodes say: the reasons in the
/// ledger, and each host's own.
pub(super) fn blockers(world: &World, id: DeploymentId) -> Vec<String> {
    let mut blockers: Vec<String> = Vec::new();
    let index = furthest(world).map_or(0, |node| node.state().index());
    for (_, node) in world.nodes().filter(|(_, node)| node.state().index() == index) {
        for blocker in node.blockers(id) {
            let words = world.story().named(blocker.to_string());
            if !blockers.contains(&words) && !node.state().rollout(id).is_some_and(|r| r.status().is_over()) {
                blockers.push(words);
            }
        }
    }
    blockers
}

fn host_lines(world: &World, id: DeploymentId, zero: Moment) -> Vec<String> {
    let Some(state) = furthest(world).map(proto::node::Node::state) else { return Vec::new() };
    let parts = state.parts(id);
    let mut hosts: Vec<(HostNo, HostId)> =
        parts.keys().filter_map(|host| Some((world.checks().number(*host)?, *host))).collect();
    hosts.sort();
    let line = |(no, host): (HostNo, HostId)| {
        let waits = if state.deferral(id, host).is_some() { ": it waits" } else { "" };
        let short = state.shortage(id, host).map(|short| format!(": disk full, {}", short.shortage));
        let stage = format!("{}{waits}{}", stage(&parts[&host].stage), short.unwrap_or_default());
        let times = times(world, id, host, zero);
        format!("    {:<4} {:<13} {stage}", no.to_string(), times).trim_end().to_string()
    };
    hosts.into_iter().map(line).collect()
}

/// Returns the start and the end of the host's turn; of the last turn, if a
/// lease was taken back.
fn times(world: &World, id: DeploymentId, host: HostId, zero: Moment) -> String {
    let course = world.checks().chronicle.course(id);
    let passed = course.and_then(|course| course.turns.iter().rfind(|passed| passed.host == host));
    passed.map_or(String::new(), |passed| {
        let ended = passed.ended.map_or("...".into(), |at| at.since(zero));
        format!("{} to {ended}", passed.leased.since(zero))
    })
}

/// Returns the host's stage in a deployment, and why it failed.
pub(super) fn stage(stage: &Stage) -> String {
    match stage {
        Stage::NotTargeted => "not a target".into(),
        Stage::Pending => "Pending".into(),
        Stage::Leased { .. } => "InProgress, has not started".into(),
        Stage::Started { .. } => "InProgress".into(),
        Stage::Skipped => "Skipped".into(),
        Stage::Ended { outcome: TurnOutcome::Succeeded, .. } => "Succeeded".into(),
        Stage::Ended { outcome: TurnOutcome::Failed(failure), .. } => {
            let event = failure.event.map(|event| format!(" in {event}")).unwrap_or_default();
            format!("Failed{event}, {}: {}", failure.code, failure.message)
        }
    }
}

fn group_lines(text: &mut String, world: &World, state: &State, group: &GroupState) {
    let mut line = |line: String| writeln!(text, "{line}").expect("a text takes everything");
    let target = group.good.last().map(|good| world.story().bundle(&good.revision.digest));
    line(format!("{}  at the end, target revision: {}", group.group.name, target.unwrap_or("none")));
    // Hosts in the same state share one line. The lines are in the order of
    // their first hosts.
    let mut alike: Vec<(String, Vec<String>)> = Vec::new();
    for host in state.members_of(&group.group) {
        let no = world.checks().number(host.record.host).map_or("?".into(), |no| no.to_string());
        let standing = group.standing.get(&host.record.host);
        let runs = standing.and_then(|known| known.revision);
        let runs = runs.map_or("unknown", |digest| world.story().bundle(&digest));
        let health = match standing.map(|known| known.health) {
            Some(Health::Healthy) => "healthy",
            Some(Health::Unhealthy) => "unhealthy",
            None => "never deployed to",
        };
        let down = if host.down.is_some() { ", Down" } else { "" };
        let ailing = if state.checks().ailing(&group.group.name, host.record.host).is_some() {
            ", unhealthy by its check"
        } else {
            ""
        };
        let is = format!("{runs}, {health}{ailing}{down}");
        match alike.iter_mut().find(|(known, _)| *known == is) {
            Some((_, hosts)) => hosts.push(no),
            None => alike.push((is, vec![no])),
        }
    }
    alike.into_iter().for_each(|(is, hosts)| line(format!("    {is}: {}", hosts.join(" "))));
    for alarm in group.group.alarms.iter().filter(|alarm| !alarm.is_read()) {
        let is_active = state
            .alarms()
            .standing(&group.group.name, &alarm.name)
            .is_some_and(|known| known.state == AlarmState::Active);
        line(format!("    alarm {}: {}", alarm.name, if is_active { "set" } else { "not set" }));
    }
    if let Some(freeze) = state.freezes().of(&group.group.name) {
        line(format!("    frozen until {}", world.story().named(freeze.until.to_string())));
    }
    for trigger in &group.group.triggers {
        let given_up = state
            .notifications()
            .cursor(&group.group.name, &trigger.name)
            .map_or(0, |cursor| cursor.given_up);
        let heard = heard(world, &group.group.name, &trigger.name).len();
        line(format!("    trigger {}: {heard} told, {given_up} given up", trigger.name));
    }
}
