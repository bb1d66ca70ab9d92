//! `skein alarm`, `skein freeze` and `unfreeze`: ways in which people hold deployments back.

use clap::{Args, Subcommand};
use proto::id::GroupName;
use serde::Serialize;

use super::group::path_of;
use super::screen::table;
use super::{Exit, Session};
use crate::api::{AlarmBody, FreezeBody, parse_until};
use crate::client::user;
use crate::harmless::clean;
use crate::percent::encoded;
use crate::view::{AlarmView, FailingView, FreezeView, GroupView, TriggerView};

#[derive(Subcommand)]
pub(crate) enum AlarmVerb {
    /// Set an alarm: it stops the group's deployment, and refuses new ones until it is cleared
    Set {
        /// APPLICATION/GROUP
        group: GroupName,
        /// The name of an alarm of the group file that has no source to read
        name: String,
        /// The reason, which `status` and `explain` show
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Clear an alarm that was set
    Clear {
        /// APPLICATION/GROUP
        group: GroupName,
        /// The alarm's name
        name: String,
        /// The reason, which `status` and `explain` show
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// List the alarms of a group, or of all groups, with their states
    List {
        /// APPLICATION/GROUP
        group: Option<GroupName>,
    },
}

#[derive(Args)]
pub(crate) struct FreezeArgs {
    /// APPLICATION/GROUP
    group: GroupName,
    /// A duration (5m, 2h, 3d) or a moment (2026-12-24T12:00:00Z)
    #[arg(long, value_name = "TIME", value_parser = until)]
    until: String,
    /// The reason, shown to people whose deployments are refused meanwhile
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

#[derive(Args)]
pub(crate) struct UnfreezeArgs {
    /// APPLICATION/GROUP
    group: GroupName,
}

/// Finds a mistyped time before anything is sent.
fn until(text: &str) -> Result<String, String> {
    parse_until(text).map(|_| text.to_string())
}

pub(super) async fn run(session: &Session, verb: AlarmVerb) -> anyhow::Result<Exit> {
    match verb {
        AlarmVerb::Set { group, name, reason } => change(session, &group, &name, "set", reason).await,
        AlarmVerb::Clear { group, name, reason } => change(session, &group, &name, "clear", reason).await,
        AlarmVerb::List { group: Some(group) } => list(session, &group).await,
        AlarmVerb::List { group: None } => list_all(session).await,
    }
}

async fn list(session: &Session, group: &GroupName) -> anyhow::Result<Exit> {
    let alarms: Vec<AlarmView> = session.client.get(&format!("{}/alarms", path_of(group))).await?;
    session.answer_list(&alarms, || match alarms.is_empty() {
        true => format!("{group} has no alarms: a [[alarm]] in its group file defines one."),
        false => alarms_table(session, &alarms.iter().map(|alarm| (None, alarm)).collect::<Vec<_>>()),
    })?;
    Ok(Exit::Done)
}

/// An alarm and its group.
#[derive(Serialize)]
struct OfGroup<'a> {
    group: &'a str,
    #[serde(flatten)]
    alarm: &'a AlarmView,
}

async fn list_all(session: &Session) -> anyhow::Result<Exit> {
    let groups: Vec<GroupView> = session.client.get("/v1/groups").await?;
    let mut all = Vec::new();
    for group in &groups {
        all.extend(group.alarms.iter().map(|alarm| OfGroup { group: &group.group, alarm }));
    }
    session.answer_list(&all, || match all.is_empty() {
        true => "No group has alarms: a [[alarm]] in a group file defines one.".into(),
        false => {
            let rows: Vec<_> = all.iter().map(|one| (Some(one.group), one.alarm)).collect();
            alarms_table(session, &rows)
        }
    })?;
    Ok(Exit::Done)
}

async fn change(
    session: &Session,
    group: &GroupName,
    name: &str,
    verb: &str,
    reason: String,
) -> anyhow::Result<Exit> {
    let path = format!("{}/alarms/{}/{verb}", path_of(group), encoded(name));
    let before: Vec<AlarmView> = session.client.get(&format!("{}/alarms", path_of(group))).await?;
    let alarms: Vec<AlarmView> = session.client.post(&path, &AlarmBody { reason, by: user() }).await?;
    let of = |alarms: &[AlarmView]| alarms.iter().find(|alarm| alarm.name == name).cloned();
    session.screen.result(&alarms, || match verb {
        "set" => format!(
            "Alarm {name} of {group} is set: what runs is stopped, and nothing new is accepted.{}",
            set_again(of(&before).as_ref(), of(&alarms).as_ref())
        ),
        _ => format!("Alarm {name} of {group} is cleared."),
    })?;
    Ok(Exit::Done)
}

/// Describes what happened to the reason of an alarm that was set already.
fn set_again(before: Option<&AlarmView>, now: Option<&AlarmView>) -> String {
    let Some((before, now)) = before.zip(now).filter(|(before, _)| before.state == "ALARM") else {
        return String::new();
    };
    let since = before.since.as_deref().unwrap_or("before");
    match before.detail == now.detail {
        true => format!(" It was set already, since {since}, and keeps the reason it had: {}", now.detail),
        false => format!(" It was set already, since {since}; its reason is now: {}", now.detail),
    }
}

/// Formats alarms as a table, with their groups if given.
fn alarms_table(session: &Session, alarms: &[(Option<&str>, &AlarmView)]) -> String {
    let row = |(group, alarm): &(Option<&str>, &AlarmView)| {
        let name = group.map_or(alarm.name.clone(), |group| format!("{group} {}", alarm.name));
        vec![
            name,
            alarm.source.clone(),
            alarm.state.clone(),
            alarm.since.clone().unwrap_or_else(|| "-".into()),
            alarm.deployment.clone().unwrap_or_else(|| "-".into()),
            alarm.detail.clone(),
        ]
    };
    let headings = ["ALARM", "SOURCE", "STATE", "SINCE", "READ IN", "DETAIL"];
    table(&session.screen, &headings, &alarms.iter().map(row).collect::<Vec<_>>())
}

pub(super) async fn freeze(session: &Session, args: FreezeArgs) -> anyhow::Result<Exit> {
    let body = FreezeBody { until: args.until, reason: args.reason, by: user() };
    let before: GroupView = session.client.get(&path_of(&args.group)).await?;
    let view: GroupView = session.client.post(&format!("{}/freeze", path_of(&args.group)), &body).await?;
    session.screen.result(&view, || {
        let shorter = shortened(before.frozen.as_ref(), view.frozen.as_ref());
        let until = view.frozen.as_ref().map_or("now", |freeze| freeze.until.as_str());
        let running = match &view.running {
            Some(running) => format!(" {running} runs and goes on."),
            None => String::new(),
        };
        format!(
            "{} is frozen until {until}: new deployments are refused; rollbacks and stops are not.{running}{shorter}",
            args.group
        )
    })?;
    Ok(Exit::Done)
}

/// Describes that the end of a freeze is now earlier; empty if it is not.
fn shortened(before: Option<&FreezeView>, now: Option<&FreezeView>) -> String {
    // Both have the same format, so the earlier time is the lesser text.
    match before.zip(now).filter(|(before, now)| now.until < before.until) {
        Some((before, _)) => {
            format!(" This shortens the freeze of {}, which was until {}.", before.by, before.until)
        }
        None => String::new(),
    }
}

pub(super) async fn unfreeze(session: &Session, args: UnfreezeArgs) -> anyhow::Result<Exit> {
    let path = format!("{}/unfreeze", path_of(&args.group));
    let view: GroupView = session.client.post(&path, &serde_json::json!({})).await?;
    session.screen.result(&view, || format!("{} is not frozen.", args.group))?;
    Ok(Exit::Done)
}

/// Describes what holds the group back, and failed deliveries: one line each.
pub(super) fn watches_words(group: &GroupView) -> String {
    let mut text = String::new();
    if let Some(freeze) = &group.frozen {
        let why = if freeze.reason.is_empty() { String::new() } else { format!(": {}", freeze.reason) };
        text.push_str(&format!("Frozen until {} by {}{why}\n", freeze.until, freeze.by));
    }
    for alarm in group.alarms.iter().filter(|alarm| alarm.state == "ALARM" || alarm.state == "UNREADABLE") {
        let since = alarm.since.as_deref().unwrap_or("-");
        // An alarm is read only while a deployment runs.
        let stale = alarm.deployment.as_ref().filter(|read_in| group.running.as_ref() != Some(*read_in));
        let stale = stale.map(|read_in| format!(", as last read, in {read_in}")).unwrap_or_default();
        text.push_str(&format!(
            "Alarm {}: {} since {since}{stale} ({})\n",
            alarm.name,
            alarm.state,
            clean(&alarm.detail)
        ));
    }
    text.extend(group.triggers.iter().map(trigger_words));
    text
}

/// Describes a trigger's deliveries, their failures, and what was given up.
fn trigger_words(trigger: &TriggerView) -> String {
    let mut text = String::new();
    if trigger.waiting > 0 || trigger.given_up > 0 || trigger.dropped > 0 {
        text.push_str(&told_words(trigger));
    }
    if let Some(FailingView { tries, since, last, why }) = &trigger.failing {
        let tries = if *tries == 1 { "1 try".into() } else { format!("{tries} tries") };
        text.push_str(&format!("  {tries} failed since {since}, the last {last}: {}\n", clean(why)));
    }
    if let Some(last) = trigger.last_given_up.last() {
        text.push_str(&format!(
            "  last given up: {} of {}: {}\n",
            last.event,
            last.deployment,
            clean(&last.why)
        ));
    }
    text
}

/// Describes how many events were delivered. Only the delivering host knows of
/// failures before an event is given up.
fn told_words(trigger: &TriggerView) -> String {
    let TriggerView { name, waiting, given_up, dropped, .. } = trigger;
    let wait = if *waiting == 1 { "1 event waits".into() } else { format!("{waiting} events wait") };
    let were = if *given_up == 1 { "was" } else { "were" };
    let asked = match trigger.waiting > 0 && trigger.failing.is_none() {
        true => " (why tries fail, if they do, is shown by the host that tells it)",
        false => "",
    };
    format!("Trigger {name}: {wait} to be told, {given_up} {were} given up, {dropped} dropped{asked}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_shortens_a_freeze_is_told_whose() {
        let freeze = |until: &str| FreezeView {
            until: until.into(),
            since: String::new(),
            by: "ann on web-1".into(),
            reason: String::new(),
        };
        let (early, late) = (freeze("2026-01-01T00:00:00.000Z"), freeze("2026-01-02T00:00:00.000Z"));
        let told = " This shortens the freeze of ann on web-1, which was until 2026-01-02T00:00:00.000Z.";
        assert_eq!(shortened(Some(&late), Some(&early)), told);
        assert_eq!(shortened(Some(&early), Some(&late)), "");
        assert_eq!(shortened(None, Some(&late)), "");
    }

    #[test]
    fn a_receiver_that_refuses_is_told_with_the_reason_and_since_when() {
        let failing = FailingView {
            tries: 3,
            since: "noon".into(),
            last: "one".into(),
            why: "https://chat/: connection refused".into(),
        };
        let trigger = TriggerView {
            name: "chat".into(),
            on: vec![],
            waiting: 1,
            given_up: 0,
            dropped: 0,
            last_given_up: vec![],
            failing: Some(failing),
        };
        let expected = "Trigger chat: 1 event waits to be told, 0 were given up, 0 dropped\n  \
                        3 tries failed since noon, the last one: https://chat/: connection refused\n";
        assert_eq!(trigger_words(&trigger), expected);
        let elsewhere = trigger_words(&TriggerView { failing: None, waiting: 12, ..trigger });
        assert!(elsewhere.contains("12 events wait") && elsewhere.contains("by the host that tells it"));
    }

    #[test]
    fn who_sets_an_alarm_again_is_told_which_reason_stands() {
        let alarm = |state: &str, detail: &str| AlarmView {
            name: "pager".into(),
            source: "manual".into(),
            state: state.into(),
            since: Some("noon".into()),
            detail: detail.into(),
            deployment: None,
        };
        let (clear, old, new) = (alarm("OK", ""), alarm("ALARM", "carts"), alarm("ALARM", "shop"));
        assert_eq!(set_again(Some(&clear), Some(&old)), "");
        let kept = " It was set already, since noon, and keeps the reason it had: carts";
        assert_eq!(set_again(Some(&old), Some(&old)), kept);
        assert_eq!(
            set_again(Some(&old), Some(&new)),
            " It was set already, since noon; its reason is now: shop"
        );
    }
}
