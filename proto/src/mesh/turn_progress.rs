//! The events that turns under way are in, as far as was heard.

use std::collections::BTreeMap;

use crate::id::{DeploymentId, HostId};
use crate::lifecycle::LifecycleEvent;

/// The most turns whose progress is remembered.
const PROGRESS_KEPT: usize = 50_000;

/// The events of turns under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct TurnProgress {
    of: BTreeMap<(DeploymentId, HostId), LifecycleEvent>,
    /// This host's newest event that the others were not told yet.
    unsent: Option<(DeploymentId, LifecycleEvent)>,
}

impl TurnProgress {
    pub(crate) fn get(&self, deployment: DeploymentId, host: HostId) -> Option<LifecycleEvent> {
        self.of.get(&(deployment, host)).copied()
    }

    /// Notes the event of another host. Returns false if too many are remembered.
    pub(crate) fn note(&mut self, deployment: DeploymentId, host: HostId, event: LifecycleEvent) -> bool {
        let has_room = self.of.len() < PROGRESS_KEPT;
        if has_room {
            self.of.insert((deployment, host), event);
        }
        has_room
    }

    /// Notes the event of this host's own turn, which the others must be told.
    pub(crate) fn note_own(&mut self, deployment: DeploymentId, me: HostId, event: LifecycleEvent) {
        self.of.insert((deployment, me), event);
        self.unsent = Some((deployment, event));
    }

    pub(crate) fn take_unsent(&mut self) -> Option<(DeploymentId, LifecycleEvent)> {
        self.unsent.take()
    }

    pub(crate) fn forget(&mut self, deployment: DeploymentId, host: HostId) {
        self.of.remove(&(deployment, host));
    }

    /// Forgets the turns for which `keeps` returns false.
    pub(crate) fn retain(&mut self, mut keeps: impl FnMut(DeploymentId, HostId) -> bool) {
        self.of.retain(|(deployment, host), _| keeps(*deployment, *host));
    }

    pub(crate) fn len(&self) -> usize {
        self.of.len()
    }
}
