use super::frame::painted;
use super::*;
use crate::cli::Exit;
use crate::view::deployment::{Counts, Healthy};
use crate::view::names::Named;
use crate::view::{TurnView, Why};

pub(in crate::cli) fn named(name: &str) -> Named {
    Named { host: format!("id of {name}"), name: name.into(), label: String::new() }
}

pub(in crate::cli) fn host(name: &str, status: &str, event: Option<&str>) -> TurnView {
    TurnView {
        who: named(name),
        zone: String::new(),
        status: status.into(),
        event: event.map(Into::into),
        error_code: None,
        message: None,
        script: None,
        log: None,
        started_at: None,
        finished_at: None,
        wave: None,
    }
}

pub(in crate::cli) fn deployment(status: &str, hosts: Vec<TurnView>) -> DeploymentView {
    let count = |word: &str| hosts.iter().filter(|host| host.status == word).count() as u32;
    DeploymentView {
        id: "d-ABCDEFGH1".into(),
        group: "hello/prod".into(),
        application: "hello".into(),
        revision: format!("blake3:{}", "ab".repeat(32)),
        origin: "/tmp/v1".into(),
        status: status.into(),
        creator: "user".into(),
        description: String::new(),
        config: "OneAtATime".into(),
        created_at: String::new(),
        started_at: None,
        finished_at: None,
        rollback_of: None,
        rolled_back_by: None,
        rollback_status: None,
        rollback_due: false,
        warnings: Vec::new(),
        reason: None,
        alarm: None,
        blockers: vec![],
        counts: Counts {
            pending: count("Pending"),
            in_progress: count("InProgress"),
            succeeded: count("Succeeded"),
            failed: count("Failed"),
            skipped: count("Skipped"),
            ready: 0,
        },
        healthy: Healthy { now: 4, minimum: 4, total: 5, lowest_seen: 4 },
        waves: vec![],
        hosts: Some(hosts),
    }
}

fn frame_of(deployment: &DeploymentView, width: usize, height: usize) -> Vec<String> {
    let history = VecDeque::new();
    let frame = Frame { deployment, history: &history, elapsed: Duration::from_millis(1_500) };
    frame.lines(height).iter().map(|line| painted(line, width, false)).collect()
}

#[test]
fn a_line_is_printed_for_each_change_and_only_for_changes() {
    let before = deployment("InProgress", vec![host("a", "Pending", None), host("b", "Pending", None)]);
    let now =
        deployment("InProgress", vec![host("a", "InProgress", Some("Install")), host("b", "Pending", None)]);
    assert_eq!(changes::between(&before, &now), ["d-ABCDEFGH1 a InProgress Install"]);
    assert!(changes::between(&now, &now).is_empty());
    let joined = [host("c", "Pending", None), host("d", "InProgress", None)];
    let larger = deployment("InProgress", now.hosts().iter().cloned().chain(joined).collect());
    assert_eq!(changes::between(&now, &larger), ["d-ABCDEFGH1 d InProgress"], "c has not begun");
    let blocker =
        Why { code: "HEALTH_CONSTRAINTS".into(), message: "4 of 5".into(), numbers: Default::default() };
    let waits = DeploymentView { blockers: vec![blocker], ..now.clone() };
    assert_eq!(changes::between(&now, &waits), ["d-ABCDEFGH1 waits: 4 of 5"]);
}

#[test]
fn what_is_queued_says_at_once_and_once_what_it_waits_for() {
    let waits_for = |code: &str, message: &str| {
        let why = Why { code: code.into(), message: message.into(), numbers: Default::default() };
        DeploymentView { blockers: vec![why], ..deployment("Queued", vec![]) }
    };
    let frozen = waits_for("FROZEN", "the group is frozen until noon");
    let opening = changes::opening(&frozen);
    assert_eq!(opening[1..], ["d-ABCDEFGH1 waits: the group is frozen until noon"], "{opening:?}");
    assert!(changes::between(&frozen, &frozen).is_empty());
    let queued = waits_for("QUEUED", "waits for d-B to be over");
    assert_eq!(changes::between(&frozen, &queued), ["d-ABCDEFGH1 waits for d-B to be over"]);
}

#[test]
fn the_end_is_told_with_numbers_and_the_scripts_last_lines() {
    let log: String = (1..=30).map(|line| format!("line {line}\n")).collect();
    let mut failed = host("c", "Failed", Some("ValidateService"));
    failed.message = Some("exit code 1".into());
    failed.script = Some("validate.sh".into());
    failed.log = Some(log);
    let reason =
        Why { code: "HEALTH_CONSTRAINTS".into(), message: "4 of 5 …".into(), numbers: Default::default() };
    let view = DeploymentView { reason: Some(reason), ..deployment("Failed", vec![failed]) };
    let lines = ending::of(&view);
    assert_eq!(lines[0], "c failed in ValidateService: exit code 1");
    assert_eq!((lines[1].as_str(), lines[10].as_str()), ("  | line 21", "  | line 30"));
    assert!(lines[11].starts_with("d-ABCDEFGH1 Failed: 0 of 1 hosts succeeded, 1 failed"), "{}", lines[11]);
    assert_eq!(lines[12], "  4 of 5 … (HEALTH_CONSTRAINTS)");
    assert_eq!(lines[13], "  not rolled back");
}

#[test]
fn only_a_rollback_that_went_well_has_rolled_it_back() {
    let said = |status: Option<&str>| {
        let (by, status) = (Some("d-BACK".into()), status.map(Into::into));
        let view =
            DeploymentView { rolled_back_by: by, rollback_status: status, ..deployment("Failed", vec![]) };
        ending::of(&view).pop().expect("a last line")
    };
    assert_eq!(said(Some("Succeeded")), "  It was rolled back by d-BACK.");
    for running in ["Queued", "InProgress", "Baking"] {
        assert_eq!(said(Some(running)), "  It is being rolled back by d-BACK: skein status d-BACK.");
    }
    assert_eq!(said(Some("Failed")), "  Its rollback d-BACK failed: skein explain d-BACK.");
    assert_eq!(said(Some("Stopped")), "  Its rollback d-BACK was stopped: skein explain d-BACK.");
    assert_eq!(said(None), "  Its rollback is d-BACK.");
}

#[test]
fn exit_codes_tell_a_failure_from_one_that_was_rolled_back() {
    let of = |status: &str| deployment(status, vec![]);
    let rollback = |status: &str| DeploymentView { id: "d-ROLLBACK1".into(), ..of(status) };
    assert_eq!(ending::exit(None, &of("Succeeded")), Exit::Done);
    assert_eq!(ending::exit(None, &of("Failed")), Exit::Failed);
    assert_eq!(ending::exit(None, &of("Stopped")), Exit::Stopped);
    assert_eq!(ending::exit(Some(&of("Failed")), &rollback("Succeeded")), Exit::RolledBack);
    assert_eq!(ending::exit(Some(&of("Failed")), &rollback("Failed")), Exit::Failed);
    assert_eq!(ending::exit(Some(&of("Stopped")), &rollback("Succeeded")), Exit::Stopped);
    let because = |code: &str| {
        let reason = Why { code: code.into(), message: String::new(), numbers: Default::default() };
        DeploymentView { reason: Some(reason), ..of("Stopped") }
    };
    assert_eq!(ending::exit(Some(&because("MANUAL_STOP")), &rollback("Succeeded")), Exit::Stopped);
    assert_eq!(ending::exit(Some(&because("ALARM_ACTIVE")), &rollback("Succeeded")), Exit::RolledBack);
    assert_eq!(ending::exit(None, &because("ALARM_ACTIVE")), Exit::Stopped);
}

#[test]
fn the_live_view_fits_the_terminal_and_shows_what_matters_first() {
    let mut hosts: Vec<TurnView> =
        (0..100).map(|at| host(&format!("web-{at:03}"), "Succeeded", None)).collect();
    hosts[70] = host("web-070", "Failed", Some("ValidateService"));
    hosts[71] = host("web-071", "InProgress", Some("Install"));
    let view = deployment("InProgress", hosts);
    for (width, height) in [(80, 24), (20, 10), (200, 60)] {
        let lines = frame_of(&view, width, height);
        assert!(lines.len() <= height.max(12), "{} lines of {height}", lines.len());
        assert!(lines.iter().all(|line| line.chars().count() < width), "wider than {width}");
    }
    let lines = frame_of(&view, 80, 24);
    assert!(lines[3].contains("web-070") && lines[4].contains("web-071"), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("… and 87 more")), "{lines:#?}");
}

#[test]
fn what_a_script_says_cannot_redraw_the_terminal() {
    let mut evil = host("web-1", "Failed", None);
    evil.message = Some("\x1b[2Jgone\r\n".into());
    let lines = frame_of(&deployment("Failed", vec![evil]), 80, 24);
    assert!(lines.iter().all(|line| !line.contains(char::is_control)), "{lines:?}");
}
