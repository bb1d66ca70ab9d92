//! A stop script that is broken, in the revision that is to be replaced.

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
    let words = ["warning: ApplicationStop failed and is ignored", "Local deployment successful"];
    expect(host.local(&mended, &["--ignore-application-stop-failures"]), 0, &words);
    assert_eq!(host.tree()["page"], "640 two");
    expect(host.local(&broken, &[]), 0, &[]);
}
