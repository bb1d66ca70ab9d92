//! Parses the clauses of a group and of a bundle: the parts between commas.

use std::collections::BTreeSet;
use std::time::Duration;

use proto::alarm::{self, Alarm, AlarmSource, OnUnreadable};
use proto::group::{Group, TagFilter, TagSets};
use proto::health::{HealthCheck, Probe, Viewpoint};
use proto::id::{ConfigName, GroupName};
use proto::lifecycle::LIFECYCLE;
use proto::policy::{Canary, DeploymentConfig, Minimum, Mode, Policy, RollbackOn, Share, Zonal};
use proto::suggest;
use proto::trigger::{Target, Trigger, TriggerEvent};

use super::words::{Words, Wrong, unknown};
use crate::hooks::{Bundle, HookFault, How, Sickness};

/// The time that each event takes, unless the bundle says otherwise. It is a whole
/// second, so that the times of a story are easy to follow.
const TAKES: Duration = Duration::from_secs(1);

/// The first words of the clauses of a policy.
const POLICY_WORDS: [&str; 20] = [
    "attempts 1",
    "bake",
    "at most 2 at a time",
    "canary",
    "zones",
    "outdated only",
    "restart",
    "alarms ignored",
    "OneAtATime",
    "HalfAtATime",
    "AllAtOnce",
    "hosts",
    "percent",
    "rollback",
    "no rollback",
    "start timeout",
    "lost after",
    "turn timeout",
    "timeout",
    "ignore stop failures",
];

/// Splits at commas that are followed by a space: `h1,h2` is one word.
fn clauses(words: &mut Words<'_>) -> Vec<String> {
    let rest = words.rest();
    rest.split(", ").map(|clause| clause.trim().to_string()).filter(|clause| !clause.is_empty()).collect()
}

/// Parses `NAME CLAUSE, CLAUSE`. A group takes the hosts tagged
/// role=APPLICATION, unless it says `on TAG`.
pub(super) fn group(words: &mut Words<'_>) -> Result<Group, Wrong> {
    let name = group_name(words.next("the group's name")?.trim_end_matches(','))?;
    let mut tag = format!("role={}", name.to_string().split('/').next().unwrap_or_default());
    let mut policy = Policy::default();
    let (mut health, mut config) = (None, None);
    let (mut alarms, mut triggers) = (Vec::new(), Vec::new());
    for clause in clauses(words) {
        let mut clause_words = Words::of(&clause);
        if clause_words.take("config") {
            config = Some(config_name(clause_words.next("a configuration's name")?)?);
            clause_words.end()?;
        } else if clause_words.take("health") {
            health = Some(self::health(&mut clause_words)?);
            clause_words.end()?;
        } else if clause_words.take("alarm") {
            alarms.push(alarm(&mut clause_words)?);
            clause_words.end()?;
        } else if clause_words.take("trigger") {
            triggers.push(trigger(&mut clause_words)?);
        } else if clause_words.take("on") {
            tag = clause_words.next("a tag")?.into();
            clause_words.end()?;
        } else {
            apply(&mut policy, &clause)?;
        }
    }
    let filter = TagFilter::parse(&tag).map_err(|error| error.to_string())?;
    Ok(Group { health, config, alarms, triggers, ..Group::new(name, TagSets(vec![vec![filter]]), policy) })
}

/// Parses `alarm errors every 5s unreadable ignored` or `alarm pager by hand`.
fn alarm(words: &mut Words<'_>) -> Result<Alarm, Wrong> {
    let name = words.next("the alarm's name")?.to_string();
    let source = match words.take("by hand") {
        true => AlarmSource::Manual,
        false => AlarmSource::Exec { command: format!("check-{name}") },
    };
    let every = if words.take("every") { words.duration()? } else { alarm::EVERY };
    let unreadable = if words.take("unreadable ignored") { OnUnreadable::Ignore } else { OnUnreadable::Stop };
    Ok(Alarm { name, source, every, timeout: alarm::TIMEOUT, unreadable })
}

/// Parses `trigger chat on everything` or `trigger chat on DeploymentStart and
/// InstanceFailure`.
fn trigger(words: &mut Words<'_>) -> Result<Trigger, Wrong> {
    let name = words.next("the trigger's name")?.to_string();
    words.expect("on")?;
    let mut on = BTreeSet::new();
    if words.take("everything") {
        on.extend(TriggerEvent::ALL);
    }
    while !words.is_over() {
        let word = words.next("an event")?;
        let event = TriggerEvent::ALL.into_iter().find(|event| event.name() == word);
        on.insert(
            event.ok_or_else(|| unknown("trigger event", Some(word), TriggerEvent::ALL.map(|e| e.name())))?,
        );
        words.take("and");
    }
    let target = Target::Exec { command: format!("tell-{name}") };
    Ok(Trigger { name, on, target })
}

pub(super) fn config_name(text: &str) -> Result<ConfigName, Wrong> {
    text.parse().map_err(|error| format!("invalid name of a configuration `{text}`: {error}"))
}

/// Parses `config careful 1 hosts, zones bake 30s`.
pub(super) fn config(words: &mut Words<'_>) -> Result<DeploymentConfig, Wrong> {
    let name = config_name(words.next("the configuration's name")?.trim_end_matches(','))?;
    let Policy { minimum, turns_max, canary, zonal, .. } = policy(words, Policy::default())?;
    Ok(DeploymentConfig { name, minimum, turns_max, canary, zonal })
}

/// Parses `health every 5s rise 2 fall 3 grace 30s from observers`.
fn health(words: &mut Words<'_>) -> Result<HealthCheck, Wrong> {
    let mut check = HealthCheck::new(Probe::Http("http://127.0.0.1:8080/health".into()));
    while let Some(word) = words.peek() {
        words.next("a word")?;
        match word {
            "every" => {
                check.every = words.duration()?;
                check.timeout = check.timeout.min(check.every);
            }
            "rise" => check.rise = words.number("so many successes")?,
            "fall" => check.fall = words.number("so many failures")?,
            "grace" => check.grace = words.duration()?,
            "from" => {
                words.expect("observers")?;
                check.from = Viewpoint::Observers;
            }
            other => {
                return Err(unknown(
                    "word of a health check",
                    Some(other),
                    ["every", "rise", "fall", "grace", "from"],
                ));
            }
        }
    }
    check.validate().map_err(|error| error.to_string())?;
    Ok(check)
}

pub(super) fn group_name(text: &str) -> Result<GroupName, Wrong> {
    text.parse().map_err(|_| format!("invalid name of a group `{text}`: write application/group"))
}

/// Parses changes to a policy, and applies them.
pub(super) fn policy(words: &mut Words<'_>, mut policy: Policy) -> Result<Policy, Wrong> {
    let clauses = clauses(words);
    if clauses.is_empty() {
        return Err(format!("what the policy is to be is missing ({})", POLICY_WORDS.join(", ")));
    }
    clauses.iter().try_for_each(|clause| apply(&mut policy, clause))?;
    Ok(policy)
}

fn apply(policy: &mut Policy, clause: &str) -> Result<(), Wrong> {
    let mut words = Words::of(clause);
    if words.take("start timeout") {
        policy.start_timeout = words.duration()?;
    } else if words.take("lost after") {
        policy.lost_after = words.duration()?;
    } else if words.take("turn timeout") {
        policy.turn_timeout = words.duration()?;
    } else if words.take("timeout") {
        policy.deployment_timeout = words.duration()?;
    } else if words.take("ignore stop failures") {
        policy.ignore_application_stop_failures = true;
    } else if words.take("no rollback") {
        policy.rollback = RollbackOn { failure: false, alarm: false, stop: false };
    } else if words.take("rollback on") {
        policy.rollback = rollback(&mut words)?;
    } else if words.take("at most") {
        policy.turns_max = Some(words.number("how many at a time")?);
        words.expect("at a time")?;
    } else if words.take("canary") {
        let hosts = share(&mut words)?;
        policy.canary = Some(Canary { hosts, bake: bake(&mut words, "bake")?.unwrap_or_default() });
    } else if words.take("zones") {
        policy.zonal = Some(zones(&mut words)?);
    } else if words.take("outdated only") {
        policy.outdated_only = true;
    } else if words.take("restart") {
        policy.mode = Mode::Restart;
    } else if words.take("forget down after") {
        policy.forget_down_after = Some(words.duration()?);
    } else if words.take("attempts") {
        policy.attempts = words.number("how many attempts")?;
    } else if let Some(lasts) = bake(&mut words, "bake")? {
        policy.bake = lasts;
    } else if words.take("alarms ignored") {
        policy.ignore_alarms = true;
    } else {
        policy.minimum = minimum(&mut words)?;
    }
    words.end()
}

/// Parses `zones minimum 50% bake 30s first bake 1m order c,a`.
fn zones(words: &mut Words<'_>) -> Result<Zonal, Wrong> {
    let mut zonal = Zonal::default();
    if words.take("minimum") {
        zonal.minimum = share(words)?;
    }
    zonal.bake = bake(words, "bake")?.unwrap_or_default();
    zonal.first_bake = bake(words, "first bake")?;
    if words.take("order") {
        let zones = words.next("the zones that go first, like c,a")?;
        zonal.order = zones.split(',').map(str::to_string).collect();
    }
    Ok(zonal)
}

fn bake(words: &mut Words<'_>, phrase: &str) -> Result<Option<Duration>, Wrong> {
    words.take(phrase).then(|| words.duration()).transpose()
}

/// Parses a share of hosts: `2 hosts` or `20%`.
fn share(words: &mut Words<'_>) -> Result<Share, Wrong> {
    match minimum(words)? {
        Minimum::HostCount(hosts) => Ok(Share::Hosts(hosts)),
        Minimum::FleetPercent(percent) => Ok(Share::Percent(percent)),
        named @ (Minimum::OneAtATime | Minimum::HalfAtATime | Minimum::AllAtOnce) => {
            Err(format!("invalid share of hosts `{named}`: write 2 hosts, or 20%"))
        }
    }
}

fn rollback(words: &mut Words<'_>) -> Result<RollbackOn, Wrong> {
    let mut on = RollbackOn { failure: false, alarm: false, stop: false };
    while !words.is_over() {
        match words.next("an occasion")? {
            "failure" => on.failure = true,
            "alarm" => on.alarm = true,
            "stop" => on.stop = true,
            "and" => {}
            other => {
                return Err(unknown("occasion of a rollback", Some(other), ["failure", "alarm", "stop"]));
            }
        }
    }
    Ok(on)
}

fn minimum(words: &mut Words<'_>) -> Result<Minimum, Wrong> {
    let word = words.next("a minimum")?;
    Ok(match word {
        "OneAtATime" => Minimum::OneAtATime,
        "HalfAtATime" => Minimum::HalfAtATime,
        "AllAtOnce" => Minimum::AllAtOnce,
        number => {
            let (digits, is_percent) = match number.strip_suffix('%') {
                Some(digits) => (digits, true),
                None => (number, false),
            };
            let Ok(number) = digits.parse::<u32>() else {
                return Err(unknown("clause of a policy", Some(word), POLICY_WORDS));
            };
            if is_percent || words.take("percent") || words.take("%") {
                // The mesh itself refuses a percentage that is too high.
                let percent =
                    u8::try_from(number).map_err(|_| format!("{number} %: a share is from 0 to 99"));
                Minimum::FleetPercent(percent?)
            } else {
                words.expect("hosts")?;
                Minimum::HostCount(number)
            }
        }
    })
}

/// Parses `NAME CLAUSE, CLAUSE`: the behaviour of a bundle's scripts.
pub(super) fn bundle(words: &mut Words<'_>) -> Result<Bundle, Wrong> {
    let name = words.next("the bundle's name")?.trim_end_matches(',');
    let mut bundle = plain_bundle(name);
    for clause in clauses(words) {
        let mut words = Words::of(&clause);
        if words.take("takes") {
            let takes = words.duration()?;
            bundle.takes = (takes, takes);
        } else if words.take("sick") {
            bundle.sickness = Some(sickness(&mut words)?);
        } else {
            bundle.faults.push(fault(&mut words)?);
        }
        words.end()?;
    }
    Ok(bundle)
}

/// Returns a bundle in which nothing fails.
pub(super) fn plain_bundle(name: &str) -> Bundle {
    Bundle::new(name, (TAKES, TAKES))
}

/// Parses `sick after 10s for 5s silently on h3`: the results of a check once
/// the application runs.
fn sickness(words: &mut Words<'_>) -> Result<Sickness, Wrong> {
    let after = if words.take("after") { words.duration()? } else { Duration::ZERO };
    let flaps = if words.take("for") { Some(words.duration()?) } else { None };
    let is_silent = words.take("silently");
    let hosts = if words.take("on") { Some(words.hosts()?) } else { None };
    Ok(Sickness { hosts, after, flaps, is_silent })
}

fn fault(words: &mut Words<'_>) -> Result<HookFault, Wrong> {
    let how = match words.peek() {
        Some("fails") => How::Fails,
        Some("hangs") => How::Hangs,
        Some("lies") => How::Lies,
        other => {
            return Err(unknown("clause of a bundle", other, ["takes", "fails", "hangs", "lies", "sick"]));
        }
    };
    words.next("what goes wrong")?;
    words.expect("in")?;
    let event = event(words)?;
    let hosts = if words.take("on") { Some(words.hosts()?) } else { None };
    Ok(HookFault { event, hosts, how })
}

pub(super) fn event(words: &mut Words<'_>) -> Result<proto::lifecycle::LifecycleEvent, Wrong> {
    let word = words.next("a lifecycle event")?;
    word.parse().map_err(|_| {
        let near = suggest::nearest(word, LIFECYCLE.iter().map(|step| step.name));
        format!("unknown lifecycle event `{word}`{}", suggest::did_you_mean(near))
    })
}
