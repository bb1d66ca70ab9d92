//! The one definition of "in service".
//!
//! A host is in service in a group if it is up, is not in a turn, its last turn succeeded,
//! and the group's check passes. The rule that grants turns, the fold of hosts that are
//! behind, the views and the checkers of the simulator all ask here. Each finds the
//! [`Condition`] of a host by itself; none decides what follows from it.

/// The health of the application on a host, by the outcome of its last turn. A host
/// that never had a turn is unhealthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// The last turn succeeded.
    Healthy,
    /// The last turn failed, or there was none.
    Unhealthy,
}

/// What decides whether a host is in service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The health by its last turn; `None` if it had none.
    pub last_turn: Option<Health>,
    /// True if the group's check finds its application unhealthy.
    pub fails_check: bool,
    /// True if the mesh counts it Down, or if it was removed.
    pub is_down: bool,
    /// True if it has a lease, or is in its turn.
    pub is_in_turn: bool,
}

/// Whether a host of a group is in service, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// It is in service.
    Serving,
    /// It has a lease, or is in its turn.
    InTurn,
    /// Its last turn failed, or its check fails.
    Unhealthy,
    /// The mesh counts it Down, or it was removed.
    Down,
    /// It had no turn yet, so nothing is known of its application.
    Unknown,
}

impl Condition {
    /// Returns whether the host is in service. If several reasons speak against it, the
    /// first of Down, in turn and unhealthy is named.
    pub const fn service(self) -> Service {
        match self.last_turn {
            _ if self.is_down => Service::Down,
            _ if self.is_in_turn => Service::InTurn,
            None => Service::Unknown,
            Some(Health::Healthy) if !self.fails_check => Service::Serving,
            Some(Health::Healthy | Health::Unhealthy) => Service::Unhealthy,
        }
    }

    /// Returns true if the host is in service.
    pub const fn serves(self) -> bool {
        matches!(self.service(), Service::Serving)
    }

    /// Returns true if the host is in service, or would be but for its turn. A turn of any
    /// other host takes nothing out of service.
    pub const fn serves_but_for_turn(self) -> bool {
        Condition { is_in_turn: false, ..self }.serves()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: Condition =
        Condition { last_turn: Some(Health::Healthy), fails_check: false, is_down: false, is_in_turn: false };

    #[test]
    fn one_reason_is_enough_to_be_out_of_service() {
        let cases = [
            (WELL, Service::Serving),
            (Condition { last_turn: None, ..WELL }, Service::Unknown),
            (Condition { last_turn: Some(Health::Unhealthy), ..WELL }, Service::Unhealthy),
            (Condition { fails_check: true, ..WELL }, Service::Unhealthy),
            (Condition { is_down: true, ..WELL }, Service::Down),
            (Condition { is_in_turn: true, ..WELL }, Service::InTurn),
            (
                Condition { is_down: true, is_in_turn: true, fails_check: true, last_turn: None },
                Service::Down,
            ),
            (Condition { is_in_turn: true, fails_check: true, ..WELL }, Service::InTurn),
        ];
        for (condition, service) in cases {
            assert_eq!(condition.service(), service, "{condition:?}");
            assert_eq!(condition.serves(), service == Service::Serving, "{condition:?}");
        }
    }

    #[test]
    fn a_turn_takes_only_a_host_out_of_service_that_serves() {
        let in_turn = Condition { is_in_turn: true, ..WELL };
        assert!(in_turn.serves_but_for_turn() && !in_turn.serves());
        assert!(!Condition { fails_check: true, ..in_turn }.serves_but_for_turn());
        assert!(!Condition { is_down: true, ..in_turn }.serves_but_for_turn());
        assert!(!Condition { last_turn: None, ..in_turn }.serves_but_for_turn());
    }
}
