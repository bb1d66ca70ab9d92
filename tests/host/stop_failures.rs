//! Tests a broken stop script in the revision that is being replaced.

use crate::world::{Host, expect};

#[test]
fn a_broken_stop_script_can_be_passed_over() {
    let host = Host::new();
    let broken = host.bundle("v1", &[("page", "one")], &[("ApplicationStop", "echo stuck; exit 9")]);
    let mended = host.bundle("v2", &[("page", "two")], &[("ApplicationStop", "true")]);
    expect(host.local(&broken, &[]), 0, &[]);
    let words =
        ["error: ApplicationStop failed", "exit code 9", "[stdout]stuck", "ignore_application_stop_failures"];
    expect(host.local(&mended, &[]), 1, &words);
    assert_eq!(host.tree()["page"], "640 one");
    // The error names the script by its place: in the revision that it belongs
    // to.
    let said = expect(host.local(&mended, &[]), 1, &["failed while trying to execute your script at "]);
    let (_, script) = said.split_once("your script at ").expect("named");
    let script = script.lines().next().expect("a path");
    let text = std::fs::read_to_string(script).unwrap_or_else(|error| panic!("{script}: {error}"));
    assert!(text.contains("echo stuck"), "{script}: {text}");
    let revision = script.trim_end_matches("/ApplicationStop.sh");
    assert!(said.contains(&format!("the previous revision, in `{revision}`, failed to make way")), "{said}");
    let words = ["warning: ApplicationStop failed and is ignored", "Local deployment successful"];
    expect(host.local(&mended, &["--ignore-application-stop-failures"]), 0, &words);
    assert_eq!(host.tree()["page"], "640 two");
    expect(host.local(&broken, &[]), 0, &[]);
}
