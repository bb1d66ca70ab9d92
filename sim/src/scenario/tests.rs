use super::*;

fn mistakes(text: &str) -> Vec<String> {
    match Scenario::parse("x.txt", text) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes.iter().map(Mistake::to_string).collect(),
    }
}

fn check(line: &str, mistake: &str) {
    let text = format!("# A title\nhosts 3\ngroup web/prod OneAtATime\nrunning v1\n{line}\n");
    let found = mistakes(&text);
    match found.as_slice() {
        [] => assert_eq!(mistake, "", "{line}"),
        [only] => {
            assert!(
                !mistake.is_empty() && only.starts_with("x.txt:5: ") && only.contains(mistake),
                "{line}: {only}"
            );
        }
        more => panic!("{line}: {more:?}"),
    }
}

#[test]
fn every_kind_of_line_is_read() {
    for line in [
        "at 10s deploy v2",
        "at 10s deploy v2 to web/prod from h2 queued with AllAtOnce, no rollback",
        "after 1m30s stop and roll back",
        "roll back in web/prod to v1",
        "set group web/prod 50%, timeout 10m, on role=db",
        "delete group web/prod",
        "remove h3 from h1",
        "when h2 begins Install of d1 then kill h2 for 10s",
        "when d1 begins then kill the leader",
        "when d1 is over",
        "when h2 is Down then power off h1",
        "cut h1,h2 from the others for 20s",
        "mend h1 with h2-h3",
        "wipe h3 for 5s",
        "stall h2 for 3s",
        "slow disk of h1 100 times",
        "clock of h2 2m ahead",
        "drift of h2 -400 ppm",
        "show d1",
        "expect d1 Failed HEALTH_CONSTRAINTS",
        "expect d1 order h2 h1",
        "expect d1 h2 Failed in Install",
        "expect h2 runs nothing known in web/prod",
        "expect 2 healthy",
        "expect web/prod at v1",
        "expect refused \"no group\"",
        "expect d1 waits for \"2 of 3\"",
        "alarm errors fires for 30s",
        "alarm errors cannot be read",
        "alarm errors is well again",
        "receiver chat is away for 30s",
        "receiver chat is back",
        "set alarm pager from h2",
        "clear alarm pager",
        "freeze in web/prod for 1h",
        "unfreeze",
        "kill the reader of errors for 10s",
        "kill the teller of chat",
        "deploy v2 with alarms ignored, zones order b,a, restart",
        "set group web/prod 50%, alarm errors unreadable ignored, trigger mail on DeploymentStart and InstanceStart",
        "expect chat heard DeploymentStart of d1, InstanceStart of d1 on h1",
        "expect chat missed DeploymentStart of d1",
        "hosts 2  # after the story began this is no line of it",
    ] {
        let mistake = if line.starts_with("hosts") { "unknown step `hosts`" } else { "" };
        let group =
            "web/prod OneAtATime, alarm errors every 5s, alarm pager by hand, trigger chat on everything";
        let text = format!("# A title\nhosts 2\nhosts 1 older\ngroup {group}\nat 1s deploy v2\n{line}\n");
        let found = mistakes(&text);
        assert!(found.iter().all(|found| found.contains(mistake)), "{line}: {found:?}");
        assert_eq!(found.is_empty(), mistake.is_empty(), "{line}: {found:?}");
    }
}

#[test]
fn a_mistake_is_told_with_its_line_and_what_was_meant() {
    check("at 10s deplyo v2", "unknown step `deplyo`; did you mean deploy?");
    check("at 10 deploy v2", "invalid duration `10`");
    check("when h2 begins Instal then kill h2", "unknown lifecycle event `Instal`; did you mean Install?");
    check("when h2 begins Install kill h2", "`then` is expected where `kill` stands");
    check("kill h4", "there is no h4: there are 3 hosts");
    check("deploy v2 to web/prd", "unknown group `web/prd`; did you mean web/prod?");
    check("deploy v2 now", "`now` and what follows it says nothing here");
    check("deploy v2 with OneAtTime", "did you mean OneAtATime?");
    check("deploy v2 with 256%", "a share is from 0 to 99");
    check("alarm erors fires", "unknown alarm `erors`");
    check("kill the reader", "`the` is not a host");
    check("set group web/prod trigger chat on DeploymentSart", "did you mean DeploymentStart?");
    check("expect d1 Finished", "unknown expectation `Finished`");
    check("expect refused nothing", "between quotation marks");
    check("show v2", "unknown deployment `v2`");
    check("bundle v1 takes 2s", "v1 is a bundle already");
}

#[test]
fn a_text_without_its_beginning_or_beyond_its_limits_is_refused() {
    assert!(mistakes("hosts 3\n")[0].contains("the first line is a comment"));
    assert!(mistakes("# A title\n")[0].contains("no hosts"));
    assert!(mistakes("# A title\nhosts 201\n")[0].contains("1 to 200 hosts"));
    assert!(mistakes("# A title\nhosts 1 later\n")[0].contains("h1 begins the ledger"));
    assert!(mistakes(&"# A title\n".repeat(LINES_MAX + 1))[0].contains("at most 500 lines"));
    assert!(mistakes(&"#".repeat(BYTES_MAX + 1))[0].contains("at most 65536"));
}

#[test]
fn an_expectation_that_does_not_hold_is_told() {
    let text =
        "# A title\nhosts 3\ngroup web/prod OneAtATime\nrunning v1\nat 5s deploy v2\nexpect d1 Failed\n";
    let scenario = Scenario::parse("x.txt", text).expect("a scenario");
    let performance = perform(&scenario, 1, |_| {});
    assert!(!performance.holds);
    let last = performance.text.lines().last().unwrap_or_default();
    assert_eq!(last, "x.txt:6: `expect d1 Failed`: its status: \"Failed\" is expected, \"Succeeded\" it is");
}
