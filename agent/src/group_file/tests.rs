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
}

#[test]
fn mistakes_are_refused_with_what_was_meant() {
    check_refused(
        "[deployment]\nminimum_helthy = 3",
        "g.toml:5: unknown key `minimum_helthy`; did you mean `minimum_healthy`?",
    );
    check_refused("[deployment]\nconfig = \"OneAtTime\"", "did you mean `OneAtATime`?");
    check_refused("[deployment]\nconfig = \"AllAtOnce\"\nminimum_healthy = 1", "keep one");
    check_refused("[deployment]\nminimum_healthy = \"100%\"", "`100%` is no minimum");
    check_refused("[deployment]\nminimum_healthy = -1", "minimum_healthy is a number of hosts");
    check_refused("[deployment]\nlost_after = \"0s\"", "lost_after = `0s` is no duration");
    check_refused("[rollback]\nenabled = false\non = [\"failure\"]", "keep one");
    check_refused("[rolback]\nenabled = false", "did you mean `rollback`?");
}

#[test]
fn what_comes_later_is_refused_and_not_ignored() {
    check_refused("[zones]\nminimum_healthy = \"50%\"", "[zones] is not supported yet");
    check_refused("[health]\nhttp = \"http://127.0.0.1/\"", "[health] is not supported yet");
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
        "is no http:// or https:// address",
    );
    check_refused(
        "[[trigger]]\nname = \"t\"\non = [\"DeploymentFailed\"]",
        "did you mean `DeploymentFailure`?",
    );
    check_refused("[[trigger]]\nname = \"t\"\non = [\"DeploymentStop\"]", "say whom to tell");
    check_refused("[[trigger]]\nname = \"t\"\non = []\nexec = \"e\"", "names no event");
    check_refused(
        "[[trigger]]\nname = \"t\"\non = [\"DeploymentStop\"]\nwebhook = { url = \"http://h\", secret_file = \"key\" }",
        "is no absolute path",
    );
}

#[test]
fn one_deployment_may_override_its_groups_policy() {
    let overrides = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    };
    let base = Policy::default();
    let policy = with_overrides(&base, &overrides(&[("minimum_healthy", "75%"), ("rollback.on", "stop")]));
    let policy = policy.expect("valid overrides");
    assert_eq!(policy.minimum, Minimum::FleetPercent(75));
    assert_eq!(policy.rollback, RollbackOn { failure: false, alarm: false, stop: true });
    assert_eq!(with_overrides(&base, &overrides(&[])).expect("none"), base);
    let error = with_overrides(&base, &overrides(&[("confg", "AllAtOnce")])).expect_err("unknown");
    assert!(error.to_string().contains("did you mean `config`?"), "{error}");
    // A value is data, whatever it looks like.
    let error =
        with_overrides(&base, &overrides(&[("config", "x\"\ntimeout = \"1s")])).expect_err("no injection");
    assert!(error.to_string().contains("unknown word"), "{error}");
}
