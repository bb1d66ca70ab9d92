//! `skein status`, `hosts`, `deployments`: the commands that read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use clap::Args;
use proto::id::{DeploymentId, GroupName};

use super::alarm_command::watches_words;
use super::group::{groups_table, path_of, short_revision};
use super::screen::table;
use super::watch::{self, Patience};
use super::{Exit, Session, which};
use crate::harmless::clean;
use crate::percent::encoded;
use crate::view::{
    BehindView, DeploymentView, GroupView, HostView, OutOfServiceView, StatusView, TurnView, WaveView,
    clock_off,
};

#[derive(Args)]
pub(crate) struct StatusArgs {
    /// A group (APPLICATION/GROUP), or a deployment's id or the beginning of it (d-…)
    what: Option<String>,
    /// Keep showing it until it is over
    #[arg(long, requires = "what")]
    watch: bool,
}

#[derive(Args)]
pub(crate) struct OfGroup {
    /// APPLICATION/GROUP
    pub(super) group: Option<GroupName>,
}

pub(super) async fn status(session: &Session, args: StatusArgs) -> anyhow::Result<Exit> {
    let Some(what) = args.what else { return mesh_status(session).await };
    let Ok(name) = what.parse::<GroupName>() else {
        let id = which::deployment(session, &what, which::OfGroup::Last).await?;
        let deployment: DeploymentView = session.client.get(&deployment_path(id)).await?;
        return deployment_status(session, deployment, args.watch).await;
    };
    let group: GroupView = session.client.get(&path_of(&name)).await?;
    group_status(session, &group, args.watch).await
}

/// Shows the group, with its running deployment or else its last one, and the one that is queued.
async fn group_status(session: &Session, group: &GroupView, watch: bool) -> anyhow::Result<Exit> {
    let shown = asked(session, group.running.as_ref().or(group.last_deployment.as_ref())).await?;
    let shown = match shown {
        Some(view) if watch && !view.is_over() => return deployment_status(session, view, true).await,
        shown => shown,
    };
    let queued = asked(session, group.queued.as_ref()).await?;
    let document = serde_json::json!({ "group": group, "deployment": shown, "queued": queued });
    session.answer(&document, || {
        let deployment = match &shown {
            Some(view) => deployment_words(session, view),
            None => "Nothing was deployed yet.".into(),
        };
        let behind = queued.filter(|queued| shown.is_none_or(|shown| shown.id != queued.id));
        format!(
            "{}\n{deployment}{}",
            group_words(group),
            behind.as_ref().map(queued_words).unwrap_or_default()
        )
    })?;
    Ok(Exit::Done)
}

async fn asked(session: &Session, id: Option<&String>) -> anyhow::Result<Option<DeploymentView>> {
    let Some(id) = id else { return Ok(None) };
    Ok(Some(session.client.get(&format!("/v1/deployments/{id}")).await?))
}

/// Formats `Queued: d-…, waits for d-… to be over`.
fn queued_words(queued: &DeploymentView) -> String {
    let waits = queued.blockers.iter().map(|blocker| format!(", {}", blocker.message));
    format!("Queued: {}{}\n", queued.id, waits.collect::<String>())
}

fn group_words(group: &GroupView) -> String {
    let runs = group.revision.as_deref().map_or("nothing yet".into(), short_revision);
    let elsewhere = match group.elsewhere {
        0 => String::new(),
        1 => ", but 1 host has another revision (`skein hosts` shows which)".into(),
        many => format!(", but {many} hosts have another revision (`skein hosts` shows which)"),
    };
    let head = format!(
        "{}: {} of {} hosts healthy, {}, runs {runs}{elsewhere}{}{}",
        group.group,
        group.healthy,
        group.hosts,
        group.config,
        out_of_service_words(group),
        behind_words(group)
    );
    format!("{head}\n{}", watches_words(group)).trim_end().to_string()
}

/// The number of hosts to list; with more, the first ones say enough.
const NAMED_MAX: usize = 20;

/// Returns a line for each host that is out of service for another reason than
/// its turn; empty if there are none. A host that failed its turn and is behind
/// is left out, because its line under `Behind` says more.
fn out_of_service_words(group: &GroupView) -> String {
    let behind: BTreeSet<&str> = told_behind(group).iter().map(|host| host.who.host.as_str()).collect();
    let is_told = |host: &&OutOfServiceView| host.why != "Failed" || !behind.contains(host.who.host.as_str());
    let all: Vec<&OutOfServiceView> = group.out_of_service.iter().filter(is_told).collect();
    let lines = all.iter().take(NAMED_MAX).map(|host| format!("\n  {}", clean(&host.line())));
    let mut text: String = lines.collect();
    if all.len() > NAMED_MAX {
        text.push_str(&format!("\n  and {} more are not in service", all.len() - NAMED_MAX));
    }
    text
}

/// Returns the hosts that are behind. Before the group's first deployment every
/// host is new, which is not worth a line.
fn told_behind(group: &GroupView) -> Vec<&BehindView> {
    group.behind.iter().filter(|host| host.why.code != "NO_GOOD_REVISION").collect()
}

/// Returns a line for each host that is behind its group; empty if there are none.
pub(super) fn behind_words(group: &GroupView) -> String {
    let all = told_behind(group);
    let mut text = String::new();
    for host in all.iter().take(NAMED_MAX) {
        text.push_str(&format!("\nBehind: {}", clean(&host.line())));
    }
    if all.len() > NAMED_MAX {
        text.push_str(&format!("\nBehind: … and {} more hosts", all.len() - NAMED_MAX));
    }
    text
}

async fn deployment_status(session: &Session, view: DeploymentView, watch: bool) -> anyhow::Result<Exit> {
    if watch {
        return watch::follow(session, view, Patience::of(None)).await;
    }
    session.answer(&view, || deployment_words(session, &view))?;
    Ok(Exit::Done)
}

async fn mesh_status(session: &Session) -> anyhow::Result<Exit> {
    let status: StatusView = session.client.get("/v1/status").await?;
    session.answer(&status, || mesh_words(session, &status))?;
    Ok(Exit::Done)
}

fn mesh_words(session: &Session, status: &StatusView) -> String {
    let hosts = status.hosts;
    let leader = status.leader.as_deref().unwrap_or("nobody right now");
    let mut text = format!(
        "Host      {} ({})\nMesh      {}: {} hosts, {} up, {} down{}; this one is connected to {}\nLedger    {} \
         entries; voters: {}; in order by: {leader}\n",
        status.name,
        status.host,
        status.mesh,
        hosts.total,
        hosts.up,
        hosts.down,
        unknown_words(hosts.unknown),
        hosts.connected,
        status.index,
        status.voters.join(", "),
    );
    let others = hosts.total.saturating_sub(1);
    if session.client.freshness().stalled.is_none() && hosts.connected * 2 < others {
        text.push_str(&format!(
            "Warning   this host hears {} of {others} others, so what it shows may be old: ask another host too\n",
            hosts.connected
        ));
    }
    if !status.outgoing_voters.is_empty() {
        text.push_str(&format!(
            "Note      the voters change; until that is done, most of those before are needed too: {}\n",
            clean(&status.outgoing_voters.join(", "))
        ));
    }
    if !status.clocks_off.is_empty() {
        text.push_str(&format!(
            "Warning   clocks are off: {}; set them right and restart the agents there. Deployments go by elapsed \
             time and are not affected\n",
            clean(&status.clocks_off.join(", "))
        ));
    }
    if let Some(disk) = &status.disk {
        text.push_str(&format!("Warning   {}\n", clean(disk)));
    }
    if status.beyond_log > 0 {
        text.push_str(&format!(
            "Warning   a leader has claimed {} times that this host's ledger holds more than it does: its disk may \
             have lost something, or that host is not what it should be. It was refused; see this agent's log\n",
            status.beyond_log
        ));
    }
    for name in &status.shared_names {
        text.push_str(&format!(
            "Warning   more than one host is called {name}: commands take the id that `skein hosts` shows with it; \
             `skein mesh remove` takes out one that is gone\n"
        ));
    }
    if let Some(recovered) = &status.recovered {
        text.push_str(&format!("Recovered {}\n", clean(&recovered.line())));
    }
    if !status.contradicting.is_empty() {
        text.push_str(&format!(
            "Warning   {} go by another recovery of this mesh, and nothing is taken from them: decide which one goes \
             on; on each host of the other one stop the agent, move the store out of the data directory and start it \
             again\n",
            clean(&status.contradicting.join(", "))
        ));
    }
    for twin in &status.twins {
        text.push_str(&format!("Warning   {}\n", clean(&twin.line())));
    }
    if status.groups.is_empty() {
        text.push_str("\nNo groups yet: `skein group set FILE` defines one.\n");
    } else {
        text.push_str(&format!("\n{}", groups_table(session, &status.groups)));
    }
    for running in &status.running {
        text.push_str(&format!("\n{}\n", headline(session, running)));
    }
    text.push_str(&to_look_at(&status.groups));
    text
}

/// The most lines about groups in the view of the whole mesh; each group's own view has all.
const GROUP_LINES_MAX: usize = 20;

/// Lists what may need attention in any group: freezes, alarms, and hosts that
/// are behind or out of service.
fn to_look_at(groups: &[GroupView]) -> String {
    let mut lines = Vec::new();
    for group in groups {
        let words = format!("{}{}{}", watches_words(group), out_of_service_words(group), behind_words(group));
        let said = words.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.extend(said.map(|line| format!("{}: {line}\n", group.group)));
    }
    let more = lines.len().saturating_sub(GROUP_LINES_MAX);
    lines.truncate(GROUP_LINES_MAX);
    if more > 0 {
        lines.push(format!("… and {more} more lines: `skein status GROUP` shows a group's\n"));
    }
    if lines.is_empty() { String::new() } else { format!("\n{}", lines.concat()) }
}

/// Formats `, 15 unknown`; empty if there are none.
fn unknown_words(unknown: usize) -> String {
    if unknown == 0 { String::new() } else { format!(", {unknown} unknown") }
}

/// Formats a deployment in one line.
pub(super) fn headline(session: &Session, view: &DeploymentView) -> String {
    if view.status == "Queued" || view.never_began() {
        let DeploymentView { id, group, status, .. } = view;
        let has_not = if view.never_began() { "it never began" } else { "it has not begun" };
        let status = session.screen.status(status);
        return format!("{id} {group} to {}: {status}, {has_not}", short_revision(&view.revision));
    }
    let counts = view.counts;
    let total = counts.pending + counts.in_progress + counts.succeeded + counts.failed + counts.skipped;
    format!(
        "{} {} to {}: {}, {} of {total} done, {} failed, {} of {} in service (minimum {})",
        view.id,
        view.group,
        short_revision(&view.revision),
        session.screen.status(&view.status),
        counts.succeeded,
        counts.failed,
        view.healthy.now,
        view.healthy.total,
        view.healthy.minimum,
    )
}

fn deployment_words(session: &Session, view: &DeploymentView) -> String {
    let mut text = format!("{}\n{}{}", headline(session, view), why(view), waves(session, view));
    if view.hosts().is_empty() {
        return text;
    }
    let in_waves = view.waves.len() > 1;
    let row = |host: &TurnView| {
        let event = host.event.clone().unwrap_or_else(|| "-".into());
        let message = host.message.clone().unwrap_or_default();
        let wave = in_waves.then(|| host.wave.clone().unwrap_or_default());
        [host.who.label().into(), host.status.clone()]
            .into_iter()
            .chain(wave)
            .chain([event, message])
            .collect()
    };
    let (shown, left_out) = of_note(view.hosts());
    let rows: Vec<Vec<String>> = shown.into_iter().map(row).collect();
    let headings: &[&str] = match in_waves {
        true => &["HOST", "STATUS", "WAVE", "EVENT", "MESSAGE"],
        false => &["HOST", "STATUS", "EVENT", "MESSAGE"],
    };
    text.push_str(&format!("\n{}{left_out}", table(&session.screen, headings, &rows)));
    text
}

/// The most hosts to list; with more, only those with an unusual status are.
const HOSTS_SHOWN_MAX: usize = 50;

/// Returns the hosts that get a line, and a summary of the others.
fn of_note(hosts: &[TurnView]) -> (Vec<&TurnView>, String) {
    if hosts.len() <= HOSTS_SHOWN_MAX {
        return (hosts.iter().collect(), String::new());
    }
    let is_usual = |host: &&TurnView| ["Pending", "Succeeded", "Skipped"].contains(&host.status.as_str());
    let mut shown: Vec<&TurnView> = hosts.iter().filter(|host| !is_usual(host)).collect();
    shown.truncate(HOSTS_SHOWN_MAX);
    let mut others: BTreeMap<&str, usize> = BTreeMap::new();
    hosts.iter().for_each(|host| *others.entry(&host.status).or_default() += 1);
    for host in &shown {
        others.entry(&host.status).and_modify(|count| *count -= 1);
    }
    let others: Vec<String> = others
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(status, count)| format!("{count} {status}"))
        .collect();
    (shown, format!("and of the others {} (--json shows all)\n", others.join(", ")))
}

/// Formats one line per wave, if there is more than one.
pub(super) fn waves(session: &Session, view: &DeploymentView) -> String {
    if view.waves.len() < 2 {
        return String::new();
    }
    let row = |wave: &WaveView| {
        let zone = wave.zone.map(|zone| format!("{} of {} (minimum {})", zone.now, zone.total, zone.minimum));
        let bake = match (&wave.bakes_until, wave.bake_seconds) {
            (Some(until), _) => format!("until {until}{}", left_words(until)),
            (None, 0) => "-".into(),
            (None, seconds) => humantime::format_duration(Duration::from_secs(seconds)).to_string(),
        };
        let done = format!("{} of {}", wave.succeeded, wave.hosts);
        vec![wave.name.clone(), wave.status.clone(), done, zone.unwrap_or_else(|| "-".into()), bake]
    };
    let rows: Vec<Vec<String>> = view.waves.iter().map(row).collect();
    format!("\n{}", table(&session.screen, &["WAVE", "STATUS", "DONE", "IN SERVICE", "BAKE"], &rows))
}

/// Formats the time left until then, by this host's clock.
fn left_words(until: &str) -> String {
    let until = humantime::parse_rfc3339(until).ok();
    let left = until.and_then(|until| until.duration_since(SystemTime::now()).ok());
    let words = left
        .map(|left| format!(", {} left", humantime::format_duration(Duration::from_secs(left.as_secs()))));
    words.unwrap_or_default()
}

/// Describes the reason, the blockers, and the outcome: one line each.
pub(super) fn why(view: &DeploymentView) -> String {
    let mut text = String::new();
    if !view.by.is_empty() {
        text.push_str(&format!("By: {}, {}\n", clean(&view.by), view.created_at));
    }
    if !view.stopped_by.is_empty() {
        text.push_str(&format!("Stopped by: {}\n", clean(&view.stopped_by)));
    }
    if let Some(reason) = &view.reason {
        text.push_str(&format!("Why: {} ({})\n", reason.message, reason.code));
    }
    for blocker in &view.blockers {
        // For a queued deployment the message is a whole sentence.
        let message = blocker.message.strip_prefix("waits ").unwrap_or(&blocker.message);
        text.push_str(&format!("Waits: {message} ({})\n", blocker.code));
    }
    if let Some(undone) = &view.rollback_of {
        text.push_str(&format!("It rolls back {undone}.\n"));
    }
    if let Some(words) = view.rollback_words() {
        text.push_str(&format!("{words}\n"));
    } else if view.rollback_due {
        text.push_str("Its rollback is about to begin.\n");
    }
    text
}

pub(super) async fn hosts(session: &Session, args: OfGroup) -> anyhow::Result<Exit> {
    let hosts: Vec<HostView> = session.client.get(&of_group("/v1/hosts", args.group.as_ref())).await?;
    session.answer_list(&hosts, || hosts_table(session, &hosts))?;
    Ok(Exit::Done)
}

fn hosts_table(session: &Session, hosts: &[HostView]) -> String {
    let row = |host: &HostView| {
        let runs = host.groups.iter().map(|(group, standing)| {
            let revision = standing.revision.as_deref().map_or("-".into(), short_revision);
            let since = standing.since.as_ref().map(|since| format!(" since {since}")).unwrap_or_default();
            let error = standing.error.as_ref().map(|error| match &standing.held_back {
                Some(held) => format!(" ({error}; {held})"),
                None => format!(" ({error})"),
            });
            let error = error.unwrap_or_default();
            match &standing.in_turn {
                Some(deployment) => format!("{group} {revision} in its turn ({deployment})"),
                None => format!("{group} {revision} {}{since}{error}", standing.health),
            }
        });
        let role = match (host.is_voter, host.is_self) {
            (true, true) => "voter, this host",
            (true, false) => "voter",
            (false, true) => "this host",
            (false, false) => "",
        };
        let clock = host.clock_ahead_ms.and_then(clock_off).map(|off| format!("clock {off}"));
        let role = [clock.as_deref().unwrap_or_default(), role];
        let role = role.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", ");
        vec![
            host.who.label().into(),
            host.status.clone(),
            host.zone.clone(),
            host.tags.join(" "),
            runs.collect::<Vec<_>>().join(", "),
            role,
        ]
    };
    let headings = ["HOST", "STATUS", "ZONE", "TAGS", "RUNS", "ROLE"];
    let mut text = table(&session.screen, &headings, &hosts.iter().map(row).collect::<Vec<_>>());
    for (group, standing) in hosts.iter().flat_map(|host| &host.groups) {
        if let Some(behind) = standing.behind.as_ref().filter(|behind| behind.why.code != "NO_GOOD_REVISION")
        {
            text.push_str(&format!("\nBehind {group}: {}", clean(&behind.line())));
        }
    }
    text
}

pub(super) async fn deployments(session: &Session, args: OfGroup) -> anyhow::Result<Exit> {
    let list: Vec<DeploymentView> =
        session.client.get(&of_group("/v1/deployments", args.group.as_ref())).await?;
    session.answer_list(&list, || {
        let row = |view: &DeploymentView| {
            let rollback = view.rollback_of.as_deref().map(|undone| format!("rollback of {undone}"));
            vec![
                view.id.clone(),
                view.group.clone(),
                short_revision(&view.revision),
                view.status.clone(),
                view.created_at.clone(),
                if view.by.is_empty() { "-".into() } else { view.by.clone() },
                rollback.unwrap_or_else(|| view.description.clone()),
            ]
        };
        let headings = ["DEPLOYMENT", "GROUP", "REVISION", "STATUS", "CREATED", "BY", "DESCRIPTION"];
        table(&session.screen, &headings, &list.iter().map(row).collect::<Vec<_>>())
    })?;
    Ok(Exit::Done)
}

pub(super) fn deployment_path(id: DeploymentId) -> String {
    format!("/v1/deployments/{id}")
}

fn of_group(path: &str, group: Option<&GroupName>) -> String {
    match group {
        Some(group) => format!("{path}?group={}", encoded(&group.to_string())),
        None => path.to_string(),
    }
}
