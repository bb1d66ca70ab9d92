//! Reasons and blockers: a code, numbers, a sentence.

use proto::rollout::{Blocker, Reason, ReasonCode, Rollout, Verdict, ZoneReason};

use super::{Why, written};

impl Why {
    fn new(code: &str, message: String, numbers: &[(&str, u32)]) -> Self {
        let numbers = numbers.iter().map(|(name, number)| ((*name).into(), u64::from(*number))).collect();
        Why { code: code.into(), message, numbers }
    }

    /// Why a deployment ends, or ended, otherwise than well.
    pub(super) fn of_rollout(rollout: &Rollout) -> Option<Self> {
        match rollout.verdict.as_ref()? {
            Verdict::Succeeded => None,
            Verdict::Failed(reason) | Verdict::Stopped(reason) => Some(Why::of_reason(reason)),
        }
    }

    fn of_reason(reason: &Reason) -> Self {
        let Reason { counts, minimum, total, .. } = reason;
        let mut numbers = vec![
            ("total", *total),
            ("minimum", *minimum),
            ("healthy", counts.healthy),
            ("in_service", counts.available),
            ("succeeded", counts.succeeded),
            ("failed", counts.failed),
            ("in_progress", counts.in_flight),
            ("pending", counts.pending),
            ("down", counts.down),
        ];
        if let Some(zone) = &reason.zone {
            numbers.extend([
                ("zone_total", zone.total),
                ("zone_minimum", zone.minimum),
                ("zone_healthy", zone.healthy),
            ]);
        }
        Why::new(reason.code.name(), sentence(reason), &numbers)
    }

    /// Why the next turn may not start now.
    pub(super) fn of_blocker(blocker: &Blocker) -> Self {
        let (code, numbers): (&str, Vec<(&str, u32)>) = match blocker {
            Blocker::TurnsInFlight { in_flight, turns_max } => {
                ("TURNS_IN_FLIGHT", vec![("in_progress", *in_flight), ("turns_max", *turns_max)])
            }
            Blocker::TooFewHealthy { available, minimum, total, down } => (
                "HEALTH_CONSTRAINTS",
                vec![("in_service", *available), ("minimum", *minimum), ("total", *total), ("down", *down)],
            ),
            Blocker::LastTurns { in_flight } => ("LAST_TURNS", vec![("in_progress", *in_flight)]),
            Blocker::Ending { in_flight } => ("ENDING", vec![("in_progress", *in_flight)]),
            Blocker::Queued { behind: _ } => ("QUEUED", vec![]),
            Blocker::Suspects { suspects, available, minimum } => {
                ("SUSPECTS", vec![("suspects", *suspects), ("in_service", *available), ("minimum", *minimum)])
            }
            Blocker::ZoneTurnsInFlight { zone: _, in_flight, turns_max } => {
                ("ZONE_TURNS_IN_FLIGHT", vec![("in_progress", *in_flight), ("turns_max", *turns_max)])
            }
            Blocker::ZoneTooFewHealthy { zone: _, available, minimum, total, down } => (
                "ZONE_HEALTH_CONSTRAINTS",
                vec![("in_service", *available), ("minimum", *minimum), ("total", *total), ("down", *down)],
            ),
            Blocker::WaveEnding { wave: _, in_flight } => ("WAVE_ENDING", vec![("in_progress", *in_flight)]),
            Blocker::Baking { wave: _, until: _, down } => ("BAKING", vec![("down", *down)]),
        };
        let mut why = Why::new(code, blocker.to_string(), &numbers);
        if let Blocker::Baking { until, .. } = blocker {
            why.message = format!("{}, until {}", why.message, written(*until));
            why.numbers.insert("until_ms".into(), until.as_millis());
        }
        why
    }
}

fn sentence(reason: &Reason) -> String {
    let Reason { counts, minimum, total, .. } = reason;
    if let Some(zone) = &reason.zone {
        return of_zone(zone, reason);
    }
    match reason.code {
        ReasonCode::HealthConstraints => format!(
            "{} of {total} hosts are healthy and {minimum} must stay so; {} failed, {} were still to come: no \
             further host may be taken out of service",
            counts.healthy, counts.failed, counts.pending
        ),
        ReasonCode::HealthConstraintsInvalid => {
            format!("{minimum} of {total} hosts must stay healthy, so none may ever be taken out of service")
        }
        ReasonCode::ManualStop => format!(
            "stopped by a person: {} of {total} hosts had succeeded, {} failed, {} were in their turn",
            counts.succeeded, counts.failed, counts.in_flight
        ),
        ReasonCode::Timeout => format!(
            "it took longer than its timeout: {} of {total} hosts had succeeded, {} were in their turn",
            counts.succeeded, counts.in_flight
        ),
        ReasonCode::NoInstances => format!("no host was left to deploy to (the group has {total})"),
        ReasonCode::CanaryFailed => format!(
            "a host of the canary is not well, so nobody follows it: {} of {total} hosts had succeeded, {} failed, \
             {} were still to come",
            counts.succeeded, counts.failed, counts.pending
        ),
    }
}

fn of_zone(zone: &ZoneReason, reason: &Reason) -> String {
    let ZoneReason { name, healthy, minimum, total } = zone;
    let place = if name.is_empty() { "without a zone".to_string() } else { format!("of zone {name}") };
    match reason.code {
        ReasonCode::HealthConstraintsInvalid => format!(
            "{minimum} of the {total} hosts {place} must stay healthy, so none of them may ever be taken out of service"
        ),
        ReasonCode::HealthConstraints
        | ReasonCode::ManualStop
        | ReasonCode::Timeout
        | ReasonCode::NoInstances
        | ReasonCode::CanaryFailed => format!(
            "{healthy} of the {total} hosts {place} are healthy and {minimum} must stay so; {} hosts of the group \
             failed, {} were still to come: the deployment ends in all zones",
            reason.counts.failed, reason.counts.pending
        ),
    }
}
