use super::super::parse;

/// Checks that the file is refused at this line, with a message that begins like
/// this.
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

#[test]
fn values_that_need_quotes_are_shown_in_quotes() {
    let needs = |value: &str, start: char, quoted: &str| {
        format!(
            "`{value}` needs quotes, because `{start}` at the start of a value means something else in YAML: write \
             `{quoted}`"
        )
    };
    for value in ["**", "*", "*.sh"] {
        let text = format!("permissions:\n  - object: /srv\n    pattern: {value}\n    mode: 644\n");
        check(&text, 3, &needs(value, '*', &format!("pattern: \"{value}\"")));
    }
    check("permissions:\n  - object: /srv\n    except: [a, *.sh]\n", 3, &needs("*.sh", '*', "\"*.sh\""));
    check(
        "permissions:\n  - object: /srv\n    except:\n      - *.sh\n",
        4,
        &needs("*.sh", '*', "- \"*.sh\""),
    );
    check("files:\n  - source: *.jar\n", 2, &needs("*.jar", '*', "source: \"*.jar\""));
    check("files:\n  - source: %x\n", 2, &needs("%x", '%', "source: \"%x\""));
    check("files:\n  - source: @x\n", 2, &needs("@x", '@', "source: \"@x\""));
    check(
        "files:\n  - source: /\n    destination: {{ dir }}/app\n",
        3,
        "`{{ dir }}/app` is a template's placeholder that was not filled in: an AppSpec file has no variables",
    );
}

#[test]
fn a_quote_that_stays_open_is_found_where_it_opens() {
    let said = "the quote that opens in line 2 is not closed: write `source: \"/\"`";
    check("files:\n  - source: \"/\n    destination: /srv\nhooks:\n", 2, said);
    check("files:\n  - source: \"/\n    destination: \"/srv\"\n", 3, said);
    check(
        "files:\n  - source: '/\n    destination: /srv\n",
        2,
        "the quote that opens in line 2 is not closed: write `source: '/'`",
    );
}

#[test]
fn colons_are_followed_by_a_blank() {
    let said = |line: &str, wanted: &str| format!("`{line}` lacks a blank after the colon: write `{wanted}`");
    check("version: 0.0\nos:linux\nfiles:\n", 2, &said("os:linux", "os: linux"));
    check("version:0.0\nos: linux\n", 2, &said("version:0.0", "version: 0.0"));
    check(
        "hooks:\n  AfterInstall:\n    - location:s.sh\n      timeout: 30\n",
        4,
        &said("location:s.sh", "location: s.sh"),
    );
    check(
        "hooks:\n  AfterInstall:\n    - location: s.sh\n      timeout:30\n",
        4,
        &said("timeout:30", "timeout: 30"),
    );
    check(
        "hooks:\n  AfterInstall\n    - location: s.sh\n",
        3,
        "`AfterInstall` lacks a colon: write `AfterInstall:`",
    );
    check(
        "files:\n  - source: a\n    destination: /srv: x\n",
        3,
        "the value of `destination` has a colon in it, so it needs quotes: write `destination: \"/srv: x\"`",
    );
}
