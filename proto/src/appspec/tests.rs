use proptest::prelude::*;

use super::*;

const HEAD: &str = "version: 0.0\nos: linux\n";

/// Returns the mistakes of a file, or else `ok` followed by its warnings.
fn verdict(text: &[u8]) -> Vec<String> {
    match parse("appspec.yml", text) {
        Ok(parsed) => parsed.warnings.iter().map(|warning| format!("ok, {warning}")).collect(),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
    }
}

fn check(text: &str, said: &[&str]) {
    assert_eq!(verdict(text.as_bytes()), said, "\n{text}");
}

/// Checks a file that begins with two correct lines.
fn check_body(body: &str, said: &[&str]) {
    check(&format!("{HEAD}{body}"), said);
}

fn read_ok(body: &str) -> AppSpec {
    parse("appspec.yml", format!("{HEAD}{body}").as_bytes()).expect("accepted").appspec
}

#[test]
fn a_whole_file_is_read_as_written() {
    let appspec = read_ok(
        "files:\n  - source: /app/\n    destination: /srv/app\nfile_exists_behavior: RETAIN\n\
         permissions:\n  - object: /srv/app\n    mode: 0644\n    owner: www\n    except: [a]\n    type: [file]\n\
         hooks:\n  AfterInstall:\n    - location: ./s.sh\n      timeout: 300\n      runas: root\n",
    );
    assert_eq!(
        appspec.files,
        [FileMapping { source: "app".into(), destination: "/srv/app".into(), line: 4 }]
    );
    assert_eq!(appspec.file_exists, Some(FileExists::Retain));
    let permission = &appspec.permissions[0];
    assert_eq!(permission.mode, Some(0o644), "and not YAML's 420");
    assert_eq!((permission.files, permission.directories), (true, false));
    let script = &appspec.hooks[&LifecycleEvent::AfterInstall][0];
    assert_eq!((script.location.as_str(), script.timeout.as_secs()), ("./s.sh", 300));
    assert_eq!(script.runas.as_deref(), Some("root"));
}

#[test]
fn all_mistakes_are_found_at_once_with_their_places() {
    check(
        "version: 0.1\nos: Linux\nhooks:\n  AfterInstal:\n    - location: s.sh\n  BeforeInstall:\n    - timeout: 0\n",
        &[
            "appspec.yml:1:10: version: invalid version `0.1`: only 0.0 is supported",
            "appspec.yml:2:5: os: `Linux` is not a system: upper and lower case count; did you mean linux?",
            "appspec.yml:4:3: hooks.AfterInstal: not a lifecycle event; did you mean AfterInstall?",
            "appspec.yml:7:7: hooks.BeforeInstall[0].location: missing: the script's path in the bundle",
            "appspec.yml:7:16: hooks.BeforeInstall[0].timeout: invalid timeout `0`: write whole seconds, 1 or more",
        ],
    );
}

#[test]
fn versions_are_numbers_equal_to_zero() {
    for version in ["0", "0.0", "0.00", "00"] {
        check(&format!("version: {version}\nos: linux\n"), &[]);
    }
    check(
        "version: \"0.0\"\nos: linux\n",
        &["appspec.yml:1:10: version: \"0.0\" is text here: write the number without quotes, `version: 0.0`"],
    );
    check("os: linux\n", &["appspec.yml:1:1: version: missing: write `version: 0.0`"]);
    check(
        "versoin: 0.0\nos: linux\n",
        &[
            "appspec.yml:1:1: version: missing: write `version: 0.0`; `versoin` is not a key, did you mean version?",
        ],
    );
}

#[test]
fn what_is_no_appspec_at_all_is_called_so() {
    check("", &["appspec.yml:1:1: empty: it needs at least `version: 0.0` and `os: linux`"]);
    check("# nothing\n", &["appspec.yml:1:1: empty: it needs at least `version: 0.0` and `os: linux`"]);
    check(
        "version0.0\n",
        &[
            "appspec.yml:1:1: text, but no AppSpec file: it has keys such as `version: 0.0`, each at the start of a \
           line",
        ],
    );
    check("- a\n", &["appspec.yml:1:1: must be a map, not a list: it has keys such as `version: 0.0`"]);
    assert_eq!(
        verdict(b"version: 0.0\nos: \xe4"),
        ["appspec.yml:2:5: not UTF-8 from here on: save the file as UTF-8"]
    );
    let ecs = verdict(b"version: 0.0\nResources:\n  - a\n");
    assert!(ecs[0].contains("Amazon ECS"), "{ecs:?}");
    let no_colon = verdict(b"version 0.0\nos: linux\n");
    assert!(no_colon[0].contains("write `version: 0.0`"), "{no_colon:?}");
    let long = vec![b'#'; APPSPEC_BYTES_MAX + 1];
    assert!(verdict(&long)[0].contains("longer than"));
}

#[test]
fn yaml_as_people_save_it_is_accepted() {
    check(&format!("\u{feff}{HEAD}"), &[]);
    check("version: 0.0\r\nos: linux\r\n", &[]);
    check("{\"version\": 0.0, \"os\": \"linux\"}", &[]);
    check_body(
        "x: &a {source: /a}\nfiles:\n- <<: *a\n  destination: /b\n",
        &["ok, appspec.yml:3:1: x: unknown key, ignored"],
    );
    check_body("---\nos: [\n", &["ok, appspec.yml:3:1: a second YAML document starts here and is ignored"]);
    check_body("os: linux\n", &["ok, appspec.yml:3:1: os: written twice: the one in line 2 is ignored"]);
    check_body("files:\npermissions:\nhooks:\n", &[]);
    check_body("hooks:\n  AfterInstall:\n", &[]);
}

#[test]
fn slips_that_the_official_agent_ignores_are_warned_of() {
    check_body(
        "permission:\n  - object: /a\n",
        &["ok, appspec.yml:3:1: permission: unknown key, ignored; did you mean permissions?"],
    );
    check_body(
        "AfterInstall:\n  - location: a\n",
        &[
            "ok, appspec.yml:3:1: AfterInstall: an event at the top level is ignored: indent it below `hooks:`",
        ],
    );
    check_body(
        "files:\n  - source: /\n    destination: /a\n    overwrite: true\n",
        &[
            "ok, appspec.yml:6:5: files[0].overwrite: ignored here: write `file_exists_behavior: OVERWRITE` at the \
           top level of the file",
        ],
    );
    check_body(
        "files:\n  - source: /\n    destination: /a\n    mode: 755\n",
        &[
            "ok, appspec.yml:6:5: files[0].mode: ignored here: write an entry of `permissions`, at the top level \
           of the file, whose `object` is the destination",
        ],
    );
    check_body(
        "hooks:\n  AfterAllowTestTraffic:\n    - location: a\n",
        &[
            "ok, appspec.yml:4:3: hooks.AfterAllowTestTraffic: this event is of Amazon ECS deployments: a host \
           never comes to it, so its scripts never run",
        ],
    );
    check_body(
        "hooks:\n  AfterInstall:\n    - location: a\n      runas: \" \"\n",
        &[
            "ok, appspec.yml:6:14: hooks.AfterInstall[0].runas: names nobody, so the script runs as the agent does: \
           leave the key out",
        ],
    );
}

#[test]
fn a_timeout_that_is_not_what_it_looks_like_is_warned_of() {
    let check = |timeout: &str, read_as: Option<&str>| {
        let said = read_as.map(|read_as| {
            format!(
                "ok, appspec.yml:6:16: hooks.AfterInstall[0].timeout: `{timeout}` is read as {read_as}: a timeout is a \
                 number of whole seconds"
            )
        });
        let said: Vec<&str> = said.iter().map(String::as_str).collect();
        check_body(&format!("hooks:\n  AfterInstall:\n    - location: a\n      timeout: {timeout}\n"), &said);
    };
    check("30s", Some("30 seconds"));
    check("1.5", Some("1 second"));
    check("3.9", Some("3 seconds"));
    check("1:30", Some("90 seconds"));
    check("0x10", Some("16 seconds"));
    check("010", Some("8 seconds"));
    check("300", None);
    check("300.0", None);
    check("\"300\"", None);
}

#[test]
fn permissions_that_change_nothing_are_warned_of() {
    let check = |object: &str, rest: &str, said: &[&str]| {
        let body = format!(
            "files:\n  - source: /\n    destination: /srv/app/\npermissions:\n  - object: {object}\n{rest}"
        );
        let said: Vec<String> =
            said.iter().map(|said| format!("ok, appspec.yml:7:5: permissions[0]: {said}")).collect();
        assert_eq!(verdict(format!("{HEAD}{body}").as_bytes()), said, "\n{body}");
    };
    for object in ["/", "/srv//app", "/srv/./app/deep/file", "/etc/../srv/app"] {
        check(object, "    mode: 755\n    pattern: \"*\"\n", &[]);
    }
    check(
        "/srv/app",
        "",
        &["changes nothing: it has none of `mode`, `owner`, `group`, `acls` and `context`"],
    );
    check(
        "/srv/apple",
        "    mode: 755\n",
        &[
            "changes nothing: `/srv/apple` is neither above nor below a destination of `files`, and only what is \
           installed gets permissions",
        ],
    );
    let names = "`pattern` and `except` are held against the names directly inside `object`, which have no slash; \
                 everything below it, at any depth, is `pattern: \"**\"`";
    check("/srv/app", "    mode: 755\n    pattern: \"***\"\n", &[names]);
    check("/srv/app", "    mode: 755\n    except: [\"conf/secret\"]\n", &[names]);
}

#[test]
fn an_event_that_is_like_no_other_is_told_which_there_are() {
    let said = verdict(format!("{HEAD}hooks:\n  Deploy:\n    - location: a\n").as_bytes());
    let start =
        "appspec.yml:4:3: hooks.Deploy: not a lifecycle event: scripts can be hooked to BeforeBlockTraffic, ";
    assert!(said[0].starts_with(start) && !said[0].contains(" BlockTraffic"), "{said:?}");
}

#[test]
fn files_have_a_source_inside_the_bundle_and_a_destination() {
    check_body(
        "files:\n  - source: a\n",
        &["appspec.yml:4:5: files[0].destination: missing: the directory on the host to copy into"],
    );
    check_body(
        "files:\n  source: a\n",
        &["appspec.yml:4:3: files: must be a list, not a map: write `- source: /app`"],
    );
    check_body(
        "files:\n  - source: ../a\n    destination: /b\n",
        &[
            "appspec.yml:4:13: files[0].source: `../a` leaves the bundle: a path may not go above its top with `..`",
        ],
    );
    check_body(
        "files:\n  - source: 7\n    destination: /b\n",
        &["appspec.yml:4:13: files[0].source: must be text: write \"7\" in quotes if that is its name"],
    );
    check_body(
        "files: [~]\n",
        &["appspec.yml:3:9: files[0]: must be a map, not nothing: it has `source` and `destination`"],
    );
}

#[test]
fn paths_are_of_one_line() {
    let said = "a path has no line breaks, tabs or other control characters";
    let body = "files:\n  - source: \"a\\nb\"\n    destination: \"/a\\tb\"\npermissions:\n  - object: \"/a\\0\"\nhooks:\n  \
                AfterInstall:\n    - location: \"a\\e\"\n";
    let places = [
        "4:13: files[0].source",
        "5:18: files[0].destination",
        "7:13: permissions[0].object",
        "10:17: hooks.AfterInstall[0].location",
    ];
    let said: Vec<String> = places.iter().map(|place| format!("appspec.yml:{place}: {said}")).collect();
    let said: Vec<&str> = said.iter().map(String::as_str).collect();
    check_body(body, &said);
}

#[test]
fn hooks_are_lists_of_scripts_of_known_events() {
    check_body(
        "hooks:\n  AfterInstall:\n    location: a\n",
        &[
            "appspec.yml:5:5: hooks.AfterInstall: must be a list, not a map: write `- location: scripts/start.sh`",
        ],
    );
    check_body(
        "hooks:\n  AfterInstall:\n    - location: ../a\n",
        &[
            "appspec.yml:5:17: hooks.AfterInstall[0].location: `../a` leaves the bundle: only the bundle's own scripts are run",
        ],
    );
    for (timeout, seconds) in [
        ("\"30\"", 30),
        ("3.9", 3),
        ("100000", 100_000),
        ("1_000", 1_000),
        ("99999999999999999999", u64::MAX),
    ] {
        let appspec =
            read_ok(&format!("hooks:\n  AfterInstall:\n    - location: 7\n      timeout: {timeout}\n"));
        let script = &appspec.hooks[&LifecycleEvent::AfterInstall][0];
        assert_eq!((script.location.as_str(), script.timeout.as_secs()), ("7", seconds));
    }
}

#[test]
fn scripts_of_built_in_events_are_passed_over() {
    for nothing in ["", " ~", " null", " []"] {
        for event in ["DownloadBundle", "Install", "BlockTraffic", "AllowTraffic", "AfterInstall"] {
            check_body(&format!("hooks:\n  {event}:{nothing}\n"), &[]);
        }
        check_body(
            &format!("hooks:\n  AfterInstal:{nothing}\n"),
            &["ok, appspec.yml:4:3: hooks.AfterInstal: not a lifecycle event; did you mean AfterInstall?"],
        );
    }
    for (event, near) in [
        ("DownloadBundle", "ApplicationStop or BeforeInstall"),
        ("Install", "BeforeInstall or AfterInstall"),
        ("BlockTraffic", "BeforeBlockTraffic or AfterBlockTraffic"),
        ("AllowTraffic", "BeforeAllowTraffic or AfterAllowTraffic"),
    ] {
        let body = format!("hooks:\n  {event}:\n    - location: a\n");
        let said = format!(
            "ok, appspec.yml:4:3: hooks.{event}: {event} is built in and runs no scripts, so these will not run: \
             move them to {near}"
        );
        check_body(&body, &[&said]);
        assert_eq!(read_ok(&body).hooks, BTreeMap::new());
    }
}

#[test]
fn paths_on_the_host_that_depend_on_the_agent_are_warned_of() {
    let files = |destination: &str| format!("files:\n  - source: /\n    destination: {destination}\n");
    let home = "`~` is the home directory of the user that the agent runs as, which is root's as a rule: write a full \
                path, or `~NAME/…` for another user's";
    check_body(&files("\"~\""), &[&format!("ok, appspec.yml:5:18: files[0].destination: {home}")]);
    check_body(&files("~/app"), &[&format!("ok, appspec.yml:5:18: files[0].destination: {home}")]);
    check_body(&files("~deploy/app"), &[]);
    let relative = |text: &str| {
        format!(
            "`{text}` is relative to wherever the agent was started: write a full path, such as `/srv/app`"
        )
    };
    check_body(&files("app"), &[&format!("ok, appspec.yml:5:18: files[0].destination: {}", relative("app"))]);
    check_body(
        &format!("{}permissions:\n  - object: srv/app\n    mode: 755\n", files("/srv/app")),
        &[&format!("ok, appspec.yml:7:13: permissions[0].object: {}", relative("srv/app"))],
    );
    check_body(
        &format!("{}permissions:\n  - object: ~/app\n    mode: 755\n", files("~deploy/app")),
        &[&format!("ok, appspec.yml:7:13: permissions[0].object: {home}")],
    );
}

#[test]
fn a_key_that_sticks_to_its_value_is_shown_apart() {
    let said = |line: &str, wanted: &str| format!("`{line}` lacks a blank after the colon: write `{wanted}`");
    check_body(
        "hooks:\n  AfterInstall:\n    - location:a\n",
        &[&format!("appspec.yml:5:7: hooks.AfterInstall[0]: {}", said("location:a", "location: a"))],
    );
    check("version:0.0\n", &[&format!("appspec.yml:1:1: {}", said("version:0.0", "version: 0.0"))]);
}

#[test]
fn keys_at_the_wrong_depth_are_told_where_they_belong() {
    check_body(
        "hooks:\n  AfterInstall:\n    - location: a\n    - runas: web\n",
        &[
            "appspec.yml:6:7: hooks.AfterInstall[1].location: missing: the script's path in the bundle; if `runas` \
           belongs to the script above, write it below that one's `location`, without a dash",
        ],
    );
    check_body(
        "hooks:\n  AfterInstall:\n    - location: a\n  permissions:\n    - object: /a\n",
        &[
            "appspec.yml:6:3: hooks.permissions: not a lifecycle event: `permissions` belongs to the top level, so \
           do not indent it",
        ],
    );
}

#[test]
fn what_is_left_of_a_file_with_mistakes_can_be_looked_at() {
    let text = "version: 0.1\nos: linux\nfiles:\n  - source: a\n    destination: /b\nhooks:\n  AfterInstal:\n    \
                - location: s\n";
    let examined = examine("appspec.yml", text.as_bytes(), CustomEvents::Only(&[]));
    assert_eq!(examined.mistakes.len(), 2);
    assert_eq!(examined.appspec.files[0].source, "a");
    assert_eq!(examined.appspec.custom_hooks["AfterInstal"][0].location, "s");
}

#[test]
fn sudo_is_whatever_ruby_takes_for_true() {
    for (value, sudo) in [("true", true), ("\"no\"", true), ("no", false), ("false", false), ("~", false)] {
        let appspec = read_ok(&format!("hooks:\n  AfterInstall:\n    - location: a\n      sudo: {value}\n"));
        assert_eq!(appspec.hooks[&LifecycleEvent::AfterInstall][0].sudo, sudo, "{value}");
    }
}

#[test]
fn permissions_say_what_they_may() {
    let one = |rest: &str| format!("permissions:\n  - object: /a\n    {rest}\n");
    for (mode, bits) in [("644", 0o644), ("0644", 0o644), ("\"0755\"", 0o755), ("4755", 0o4755), ("7", 7)] {
        assert_eq!(read_ok(&one(&format!("mode: {mode}"))).permissions[0].mode, Some(bits));
    }
    for (rest, said) in [
        (
            "mode: 888",
            "5:11: permissions[0].mode: invalid mode `888`: write up to four digits 0-7, for example 0644",
        ),
        (
            "mode: +7",
            "5:11: permissions[0].mode: invalid mode `+7`: write up to four digits 0-7, for example 0644",
        ),
        ("owner: 1000", "5:12: permissions[0].owner: 1000 is a number: owners and groups are given by name"),
        ("type: file", "5:11: permissions[0].type: must be a list, not a single value: write `type: [file]`"),
        ("type: [link]", "5:12: permissions[0].type[0]: `link` is neither file nor directory"),
    ] {
        check_body(&one(rest), &[&format!("appspec.yml:{said}")]);
    }
}

#[test]
fn acl_entries_have_codedeploys_forms() {
    for (text, default, kind, bits) in [
        ("u:deploy:rw", false, AceKind::User("deploy".into()), 6),
        ("deploy:7", false, AceKind::User("deploy".into()), 7),
        ("d:g:web:r-x", true, AceKind::Group("web".into()), 5),
        ("default:other::r", true, AceKind::Other, 4),
        ("m::r", false, AceKind::Mask, 4),
        ("mask:r", false, AceKind::Mask, 4),
    ] {
        let body = format!("permissions:\n  - object: /a\n    acls: [\"{text}\"]\n");
        assert_eq!(read_ok(&body).permissions[0].acls, [Ace { default, kind, bits }], "{text}");
    }
    for text in ["u::rw", "m:name:r", "d:d:x:r", "a:b:c:d:r", "u:x:8", "u:x:", ""] {
        let body = format!("permissions:\n  - object: /a\n    acls: [\"{text}\"]\n");
        assert_eq!(verdict(format!("{HEAD}{body}").as_bytes()).len(), 1, "{text}");
    }
}

#[test]
fn selinux_ranges_are_rewritten_canonically() {
    for (range, canonical) in [
        ("s0-s2:c1,c2,c3,c7", Some("s0-s2:c1.c3,c7")),
        ("s0", Some("s0")),
        ("s0:c0.c1023", Some("s0:c0.c1023")),
        ("s3-s1", None),
        ("s0:c1,c1", None),
        ("s0:c1024", None),
        ("x", None),
    ] {
        let body =
            format!("{HEAD}permissions:\n  - object: /a\n    context: {{type: t, range: \"{range}\"}}\n");
        let got = parse("appspec.yml", body.as_bytes()).ok();
        let got = got.and_then(|parsed| Some(parsed.appspec.permissions[0].context.clone()?.range));
        assert_eq!(got.as_deref(), canonical, "{range}");
    }
}

#[test]
fn aliases_cannot_make_a_small_file_large() {
    let mut text = format!("{HEAD}a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        text += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    let said = verdict(text.as_bytes());
    assert!(said[0].contains("aliases make this file larger"), "{said:?}");
    let deep = format!("{HEAD}files: {}", "[".repeat(10_000));
    let said = verdict(deep.as_bytes());
    assert!(said.len() == 1 && said[0].ends_with(": nested deeper than any AppSpec file is"), "{said:?}");
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,200}") {
        let _ = verdict(text.as_bytes());
        let _ = verdict(format!("{HEAD}files:\n  - {text}").as_bytes());
        let _ = verdict(format!("{HEAD}hooks:\n  AfterInstall:\n    - location: {text}").as_bytes());
    }

    #[test]
    fn no_soup_of_yaml_makes_the_parser_panic(
        words in proptest::collection::vec(
            prop::sample::select(vec![
                "version:", " ", "0.0", "\n", "os", ": ", "linux", "- ", "hooks:\n", "  ", "[", "]", "{", "}",
                "&a ", "*a", "<<: ", "\"", "'", "|", ">", "---", "\t", "#", "!!str ", "? ", "permissions:\n",
                "files:\n", "acls: ", "mode: ", "0644", "~", "..", "timeout: ", "1:2:3", "\u{feff}",
            ]),
            0..60,
        )
    ) {
        let _ = verdict(words.concat().as_bytes());
    }
}

#[test]
fn events_of_the_users_own_are_read_where_they_are_named() {
    let text = b"version: 0.0\nos: linux\nhooks:\n  Smoke:\n    - location: h.sh\n";
    assert!(parse("appspec.yml", text).is_err());
    let names = ["Smoke".to_owned()];
    for custom in [CustomEvents::Only(&names), CustomEvents::Any] {
        let parsed = parse_with("appspec.yml", text, custom).expect("read");
        assert_eq!(parsed.appspec.custom_hooks["Smoke"][0].location, "h.sh");
    }
}
