use super::frame::painted;
use super::*;
use crate::cli::Exit;
use crate::cli::width::columns;
use crate::view::deployment_view::{Counts, Healthy};
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
        stopped_by: String::new(),
        by: String::new(),
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
    let elapsed = Duration::from_millis(1_500);
    let frame = Frame { deployment, history: &history, elapsed, banner: None };
    frame.lines(width, height).iter().map(|line| painted(line, width, false)).collect()
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
    let usual = DeploymentView { blockers: vec![blocker.clone()], ..now.clone() };
    assert!(changes::between(&now, &usual).is_empty(), "it waits for the turn under way");
    let blocker = Why { numbers: [("down".into(), 1)].into(), ..blocker };
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
        assert!(lines.len() < height, "{} lines of {height}", lines.len());
        assert!(lines.iter().all(|line| columns(line) < width), "wider than {width}");
    }
    let lines = frame_of(&view, 80, 24);
    assert!(lines[4].contains("web-070") && lines[5].contains("web-071"), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("… and 83 more: 83 Succeeded")), "{lines:#?}");
}

#[test]
fn what_a_script_says_cannot_redraw_the_terminal() {
    let mut evil = host("web-1", "Failed", None);
    evil.message = Some("\x1b[2Jgone\r\n".into());
    let lines = frame_of(&deployment("Failed", vec![evil]), 80, 24);
    assert!(lines.iter().all(|line| !line.contains(char::is_control)), "{lines:?}");
}

/// Returns fifteen hosts in the middle of a rollout, with everything that a frame may hold.
fn busy() -> (DeploymentView, VecDeque<HistoryLine>) {
    let name = |at: usize| match at {
        3 => "東京-web-3".to_string(),
        9 => "payments-production-eu-west-1a-0009".to_string(),
        _ => format!("web-{at}"),
    };
    let turn = |at: usize| match at {
        0..7 => host(&name(at), "Succeeded", None),
        7 => host(&name(at), "InProgress", Some("ApplicationStart")),
        8 => TurnView { message: Some("exit code 1".into()), ..host(&name(at), "Failed", Some("Install")) },
        _ => host(&name(at), "Pending", None),
    };
    let mut view = deployment("InProgress", (0..15).map(turn).collect());
    view.healthy = Healthy { now: 13, minimum: 12, total: 15, lowest_seen: 13 };
    let message = "13 of 15 in service, and 12 must be, of which 1 is Down: the next turn waits until it is back or \
                   counts as failed, for at most 60 s";
    let numbers = [("down".to_string(), 1)].into();
    view.blockers = vec![Why { code: "HEALTH_CONSTRAINTS".into(), message: message.into(), numbers }];
    let line = |at: usize| HistoryLine {
        index: None,
        hash: None,
        at: None,
        kind: String::new(),
        group: None,
        deployment: None,
        host: None,
        text: format!("web-{at} began its turn"),
    };
    (view, (0..5).map(line).collect())
}

#[test]
fn a_busy_rollout_fits_a_common_terminal() {
    let (view, history) = busy();
    let elapsed = Duration::from_secs(63);
    let banner = Some("warning: this host reaches 2 of 5 voters: what it shows is as of noon".into());
    let frame = Frame { deployment: &view, history: &history, elapsed, banner };
    let lines: Vec<String> = frame.lines(80, 24).iter().map(|line| painted(line, 80, false)).collect();
    let expected = "\
warning: this host reaches 2 of 5 voters: what it shows is as of noon
d-ABCDEFGH1  InProgress  63.0 s  hello/prod → abababababab
████████▒░░░░░░ 8 of 15 done, 1 failed
13 of 15 in service, 12 must be (OneAtATime)

 ✗ web-8                     Failed      Install           exit code 1
 ▶ web-7                     InProgress  ApplicationStart
 · payments-pr…west-1a-0009  Pending
 · web-10                    Pending
 · web-11                    Pending
 · web-12                    Pending
 · web-13                    Pending
 · web-14                    Pending
 ✓ web-0                     Succeeded
 ✓ web-1                     Succeeded
 ✓ web-2                     Succeeded
 ✓ 東京-web-3                Succeeded
 ✓ web-4                     Succeeded
  … and 2 more: 2 Succeeded

waits: 13 of 15 in service, and 12 must be, of which 1 is Down: the next turn
waits until it is back or counts as failed, for at most 60 s";
    let shown: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
    assert_eq!(shown.join("\n"), expected);
    for height in 10..60 {
        for width in [20, 80, 200] {
            let lines = frame.lines(width, height);
            assert!(lines.len() < height.max(16), "{} lines of {height}", lines.len());
        }
    }
}

#[test]
fn yellow_is_only_what_a_person_must_look_at() {
    let of = |code: &str| {
        let why = Why { code: code.into(), message: "4 of 5".into(), numbers: Default::default() };
        DeploymentView {
            blockers: vec![why],
            ..deployment("InProgress", vec![host("a", "InProgress", None)])
        }
    };
    for code in ["HEALTH_CONSTRAINTS", "TURNS_IN_FLIGHT", "BAKING", "QUEUED", "FROZEN"] {
        assert!(!changes::needs_a_person(&of(code)), "{code}");
    }
    for code in ["SUSPECTS", "NO_MAJORITY", "DEFERRED", "HEALTH_CHECK"] {
        assert!(changes::needs_a_person(&of(code)), "{code}");
    }
}

#[test]
fn the_end_says_how_long_it_took() {
    let mut view = deployment("Succeeded", vec![host("a", "Succeeded", None)]);
    view.created_at = "2026-01-01T00:00:00.000Z".into();
    view.finished_at = Some("2026-01-01T00:01:07.300Z".into());
    assert!(
        ending::of(&view)[0].starts_with("d-ABCDEFGH1 Succeeded after 1m 7s: "),
        "{:?}",
        ending::of(&view)
    );
    view.finished_at = Some("2026-01-01T00:00:02.340Z".into());
    assert!(
        ending::of(&view)[0].starts_with("d-ABCDEFGH1 Succeeded after 2.3s: "),
        "{:?}",
        ending::of(&view)
    );
}
