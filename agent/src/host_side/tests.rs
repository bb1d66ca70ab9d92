use std::fs;

use proto::deployment_kind::DeploymentKind;
use proto::entry::ErrorCode;
use proto::lifecycle::Course;
use proto::policy::FileExists;
use tempfile::TempDir;

use super::*;
use crate::bundle::acquire_path;

/// A host that never fetches from others, and bundles to deploy to it.
struct Host {
    dir: TempDir,
    side: HostSide,
}

impl Host {
    fn new() -> Host {
        let dir = TempDir::new().expect("a directory");
        let cache = Cache::open(dir.path().join("cache")).expect("a cache");
        let side = HostSide::new(dir.path().join("root"), cache, FetchFrom::Double(None));
        Host { dir, side }
    }

    /// Returns a bundle whose hooks each write one line into the trace.
    fn bundle(&self, version: &str, hooks: &[&str]) -> Revision {
        let dir = self.dir.path().join(version);
        let (dest, trace) = (self.dir.path().join("dest"), self.dir.path().join("trace"));
        fs::create_dir_all(dir.join("app")).expect("made");
        let mut appspec = format!(
            "version: 0.0\nos: linux\nfiles:\n  - source: app\n    destination: {}\nhooks:\n",
            dest.display()
        );
        for hook in hooks {
            appspec += &format!("  {hook}:\n    - location: hook.sh\n");
        }
        let hook = format!("echo {version} $LIFECYCLE_EVENT $DEPLOYMENT_ID >> {}\n", trace.display());
        fs::write(dir.join("appspec.yml"), appspec).expect("written");
        fs::write(dir.join("hook.sh"), hook).expect("written");
        fs::write(dir.join("app/version"), version).expect("written");
        acquire_path(&dir, &self.side.cache).expect("packed")
    }

    fn run(&self, revision: &Revision, deployment: DeploymentId, event: LifecycleEvent) -> Run {
        Run {
            deployment,
            group: "shop/prod".parse().expect("a name"),
            revision: revision.clone(),
            event,
            file_exists: FileExists::Disallow,
            sources: Vec::new(),
            kind: DeploymentKind::InPlace,
            script_timeout_max: None,
            anew: None,
        }
    }

    /// Runs all events until one fails.
    async fn deploy(&self, revision: &Revision, deployment: DeploymentId) -> Result<(), Failure> {
        for event in Course::InPlaceWithTraffic.events() {
            self.side.run(self.run(revision, deployment, event), CancellationToken::new()).await?;
        }
        Ok(())
    }

    fn trace(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("trace")).unwrap_or_default();
        let _ = fs::remove_file(self.dir.path().join("trace"));
        text.lines().map(str::to_owned).collect()
    }
}

fn id(number: u8) -> DeploymentId {
    DeploymentId::derive(&[number])
}

#[tokio::test]
async fn the_old_revision_stops_and_the_new_one_starts() {
    let host = Host::new();
    let hooks = ["ApplicationStop", "BeforeInstall", "ValidateService"];
    let (first, second) = (host.bundle("v1", &hooks), host.bundle("v2", &hooks));
    host.deploy(&first, id(1)).await.expect("deployed");
    let of = |version, event, number| format!("{version} {event} {}", id(number));
    assert_eq!(host.trace(), [of("v1", "BeforeInstall", 1), of("v1", "ValidateService", 1)]);
    host.deploy(&second, id(2)).await.expect("deployed");
    assert_eq!(
        host.trace(),
        [of("v1", "ApplicationStop", 2), of("v2", "BeforeInstall", 2), of("v2", "ValidateService", 2)]
    );
    let installed = fs::read_to_string(host.dir.path().join("dest/version")).expect("there");
    assert_eq!(installed, "v2");
    let group = "shop/prod".parse().expect("a name");
    assert_eq!(host.side.logs(&group, id(2)).len(), 1);
}

#[tokio::test]
async fn a_restart_runs_the_installed_scripts_and_touches_no_file() {
    let host = Host::new();
    let hooks = ["ApplicationStop", "BeforeInstall", "ApplicationStart", "ValidateService"];
    let first = host.bundle("v1", &hooks);
    let restart = |event| {
        let kind = DeploymentKind::Restart;
        host.side.run(Run { kind, ..host.run(&first, id(2), event) }, CancellationToken::new())
    };
    let failure = restart(LifecycleEvent::ApplicationStop).await.expect_err("nothing is installed");
    assert!(failure.message.contains("nothing to restart"), "{}", failure.message);

    host.deploy(&first, id(1)).await.expect("deployed");
    host.trace();
    // A restart needs neither the cache nor another host.
    fs::remove_file(host.side.cache.path(&first.digest)).expect("in the cache");
    fs::write(host.dir.path().join("dest/version"), "changed by hand").expect("written");
    for event in Course::Restart.events() {
        restart(event).await.expect("restarted");
    }
    let of = |event| format!("v1 {event} {}", id(2));
    assert_eq!(host.trace(), [of("ApplicationStop"), of("ApplicationStart"), of("ValidateService")]);
    let installed = fs::read_to_string(host.dir.path().join("dest/version")).expect("there");
    assert_eq!(installed, "changed by hand");
}

#[tokio::test]
async fn once_its_own_bundle_is_there_a_deployment_stops_with_its_own_scripts() {
    let host = Host::new();
    let revision = host.bundle("v1", &["ApplicationStop"]);
    for event in [LifecycleEvent::DownloadBundle, LifecycleEvent::ApplicationStop] {
        let run = host.run(&revision, id(1), event);
        host.side.run(run, CancellationToken::new()).await.expect("succeeded");
    }
    assert_eq!(host.trace().len(), 1);
}

#[tokio::test]
async fn a_turn_that_begins_anew_stops_what_is_installed_and_says_so() {
    let host = Host::new();
    let hooks = ["ApplicationStop", "BeforeInstall"];
    let (first, second) = (host.bundle("v1", &hooks), host.bundle("v2", &hooks));
    host.deploy(&first, id(1)).await.expect("deployed");
    let run = async |event, anew| {
        let run = Run { anew, ..host.run(&second, id(2), event) };
        host.side.run(run, CancellationToken::new()).await.expect("succeeded");
    };
    run(LifecycleEvent::DownloadBundle, None).await;
    run(LifecycleEvent::BeforeInstall, None).await;
    host.trace();
    run(LifecycleEvent::ApplicationStop, Some(LifecycleEvent::BeforeInstall)).await;
    assert_eq!(host.trace(), [format!("v1 ApplicationStop {}", id(2))]);
    run(LifecycleEvent::DownloadBundle, None).await;
    run(LifecycleEvent::Install, None).await;
    run(LifecycleEvent::ApplicationStop, Some(LifecycleEvent::AfterInstall)).await;
    assert_eq!(host.trace(), [format!("v2 ApplicationStop {}", id(2))], "that is what runs there now");
    let group = "shop/prod".parse().expect("a name");
    let log = fs::read_to_string(&host.side.logs(&group, id(2))[0]).expect("a log");
    for interrupted in ["BeforeInstall", "AfterInstall"] {
        let note = format!("The agent was killed or stopped while {interrupted} ran: the turn begins anew");
        assert!(log.contains(&note), "{log}");
    }
}

#[tokio::test]
async fn failures_say_what_where_and_why() {
    let host = Host::new();
    let check = async |event, revision: &Revision, code, parts: &[&str]| {
        let run = host.run(revision, id(9), event);
        let failure = host.side.run(run, CancellationToken::new()).await.expect_err("failed");
        assert_eq!((failure.event, failure.code), (Some(event), code));
        for part in parts {
            assert!(failure.message.contains(part), "{part}: {}", failure.message);
        }
        failure
    };
    let nowhere = Revision { digest: Digest::of(b"x"), size: 1, origin: "x".into() };
    let unknown = ErrorCode::UnknownError;
    let words = ["cannot get bundle", "no host has it"];
    check(LifecycleEvent::DownloadBundle, &nowhere, unknown, &words).await;

    let revision = host.bundle("v1", &["BeforeInstall", "AfterInstal"]);
    let run = host.run(&revision, id(9), LifecycleEvent::DownloadBundle);
    host.side.run(run, CancellationToken::new()).await.expect("unpacked");
    let misspelt = ["appspec.yml:9:3: hooks.AfterInstal: not a lifecycle event; did you mean AfterInstall?"];
    check(LifecycleEvent::BeforeInstall, &revision, unknown, &misspelt).await;

    let revision = host.bundle("v2", &["BeforeInstall"]);
    fs::write(host.dir.path().join("v2/hook.sh"), "echo oops >&2; exit 2\n").expect("written");
    let broken = acquire_path(&host.dir.path().join("v2"), &host.side.cache).expect("packed");
    assert_ne!(broken, revision);
    let run = host.run(&broken, id(9), LifecycleEvent::DownloadBundle);
    host.side.run(run, CancellationToken::new()).await.expect("unpacked");
    let words = ["script `hook.sh` of BeforeInstall: it failed with exit code 2"];
    let failure = check(LifecycleEvent::BeforeInstall, &broken, ErrorCode::ScriptFailed, &words).await;
    assert_eq!(failure.script, "hook.sh");
    assert!(failure.log.ends_with("[stderr]oops\n"));

    fs::create_dir_all(host.dir.path().join("dest")).expect("made");
    fs::write(host.dir.path().join("dest/version"), "foreign").expect("written");
    check(
        LifecycleEvent::Install,
        &broken,
        unknown,
        &["no installed file was changed", "dest/version", "OVERWRITE"],
    )
    .await;
}

#[tokio::test]
async fn a_fetched_bundle_is_unpacked_from_where_it_lies() {
    let mut host = Host::new();
    let revision = host.bundle("v1", &[]);
    let elsewhere = host.dir.path().join("elsewhere");
    fs::rename(host.side.cache.path(&revision.digest), &elsewhere).expect("moved");
    host.side.bundles = FetchFrom::Double(Some(elsewhere));
    host.deploy(&revision, id(1)).await.expect("deployed");
}

#[tokio::test]
async fn the_way_back_needs_neither_the_cache_nor_another_host() {
    let host = Host::new();
    let (first, second) = (host.bundle("v1", &["ApplicationStart"]), host.bundle("v2", &[]));
    host.deploy(&first, id(1)).await.expect("deployed");
    host.deploy(&second, id(2)).await.expect("deployed");
    host.trace();
    fs::remove_file(host.side.cache.path(&first.digest)).expect("evicted");
    host.deploy(&first, id(3)).await.expect("deployed from what lies unpacked");
    assert_eq!(host.trace(), [format!("v1 ApplicationStart {}", id(3))]);
    assert_eq!(fs::read_to_string(host.dir.path().join("dest/version")).expect("there"), "v1");

    // Once the unpacked files were changed, they are not the revision any longer.
    for number in [1, 3] {
        let dir =
            host.side.state(&"shop/prod".parse().expect("a name")).deployment_dir(&id(number).to_string());
        fs::write(dir.join("deployment-archive/app/version"), "patched").expect("written");
    }
    let failure = host.deploy(&first, id(4)).await.expect_err("nobody has it");
    assert!(failure.message.contains("no host has it"), "{}", failure.message);
}

#[tokio::test]
async fn a_revision_that_is_gone_from_the_disk_does_not_block_the_next() {
    let host = Host::new();
    let hooks = ["ApplicationStop", "BeforeInstall"];
    let (first, second) = (host.bundle("v1", &hooks), host.bundle("v2", &hooks));
    host.deploy(&first, id(1)).await.expect("deployed");
    let group: GroupName = "shop/prod".parse().expect("a name");
    let state = host.side.state(&group);
    fs::remove_dir_all(state.deployment_dir(&id(1).to_string())).expect("removed");
    host.trace();
    host.deploy(&second, id(2)).await.expect("deployed");
    assert_eq!(host.trace(), [format!("v2 BeforeInstall {}", id(2))]);
    let log = fs::read_to_string(&host.side.logs(&group, id(2))[0]).expect("a log");
    assert!(log.contains("Warning - ApplicationStop: the previous revision is gone from "), "{log}");
}

#[tokio::test]
async fn each_revision_is_read_under_its_own_appspec_name() {
    let host = Host::new();
    let (first, second) = (host.bundle("v1", &["ApplicationStop"]), host.bundle("v2", &["ApplicationStop"]));
    let named = |revision: &Revision, number, event, name: &str| {
        let mut deployment = host.side.deployment(&host.run(revision, id(number), event));
        deployment.appspec_name = name.to_owned();
        deployment
    };
    host.deploy(&first, id(1)).await.expect("deployed");
    // Pretend that the first came with another name than CodeDeploy's.
    let first = named(&first, 1, LifecycleEvent::Install, "deploy/hello.yml");
    fs::create_dir(first.archive().join("deploy")).expect("made");
    fs::rename(first.archive().join("appspec.yml"), first.archive().join("deploy/hello.yml")).expect("moved");
    first.mark_most_recent().expect("marked");
    host.trace();
    host.deploy(&second, id(2)).await.expect("deployed");
    assert_eq!(host.trace(), [format!("v1 ApplicationStop {}", id(2))]);
}

#[tokio::test]
async fn a_failing_script_of_the_old_revision_says_how_to_go_on_without_it() {
    let host = Host::new();
    host.bundle("v1", &["ApplicationStop"]);
    fs::write(host.dir.path().join("v1/hook.sh"), "#!/bin/sh\nexit 3\n").expect("written");
    let first = acquire_path(&host.dir.path().join("v1"), &host.side.cache).expect("packed");
    host.deploy(&first, id(1)).await.expect("deployed");
    let second = host.bundle("v2", &[]);
    let failure = host.deploy(&second, id(2)).await.expect_err("failed");
    assert_eq!(
        (failure.event, failure.code),
        (Some(LifecycleEvent::ApplicationStop), ErrorCode::ScriptFailed)
    );
    assert!(failure.message.contains("ignore_application_stop_failures goes on without it"), "{failure:?}");
    assert_eq!(failure.script, "hook.sh");
}

#[tokio::test]
async fn restarts_push_no_revision_out() {
    let mut host = Host::new();
    host.side.revisions_max = 2;
    let (first, second) = (host.bundle("v1", &["ApplicationStop"]), host.bundle("v2", &["ApplicationStop"]));
    host.deploy(&first, id(1)).await.expect("deployed");
    host.deploy(&second, id(2)).await.expect("deployed");
    for number in 3..8 {
        let run = host.run(&second, id(number), LifecycleEvent::ApplicationStop);
        let run = Run { kind: DeploymentKind::Restart, ..run };
        host.side.run(run, CancellationToken::new()).await.expect("stopped");
    }
    let state = host.side.state(&"shop/prod".parse().expect("a name"));
    let left: Vec<u8> =
        (1..8).filter(|number| state.deployment_dir(&id(*number).to_string()).exists()).collect();
    assert_eq!(left, [1, 2, 5, 6, 7], "both revisions, and the logs of the last restarts");
    fs::remove_file(host.side.cache.path(&first.digest)).expect("evicted");
    host.deploy(&first, id(9)).await.expect("the way back is still there");
}

#[tokio::test]
async fn a_turn_on_a_full_disk_is_refused_while_the_old_revision_runs() {
    let host = Host::new();
    let one = host.bundle("one", &["ApplicationStop"]);
    host.deploy(&one, id(1)).await.expect("deployed");
    host.trace();
    // No disk has room for it.
    let two = Revision { size: u64::MAX / 4, ..host.bundle("two", &[]) };
    let failure = host.deploy(&two, id(2)).await.expect_err("refused");
    assert!(failure.message.starts_with("the disk is full: "), "{}", failure.message);
    assert_eq!(failure.event, Some(LifecycleEvent::BeforeBlockTraffic));
    assert_eq!(host.trace(), Vec::<String>::new(), "nothing was stopped");
}
