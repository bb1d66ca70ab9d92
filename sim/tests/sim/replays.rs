//! Another process can replay a recorded run, and the replay is the same to the
//! last byte.

use std::path::Path;
use std::process::{Command, Output};

fn simulator(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_skein-sim")).args(arguments).output().expect("the simulator starts")
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("it prints text")
}

/// Returns a path that only this process uses.
fn file(name: &str) -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    folder.join(format!("{}-{name}", std::process::id())).display().to_string()
}

fn scenario(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name).display().to_string()
}

#[test]
fn a_scenario_is_told_again_from_its_trace() {
    let (trace, page) = (file("full-mesh-restart"), file("full-mesh-restart.html"));
    let told = simulator(&["run", &scenario("full-mesh-restart.txt"), "--trace", &trace, "--report", &page]);
    assert_eq!(told.status.code(), Some(0), "{}", text(&told));
    let again = simulator(&["replay", &trace]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again));
    let again = text(&again);
    let (last, story) = {
        let mut lines: Vec<&str> = again.lines().collect();
        (lines.pop().unwrap_or_default(), lines)
    };
    assert!(last.ends_with("did the same again, to the last byte."), "{last}");
    let told = text(&told);
    assert!(story.len() > 10 && story.iter().all(|line| told.lines().any(|told| told == *line)), "{again}");
    assert!(std::fs::read_to_string(&page).expect("the page").ends_with("</html>\n"));
}

#[test]
fn what_is_no_scenario_and_no_trace_is_refused() {
    let wrong = simulator(&["replay", &scenario("full-mesh-restart.txt")]);
    assert_eq!(wrong.status.code(), Some(1));
    let said = String::from_utf8(wrong.stderr).expect("text");
    assert!(said.contains("does not begin as a trace does"), "{said}");
    let wrong = simulator(&["run", &scenario("README.md")]);
    assert_eq!(wrong.status.code(), Some(1));
    let missing = simulator(&["run", "no-such-file.txt"]);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("cannot read no-such-file.txt"));
}

#[test]
fn a_trace_that_was_changed_is_found() {
    let trace = file("changed");
    simulator(&["run", &scenario("one-at-a-time.txt"), "--trace", &trace]);
    let mut bytes = std::fs::read(&trace).expect("the trace");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&trace, bytes).expect("the trace can be written");
    let again = simulator(&["replay", &trace]);
    assert_ne!(again.status.code(), Some(0), "{}", text(&again));
}
