use DeploymentKind::{CatchUp, InPlace, ManualRollback, Restart, Rollback};

use super::*;
use crate::id::{DeploymentId, Digest};
use crate::lifecycle::LifecycleEvent;
use crate::revision::Revision;

fn submission(creator: Creator, undoes: bool, mode: Mode) -> Submission {
    Submission {
        deployment: DeploymentId::derive(b"test"),
        group: "hello/prod".parse().expect("a name"),
        revision: Revision { digest: Digest([2; 32]), size: 1, origin: String::new() },
        policy: Policy { mode, ..Policy::default() },
        creator,
        rollback_of: undoes.then(|| DeploymentId::derive(b"undone")),
        description: String::new(),
        holders: Vec::new(),
        queue: false,
        by: String::new(),
    }
}

fn of_kind(kind: DeploymentKind) -> Submission {
    let mode = if kind.installs() { Mode::Standard } else { Mode::Restart };
    let submission = submission(kind.traits().creator, kind.traits().goes_back, mode);
    assert_eq!(submission.kind(), kind, "the table gives back what was stored");
    submission
}

#[test]
fn every_stored_combination_has_one_kind() {
    let standard_and_restart = [
        (Creator::User, false, [InPlace, Restart]),
        (Creator::User, true, [ManualRollback, ManualRollback]),
        (Creator::Rollback, false, [Rollback, Rollback]),
        (Creator::Rollback, true, [Rollback, Rollback]),
        (Creator::Autoscale, false, [CatchUp, CatchUp]),
        (Creator::Autoscale, true, [CatchUp, CatchUp]),
    ];
    for (creator, undoes, kinds) in standard_and_restart {
        let found = [Mode::Standard, Mode::Restart].map(|mode| submission(creator, undoes, mode).kind());
        assert_eq!(found, kinds, "{creator:?}, undoes: {undoes}");
    }
}

#[test]
fn overrides_count_only_where_the_kind_allows_them() {
    // With and without the override.
    let alarms_and_freeze = [
        (InPlace, [true, false], [true, true]),
        (Restart, [true, false], [true, true]),
        (ManualRollback, [true, false], [true, false]),
        (Rollback, [false, false], [false, false]),
        (CatchUp, [false, false], [true, true]),
    ];
    assert_eq!(alarms_and_freeze.map(|(kind, ..)| kind).to_vec(), DeploymentKind::all().collect::<Vec<_>>());
    for (kind, alarms, freeze) in alarms_and_freeze {
        let overridden = |is_overridden| {
            let mut submission = of_kind(kind);
            (submission.policy.ignore_alarms, submission.policy.ignore_freeze) =
                (is_overridden, is_overridden);
            submission
        };
        assert_eq!([false, true].map(|it| overridden(it).heeds_alarms()), alarms, "{kind:?}");
        assert_eq!([false, true].map(|it| overridden(it).heeds_freeze()), freeze, "{kind:?}");
    }
}

#[test]
fn the_columns_of_each_row_agree() {
    for kind in DeploymentKind::all() {
        let traits = kind.traits();
        assert_eq!(kind.is_by_mesh(), traits.slot != Slot::InLine, "{kind:?}: only a person waits in line");
        assert_eq!(traits.hosts_alone, traits.slot == Slot::Beside, "{kind:?}");
        assert_eq!(kind.installs(), traits.targets != Targets::HaveIt, "{kind:?}");
        assert_eq!(kind.installs(), traits.targets.take_new_hosts(), "{kind:?}");
        assert!(kind.installs() || !traits.makes_good, "{kind:?}: nothing new becomes good");
        assert!(traits.counts_as_newest || !traits.makes_good, "{kind:?}");
        assert!(!traits.waits_for_down || traits.goes_back, "{kind:?}");
        assert!(kind.is_by_mesh() || traits.renews_attempts, "{kind:?}: a person has looked");
        assert!(
            kind.is_by_mesh() || (traits.announces, traits.due_after) == (None, Duration::ZERO),
            "{kind:?}"
        );
        // Whatever repairs hosts must not hang in a script of what is broken.
        assert_eq!(traits.stop_timeout_max.is_some(), kind.is_by_mesh() || traits.goes_back, "{kind:?}");
        let course: Vec<_> = traits.course.events().collect();
        assert_eq!(kind.installs(), course.contains(&LifecycleEvent::DownloadBundle), "{kind:?}");
    }
}

#[test]
fn what_undoes_a_deployment_is_never_undone_itself() {
    for kind in DeploymentKind::all() {
        let Some(undoing) = kind.traits().undone_by else { continue };
        assert!(undoing.is_by_mesh() && undoing.traits().goes_back, "{kind:?}");
        assert_eq!(undoing.traits().undone_by, None, "{kind:?}: this could go on forever");
    }
}

#[test]
fn users_are_shown_enough_to_tell_the_kinds_apart() {
    for kind in DeploymentKind::all() {
        let traits = kind.traits();
        let shown = DeploymentKind::shown(traits.creator.name(), traits.goes_back, !kind.installs());
        assert_eq!(shown, Some(kind));
    }
    assert_eq!(DeploymentKind::shown("somebody else", false, false), None);
}
