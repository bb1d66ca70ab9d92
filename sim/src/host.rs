//! A simulated host: a node, its disk, its clock, and the events that run on
//! it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use proto::config::{Config, LOG_KEPT_DEFAULT, Overlay, VOTERS_DEFAULT};
use proto::entry::Index;
use proto::group::Tag;
use proto::id::{GroupName, HostId, MeshId};
use proto::node::Node;
use proto::wire::WIRE;
use serde::{Deserialize, Serialize};

use crate::clock::{HostClock, Moment};
use crate::disk::Disk;
use crate::hooks::Hooks;
use crate::network::Boot;
use crate::world::Armed;

/// A host's number, from 0. It is displayed as h1, h2 and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostNo(pub u32);

impl HostNo {
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Returns the host's name in the mesh. Zeros fill the number, because turns go
    /// in the order of names and h10 must come after h9.
    pub fn name(self) -> String {
        format!("h{:05}", self.0 + 1)
    }

    pub fn from_index(index: usize) -> Self {
        HostNo(u32::try_from(index).expect("fewer hosts than 2^32"))
    }
}

impl fmt::Display for HostNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "h{}", self.0 + 1)
    }
}

impl FromStr for HostNo {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix('h').map(str::parse) {
            Some(Ok(number @ 1..)) => Ok(HostNo(number - 1)),
            Some(Ok(0) | Err(_)) | None => Err(format!("`{text}` is not a host (h1, h2, …)")),
        }
    }
}

/// The properties of a host. Only its agent changes, and then its wire version.
#[derive(Clone, Debug)]
pub struct Profile {
    pub tags: BTreeSet<Tag>,
    pub zone: String,
    /// The wire version of its agent. It reads nothing newer.
    pub wire: u16,
}

/// The wire version of the previous release.
pub const WIRE_BEFORE: u16 = WIRE - 1;

impl Default for Profile {
    fn default() -> Self {
        Profile { tags: BTreeSet::new(), zone: String::new(), wire: WIRE }
    }
}

/// Settings that are the same for all hosts of a mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    pub voters_max: u8,
    pub log_kept: usize,
    pub overlay: Overlay,
}

impl Default for Tuning {
    fn default() -> Self {
        Tuning { voters_max: VOTERS_DEFAULT, log_kept: LOG_KEPT_DEFAULT, overlay: Overlay::Full }
    }
}

#[derive(Debug)]
pub struct SimHost {
    pub no: HostNo,
    pub id: HostId,
    pub profile: Profile,
    /// None while the host is down.
    pub node: Option<Box<Running>>,
    pub boot: Boot,
    pub clock: HostClock,
    /// The microseconds by which its clock is ahead at the next start.
    pub ahead_micros: i64,
    pub drift: i64,
    pub disk: Disk,
    /// The bytes that bundles may take, if that was ever limited.
    pub free: Option<u64>,
    /// Its loop does not run before this moment: a stall.
    pub stalled_until: Moment,
    /// The index up to which the checkers have looked at what this start of the
    /// host folded.
    pub looked_at: Index,
    /// The time of the wake event that is in the world's queue.
    pub wake_at: Option<Moment>,
    pub hooks: Hooks,
    /// The fault that strikes at its next write, if any.
    pub at_write: Option<Armed>,
    /// The number of times the host was moved to another address.
    pub moves: u8,
    /// True if the next suitable frame tells the host of a ledger that is not its
    /// own.
    pub hears_false_head: bool,
    /// Its disk was lost once, so it must not begin a ledger again.
    pub was_wiped: bool,
    /// The host was removed from the mesh and switched off for good.
    pub is_off: bool,
    pub tuning: Tuning,
    /// The reason why its agent did not start, the last time.
    pub refuses: Option<String>,
    /// The group at which the fold of its agent panics: see [`Config::fold_panics_on`].
    pub fold_panics_on: Option<GroupName>,
}

/// A running node. `Node` does not implement `Debug`, so this type does.
pub struct Running(pub Node);

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node of {:?}", self.0.host())
    }
}

impl SimHost {
    pub fn new(no: HostNo, profile: Profile) -> Self {
        SimHost {
            no,
            id: host_id(no),
            profile,
            node: None,
            boot: 0,
            clock: HostClock::new(Moment::START, 0, 0),
            ahead_micros: 0,
            drift: 0,
            disk: Disk::default(),
            free: None,
            stalled_until: Moment::START,
            looked_at: 0,
            wake_at: None,
            hooks: Hooks::default(),
            at_write: None,
            moves: 0,
            hears_false_head: false,
            was_wiped: false,
            is_off: false,
            tuning: Tuning::default(),
            refuses: None,
            fold_panics_on: None,
        }
    }

    pub fn is_up(&self) -> bool {
        self.node.is_some()
    }

    pub fn node(&self) -> Option<&Node> {
        self.node.as_ref().map(|running| &running.0)
    }

    pub fn name(&self) -> String {
        self.no.name()
    }

    /// Returns the multiaddress at which other hosts dial it.
    pub fn address(&self) -> String {
        format!("/ip4/{}/udp/4001/quic-v1", self.ip())
    }

    pub fn ip(&self) -> String {
        let [_, b, c, d] = (self.no.0 + 1).to_be_bytes();
        format!("{}.{b}.{c}.{d}", self.moves.wrapping_add(10))
    }

    pub fn config(&self, mesh: MeshId, seed: u64) -> Config {
        Config {
            host: self.id,
            mesh,
            name: self.name(),
            tags: self.profile.tags.clone(),
            zone: self.profile.zone.clone(),
            addresses: vec![self.address()],
            founds: self.no == FOUNDER && !self.was_wiped,
            seed,
            wire: self.profile.wire,
            replaces: String::new(),
            voters_max: self.tuning.voters_max,
            log_kept: self.tuning.log_kept,
            fold_panics_on: self.fold_panics_on.clone(),
            overlay: self.tuning.overlay,
        }
    }
}

/// The host that begins the ledger.
pub const FOUNDER: HostNo = HostNo(0);

/// The interval at which a host without a connection looks for its mesh.
pub const BOOTSTRAP_EVERY: Duration = Duration::from_secs(1);

/// Returns a public key without a private half. It is the same for the same number
/// in every run.
fn host_id(no: HostNo) -> HostId {
    HostId::from_public_key(*blake3::hash(format!("host {}", no.0).as_bytes()).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_read_as_it_is_written() {
        assert_eq!("h3".parse(), Ok(HostNo(2)));
        assert_eq!(HostNo(2).to_string(), "h3");
        assert!("h0".parse::<HostNo>().is_err() && "3".parse::<HostNo>().is_err());
    }
}
