//! The status of a deployment, and how it ends, in CodeDeploy's terms.

use std::fmt;

use super::{Counts, Rollout, Zone};

/// The status of a deployment (CodeDeploy's terms).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words are CodeDeploy's")]
pub enum DeploymentStatus {
    Created,
    Queued,
    InProgress,
    Succeeded,
    Failed,
    Stopped,
    Baking,
}

impl DeploymentStatus {
    /// Returns the name that users read.
    pub const fn name(self) -> &'static str {
        match self {
            DeploymentStatus::Created => "Created",
            DeploymentStatus::Queued => "Queued",
            DeploymentStatus::InProgress => "InProgress",
            DeploymentStatus::Succeeded => "Succeeded",
            DeploymentStatus::Failed => "Failed",
            DeploymentStatus::Stopped => "Stopped",
            DeploymentStatus::Baking => "Baking",
        }
    }

    /// Returns true if nothing more will happen.
    pub const fn is_over(self) -> bool {
        match self {
            DeploymentStatus::Created
            | DeploymentStatus::Queued
            | DeploymentStatus::InProgress
            | DeploymentStatus::Baking => false,
            DeploymentStatus::Succeeded | DeploymentStatus::Failed | DeploymentStatus::Stopped => true,
        }
    }
}

/// The reason why a deployment did not succeed, or never began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The kind of reason.
    pub code: ReasonCode,
    /// The sums at the time of the verdict.
    pub counts: Counts,
    /// M at the time of the verdict.
    pub minimum: u32,
    /// N at the time of the verdict.
    pub total: u32,
    /// The zone whose minimum was the reason; `None` if it was the group's.
    pub zone: Option<ZoneReason>,
}

/// The numbers of one zone at the time of a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneReason {
    /// The name of the zone; empty for hosts without a zone.
    pub name: String,
    /// H: the healthy hosts of the zone.
    pub healthy: u32,
    /// M: the hosts of the zone that must stay healthy.
    pub minimum: u32,
    /// N: the hosts of the zone.
    pub total: u32,
}

impl ZoneReason {
    pub(super) fn of(zone: &Zone) -> Self {
        let healthy = zone.counts.healthy;
        ZoneReason { name: zone.name.clone(), healthy, minimum: zone.minimum, total: zone.total }
    }
}

/// The kind of a reason, with CodeDeploy's code where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasonCode {
    /// One more host out of service would break the minimum, or too few hosts
    /// succeeded.
    HealthConstraints,
    /// The minimum could never have been kept.
    HealthConstraintsInvalid,
    /// A person stopped the deployment.
    ManualStop,
    /// The deployment took longer than the policy allows.
    Timeout,
    /// There was no host to deploy to.
    NoInstances,
    /// A newer deployment goes first (catch-ups only).
    Superseded,
    /// Some hosts that were to catch up did not (catch-ups only).
    CatchUpFailed,
    /// A host of the canary is not well.
    CanaryFailed,
    /// An alarm stopped it: see [`super::Rollout::stopped_by`].
    AlarmActive,
}

impl ReasonCode {
    /// Returns the name used in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            ReasonCode::HealthConstraints => "HEALTH_CONSTRAINTS",
            ReasonCode::HealthConstraintsInvalid => "HEALTH_CONSTRAINTS_INVALID",
            ReasonCode::ManualStop => "MANUAL_STOP",
            ReasonCode::Timeout => "TIMEOUT",
            ReasonCode::NoInstances => "NO_INSTANCES",
            ReasonCode::Superseded => "SUPERSEDED",
            ReasonCode::CatchUpFailed => "CATCH_UP_FAILED",
            ReasonCode::CanaryFailed => "CANARY_FAILED",
            ReasonCode::AlarmActive => "ALARM_ACTIVE",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(zone) = &self.zone {
            return of_zone(f, zone, self);
        }
        let Reason { counts, minimum, total, .. } = self;
        match self.code {
            ReasonCode::ManualStop if *total == 0 => {
                f.write_str("stopped by a person before it began: no host was touched")
            }
            ReasonCode::HealthConstraints => health_constraints(f, self),
            ReasonCode::HealthConstraintsInvalid => write!(
                f,
                "{minimum} of {total} hosts must stay healthy, so none may ever be taken out of service"
            ),
            ReasonCode::ManualStop => write!(
                f,
                "stopped by a person: {} of {total} hosts had succeeded, {} failed, {} were in their turn",
                counts.succeeded, counts.failed, counts.in_flight
            ),
            ReasonCode::AlarmActive => write!(
                f,
                "stopped by an alarm: {} of {total} hosts had succeeded, {} failed, {} were in their turn",
                counts.succeeded, counts.failed, counts.in_flight
            ),
            ReasonCode::Timeout => f.write_str(&self.took_too_long("its timeout")),
            ReasonCode::NoInstances => {
                write!(f, "no host was left to deploy to (the group has {total})")
            }
            ReasonCode::Superseded => write!(
                f,
                "something newer goes first: {} hosts had caught up, {} still waited; the newer one is for them \
                 too",
                counts.succeeded, counts.pending
            ),
            ReasonCode::CatchUpFailed => write!(
                f,
                "{} hosts have caught up, {} have not: they stay out of service until the next deployment",
                counts.succeeded, counts.failed
            ),
            ReasonCode::CanaryFailed => write!(
                f,
                "a host of the canary is not well, so nobody follows it: {} of {total} hosts had succeeded, {} \
                 failed, {} were still to come",
                counts.succeeded, counts.failed, counts.pending
            ),
        }
    }
}

impl Reason {
    fn took_too_long(&self, limit: &str) -> String {
        let Reason { counts, total, .. } = self;
        format!(
            "it took longer than {limit}: {} of {total} hosts had succeeded, {} were in their turn",
            counts.succeeded, counts.in_flight
        )
    }
}

/// Says which part of the rule failed the deployment: no host succeeded, the
/// minimum can no longer be reached, or one host less would break it.
fn health_constraints(f: &mut fmt::Formatter<'_>, reason: &Reason) -> fmt::Result {
    let Reason { counts, minimum, total, .. } = reason;
    let Counts { healthy, hopeful, failed, pending, in_flight, .. } = counts;
    if pending + in_flight == 0 && healthy >= minimum {
        match failed {
            1 => f.write_str("the only host that had its turn failed, and at least one must succeed")?,
            _ => write!(f, "all {failed} hosts that had their turn failed, and at least one must succeed")?,
        }
        return write!(f, " ({healthy} of {total} are healthy, {minimum} must be)");
    }
    if counts.pending_available == 0 {
        write!(f, "{healthy} of {total} hosts are healthy and {minimum} must be; {failed} failed")?;
        match (hopeful, pending + in_flight) {
            (0, 0) => f.write_str(", and none is still to come")?,
            // Such hosts are healthy by their last turn, and so counted already.
            (0, 1) => f.write_str(", and that is too few even if the one still to come goes well")?,
            (0, to_come) => write!(f, ", and that is too few even if the {to_come} still to come go well")?,
            _ => write!(f, ", and even with the {hopeful} that may still get well that is too few")?,
        }
        return absent(f, counts);
    }
    write!(
        f,
        "{healthy} of {total} hosts are healthy and {minimum} must stay so; {failed} failed, {pending} were still \
         to come: no further host may be taken out of service"
    )?;
    absent(f, counts)
}

/// Adds the hosts that were absent at the time of the verdict, if any: the count of
/// healthy hosts goes by their last turns.
fn absent(f: &mut fmt::Formatter<'_>, counts: &Counts) -> fmt::Result {
    match (counts.down, counts.ailing) {
        (0, 0) => Ok(()),
        (down, 0) => write!(f, "; {down} Down"),
        (0, ailing) => write!(f, "; {ailing} unhealthy by the health check"),
        (down, ailing) => write!(f, "; {down} Down, {ailing} unhealthy by the health check"),
    }
}

fn of_zone(f: &mut fmt::Formatter<'_>, zone: &ZoneReason, reason: &Reason) -> fmt::Result {
    let ZoneReason { name, healthy, minimum, total } = zone;
    let place = if name.is_empty() { "without a zone".to_string() } else { format!("of zone {name}") };
    if reason.code == ReasonCode::HealthConstraintsInvalid {
        return write!(
            f,
            "{minimum} of the {total} hosts {place} must stay healthy, so none of them may ever be taken out of \
             service"
        );
    }
    write!(
        f,
        "{healthy} of the {total} hosts {place} are healthy and {minimum} must stay so; {} hosts of the group \
         failed, {} were still to come: the deployment ends in all zones",
        reason.counts.failed, reason.counts.pending
    )
}

/// The result of the deployment, once the turns under way are over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The deployment succeeds.
    Succeeded,
    /// The deployment fails, for this reason.
    Failed(Reason),
    /// A person or an alarm stops it.
    Stopped(Reason),
}

impl Rollout {
    /// Returns the reason why the deployment does not succeed, in numbers, and as a
    /// sentence that also names the alarm that stopped it.
    pub fn reason_told(&self) -> Option<(&Reason, String)> {
        let (Verdict::Failed(reason) | Verdict::Stopped(reason)) = self.verdict.as_ref()? else {
            return None;
        };
        let by = self.stopped_by.as_ref().filter(|_| reason.code == ReasonCode::AlarmActive);
        let sentence = match by {
            Some(by) if by.detail.is_empty() => format!("{}; {reason}", by.sentence()),
            Some(by) => format!("{} ({}); {reason}", by.sentence(), by.detail),
            None if reason.code == ReasonCode::Timeout => {
                let timeout = self.submission.policy.deployment_timeout.as_secs();
                reason.took_too_long(&format!("its timeout of {timeout} s"))
            }
            None => reason.to_string(),
        };
        Some((reason, sentence))
    }
}
