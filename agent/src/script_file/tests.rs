use super::*;

const PATH: &str = "/usr/bin:/bin";

/// Expects these troubles of a file that would run here without a user.
fn check(content: &[u8], expected: &[Trouble]) {
    let file = ScriptFile { bytes: content.to_vec() };
    let shown = String::from_utf8_lossy(content);
    assert_eq!(file.troubles(false, PATH), expected, "{shown:?}");
}

#[test]
fn a_script_without_trouble_has_none() {
    for good in
        ["#!/bin/sh\ntrue\n", "#! /bin/sh -e\ntrue", "#!/usr/bin/env sh\n", "#!/usr/bin/env -S A=1 sh -e\n"]
    {
        check(good.as_bytes(), &[]);
    }
    let own = std::fs::read("/proc/self/exe").expect("readable");
    check(&own, &[]);
    assert!(ScriptFile { bytes: own }.starts_by_itself());
}

#[test]
fn each_trouble_is_recognized() {
    let runner = "/bin/sh";
    check(b"#!/bin/sh\r\ntrue\r\n", &[Trouble::WindowsFirstLine]);
    check(b"#!/usr/bin/env sh\r\n", &[Trouble::WindowsFirstLine]);
    check(b"#!/bin/sh\ntrue\ncd /\r\n", &[Trouble::WindowsLine { line: 3 }]);
    check(b"\xef\xbb\xbf#!/bin/sh\n", &[Trouble::ByteOrderMark]);
    check(b"", &[Trouble::Empty]);
    check(b"\n\n", &[Trouble::Empty]);
    check(b"\n#!/bin/sh\n", &[Trouble::LateInterpreter { line: 2, runner }]);
    check(b" #!/bin/sh\n", &[Trouble::LateInterpreter { line: 1, runner }]);
    check(b"cd /\n", &[Trouble::NoInterpreter { runner }]);
    check(b"cd /\r\n", &[Trouble::NoInterpreter { runner }, Trouble::WindowsLine { line: 1 }]);
    check(b"#!/no/such/sh\n", &[Trouble::InterpreterMissing("/no/such/sh".into())]);
    let program = "no-such-program-here".to_owned();
    check(
        b"#!/usr/bin/env no-such-program-here\n",
        &[Trouble::ProgramMissing { program, path: PATH.to_owned() }],
    );
    // Only shells have trouble with it.
    check(b"#!/usr/bin/env cat\nx\r\n", &[]);
}

#[test]
fn a_program_for_another_processor_or_system_is_recognized() {
    let own = std::fs::read("/proc/self/exe").expect("readable");
    let machine = machine::trouble;
    let mut other = own.clone();
    // The number of S/390, which no other machine has.
    other[18..20].copy_from_slice(&22_u16.to_le_bytes());
    assert!(
        matches!(machine(&other), Some(Trouble::OtherMachine { built_for, .. }) if built_for == "s390x"),
        "{:?}",
        machine(&other)
    );
    let Some(at) = own.windows(8).position(|bytes| bytes == b"/ld-linu" || bytes == b"/ld-musl") else {
        println!("skipped: needs a program that has a loader");
        return;
    };
    let mut other = own;
    other[at + 1] = b'X';
    assert!(matches!(machine(&other), Some(Trouble::LoaderMissing(_))), "{:?}", machine(&other));
    for cut in 0..64 {
        // This must not panic, on any bytes.
        let _ = machine(&other[..cut]);
    }
}

#[test]
fn what_another_host_may_have_is_left_out_for_others() {
    let file = ScriptFile { bytes: b"#!/no/such/sh\necho\r\n".to_vec() };
    assert_eq!(file.warnings(false, true).len(), 2);
    assert_eq!(file.warnings(false, false), [Trouble::WindowsLine { line: 2 }]);
    let file = ScriptFile { bytes: b"echo\n".to_vec() };
    assert_eq!(file.warnings(true, false), [Trouble::NoInterpreter { runner: "its user's login shell" }]);
    assert_eq!(file.why_it_failed(true, PATH), None);
}
