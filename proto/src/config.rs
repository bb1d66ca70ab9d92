//! The configuration that a node gets when it starts.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::form::Version;
use crate::group::Tag;
use crate::id::{GroupName, HostId, MeshId};
pub use crate::mesh::overlay::Overlay;
use crate::statement::{InvalidEntry, check_facts};

/// The default number of voters, in a mesh of at least five hosts.
pub const VOTERS_DEFAULT: u8 = 5;

/// The default number of ledger entries that a host keeps: some hundred turns, and
/// a few megabytes.
pub const LOG_KEPT_DEFAULT: usize = 4_096;

/// The configuration that a node gets when it starts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Config {
    /// The id of this host.
    pub host: HostId,
    /// The mesh that it belongs to.
    pub mesh: MeshId,
    /// The host's name for people.
    pub name: String,
    /// The tags by which groups select the host.
    pub tags: BTreeSet<Tag>,
    /// The zone that the host stands in; empty if not given.
    pub zone: String,
    /// The multiaddresses at which the host can be dialled.
    pub addresses: Vec<String>,
    /// True if the host begins the mesh's ledger when its store is empty. At most
    /// one host of a mesh may ever have this: two beginnings make two meshes.
    pub founds: bool,
    /// The seed of all randomness in the node.
    pub seed: u64,
    /// The most voters: 1, 3, 5 or 7.
    pub voters_max: u8,
    /// The newest wire version that the host speaks. It is [`crate::wire::WIRE`], unless
    /// the host plays an agent of an older release: then it reads nothing newer.
    pub wire: u16,
    /// The name or id of a host whose place it takes when it joins; empty if none.
    pub replaces: String,
    /// The number of entries to keep for hosts that lag. A host that lags further
    /// behind gets the whole state instead. The log is cut when it is twice as
    /// long.
    pub log_kept: usize,
    /// The rule by which hosts are connected. Only the simulator uses another than the full
    /// mesh.
    pub overlay: Overlay,
    /// For tests only: the fold panics at an entry that sets this group, as it would
    /// through an error in the agent.
    pub fold_panics_on: Option<GroupName>,
}

/// Numbers of voters that a mesh may aim at: odd, because an even one more tolerates no
/// further loss, and few, because all of them write each entry.
pub const VOTERS: [u8; 4] = [1, 3, 5, 7];

/// The reason why a node cannot be started with this configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfig {
    /// See [`VOTERS`].
    #[error("voters = {0}: a mesh has 1, 3, 5 or 7")]
    Voters(u8),
    /// The host's record has a value that every other host would refuse.
    #[error(transparent)]
    Facts(#[from] InvalidEntry),
}

impl Config {
    /// Returns the newest version of stored and sent forms that the agent reads.
    pub(crate) fn reads(&self) -> Version {
        Version::read_by(self.wire)
    }

    /// Checks what a node would do its work by, or tell the mesh.
    /// # Errors
    /// The first value that is out of its bounds.
    pub fn validate(&self) -> Result<(), InvalidConfig> {
        if !VOTERS.contains(&self.voters_max) {
            return Err(InvalidConfig::Voters(self.voters_max));
        }
        Ok(check_facts(&self.name, &self.zone, self.tags.len(), &self.addresses)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_host_would_refuse_is_refused_before_it_is_said() {
        let good = Config {
            host: HostId::from_public_key([1; 32]),
            mesh: MeshId([1; 16]),
            name: "web-1".into(),
            tags: BTreeSet::new(),
            zone: "a".into(),
            addresses: vec!["/ip4/10.0.0.1/tcp/1".into()],
            founds: false,
            seed: 1,
            voters_max: VOTERS_DEFAULT,
            wire: crate::wire::WIRE,
            replaces: String::new(),
            log_kept: LOG_KEPT_DEFAULT,
            fold_panics_on: None,
            overlay: Default::default(),
        };
        assert_eq!(good.validate(), Ok(()));
        assert_eq!(Config { voters_max: 4, ..good.clone() }.validate(), Err(InvalidConfig::Voters(4)));
        let named = |name: &str| Config { name: name.into(), ..good.clone() }.validate();
        assert!(named("a\u{1b}[2J").is_err() && named(&"x".repeat(500)).is_err());
        assert!(Config { addresses: vec!["/a\nb".into()], ..good }.validate().is_err());
    }
}
