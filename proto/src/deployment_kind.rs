//! The kinds of deployments, and everything in which they differ, in one table with
//! one row for each kind.
//!
//! A submission stores its creator, the deployment that it undoes and its mode. Only
//! this file derives the kind from them. All other code asks the kind, so that it need
//! not know which kinds there are. What a person may override stays in the policy;
//! here it is decided which kinds an override applies to.
//!
//! To add a kind, add a variant, a row, and its case in [`Submission::kind`].

use std::time::Duration;

use crate::entry::{Creator, Submission};
use crate::lifecycle::Course;
use crate::policy::{Mode, Policy};
use crate::rollout::Rollout;
use crate::trigger::TriggerEvent;

/// The kind of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeploymentKind {
    /// A person's deployment of a revision, onto the hosts that serve.
    InPlace,
    /// A person's deployment that stops and starts what is installed.
    Restart,
    /// A person's deployment that brings a group back to an earlier revision.
    ManualRollback,
    /// The mesh's own deployment that undoes one which failed or was stopped.
    Rollback,
    /// The mesh's own deployment that brings hosts which are behind to what their
    /// group has.
    CatchUp,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Traits {
    /// The kind of deployment that the row describes.
    pub kind: DeploymentKind,
    /// The creator, in CodeDeploy's sense, and by its name what users see.
    pub creator: Creator,
    /// Says if an active alarm of the group stops the deployment.
    pub alarms: Heeds,
    /// Says if a freeze of the group holds the deployment back.
    pub freeze: Heeds,
    /// The place that the deployment takes in its group, and what it waits for there.
    pub slot: Slot,
    /// The hosts that the deployment is for.
    pub targets: Targets,
    /// The lifecycle events that each host goes through.
    pub course: Course,
    /// The most time that a script which stops the old revision may take, whatever
    /// its AppSpec file says; `None` for no limit beyond that file's.
    pub stop_timeout_max: Option<Duration>,
    /// The kind of deployment with which the mesh undoes this one, if it fails and
    /// the policy asks for that; `None` if it is left as it ended. A rollback is
    /// never rolled back, because that might never end.
    pub undone_by: Option<DeploymentKind>,
    /// True if hosts that it did not reach before it failed fall behind.
    pub leaves_behind: bool,
    /// True if it goes back to an earlier revision: it is listed as a rollback.
    pub goes_back: bool,
    /// True if it waits for targets that are Down while no other host may go. A Down
    /// host that fails would end the deployment.
    pub waits_for_down: bool,
    /// True if each host is on its own: one failure says nothing about the next host,
    /// and hosts that the minimum protects are left out instead of waited for.
    pub hosts_alone: bool,
    /// True if success makes its revision the group's last good one.
    pub makes_good: bool,
    /// True if the newest of these deployments says where the group is.
    pub counts_as_newest: bool,
    /// True if every host that is behind gets all its attempts again.
    pub renews_attempts: bool,
    /// The event that triggers are told when it begins, before `DeploymentStart`.
    pub announces: Option<TriggerEvent>,
    /// The time for which the ledger must lack a deployment of the mesh without
    /// interruption before a host submits it.
    pub due_after: Duration,
}

/// The cases in which a deployment obeys an outside signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heeds {
    /// Always, whatever its policy says.
    Always,
    /// Unless its policy says otherwise.
    UnlessOverridden,
    /// Never.
    Never,
}

/// The place that a deployment takes in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The group's slot for one deployment, in line: it waits for the one that runs,
    /// for a rollback that is due, and for turns of a catch-up that are under way.
    InLine,
    /// The same slot, which was kept free for it. It does not wait for a catch-up,
    /// because it repairs hosts, but leaves out the hosts that are being caught up.
    Reserved,
    /// A slot of its own, beside a deployment of the group if one runs. It ends early
    /// if a deployment waits in line.
    Beside,
}

/// The hosts of the group that a deployment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Targets {
    /// All; with `outdated_only`, those that do not have the revision.
    All,
    /// Those that have the revision.
    HaveIt,
    /// Those that are not well at the revision, touched or not: a person wants the
    /// group there.
    NotWell,
    /// Those that the undone deployment touched and that are not at the good revision.
    Touched,
    /// Those that are behind. The fold finds them when the deployment begins.
    Behind,
}

/// The most time that a script which stops the old revision may take in a rollback
/// or a catch-up. The old revision may be what is broken, and hosts wait for the good
/// one.
pub const STOP_TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// The time that hosts are behind before a catch-up is submitted for them. Many hosts
/// that join within this time share one; a burst of fifty takes less.
const CATCH_UP_AFTER: Duration = Duration::from_secs(2);

/// The table, with one row for each kind.
const KINDS: [Traits; 5] = [
    Traits {
        kind: DeploymentKind::InPlace,
        creator: Creator::User,
        alarms: Heeds::UnlessOverridden,
        freeze: Heeds::Always,
        slot: Slot::InLine,
        targets: Targets::All,
        course: Course::InPlace,
        stop_timeout_max: None,
        undone_by: Some(DeploymentKind::Rollback),
        leaves_behind: false,
        goes_back: false,
        waits_for_down: false,
        hosts_alone: false,
        makes_good: true,
        counts_as_newest: true,
        renews_attempts: true,
        announces: None,
        due_after: Duration::ZERO,
    },
    Traits {
        kind: DeploymentKind::Restart,
        creator: Creator::User,
        alarms: Heeds::UnlessOverridden,
        freeze: Heeds::Always,
        slot: Slot::InLine,
        targets: Targets::HaveIt,
        course: Course::Restart,
        stop_timeout_max: None,
        undone_by: Some(DeploymentKind::Rollback),
        leaves_behind: false,
        goes_back: false,
        waits_for_down: false,
        hosts_alone: false,
        // It brought no revision, so the deployment that did stays recorded.
        makes_good: false,
        counts_as_newest: true,
        renews_attempts: true,
        announces: None,
        due_after: Duration::ZERO,
    },
    Traits {
        kind: DeploymentKind::ManualRollback,
        creator: Creator::User,
        // Its policy overrides both, see `Policy::of_rollback`; a person may take that
        // back.
        alarms: Heeds::UnlessOverridden,
        freeze: Heeds::UnlessOverridden,
        slot: Slot::InLine,
        targets: Targets::NotWell,
        course: Course::InPlace,
        stop_timeout_max: Some(STOP_TIMEOUT_MAX),
        undone_by: None,
        leaves_behind: false,
        goes_back: true,
        waits_for_down: true,
        hosts_alone: false,
        makes_good: true,
        counts_as_newest: true,
        renews_attempts: true,
        announces: None,
        due_after: Duration::ZERO,
    },
    Traits {
        kind: DeploymentKind::Rollback,
        creator: Creator::Rollback,
        // The alarm that caused a rollback must not stop it.
        alarms: Heeds::Never,
        freeze: Heeds::Never,
        slot: Slot::Reserved,
        targets: Targets::Touched,
        course: Course::InPlace,
        stop_timeout_max: Some(STOP_TIMEOUT_MAX),
        undone_by: None,
        leaves_behind: true,
        goes_back: true,
        waits_for_down: true,
        hosts_alone: false,
        makes_good: true,
        counts_as_newest: true,
        renews_attempts: false,
        announces: Some(TriggerEvent::DeploymentRollback),
        due_after: Duration::ZERO,
    },
    Traits {
        kind: DeploymentKind::CatchUp,
        creator: Creator::Autoscale,
        // A host that joins or returns only gets what the group runs already. To leave
        // it out of service because of an alarm would make things worse.
        alarms: Heeds::Never,
        freeze: Heeds::Always,
        slot: Slot::Beside,
        targets: Targets::Behind,
        course: Course::InPlace,
        stop_timeout_max: Some(STOP_TIMEOUT_MAX),
        undone_by: None,
        leaves_behind: false,
        goes_back: false,
        waits_for_down: false,
        hosts_alone: true,
        makes_good: false,
        counts_as_newest: false,
        renews_attempts: false,
        announces: None,
        due_after: CATCH_UP_AFTER,
    },
];

// The enum indexes the table, so a row in the wrong place would give a deployment the
// rules of another kind.
const _: () = {
    let mut row = 0;
    while row < KINDS.len() {
        assert!(KINDS[row].kind as usize == row);
        row += 1;
    }
    assert!(KINDS.len() == DeploymentKind::CatchUp as usize + 1);
};

impl DeploymentKind {
    /// Returns all kinds.
    pub fn all() -> impl Iterator<Item = DeploymentKind> {
        KINDS.iter().map(|traits| traits.kind)
    }

    /// Returns the kind's row in the table.
    pub const fn traits(self) -> &'static Traits {
        &KINDS[self as usize]
    }

    /// Returns true if the mesh itself submits deployments of this kind. The fold
    /// works out which are due, and takes no other.
    pub const fn is_by_mesh(self) -> bool {
        match self.traits().creator {
            Creator::User => false,
            Creator::Rollback | Creator::Autoscale => true,
        }
    }

    /// Returns true if it installs a revision, so that it needs the bundle.
    pub fn installs(self) -> bool {
        self.traits().course.installs()
    }

    /// Returns the kind of a deployment as users are shown it: by the name of its
    /// creator, and by whether it is listed as a rollback and as a restart. Returns
    /// `None` if there is no such kind, as for a deployment of a newer agent.
    pub fn shown(creator: &str, goes_back: bool, is_restart: bool) -> Option<DeploymentKind> {
        let is_shown_so = |kind: &DeploymentKind| {
            let traits = kind.traits();
            traits.creator.name() == creator
                && traits.goes_back == goes_back
                && (kind.installs() != is_restart || goes_back)
        };
        DeploymentKind::all().find(is_shown_so)
    }

    /// Returns the kind of a person's deployment that undoes no other.
    const fn of_mode(mode: Mode) -> DeploymentKind {
        match mode {
            Mode::Standard => DeploymentKind::InPlace,
            Mode::Restart => DeploymentKind::Restart,
        }
    }
}

impl Targets {
    /// Returns true if a host that is new to the group, and so has no revision, is a
    /// target.
    pub const fn take_new_hosts(self) -> bool {
        match self {
            Targets::All | Targets::NotWell | Targets::Touched | Targets::Behind => true,
            Targets::HaveIt => false,
        }
    }
}

impl Heeds {
    const fn unless(self, overridden: bool) -> bool {
        match self {
            Heeds::Always => true,
            Heeds::UnlessOverridden => !overridden,
            Heeds::Never => false,
        }
    }
}

impl Policy {
    /// Returns the kind of a person's deployment under this policy, if it undoes no
    /// other deployment.
    pub const fn kind(&self) -> DeploymentKind {
        DeploymentKind::of_mode(self.mode)
    }
}

impl Submission {
    /// Returns the kind of the deployment. A rollback always installs a revision,
    /// whatever the mode in its policy.
    pub const fn kind(&self) -> DeploymentKind {
        match (self.creator, self.rollback_of) {
            (Creator::User, None) => self.policy.kind(),
            (Creator::User, Some(_)) => DeploymentKind::ManualRollback,
            (Creator::Rollback, _) => DeploymentKind::Rollback,
            (Creator::Autoscale, _) => DeploymentKind::CatchUp,
        }
    }

    /// Returns true if the group's alarms can stop the deployment.
    pub const fn heeds_alarms(&self) -> bool {
        self.kind().traits().alarms.unless(self.policy.ignore_alarms)
    }

    /// Returns true if a freeze of its group holds the deployment back.
    pub const fn heeds_freeze(&self) -> bool {
        self.kind().traits().freeze.unless(self.policy.ignore_freeze)
    }
}

impl Rollout {
    /// Returns the kind of the deployment.
    pub const fn kind(&self) -> DeploymentKind {
        self.submission.kind()
    }

    /// Returns the traits of the deployment's kind.
    pub const fn traits(&self) -> &'static Traits {
        self.kind().traits()
    }
}

#[cfg(test)]
mod tests;
