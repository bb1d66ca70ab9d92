use proto::health::{HealthCheck, Probe, Viewpoint};

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
    check_refused("[health]\ntcp = \"a:1\"\nevery = \"often\"", "[health] every = `often` is no duration");
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
    check_refused("[[alarm]]\nname = \"error-rate\"", "[alarm] is not supported yet");
    check_refused("[approvals]\nneeded = 1", "[approvals] is not supported yet");
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
