//! Describes the hosts that are out of service, since when, and
//! what their health check says; also those that defer their start.

use proto::alarm::Alarm;
use proto::deployment_kind::DeploymentKind;
use proto::id::HostId;
use proto::rollout::{Blocker, Rollout, Stage};
use proto::state::{Deferral, GroupState, Short, State};

use super::names::Names;
use super::{Why, name_of, written};

/// The number of hosts that a sentence names; the others are counted.
const NAMED_MAX: usize = 5;

impl Why {
    /// Appends the hosts that a blocker is about: those out
    /// of service, or those that defer their start.
    pub(super) fn naming(mut self, blocker: &Blocker, rollout: &Rollout, state: &State) -> Self {
        match blocker {
            Blocker::TooFewHealthy { .. } | Blocker::ZoneTooFewHealthy { .. } | Blocker::Relapsed { .. } => {
                self.message += &named("out of service", out_of_service(rollout, state));
                self.message += &way_out(blocker, rollout, state);
                self
            }
            Blocker::Deferred { .. } => {
                let waiting = state.deferrals(rollout.submission.deployment).map(|(host, deferral)| {
                    format!("{} {}", name_of(state, host), deferred(deferral, state))
                });
                self.message += &named("waiting", waiting.collect());
                self
            }
            Blocker::AlarmUnread { .. } => {
                self.message += &named("unread", unread(rollout, state));
                self
            }
            Blocker::NoRoom { .. } => {
                let short = state.shortages(rollout.submission.deployment);
                self.message +=
                    &named("short of room", short.map(|(host, it)| short_of(host, it, state)).collect());
                self
            }
            Blocker::TurnsInFlight { .. }
            | Blocker::LastTurns { .. }
            | Blocker::Ending { .. }
            | Blocker::Queued { .. }
            | Blocker::Suspects { .. }
            | Blocker::NoMajority { .. }
            | Blocker::ZoneTurnsInFlight { .. }
            | Blocker::WaveEnding { .. }
            | Blocker::Frozen { .. }
            | Blocker::Baking { .. } => self,
        }
    }
}

/// Describes what a person can do instead of waiting for hosts that are
/// out of service; nothing else would end the wait before its timeout.
fn way_out(blocker: &Blocker, rollout: &Rollout, state: &State) -> String {
    let is_of_zone = matches!(blocker, Blocker::ZoneTooFewHealthy { .. });
    let waits_for_others = match blocker {
        Blocker::TooFewHealthy { .. } | Blocker::ZoneTooFewHealthy { .. } => rollout.counts().in_flight == 0,
        Blocker::TurnsInFlight { .. }
        | Blocker::LastTurns { .. }
        | Blocker::Ending { .. }
        | Blocker::Relapsed { .. }
        | Blocker::Queued { .. }
        | Blocker::AlarmUnread { .. }
        | Blocker::Frozen { .. }
        | Blocker::Suspects { .. }
        | Blocker::NoMajority { .. }
        | Blocker::Deferred { .. }
        | Blocker::NoRoom { .. }
        | Blocker::ZoneTurnsInFlight { .. }
        | Blocker::WaveEnding { .. }
        | Blocker::Baking { .. } => false,
    };
    if !waits_for_others {
        return String::new();
    }
    let (id, group) = (rollout.submission.deployment, &rollout.submission.group);
    let again = match rollout.kind() {
        DeploymentKind::ManualRollback | DeploymentKind::Rollback => format!(
            "go back with less: skein rollback {group} --to {}",
            rollout.submission.revision.digest.short()
        ),
        DeploymentKind::Restart => format!("go on with less: skein deploy {group} --restart"),
        DeploymentKind::InPlace | DeploymentKind::CatchUp => {
            format!("go on with less: skein deploy {group} SOURCE")
        }
    };
    let minimum = if is_of_zone { "zones.minimum_healthy" } else { "minimum_healthy" };
    let is_down = |host: &&HostId| state.host(**host).is_some_and(|known| known.down.is_some());
    let remove = rollout.members().keys().find(is_down).map(|host| {
        format!(", take out for good what is gone (skein mesh remove {})", Names::of(state).word(*host))
    });
    let remove = remove.unwrap_or_default();
    format!("; bring them back{remove}, or stop it (skein stop {id}) and {again} --override {minimum}=N")
}

/// Returns the alarms that were not read in the deployment.
fn unread(rollout: &Rollout, state: &State) -> Vec<String> {
    let Some(known) = state.group(&rollout.submission.group) else { return Vec::new() };
    let is_unread = |alarm: &&Alarm| {
        let read_in =
            state.alarms().standing(&known.group.name, &alarm.name).and_then(|standing| standing.read_in);
        alarm.is_read() && read_in != Some(rollout.submission.deployment)
    };
    known.group.alarms.iter().filter(is_unread).map(|alarm| alarm.name.clone()).collect()
}

pub(super) fn named(what: &str, hosts: Vec<String>) -> String {
    let rest = hosts.len().saturating_sub(NAMED_MAX);
    let more = if rest > 0 { format!(", and {rest} more") } else { String::new() };
    let hosts: Vec<String> = hosts.into_iter().take(NAMED_MAX).collect();
    if hosts.is_empty() { String::new() } else { format!("; {what}: {}{more}", hosts.join(", ")) }
}

/// Describes since when a host defers its start, and which hosts are suspect.
pub(super) fn deferred(deferral: &Deferral, state: &State) -> String {
    let suspects: Vec<String> = deferral.suspects.iter().map(|host| name_of(state, *host)).collect();
    let are = if suspects.len() == 1 { "is" } else { "are" };
    format!("since {}: {} {are} suspect", written(deferral.leased), suspects.join(" and "))
}

/// Describes what a host waits for whose disk lacks room for its turn.
pub(super) fn short_words(
    host: HostId,
    short: &Short,
    stage: &Stage,
    rollout: &Rollout,
    state: &State,
) -> String {
    let words =
        format!("disk full on {}: {} (since {})", name_of(state, host), short.shortage, written(short.since));
    match stage {
        Stage::Leased { at } => {
            let until = *at + rollout.submission.policy.start_timeout;
            format!("{words}: its turn fails if there is no room by {}", written(until))
        }
        Stage::Pending
        | Stage::NotTargeted
        | Stage::Started { .. }
        | Stage::Ended { .. }
        | Stage::Skipped => format!("{words}: others go first"),
    }
}

/// Describes a host that lacks disk space, and since when.
fn short_of(host: HostId, short: &Short, state: &State) -> String {
    format!("{} since {}: {}", name_of(state, host), written(short.since), short.shortage)
}

/// Returns the hosts of a rollout that are out of service for
/// another reason than their turn: each with since when, and why.
fn out_of_service(rollout: &Rollout, state: &State) -> Vec<String> {
    let group = state.group(&rollout.submission.group);
    let of_no_service = rollout.members().iter().filter(|(host, member)| {
        member.is_of_no_service() && !member.is_in_flight() && state.host(**host).is_some()
    });
    let mut hosts: Vec<String> = of_no_service
        .map(|(host, member)| {
            let name = name_of(state, *host);
            match (member.down, group.and_then(|group| unwell(state, group, *host))) {
                (Some(since), _) => format!("{name} Down since {}", written(since)),
                (None, Some(unwell)) => format!("{name} {unwell}"),
                (None, None) => format!("{name}, whose last turn did not succeed"),
            }
        })
        .collect();
    hosts.sort();
    hosts
}

/// Describes what the health check says of a host; `None` if it passes.
pub(super) fn unwell(state: &State, known: &GroupState, host: HostId) -> Option<String> {
    let ailing = state.checks().ailing(&known.group.name, host)?;
    let held = held_back(state, known, host).map(|held| format!("; {held}")).unwrap_or_default();
    Some(format!("unhealthy since {}: {}{held}", written(ailing.since), ailing.error))
}

/// Describes why a host may stay unhealthy although its check passes again.
pub(super) fn held_back(state: &State, known: &GroupState, host: HostId) -> Option<String> {
    let (times, held) = state.checks().held_back(&known.group.name, host, state.clock())?;
    Some(format!(
        "found so {times} times within an hour, so it is held back, even if its check passes again, until that \
         has passed for {} s without a break",
        held.as_secs()
    ))
}
