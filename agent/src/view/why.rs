//! Formats reasons and blockers: a code, numbers, and a sentence.

use proto::io::Refusal;
use proto::node::Halt;
use proto::rollout::{Blocker, Reason, Rollout};

use super::{Why, written};
use crate::refusal_advice;

impl Why {
    pub(super) fn new(code: &str, message: String, numbers: &[(&str, u32)]) -> Self {
        let numbers = numbers.iter().map(|(name, number)| ((*name).into(), u64::from(*number))).collect();
        Why { code: code.into(), message, numbers }
    }

    /// Returns the reason why a deployment did not, or will not, end well.
    pub(super) fn of_rollout(rollout: &Rollout) -> Option<Self> {
        let (reason, message) = rollout.reason_told()?;
        Some(Why::of_reason(reason, message))
    }

    pub(crate) fn of_reason(reason: &Reason, message: String) -> Self {
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
            ("unwell", counts.ailing),
        ];
        if let Some(zone) = &reason.zone {
            numbers.extend([
                ("zone_total", zone.total),
                ("zone_minimum", zone.minimum),
                ("zone_healthy", zone.healthy),
            ]);
        }
        Why::new(reason.code.name(), message, &numbers)
    }

    /// Converts the reason why a request is, or would be, refused.
    pub(super) fn of_refusal(refusal: &Refusal) -> Self {
        let (code, numbers) = refusal.in_numbers();
        let numbers = numbers.into_iter().map(|(name, number)| (name.into(), number)).collect();
        Why { code: code.into(), message: refusal_advice::in_full(refusal), numbers }
    }

    /// Converts the reason why this host folds the ledger no further.
    pub(super) fn of_halt(halt: &Halt) -> Self {
        let (code, index) = match halt {
            Halt::Unreadable { index, .. } => ("ENTRY_UNREADABLE", index),
            Halt::Panicked { index, .. } => ("FOLD_FAILED", index),
            Halt::Diverged { index, .. } => ("STATE_DIVERGED", index),
            Halt::Superseded { index, .. } => ("LEDGER_SUPERSEDED", index),
        };
        Why { code: code.into(), message: halt.to_string(), numbers: [("entry".into(), *index)].into() }
    }

    /// Converts the reason why the next turn may not start now.
    pub(super) fn of_blocker(blocker: &Blocker) -> Self {
        let (code, numbers): (&str, Vec<(&str, u32)>) = match blocker {
            Blocker::TurnsInFlight { in_flight, turns_max } => {
                ("TURNS_IN_FLIGHT", vec![("in_progress", *in_flight), ("turns_max", *turns_max)])
            }
            Blocker::TooFewHealthy { available, minimum, total, down, ailing } => {
                ("HEALTH_CONSTRAINTS", too_few([available, minimum, total, down, ailing]))
            }
            Blocker::Relapsed { relapsed } => ("HEALTH_CHECK", vec![("unwell", *relapsed)]),
            Blocker::LastTurns { in_flight } => ("LAST_TURNS", vec![("in_progress", *in_flight)]),
            Blocker::Ending { in_flight } => ("ENDING", vec![("in_progress", *in_flight)]),
            Blocker::Queued { behind: _ } => ("QUEUED", vec![]),
            Blocker::AlarmUnread { unread, total } => {
                ("ALARM_UNREAD", vec![("unread", *unread), ("alarms", *total)])
            }
            Blocker::Frozen { .. } => ("FROZEN", vec![]),
            Blocker::Suspects { suspects, available, minimum } => {
                ("SUSPECTS", vec![("suspects", *suspects), ("in_service", *available), ("minimum", *minimum)])
            }
            Blocker::NoMajority { voters_up, voters } => {
                ("NO_MAJORITY", vec![("voters_up", *voters_up), ("voters", *voters)])
            }
            Blocker::Deferred { deferred } => ("DEFERRED", vec![("deferred", *deferred)]),
            Blocker::NoRoom { host: _, shortage: _, short } => ("NO_ROOM", vec![("short", *short)]),
            Blocker::ZoneTurnsInFlight { zone: _, in_flight, turns_max } => {
                ("ZONE_TURNS_IN_FLIGHT", vec![("in_progress", *in_flight), ("turns_max", *turns_max)])
            }
            Blocker::ZoneTooFewHealthy { zone: _, available, minimum, total, down, ailing } => {
                ("ZONE_HEALTH_CONSTRAINTS", too_few([available, minimum, total, down, ailing]))
            }
            Blocker::WaveEnding { wave: _, in_flight } => ("WAVE_ENDING", vec![("in_progress", *in_flight)]),
            Blocker::Baking { wave: _, until: _, unsure, is_last: _ } => {
                ("BAKING", vec![("unsure", *unsure)])
            }
        };
        let mut why = Why::new(code, blocker.to_string(), &numbers);
        if let Blocker::Baking { until, .. } = blocker {
            why.message = format!("{}, until {}", why.message, written(*until));
            why.numbers.insert("until_ms".into(), until.as_millis());
        }
        if let Blocker::NoRoom { shortage, .. } = blocker {
            why.numbers.insert("needed_bytes".into(), shortage.needed);
            why.numbers.insert("free_bytes".into(), shortage.free);
        }
        why
    }
}

fn too_few(counts: [&u32; 5]) -> Vec<(&'static str, u32)> {
    let names = ["in_service", "minimum", "total", "down", "unwell"];
    names.into_iter().zip(counts).map(|(name, count)| (name, *count)).collect()
}
