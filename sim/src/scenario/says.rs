//! Parses the lines of the story: requests, faults and expectations.

use std::collections::BTreeSet;
use std::time::Duration;

use proto::alarm::AlarmState;
use proto::rollout::DeploymentStatus;
use proto::wire::WIRE;

use super::clauses;
use super::parse::{Reader, deployment, is_deployment};
use super::words::{Words, Wrong, unknown};
use super::{Expectation, Step, Wanted};
use crate::disk::Crash;
use crate::host::{HostNo, WIRE_BEFORE};
use crate::watches::How;
use crate::world::{Fault, Who};

/// The first words of the lines of the story, after their time.
const STEPS: [&str; 30] = [
    "redeploy",
    "recover",
    "deploy",
    "stop",
    "roll",
    "set",
    "clear",
    "freeze",
    "unfreeze",
    "delete",
    "remove",
    "expect",
    "show",
    "alarm",
    "receiver",
    "kill",
    "leave",
    "power",
    "start",
    "restart",
    "wipe",
    "stall",
    "cut",
    "mend",
    "slow",
    "disk",
    "clock",
    "drift",
    "upgrade",
    "downgrade",
];

pub(super) fn step(reader: &mut Reader, words: &mut Words<'_>) -> Result<Step, Wrong> {
    let first = words.next("a step")?;
    match first {
        "redeploy" => {
            words.expect("as restart")?;
            let group = reader.group_after("in", words)?.name.clone();
            Ok(Step::Ask { at: None, wish: Wanted::Restart { group } })
        }
        "deploy" | "stop" | "roll" | "set" | "clear" | "freeze" | "unfreeze" | "delete" | "remove" => {
            asked(reader, first, words)
        }
        "recover" => {
            words.expect("on")?;
            let at = Some(reader.host(words)?);
            Ok(Step::Ask { at, wish: Wanted::Recover })
        }
        "alarm" | "receiver" => outside(reader, first, words),
        "expect" => expectation(reader, words).map(Step::Expect),
        "show" => deployment(words).map(Step::Show),
        "kill" | "leave" | "power" | "start" | "restart" | "wipe" | "stall" | "cut" | "mend" | "slow"
        | "disk" | "clock" | "drift" | "upgrade" | "downgrade" => {
            broken(reader, first, words).map(Step::Break)
        }
        other => Err(unknown("step", Some(other), STEPS)),
    }
}

/// Parses `deploy v2 to web/prod from h3 queued with AllAtOnce, no rollback`.
fn asked(reader: &mut Reader, first: &str, words: &mut Words<'_>) -> Result<Step, Wrong> {
    let mut wish = match first {
        "deploy" => {
            let bundle = reader.bundle(words)?;
            let group = reader.group_after("to", words)?.name.clone();
            Wanted::Deploy { bundle, group, policy: None, queue: false }
        }
        "stop" => {
            let group = reader.group_after("in", words)?.name.clone();
            let now = words.take("now");
            Wanted::Stop { group, rollback: words.take("and roll back"), now }
        }
        "roll" => {
            words.expect("back")?;
            let group = reader.group_after("in", words)?.name.clone();
            let to = words.take("to").then(|| reader.bundle(words)).transpose()?;
            Wanted::Rollback { group, to }
        }
        "set" if words.take("config") => {
            return Ok(Step::Ask { at: None, wish: Wanted::SetConfig(clauses::config(words)?) });
        }
        "set" | "clear" if words.take("alarm") => {
            let alarm = words.next("an alarm")?.to_string();
            let group = reader.group_of_alarm(&alarm)?.name.clone();
            Wanted::SetAlarm { group, alarm, active: first == "set" }
        }
        "freeze" => {
            let group = reader.group_after("in", words)?.name.clone();
            words.expect("for")?;
            Wanted::Freeze { group, lasts: words.duration()? }
        }
        "unfreeze" => Wanted::Unfreeze(reader.group_after("in", words)?.name.clone()),
        "clear" => return words.expect("alarm").map(|()| Step::Nothing),
        "set" => {
            words.expect("group")?;
            return Ok(Step::Ask { at: None, wish: Wanted::SetGroup(clauses::group(words)?) });
        }
        "delete" => {
            words.expect("group")?;
            let name = clauses::group_name(words.next("a group")?)?;
            Wanted::DeleteGroup(reader.group(&name)?.name.clone())
        }
        _remove => Wanted::RemoveHost(reader.host(words)?),
    };
    let at = words.take("from").then(|| reader.host(words)).transpose()?;
    if let Wanted::Deploy { group, policy, queue, .. } = &mut wish {
        *queue = words.take("queued");
        if words.take("with") {
            let base = reader.group(group)?.policy.clone();
            *policy = Some(clauses::policy(words, base)?);
        }
    }
    Ok(Step::Ask { at, wish })
}

/// Parses `alarm errors fires for 30s` or `receiver chat is away`.
fn outside(reader: &Reader, first: &str, words: &mut Words<'_>) -> Result<Step, Wrong> {
    let of = words.next("its name")?.to_string();
    let (group, how) = if first == "alarm" {
        let group = reader.group_of_alarm(&of)?;
        let how = if words.take("fires") {
            Some(How::Alarm(AlarmState::Active))
        } else if words.take("cannot be read") {
            Some(How::Alarm(AlarmState::Unreadable))
        } else {
            words.expect("is well again")?;
            None
        };
        (group, how)
    } else {
        let group = reader.group_of_trigger(&of)?;
        let is_away = words.take("is away");
        if !is_away {
            words.expect("is back")?;
        }
        (group, is_away.then_some(How::Deaf))
    };
    let lasts = if how.is_some() { lasts(words)? } else { None };
    Ok(Step::Outside { group: group.name.clone(), of, how, lasts })
}

fn broken(reader: &Reader, first: &str, words: &mut Words<'_>) -> Result<Fault, Wrong> {
    Ok(match first {
        "kill" => Fault::Down { who: who(reader, words)?, how: Crash::Process, back_after: lasts(words)? },
        "leave" => Fault::Leave { who: who(reader, words)?, back_after: lasts(words)? },
        "power" => {
            words.expect("off")?;
            Fault::Down { who: who(reader, words)?, how: Crash::Power, back_after: lasts(words)? }
        }
        "restart" => {
            let back_after = Some(Duration::ZERO);
            Fault::Down { who: who(reader, words)?, how: Crash::Process, back_after }
        }
        "start" => Fault::Start { host: reader.host(words)? },
        "upgrade" | "downgrade" => {
            let wire = if first == "upgrade" { WIRE } else { WIRE_BEFORE };
            Fault::Install { host: reader.host(words)?, wire, back_after: Duration::ZERO }
        }
        "wipe" => {
            let host = reader.host(words)?;
            Fault::Wipe { host, back_after: lasts(words)?.unwrap_or_default() }
        }
        "stall" => {
            let who = who(reader, words)?;
            words.expect("for")?;
            Fault::Stall { who, lasts: words.duration()? }
        }
        "cut" => {
            let from = reader.hosts_of(words)?;
            words.expect("from")?;
            let to = others(reader, &from, words)?;
            Fault::Cut { from, to, both_ways: true, lasts: lasts(words)? }
        }
        "mend" => {
            let from = reader.hosts_of(words)?;
            words.expect("with")?;
            let to = others(reader, &from, words)?;
            Fault::Mend { from, to, both_ways: true }
        }
        "slow" => {
            words.expect("disk of")?;
            let host = reader.host(words)?;
            let times = words.number("how many times slower")?;
            words.expect("times")?;
            Fault::SlowDisk { host, times }
        }
        "disk" => {
            words.expect("of")?;
            let host = reader.host(words)?;
            if words.take("is full") {
                return Ok(Fault::Room { host, free: 0 });
            }
            words.expect("has room again")?;
            Fault::Room { host, free: u64::MAX }
        }
        "clock" => clock(reader, words)?,
        _drift => {
            words.expect("of")?;
            let host = reader.host(words)?;
            let parts_per_million = words.number("parts per million")?;
            if !(-500_000..=500_000).contains(&parts_per_million) {
                return Err(format!("{parts_per_million} ppm: a clock gains or loses at most 500000"));
            }
            words.expect("ppm")?;
            Fault::Drift { host, parts_per_million }
        }
    })
}

/// Parses `clock of h3 2m ahead`. The clock is set at the host's next start.
fn clock(reader: &Reader, words: &mut Words<'_>) -> Result<Fault, Wrong> {
    words.expect("of")?;
    let host = reader.host(words)?;
    let by = i64::try_from(words.duration()?.as_micros()).map_err(|_| "too far".to_string())?;
    let ahead_micros = if words.take("behind") {
        -by
    } else {
        words.expect("ahead")?;
        by
    };
    Ok(Fault::Skew { host, ahead_micros })
}

fn others(reader: &Reader, but: &BTreeSet<HostNo>, words: &mut Words<'_>) -> Result<BTreeSet<HostNo>, Wrong> {
    if words.take("the others") { Ok(reader.all_but(but)) } else { reader.hosts_of(words) }
}

fn who(reader: &Reader, words: &mut Words<'_>) -> Result<Who, Wrong> {
    if words.take("the leader") {
        Ok(Who::Leader)
    } else if words.take("the reader of") {
        let alarm = words.next("an alarm")?;
        reader.group_of_alarm(alarm).map(|_| Who::Reader(alarm.into()))
    } else if words.take("the teller of") {
        let trigger = words.next("a trigger")?;
        reader.group_of_trigger(trigger).map(|_| Who::Teller(trigger.into()))
    } else {
        reader.host(words).map(Who::Host)
    }
}

fn lasts(words: &mut Words<'_>) -> Result<Option<Duration>, Wrong> {
    words.take("for").then(|| words.duration()).transpose()
}

/// The words that may follow `expect d1`.
const OF_DEPLOYMENTS: [&str; 15] = [
    "Queued",
    "InProgress",
    "Succeeded",
    "Failed",
    "Stopped",
    "order",
    "turns",
    "at most",
    "never below",
    "waits for",
    "rolls back",
    "is not rolled back",
    "h3",
    "Created",
    "Baking",
];

fn expectation(reader: &mut Reader, words: &mut Words<'_>) -> Result<Expectation, Wrong> {
    let first = words.peek().unwrap_or_default();
    if is_deployment(first) {
        return of_deployment(reader, words);
    }
    if words.take("refused") {
        return Ok(Expectation::Refused { words: quoted(words)? });
    }
    if first.parse::<HostNo>().is_ok() {
        let host = reader.host(words)?;
        if words.take("says") {
            return Ok(Expectation::Says { host, words: quoted(words)? });
        }
        words.expect("runs")?;
        let bundle = if words.take("nothing known") { None } else { Some(reader.bundle(words)?) };
        let group = reader.group_after("in", words)?.name.clone();
        return Ok(Expectation::Runs { host, group, bundle });
    }
    if let Ok(hosts) = first.parse() {
        words.next("a number")?;
        words.expect("healthy")?;
        let group = reader.group_after("in", words)?.name.clone();
        return Ok(Expectation::Healthy { group, hosts });
    }
    let first = words.next("what is expected")?;
    if words.take("heard") {
        let (group, trigger) = (reader.group_of_trigger(first)?.name.clone(), first.to_string());
        let words = words.rest().split(", ").filter(|part| !part.is_empty()).map(str::to_string).collect();
        return Ok(Expectation::Heard { group, trigger, words });
    }
    if words.take("missed") {
        let (group, trigger) = (reader.group_of_trigger(first)?.name.clone(), first.to_string());
        return Ok(Expectation::Missed { group, trigger, words: words.rest() });
    }
    let group = reader.group(&clauses::group_name(first)?)?.name.clone();
    words.expect("at")?;
    Ok(Expectation::Target { group, bundle: reader.bundle(words)? })
}

fn of_deployment(reader: &Reader, words: &mut Words<'_>) -> Result<Expectation, Wrong> {
    let deployment = deployment(words)?;
    if words.take("order") {
        let mut hosts = Vec::new();
        while !words.is_over() {
            hosts.push(reader.host(words)?);
        }
        return Ok(Expectation::Order { deployment, hosts });
    }
    if words.take("turns") {
        return Ok(Expectation::Turns { deployment, turns: words.number("how many turns")? });
    }
    if words.take("at most") {
        let turns = words.number("how many turns")?;
        words.expect("at a time")?;
        return Ok(Expectation::AtATime { deployment, turns });
    }
    if words.take("never below") {
        return Ok(Expectation::Lowest { deployment, hosts: words.number("how many hosts")? });
    }
    if words.take("waits for") {
        return Ok(Expectation::WaitsFor { deployment, words: quoted(words)? });
    }
    if words.take("rolls back") {
        return Ok(Expectation::RollsBack { deployment, undone: super::parse::deployment(words)? });
    }
    if words.take("is not rolled back") {
        return Ok(Expectation::NoRollback { deployment });
    }
    if words.peek().is_some_and(|word| word.parse::<HostNo>().is_ok()) {
        let host = reader.host(words)?;
        return Ok(Expectation::Turn { deployment, host, words: words.rest() });
    }
    let word = words.next("what is expected of it")?;
    let status = STATUSES.into_iter().find(|status| status.name() == word);
    let status = status.ok_or_else(|| unknown("expectation", Some(word), OF_DEPLOYMENTS))?;
    let reason = words.next("a reason").ok().map(str::to_string);
    Ok(Expectation::Status { deployment, status, reason })
}

const STATUSES: [DeploymentStatus; 7] = [
    DeploymentStatus::Created,
    DeploymentStatus::Baking,
    DeploymentStatus::Queued,
    DeploymentStatus::InProgress,
    DeploymentStatus::Succeeded,
    DeploymentStatus::Failed,
    DeploymentStatus::Stopped,
];

/// Parses words between quotation marks.
fn quoted(words: &mut Words<'_>) -> Result<String, Wrong> {
    let rest = words.rest();
    let inner =
        rest.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).filter(|inner| !inner.is_empty());
    inner.map(str::to_string).ok_or_else(|| format!("`{rest}`: words between quotation marks are expected"))
}
