//! Folds the version of the mesh: what every member can read, and hence what a host may
//! say.
//!
//! What an agent cannot read stops it. So a new kind of entry, frame or stored state may
//! be used only once every member can read it, and no older agent may take part from then
//! on. From version 6 on the ledger says so itself: when the records of all members give a
//! newer version, each host finds [`Finding::MeshVersion`] due. The version never goes
//! back. A mesh that a newer agent founds begins at that agent's version.
//!
//! Before version 6 nothing was written. Then the mesh has the version of its oldest
//! member, and goes back when an older host joins. Version 5 needs no more than that: a
//! member of version 4 that meets an entry of version 5 stops and says why.
//!
//! [`Finding::MeshVersion`]: crate::statement::Finding::MeshVersion

use super::State;
use crate::io::Refusal;
use crate::wire::MESH_VERSION_SINCE;

impl State {
    /// Returns the state of a new mesh that an agent of this version founds.
    pub(crate) fn founded_by(version: u16) -> Self {
        let version = if version >= MESH_VERSION_SINCE { version } else { 0 };
        State { version, ..State::founding() }
    }

    /// Returns the newest version of which hosts may use what is new in it, in entries and
    /// in frames to each other, because all members can read it.
    pub fn mesh_version(&self) -> u16 {
        match self.version {
            0 => self.oldest_agent().min(MESH_VERSION_SINCE - 1),
            version => version,
        }
    }

    /// Returns true if the ledger says which version the mesh has.
    pub fn has_version(&self) -> bool {
        self.version > 0
    }

    /// Returns the oldest version that some member's agent speaks.
    fn oldest_agent(&self) -> u16 {
        self.hosts.all().values().map(|host| host.record.wire).min().unwrap_or(0)
    }

    /// Returns the version that the mesh can move to now, if that is a newer one.
    pub(super) fn mesh_version_due(&self) -> Option<u16> {
        Some(self.oldest_agent()).filter(|version| self.is_mesh_version_due(*version))
    }

    /// Returns true if all members speak this version, and the mesh has not moved to it.
    pub(super) fn is_mesh_version_due(&self, version: u16) -> bool {
        version >= MESH_VERSION_SINCE && version > self.version && version <= self.oldest_agent()
    }

    pub(crate) fn move_to(&mut self, version: u16) {
        self.version = version;
    }

    /// Checks that an agent that speaks up to this version can take part.
    /// # Errors
    /// If the mesh has moved to a newer version.
    pub(crate) fn check_version(&self, agent: u16) -> Result<(), Refusal> {
        if agent < self.version {
            return Err(Refusal::MeshIsNewer { mesh: self.version, agent });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
