use std::collections::BTreeMap;
use std::time::Duration;

use proto::health::{HealthCheck, Probe, Viewpoint};
use proto::policy::{Canary, FileExists, Mode, RollbackOn, Share, Zonal};

use super::*;

const SMALLEST: &str = "application = \"hello\"\nname = \"prod\"\ntags = [[\"role=web\"]]\n";

fn parse(more: &str) -> Result<Group, GroupFileError> {
    toml_file::parse::<GroupFile>(Path::new("g.toml"), &format!("{SMALLEST}{more}"))?.group()
}

fn check(more: &str, expected: impl FnOnce(&mut Policy)) {
    let mut policy = Policy::default();
    expected(&mut policy);
    let group = parse(more).unwrap_or_else(|error| panic!("{more}: {error}"));
    assert_eq!(group.policy, policy, "{more}");
    let again = GroupFile::of(&group).to_toml().expect("TOML");
    let again = toml_file::parse::<GroupFile>(Path::new("again"), &again).expect("reads its own").group();
    assert_eq!(again.expect("a group"), group, "what is shown can be set again");
}

fn check_refused(more: &str, message: &str) {
    let error = parse(more).expect_err(more).to_string();
    assert!(error.contains(message), "`{error}` does not say `{message}`");
}

#[test]
fn every_setting_is_read_and_written_back() {
    check("", |_| {});
    check("[deployment]\nconfig = \"AllAtOnce\"", |policy| policy.minimum = Minimum::AllAtOnce);
    check("[deployment]\nconfig = \"CodeDeployDefault.HalfAtATime\"", |policy| {
        policy.minimum = Minimum::HalfAtATime;
    });
    check("[deployment]\nminimum_healthy = \"75%\"", |policy| policy.minimum = Minimum::FleetPercent(75));
    check("[deployment]\nminimum_healthy = 6", |policy| policy.minimum = Minimum::HostCount(6));
    check("[deployment]\nfile_exists = \"RETAIN\"", |policy| policy.file_exists = FileExists::Retain);
    check("[deployment]\nlost_after = \"5s\"\ntimeout = \"1h30m\"", |policy| {
        policy.lost_after = Duration::from_secs(5);
        policy.deployment_timeout = Duration::from_secs(5_400);
    });
    check("[rollback]\non = [\"failure\", \"stop\"]", |policy| {
        policy.rollback = RollbackOn { failure: true, alarm: false, stop: true };
    });
    check("[rollback]\nenabled = false", |policy| {
        policy.rollback = RollbackOn { failure: false, alarm: false, stop: false };
    });
    check("[approvals]\nneeded = 0", |_| {});
    check("[deployment]\nturns_max = 3\noutdated_only = true", |policy| {
        policy.turns_max = Some(3);
        policy.outdated_only = true;
    });
    check("[canary]\nhosts = \"10%\"\nbake = \"5m\"", |policy| {
        policy.canary = Some(Canary { hosts: Share::Percent(10), bake: Duration::from_secs(300) });
    });
    check("[zones]", |policy| policy.zonal = Some(Zonal::default()));
    check("[zones]\nminimum_healthy = 1\nbake = \"5m\"\nfirst_bake = \"15m\"\norder = [\"eu\"]", |policy| {
        policy.zonal = Some(Zonal {
            minimum: Share::Hosts(1),
            bake: Duration::from_secs(300),
            first_bake: Some(Duration::from_secs(900)),
            order: vec!["eu".into()],
        });
    });
    check("[zones]\nenabled = false\n[canary]\nenabled = false", |_| {});
}

#[test]
fn a_health_check_is_read_with_its_defaults_and_written_back() {
    let check = |more: &str, probe: Probe, change: fn(&mut HealthCheck)| {
        let mut expected = HealthCheck::new(probe);
        change(&mut expected);
        let group = parse(more).expect(more);
        assert_eq!(group.health.as_ref(), Some(&expected), "{more}");
        let written = GroupFile::of(&group).to_toml().expect("it can be written");
        let read: GroupFile = toml::from_str(&written).expect(&written);
        assert_eq!(read.group().expect(&written), group);
    };
    let seconds = Duration::from_secs;
    let http = || Probe::Http("http://127.0.0.1:8080/health".into());
    check("[health]\nhttp = \"http://127.0.0.1:8080/health\"", http(), |_| {});
    check(
        "[health]\ntcp = \"localhost:5432\"\nevery = \"1s\"",
        Probe::Tcp("localhost:5432".into()),
        |check| {
            (check.every, check.timeout) = (Duration::from_secs(1), Duration::from_secs(1));
        },
    );
    check("[health]\nexec = \"check.sh\"\ntimeout = \"500ms\"", Probe::Exec("check.sh".into()), |check| {
        check.timeout = Duration::from_millis(500);
    });
    let all = "[health]\nhttp = \"http://127.0.0.1:8080/health\"\nevery = \"30s\"\nrise = 4\nfall = 1\nfrom = \
               \"observers\"";
    check(all, http(), |check| {
        (check.every, check.rise, check.fall) = (Duration::from_secs(30), 4, 1);
        (check.grace, check.from) = (Duration::from_secs(240), Viewpoint::Observers);
    });
    assert_eq!(parse(&format!("{all}\ngrace = \"2m\"")).expect("it").health.expect("it").grace, seconds(120));
}

#[test]
fn a_health_check_that_cannot_work_is_refused() {
    check_refused("[health]\nevery = \"5s\"", "[health] names no probe");
    check_refused("[health]\nhttp = \"http://a/\"\ntcp = \"a:1\"", "keep one of http, tcp and exec");
    check_refused("[health]\nhttp = \"https://a/\"", "[health] `https://a/` cannot be probed");
    check_refused("[health]\ntcp = \"a:1\"\nevery = \"500ms\"", "[health] every = 0.5 s is out of bounds");
    check_refused("[health]\ntcp = \"a:1\"\nevery = \"often\"", "[health] every = `often`: invalid duration");
    check_refused("[health]\nexec = \"a.sh\"\nfrom = \"observers\"", "cannot be run from observers");
    check_refused("[health]\ntcp = \"a:1\"\nraise = 2", "did you mean `rise`?");
    check_refused("[health]\ntcp = \"a:1\"\nfrom = \"outside\"", "unknown word");
}

#[test]
fn mistakes_are_refused_with_what_was_meant() {
    check_refused(
        "[deployment]\nminimum_helthy = 3",
        "g.toml:5: unknown key `minimum_helthy`; did you mean `minimum_healthy`?",
    );
    check_refused("[deployment]\nconfig = \"AllAtOnce\"\nminimum_healthy = 1", "keep one");
    check_refused(
        "[deployment]\nminimum_healthy = \"100%\"",
        "minimum_healthy = `100%`: write a number of hosts (6) or a share of them, 0% to 99%",
    );
    check_refused("[deployment]\nminimum_healthy = -1", "write a number of hosts (6)");
    check_refused("[deployment]\nlost_after = \"0s\"", "lost_after = 0s: it may be 1s to 1h");
    check_refused("[rollback]\nenabled = false\non = [\"failure\"]", "keep one");
    check_refused("[deployment]\nstart_timeout = \"2h\"", "start_timeout = 2h: it may be 1s to 1h");
    check_refused("[deployment]\ntimeout = \"soon\"", "timeout = `soon`: invalid duration");
    check_refused("[deployment]\nturns_max = 0", "turns_max = 0: give at least 1");
    check_refused("[deployment]\nmode = \"RESTART\"", "skein deploy GROUP --restart");
    check_refused("[canary]\nbake = \"5m\"", "canary.hosts = 1");
    check_refused("[canary]\nhosts = \"100%\"", "canary.hosts = `100%`");
    check_refused("[canary]\nhosts = \"100%\"", "a canary of 100% would leave nobody to go after it");
    check_refused("[canary]\nhosts = 0", "canary.hosts = 0: give at least 1");
    check_refused("[zones]\nminimum_healthy = \"150%\"", "zones.minimum_healthy = `150%`");
    check_refused("[zones]\nbake = \"3d\"", "zones.bake = 3d: it may be 0s to 2d");
    check_refused("[zones]\nenabled = false\nbake = \"5m\"", "zones.enabled = false");
    check_refused("[zones]\norder = [\"a\", \"a\"]", "`a` twice");
    check_refused("[zones]\nminimum_helthy = 1", "did you mean `minimum_healthy`?");
    check_refused("[rolback]\nenabled = false", "did you mean `rollback`?");
}

#[test]
fn what_comes_later_is_refused_and_not_ignored() {
    check_refused("[approvals]\nneeded = 1", "[approvals] is not supported yet");
}

#[test]
fn alarms_and_triggers_are_read_and_written_back() {
    let watched = |more: &str| {
        let group = parse(more).unwrap_or_else(|error| panic!("{more}: {error}"));
        let again = GroupFile::of(&group).to_toml().expect("TOML");
        let again = toml_file::parse::<GroupFile>(Path::new("again"), &again).expect("reads its own").group();
        assert_eq!(again.expect("a group"), group, "what is shown can be set again");
        (group.alarms, group.triggers)
    };
    let (alarms, _) = watched(
        "[[alarm]]\nname = \"pager\"\n[[alarm]]\nname = \"errors\"\nexec = \"check 5m\"\nevery = \"30s\"\n\
         timeout = \"2s\"\nunreadable = \"ignore\"\n[[alarm]]\nname = \"p99\"\n\
         prometheus = { url = \"http://p:9090\", query = \"up == 0\" }",
    );
    assert!(!alarms[0].is_read() && alarms[1].is_read() && alarms[2].is_read());
    assert_eq!((alarms[1].every, alarms[1].timeout), (Duration::from_secs(30), Duration::from_secs(2)));
    let (_, triggers) = watched(
        "[[trigger]]\nname = \"chat\"\non = [\"DeploymentFailure\", \"InstanceReady\"]\n\
         webhook = { url = \"https://hooks.example/x\", secret_file = \"/etc/skein/key\" }\n\
         [[trigger]]\nname = \"log\"\non = [\"InstanceStart\"]\nexec = \"logger -t skein\"",
    );
    assert_eq!((triggers.len(), triggers[0].on.len()), (2, 2));
    check("[deployment]\nalarms = \"ignore\"", |policy| policy.ignore_alarms = true);

    check_refused("[[alarm]]\nname = \"a\"\nevery = \"5s\"", "it is set by hand");
    check_refused("[[alarm]]\nname = \"a\"\nexec = \"c\"\nevery = \"10ms\"", "every is at least 1 s");
    check_refused("[[alarm]]\nname = \"a\"\n[[alarm]]\nname = \"a\"", "two alarms are called `a`");
    check_refused("[[alarm]]\nname = \"a\"\nunreadable = \"stp\"", "did you mean `stop`?");
    check_refused(
        "[[alarm]]\nname = \"a\"\nprometheus = { url = \"prometheus:9090\", query = \"up\" }",
        "is not an http:// or https:// address",
    );
    check_refused(
        "[[trigger]]\nname = \"t\"\non = [\"DeploymentFailed\"]",
        "did you mean `DeploymentFailure`?",
    );
    check_refused("[[trigger]]\nname = \"t\"\non = [\"DeploymentStop\"]", "say whom to tell");
    check_refused("[[trigger]]\nname = \"t\"\non = []\nexec = \"e\"", "names no event");
    check_refused(
        "[[trigger]]\nname = \"t\"\non = [\"DeploymentStop\"]\nwebhook = { url = \"http://h\", secret_file = \"key\" }",
        "is not an absolute path",
    );
}

#[test]
fn a_group_may_follow_a_configuration_of_the_mesh() {
    let group = parse("[deployment]\nconfig = \"careful\"\nlost_after = \"9s\"").expect("a group");
    assert_eq!(group.config, Some("careful".parse().expect("a name")));
    assert_eq!(group.policy.lost_after, Duration::from_secs(9));
    let shown = GroupFile::of(&group).to_toml().expect("TOML");
    assert!(shown.contains("config = \"careful\"") && !shown.contains("minimum_healthy"), "{shown}");
    let twice = "configuration `careful` says";
    check_refused("[deployment]\nconfig = \"careful\"\nminimum_healthy = 3", twice);
    check_refused("[deployment]\nconfig = \"careful\"\nturns_max = 3", twice);
    check_refused("[deployment]\nconfig = \"careful\"\n[canary]\nhosts = 1", twice);
    check_refused("[deployment]\nconfig = \"careful\"\n[zones]", twice);
    check_refused("[deployment]\nconfig = \"not so careful\"", "is not a configuration's name");
}

#[test]
fn a_configuration_is_read_and_written_back() {
    let read = |text: &str| toml_file::parse::<ConfigFile>(Path::new("c.toml"), text)?.config();
    let text = "name = \"careful\"\nminimum_healthy = \"75%\"\nturns_max = 2\n[canary]\nhosts = 1\n[zones]\n";
    let config = read(text).expect("a configuration");
    assert_eq!((config.minimum, config.turns_max), (Minimum::FleetPercent(75), Some(2)));
    assert!(config.canary.is_some() && config.zonal.is_some());
    assert_eq!(read(&ConfigFile::of(&config).to_toml().expect("TOML")).expect("its own"), config);
    let refused = |text: &str, message: &str| {
        let error = read(text).expect_err(text).to_string();
        assert!(error.contains(message), "`{error}` does not say `{message}`");
    };
    refused("name = \"careful\"", "how many hosts must stay healthy");
    refused("name = \"careful\"\nminimum_healthy = \"100%\"", "minimum_healthy = `100%`");
    refused("name = \"careful\"\nconfig = \"other\"", "one configuration cannot be made of another");
    refused("name = \"a b\"\nminimum_healthy = 1", "is not a configuration's name");
}

fn over(base: &Policy, pairs: &[(&str, &str)]) -> Result<Policy, GroupFileError> {
    let pairs = pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect::<BTreeMap<_, _>>();
    let careful = |name: &ConfigName| {
        let zonal = Some(Zonal::default());
        let minimum = Minimum::FleetPercent(75);
        Ok(DeploymentConfig { name: name.clone(), minimum, turns_max: Some(2), canary: None, zonal })
    };
    with_overrides(base, &pairs, &careful)
}

#[test]
fn one_deployment_may_override_its_groups_policy() {
    let base = Policy::default();
    let policy = over(&base, &[("minimum_healthy", "75%"), ("rollback.on", "stop")]);
    let policy = policy.expect("valid overrides");
    assert_eq!(policy.minimum, Minimum::FleetPercent(75));
    assert_eq!(policy.rollback, RollbackOn { failure: false, alarm: false, stop: true });
    assert_eq!(over(&base, &[]).expect("none"), base);
    let policy = over(&base, &[("mode", "RESTART"), ("zones.order", "b, a"), ("canary.hosts", "2")]);
    let policy = policy.expect("valid overrides");
    assert_eq!(
        (policy.mode, policy.zonal.expect("zonal").order),
        (Mode::Restart, vec!["b".into(), "a".into()])
    );
    assert_eq!(policy.canary, Some(Canary { hosts: Share::Hosts(2), bake: Duration::ZERO }));
    // A configuration replaces what the group says about the same settings.
    let policy = over(&policy_with_canary(), &[("config", "careful")]).expect("a known configuration");
    assert_eq!((policy.minimum, policy.turns_max, policy.canary), (Minimum::FleetPercent(75), Some(2), None));
    // Settings of a group can be left out.
    let policy = over(&policy_with_canary(), &[("canary.enabled", "false")]).expect("valid");
    assert_eq!(policy.canary, None);
    let policy = over(&policy_with_canary(), &[("canary.bake", "10s")]).expect("valid");
    assert_eq!(policy.canary, Some(Canary { hosts: Share::Hosts(1), bake: Duration::from_secs(10) }));
}

fn policy_with_canary() -> Policy {
    Policy { canary: Some(Canary { hosts: Share::Hosts(1), bake: Duration::ZERO }), ..Policy::default() }
}

#[test]
fn an_override_that_is_wrong_is_named() {
    let check = |pairs: &[(&str, &str)], message: &str| {
        let error = over(&Policy::default(), pairs).expect_err(message).to_string();
        assert!(error.contains(message), "`{error}` does not say `{message}`");
    };
    check(&[("confg", "AllAtOnce")], "override `confg`: unknown key; did you mean `config`?");
    check(&[("colour", "red")], "override `colour`: unknown key; there are config, minimum_healthy");
    check(
        &[("timeout", "1h"), ("mode", "restart")],
        "override `mode`: unknown word `restart`; did you mean `RESTART`?",
    );
    check(&[("file_exists", "no")], "known here: DISALLOW, OVERWRITE, RETAIN");
    check(&[("turns_max", "many")], "override `turns_max`");
    check(&[("minimum_healthy", "100%")], "minimum_healthy = `100%`");
    for value in ["-1", "x%", "-5%"] {
        let said = format!("override `minimum_healthy`: invalid minimum `{value}`");
        check(&[("minimum_healthy", value)], &said);
    }
    check(&[("config", "AllAtOnce"), ("minimum_healthy", "3")], "keep one");
    check(&[("config", "careful"), ("zones.bake", "5m")], "configuration `careful` says zones already");
    check(&[("mode", "RESTART"), ("outdated_only", "true")], "contradict each other");
    check(&[("zones.enabled", "false"), ("zones.bake", "5m")], "keep one of the two");
    // A value is only data, even if it looks like TOML.
    check(&[("file_exists", "x\"\ntimeout = \"1s")], "override `file_exists`: unknown word");
}

#[test]
fn a_number_without_its_sign_or_unit_is_not_guessed_at() {
    let share = "minimum_healthy = \"75\" could be hosts or a share of them: write \"75%\" or 75";
    check_refused("[deployment]\nminimum_healthy = \"75\"", share);
    check_refused("[zones]\nminimum_healthy = \"50\"", "write \"50%\" or 50");
    check_refused(
        "[deployment]\ntimeout = 3600",
        "g.toml:5: 3600 of what? Write a duration with its unit: \"3600s\"",
    );
    check_refused("[health]\ntcp = \"a:1\"\nevery = 5", "\"5s\"");
    let policy = Policy::default();
    let says = |pairs: &[(&str, &str)]| over(&policy, pairs).expect_err("refused").to_string();
    assert!(says(&[("timeout", "3600")]).contains("override `timeout`: 3600 of what?"));
    let amount = says(&[("minimum_healthy", "most")]);
    assert!(
        amount.starts_with("override `minimum_healthy`: invalid minimum `most`")
            && amount.ends_with("write 75% or 6")
    );
}

#[test]
fn the_example_is_a_group() {
    let example = include_str!("../../../docs/examples/web.toml");
    let file = toml_file::parse::<GroupFile>(Path::new("web.toml"), example).expect("a group file");
    let group = file.group().expect("a group");
    assert_eq!((group.alarms.len(), group.triggers.len()), (2, 1));
    assert!(group.health.is_some() && group.policy.canary.is_some());
}
