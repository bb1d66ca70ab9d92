use super::*;
use crate::cli::watch::tests::{deployment, host};
use crate::view::Why;
use crate::view::deployment_view::Healthy;

fn failed(name: &str, second: u32) -> TurnView {
    TurnView {
        error_code: Some("ScriptFailed".into()),
        message: Some("it ended with 7".into()),
        script: Some("scripts/check.sh".into()),
        log: Some("checking\ncurl: (7) Failed to connect\n".into()),
        finished_at: Some(format!("2026-01-01T00:00:{second:02}.000Z")),
        ..host(name, "Failed", Some("ValidateService"))
    }
}

#[test]
fn a_failure_is_told_in_numbers_with_what_the_script_wrote_last() {
    let hosts = vec![host("web-1", "Succeeded", None), failed("web-2", 7), host("web-3", "Skipped", None)];
    let mut view = deployment("Failed", hosts);
    view.started_at = Some("2026-01-01T00:00:00.000Z".into());
    view.finished_at = Some("2026-01-01T00:01:07.000Z".into());
    let expected = "\
Hosts: 5 in the group; 1 succeeded, 1 failed, 1 never touched
In service: 4 of 5 at its end, 4 at the fewest; 4 must be (OneAtATime)
Order: hosts of no service first, then those with an older revision, then those that have this one, equals by name; hosts that are Down last
Time: began 2026-01-01T00:00:00.000Z, ended 2026-01-01T00:01:07.000Z, after 1m 7s
web-2: Failed in ValidateService (ScriptFailed): scripts/check.sh: it ended with 7
    | checking
    | curl: (7) Failed to connect
All that a script wrote: skein logs d-ABCDEFGH1 --failed
";
    assert_eq!(format!("{}{}", numbers(&view), told(&view)), expected);
}

#[test]
fn what_waits_is_told_in_the_numbers_of_its_group_and_what_never_began_in_none() {
    let expected = "\
Hosts: 5 in the group; none had a turn yet
In service: 4 of 5 now; 4 must be (OneAtATime)
";
    assert_eq!(numbers(&deployment("Queued", vec![])), expected);
    let stopped = DeploymentView {
        created_at: "2026-01-01T00:00:00.000Z".into(),
        finished_at: Some("2026-01-01T00:00:07.000Z".into()),
        ..deployment("Stopped", vec![])
    };
    let never = "Time: submitted 2026-01-01T00:00:00.000Z, over 2026-01-01T00:00:07.000Z; it never began\n";
    assert_eq!(numbers(&stopped), never);
}

#[test]
fn of_many_failures_the_first_are_told_and_the_others_counted() {
    let mut hosts: Vec<TurnView> =
        (0..30).map(|number| failed(&format!("web-{number:02}"), 59 - number)).collect();
    hosts.push(TurnView { error_code: Some("HostLost".into()), event: None, ..failed("web-99", 0) });
    hosts[0].error_code = Some("HostLost".into());
    let text = told(&deployment("Failed", hosts));
    assert!(text.starts_with("web-99: Failed (HostLost)"), "{text}");
    assert!(text.contains("\n… and 20 more failed in ValidateService (ScriptFailed), 1 more failed in ValidateService (HostLost)\n"), "{text}");
    assert_eq!(text.matches("curl").count(), FAILED_SHOWN);
}

#[test]
fn whoever_holds_it_up_is_named() {
    let mut hosts = vec![host("web-1", "InProgress", Some("Install")), host("web-2", "InProgress", None)];
    hosts[0].started_at = Some("2026-01-01T00:00:00.000Z".into());
    hosts.push(TurnView { message: Some("it went\u{1b}[2J Down".into()), ..host("web-3", "Unknown", None) });
    let view = deployment("InProgress", hosts);
    let expected = "\
web-1: InProgress in Install, its turn began 2026-01-01T00:00:00.000Z
web-2: InProgress: it may begin, and has not yet
web-3: Unknown: it went[2J Down
";
    assert_eq!(told(&view), expected);
    assert!(numbers(&view).starts_with("Hosts: 5 in the group; 2 in their turn\n"), "{}", numbers(&view));
}

#[test]
fn a_catch_up_is_told_in_numbers_of_those_that_were_behind() {
    let of = |total: u32| {
        let view = deployment("Succeeded", vec![host("web-4", "Succeeded", None)]);
        let healthy = Healthy { now: total, minimum: 0, total, lowest_seen: total - 1 };
        numbers(&DeploymentView { creator: "autoscale".into(), healthy, ..view })
    };
    let beside = "Hosts: 1 to catch up; 1 succeeded\nOf these in service: 1 of 1 at its end";
    assert!(of(1).starts_with(beside), "{}", of(1));
    let alone = "Hosts: 1 to catch up, of 4 in the group; 1 succeeded\nIn service: 4 of 4 at its end";
    assert!(of(4).starts_with(alone), "{}", of(4));
}

#[test]
fn a_rollback_that_broke_off_names_the_hosts_that_it_left_and_what_helps() {
    let hosts = vec![host("web-1", "Succeeded", None), host("web-2", "Skipped", None), failed("web-3", 1)];
    let of = |status: &str, undone: Option<&str>| {
        let view = deployment(status, hosts.clone());
        stranded(&DeploymentView { rollback_of: undone.map(Into::into), ..view })
    };
    let expected = "Not brought back: web-2, web-3. They may still run the release that failed. Once enough hosts \
                    are in service: skein rollback hello/prod; with fewer: skein rollback hello/prod --override \
                    minimum_healthy=N\n";
    assert_eq!(of("Failed", Some("d-ABCDEFGH2")), expected);
    assert_eq!(of("InProgress", Some("d-ABCDEFGH2")), "");
    assert_eq!(of("Failed", None), "", "it is no rollback");
}

#[test]
fn the_order_of_a_rollback_is_explained_as_what_it_is() {
    let hosts = vec![host("web-1", "Succeeded", None), host("web-2", "Succeeded", None)];
    let view = DeploymentView { rollback_of: Some("d-ABCDEFGH2".into()), ..deployment("Succeeded", hosts) };
    assert!(
        numbers(&view)
            .contains("Order: hosts of no service first, then those with the revision that is undone")
    );
}

#[test]
fn hosts_that_the_reason_names_are_not_named_again() {
    let hosts = vec![host("web-1", "Succeeded", None), failed("web-3", 1)];
    let undone = Some("d-ABCDEFGH2".into());
    let mut view = DeploymentView { rollback_of: undone, ..deployment("Failed", hosts) };
    assert!(stranded(&view).contains("web-3"));
    let message = "too few are healthy; still at the revision that failed (0123456789ab): web-3".into();
    view.reason = Some(Why { code: "HEALTH_CONSTRAINTS".into(), message, numbers: Default::default() });
    let said = stranded(&view);
    assert!(!said.contains("web-3") && said.contains("minimum_healthy=N"), "{said}");
}
