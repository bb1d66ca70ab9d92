use super::*;

fn valid() -> HealthCheck {
    HealthCheck::new(Probe::Http("http://127.0.0.1:8080/health".into()))
}

fn check(change: impl FnOnce(&mut HealthCheck), said: Option<&str>) {
    let mut health = valid();
    change(&mut health);
    match (health.validate(), said) {
        (Ok(()), None) => {}
        (Err(error), Some(said)) => {
            let text = error.to_string();
            assert!(text.contains(said), "{text:?} does not say {said:?}");
        }
        (result, said) => panic!("{result:?}, expected {said:?} of {health:?}"),
    }
}

#[test]
fn a_check_that_could_not_work_is_refused_with_its_bounds() {
    let seconds = Duration::from_secs;
    check(|_| {}, None);
    check(
        |health| health.every = Duration::from_millis(900),
        Some("every = 0.9 s is out of bounds: from 1 s"),
    );
    check(|health| health.every = seconds(3_601), Some("to 3600 s"));
    check(|health| health.timeout = seconds(6), Some("timeout = 6 s is out of bounds: from 0.1 s to 5 s"));
    check(|health| health.rise = 0, Some("rise = 0 is out of bounds: from 1 to 20"));
    check(|health| health.fall = 21, Some("fall = 21"));
    check(|health| health.grace = seconds(6), Some("2 successes in a row, 5 s apart, take at least 7 s"));
    check(|health| health.grace = seconds(7), None);
    check(|health| health.grace = seconds(4_000), Some("grace = 4000 s"));
    check(|health| health.from = Viewpoint::Observers, None);
    let exec = |health: &mut HealthCheck| health.probe = Probe::Exec("scripts/check.sh".into());
    check(exec, None);
    check(
        |health| {
            exec(health);
            health.from = Viewpoint::Observers;
        },
        Some("cannot be run from observers"),
    );
}

#[test]
fn a_probe_says_where_it_goes() {
    let http = |url: &str| Probe::Http(url.into());
    let tcp = |address: &str| Probe::Tcp(address.into());
    let exec = |script: &str| Probe::Exec(script.into());
    for probe in [
        http("http://localhost/"),
        http("HTTP://web.example.com:8080/health?deep=1"),
        http("http://[::1]:80/"),
        http("http://[::1]"),
        tcp("127.0.0.1:5432"),
        tcp("[::1]:5432"),
        exec("check.sh"),
        exec("/usr/local/bin/check it"),
    ] {
        check(|health| health.probe = probe, None);
    }
    for (probe, said) in [
        (http("https://localhost/"), "for https, use exec"),
        (http("http://"), "cannot be probed"),
        (http("http://user@host/"), "cannot be probed"),
        (http("http://host:0/"), "cannot be probed"),
        (http("http://host:80/#part"), "cannot be probed"),
        (http("http://ho st/"), "cannot be probed"),
        (http("ftp://é"), "cannot be probed"),
        (tcp("5432"), "write HOST:PORT"),
        (tcp("::1:5432"), "write HOST:PORT"),
        (tcp("host:99999"), "write HOST:PORT"),
        (exec(""), "invalid script"),
        (exec("../check.sh"), "without `..`"),
        (exec("a\nb"), "invalid script"),
    ] {
        check(|health| health.probe = probe, Some(said));
    }
}

#[test]
fn from_afar_this_host_is_its_address() {
    let addresses = ["/ip4/10.1.2.3/tcp/4001".to_string(), "/ip4/10.9.9.9/udp/1/quic-v1".into()];
    let afar = |probe: Probe| probe.seen_from_afar(&addresses).map(|probe| probe.to_string());
    let http = |url: &str| afar(Probe::Http(url.into()));
    assert_eq!(http("http://127.0.0.1:8080/health").as_deref(), Some("GET http://10.1.2.3:8080/health"));
    assert_eq!(http("http://localhost/?a=/b").as_deref(), Some("GET http://10.1.2.3:80/?a=/b"));
    assert_eq!(http("http://0.0.0.0:1/").as_deref(), Some("GET http://10.1.2.3:1/"));
    assert_eq!(http("http://[::1]:1/").as_deref(), Some("GET http://10.1.2.3:1/"));
    assert_eq!(http("http://vip.example.com/x").as_deref(), Some("GET http://vip.example.com:80/x"));
    let tcp = afar(Probe::Tcp("127.1.2.3:22".into()));
    assert_eq!(tcp.as_deref(), Some("connecting to 10.1.2.3:22"));
    assert_eq!(afar(Probe::Exec("check.sh".into())), None);
    let v6 = ["/ip6/fe80::1/tcp/4001".to_string()];
    let probe = Probe::Tcp("localhost:22".into()).seen_from_afar(&v6);
    assert_eq!(probe, Some(Probe::Tcp("[fe80::1]:22".into())));
    assert_eq!(Probe::Tcp("localhost:22".into()).seen_from_afar(&[]), None);
}

#[test]
fn the_grace_of_a_slow_check_is_longer() {
    let seconds = Duration::from_secs;
    assert_eq!(HealthCheck::default_grace(seconds(5), 2), seconds(60));
    assert_eq!(HealthCheck::default_grace(seconds(30), 4), seconds(240));
    assert_eq!(HealthCheck::default_grace(EVERY_MAX, 20), GRACE_MAX);
}
