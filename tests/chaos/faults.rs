//! Faults of hosts, and how to undo them.

use std::fmt;

use rand::RngExt;
use rand::rngs::StdRng;
use rustix::process::Signal;

use crate::fleet::Fleet;
use crate::prober::Prober;

/// The packets of 100 that a bad link loses.
const LOSS_PERCENT: u8 = 25;

/// A fault of one host, or of the path between two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The agent is killed with SIGKILL. Hooks and the application continue.
    Kill(u8),
    /// The agent is asked to end, with SIGTERM.
    Stop(u8),
    /// Every process on the host is killed.
    PowerOff(u8),
    /// The agent is suspended.
    Freeze(u8),
    /// The host's cable is unplugged.
    Cut(u8),
    /// The two hosts cannot reach each other, but all others can reach both.
    CutPair(u8, u8),
    /// Some packets to the host are lost.
    Loss(u8),
    /// A copy of the host's disk is started elsewhere.
    Clone(u8),
}

impl Fault {
    /// Draws a fault for a mesh of `hosts` hosts.
    pub(crate) fn draw(rng: &mut StdRng, hosts: u8) -> Fault {
        let host = rng.random_range(1..=hosts);
        let other = 1 + (host - 1 + rng.random_range(1..hosts)) % hosts;
        match rng.random_range(0..8) {
            0 => Fault::Kill(host),
            1 => Fault::Stop(host),
            2 => Fault::PowerOff(host),
            3 => Fault::Freeze(host),
            4 => Fault::Cut(host),
            5 => Fault::CutPair(host, other),
            6 => Fault::Loss(host),
            _ => Fault::Clone(host),
        }
    }

    pub(crate) fn host(self) -> u8 {
        match self {
            Fault::Kill(host)
            | Fault::Stop(host)
            | Fault::PowerOff(host)
            | Fault::Freeze(host)
            | Fault::Cut(host)
            | Fault::CutPair(host, _)
            | Fault::Loss(host)
            | Fault::Clone(host) => host,
        }
    }

    /// Returns true if the fault may silence the application or make it
    /// unreachable.
    fn excuses(self) -> bool {
        match self {
            Fault::PowerOff(_) | Fault::Cut(_) | Fault::Loss(_) => true,
            Fault::Kill(_) | Fault::Stop(_) | Fault::Freeze(_) | Fault::CutPair(..) | Fault::Clone(_) => {
                false
            }
        }
    }

    pub(crate) fn begin(self, fleet: &mut Fleet, prober: &Prober) {
        if self.excuses() {
            prober.excuse(self.host());
        }
        match self {
            Fault::Kill(host) => fleet.kill(host),
            Fault::Stop(host) => fleet.stop(host),
            Fault::PowerOff(host) => fleet.power_off(host),
            Fault::Freeze(host) => fleet.signal(host, Signal::STOP),
            Fault::Cut(host) => fleet.network.plug(host, false),
            Fault::CutPair(a, b) => fleet.network.path(a, b, false),
            Fault::Loss(host) => fleet.network.loss(host, LOSS_PERCENT),
            Fault::Clone(host) => fleet.clone_of(host),
        }
    }

    pub(crate) fn end(self, fleet: &mut Fleet, prober: &Prober) {
        match self {
            Fault::Kill(host) | Fault::Stop(host) => fleet.start(host),
            Fault::PowerOff(host) => fleet.power_on(host),
            Fault::Freeze(host) => fleet.signal(host, Signal::CONT),
            Fault::Cut(host) => fleet.network.plug(host, true),
            Fault::CutPair(a, b) => fleet.network.path(a, b, true),
            Fault::Loss(host) => fleet.network.loss(host, 0),
            Fault::Clone(host) => {
                fleet.end_clone();
                // The agents of both ask a person to do this.
                fleet.kill(host);
                fleet.start(host);
            }
        }
        if self.excuses() {
            prober.expect(self.host());
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Kill(host) => write!(f, "kill the agent of web-{host}"),
            Fault::Stop(host) => write!(f, "stop the agent of web-{host}"),
            Fault::PowerOff(host) => write!(f, "power off web-{host}"),
            Fault::Freeze(host) => write!(f, "freeze the agent of web-{host}"),
            Fault::Cut(host) => write!(f, "unplug web-{host}"),
            Fault::CutPair(a, b) => write!(f, "cut web-{a} from web-{b}"),
            Fault::Loss(host) => write!(f, "lose {LOSS_PERCENT} % of the packets to web-{host}"),
            Fault::Clone(host) => write!(f, "start a clone of web-{host}"),
        }
    }
}
