use super::super::parse;

/// The file is refused at this line, and told so in these words at the start.
fn check(text: &str, line: usize, advice: &str) {
    let mistakes = parse("appspec.yml", text.as_bytes()).expect_err("no YAML");
    let [only] = mistakes.as_slice() else { panic!("{mistakes:?}") };
    assert_eq!(only.line, line, "{only}\n{text}");
    let told = only.problem.split_once(" (the parser says: ").map(|(told, _)| told);
    assert_eq!(told, Some(format!("not YAML: {advice}").as_str()), "{only}\n{text}");
}

#[test]
fn keys_of_an_item_stand_below_its_first() {
    check(
        "files:\n  - source: a\n  destination: /b\n",
        3,
        "`destination` is indented by 2 blanks: if it belongs to the item in line 2, indent it by 4, to stand \
         below `source`",
    );
    check(
        "hooks:\n  AfterInstall:\n    - location: a\n\n    timeout: 120\n",
        5,
        "`timeout` is indented by 4 blanks: if it belongs to the item in line 3, indent it by 6, to stand \
         below `location`",
    );
}

#[test]
fn keys_of_a_map_stand_below_each_other() {
    check(
        "hooks:\n    BeforeInstall:\n    - location: a\n  AfterInstall:\n    - location: b\n",
        4,
        "`AfterInstall` is indented by 2 blanks, `BeforeInstall` in line 2 by 4 blanks: keys of one map stand \
         below each other",
    );
    check(
        "files:\n  - source: a\n    destination: /b\n permissions:\n  - object: /b\n",
        4,
        "`permissions` is indented by 1 blank, `files` in line 1 by nothing: keys of one map stand below each \
         other",
    );
}

#[test]
fn small_slips_are_named() {
    check("version 0.0\nos: linux\n", 2, "`version 0.0` lacks a colon, write `version: 0.0`");
    check("os: \"linux\",\n", 1, "nothing may stand after the closing quote: take `,` away");
    check("hooks:\n\tAfterInstall:\n", 2, "line 2 is indented with a tab: YAML takes blanks only");
}
