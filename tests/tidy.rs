//! Checks what ARCHITECTURE.md says about the layout.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf()
}

/// Returns all Rust files below a folder of the workspace, with their text.
fn sources(folder: &str) -> Vec<(String, String)> {
    fn walk(path: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() && entry.file_name().is_some_and(|name| name != "target") {
                walk(&entry, found);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&entry).expect("a text");
                found.push((entry.strip_prefix(root()).expect("below").display().to_string(), text));
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    assert!(!found.is_empty(), "{folder} has no sources: this test would hold nothing");
    found
}

fn no_line(folders: &[&str], wrong: impl Fn(&str) -> bool, rule: &str) {
    let mut broken = Vec::new();
    for folder in folders {
        for (path, text) in sources(folder).into_iter().filter(|(path, _)| !path.ends_with("tidy.rs")) {
            let lines = text.lines().enumerate().filter(|(_, line)| wrong(line));
            broken.extend(lines.map(|(at, line)| format!("{path}:{}: {}", at + 1, line.trim())));
        }
    }
    assert!(broken.is_empty(), "{rule}:\n{}", broken.join("\n"));
}

const ALL: [&str; 4] = ["proto", "agent", "sim", "tests"];

#[test]
fn dependencies_point_one_way() {
    let manifest =
        |folder: &str| fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("a manifest");
    for banned in ["tokio", "libp2p", "sled", "skein-agent", "skein-sim"] {
        assert!(!manifest("proto").contains(banned), "proto must not depend on {banned}");
    }
    assert!(!manifest("agent").contains("skein-sim"), "agent and sim never know each other");
    assert!(!manifest("sim").contains("skein-agent"), "agent and sim never know each other");
}

#[test]
fn proto_has_no_world() {
    let worldly =
        ["std::fs", "std::net", "std::env", "Instant::now", "SystemTime", "async fn", "Mutex", "println!"];
    no_line(&["proto/src"], |line| worldly.iter().any(|word| line.contains(word)), "proto touches no world");
}

#[test]
fn only_the_ledger_knows_raft() {
    for (path, text) in sources("proto/src").into_iter().filter(|(path, _)| !path.contains("src/ledger")) {
        assert!(!text.contains("use raft") && !text.contains("eraftpb"), "{path} knows raft-rs");
    }
}

/// Returns true if the line compares what a deployment's kind is derived from, or
/// matches it, instead of asking the kind. Constructing these values is fine.
fn asks_around_the_kind(line: &str) -> bool {
    // A group owes a rollback: that is another field.
    let code = line.split("//").next().unwrap_or_default().replace("owes_rollback_of", "owed");
    let values =
        ["Creator::User", "Creator::Rollback", "Creator::Autoscale", "Mode::Standard", "Mode::Restart"];
    let words = [
        "creator ==",
        "creator !=",
        "match submission.creator",
        "policy.mode ==",
        "policy.mode !=",
        "match policy.mode",
        "rollback_of.is_some()",
        "rollback_of.is_none()",
        "rollback_of: Some(_)",
        "rollback_of: None, .. }",
        "\"autoscale\"",
    ];
    let has = |code: &str, words: &[&str]| words.iter().any(|word| code.contains(word));
    // Before the arrow stands what is matched, after it what is made of it.
    let is_matched = code.split_once("=>").is_some_and(|(pattern, _)| has(pattern, &values));
    has(&code, &words) || is_matched || has(&code, &values) && has(&code, &["==", "!=", "matches!"])
}

#[test]
fn only_its_table_tells_the_kind_of_a_deployment() {
    // The simulator's model is a second opinion, so it reads the rules for itself.
    // Views turn what is shown back into a kind in one place.
    let may = ["proto/src/deployment_kind", "sim/src/model", "agent/src/view/deployment_view.rs"];
    // A stored form lists its values, and decides nothing.
    let forms = ["form", "forms", "stored", "versioned"];
    let is_form = |path: &str| path.split(['/', '.']).any(|part| forms.contains(&part));
    // The creator's name in JSON.
    let is_name = |path: &str, line: &str| path == "proto/src/entry.rs" && line.contains("=> \"");
    let mut broken = Vec::new();
    for (path, text) in ["proto/src", "agent/src", "sim/src"].into_iter().flat_map(sources) {
        let is_exempt = may.iter().any(|start| path.starts_with(start)) || is_form(&path);
        if is_exempt || path.ends_with("tests.rs") || path.contains("/tests/") {
            continue;
        }
        let lines = text.lines().enumerate();
        let wrong = lines.filter(|(_, line)| asks_around_the_kind(line) && !is_name(&path, line));
        broken.extend(wrong.map(|(at, line)| format!("{path}:{}: {}", at + 1, line.trim())));
    }
    assert!(broken.is_empty(), "ask `kind()` of proto/src/deployment_kind.rs:\n{}", broken.join("\n"));
}

#[test]
fn a_question_around_the_kind_is_found() {
    for line in [
        "if submission.creator != Creator::User {",
        "            Creator::Rollback | Creator::Autoscale => false,",
        "let is_back = self.submission.rollback_of.is_some();",
        "let is_restart = submission.policy.mode == Mode::Restart;",
        "if view.creator == \"autoscale\" {",
    ] {
        assert!(asks_around_the_kind(line), "{line}");
    }
    for line in [
        "creator: Creator::User,",
        "0 => (Creator::Autoscale, None),",
        "policy.mode = Mode::Restart;",
        "// creator == Creator::User",
    ] {
        assert!(!asks_around_the_kind(line), "{line}");
    }
}

#[test]
fn nothing_is_left_undone() {
    let marks = ["TODO", "FIXME", "XXX", "todo!(", "unimplemented!(", "#[ignore", "allow(dead_code", "dbg!("];
    no_line(
        &ALL,
        |line| marks.iter().any(|mark| line.contains(mark)),
        "unfinished work has an issue, not a mark",
    );
}

#[test]
fn modules_lie_beside_their_folder() {
    for folder in ALL {
        for (path, _) in sources(folder) {
            assert!(!path.ends_with("mod.rs"), "{path}: `part.rs` beside `part/`, no mod.rs");
        }
    }
}

/// Returns true if the text names the file in backquotes, alone or in a path.
/// The name of its folder counts, too.
fn names(text: &str, file: &str) -> bool {
    let folder = file.replace(".rs", "/");
    let mut quoted = text.split('`').skip(1).step_by(2);
    quoted.any(|words| words == file || words == folder)
}

#[test]
fn the_code_map_names_every_part() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("a text");
    let (_, map) = page.split_once("## Code map").expect("a code map");
    let (map, _) = map.split_once("\n## ").expect("its end");
    let mut missing = Vec::new();
    for folder in ["proto", "agent", "sim"] {
        let start = format!("- `{folder}/`:");
        let (_, of_it) = map.split_once(&start).unwrap_or_else(|| panic!("the code map lacks {folder}"));
        let of_it = of_it.split("\n- ").next().unwrap_or_default();
        let src = format!("{folder}/src/");
        for (path, _) in sources(&src) {
            let file = path.strip_prefix(&src).expect("below");
            let is_part = !file.contains('/') && !["lib.rs", "main.rs"].contains(&file);
            if is_part && !names(of_it, file) {
                missing.push(path);
            }
        }
    }
    assert!(missing.is_empty(), "the code map of ARCHITECTURE.md lacks:\n{}", missing.join("\n"));
}

#[test]
fn files_stay_readable() {
    /// Half as long again as a file should be. A longer file may hold two
    /// parts.
    const LINES_MAX: usize = 560;
    for folder in ALL {
        for (path, text) in sources(folder) {
            let lines = text.lines().count();
            assert!(lines <= LINES_MAX, "{path} has {lines} lines: two things?");
        }
    }
}

#[test]
fn public_names_use_the_table_of_words() {
    // The words in the "Not" column of ARCHITECTURE.md that have no other use.
    let banned = ["cluster", "artifact", "daemonset", "strategy", "Manager", "util"];
    let is_public_name = |line: &str| {
        let line = line.trim_start();
        ["pub fn", "pub struct", "pub enum", "pub mod", "pub const", "pub(crate) fn", "pub(crate) struct"]
            .iter()
            .any(|start| line.starts_with(start))
    };
    no_line(
        &["proto/src", "agent/src", "sim/src"],
        |line| is_public_name(line) && banned.iter().any(|word| line.contains(word)),
        "names come from the table of words",
    );
}

/// File names that still occur twice in their crate. Only remove names here.
const NAMES_THAT_REPEAT: [&str; 14] = [
    "proto/src: bounds.rs",
    "proto/src: catch_up.rs",
    "proto/src: entry.rs",
    "proto/src: health.rs",
    "proto/src: recovery.rs",
    "proto/src: statement.rs",
    "proto/src: stored.rs",
    "agent/src: alarm.rs",
    "agent/src: config.rs",
    "agent/src: local.rs",
    "sim/src: catch_up.rs",
    "sim/src: health.rs",
    "sim/src: report.rs",
    "sim/src: watches.rs",
];

/// Returns the file names that occur more than once. A released form has the same files in
/// each version, and tests may bear the name of the file that they test.
fn repeated_names<'a>(paths: &[&'a str]) -> Vec<&'a str> {
    let is_exempt =
        |path: &str| path.ends_with("/tests.rs") || path.contains("/tests/") || path.contains("/form/v");
    let mut names: Vec<&str> =
        paths.iter().filter(|path| !is_exempt(path)).filter_map(|path| path.rsplit('/').next()).collect();
    names.sort_unstable();
    let mut repeated: Vec<&str> =
        names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    repeated.dedup();
    repeated
}

#[test]
fn file_names_are_unique_within_a_crate() {
    let mut wrong = Vec::new();
    let mut seen = Vec::new();
    for folder in ["proto/src", "agent/src", "sim/src"] {
        let files = sources(folder);
        let paths: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
        for name in repeated_names(&paths) {
            let entry = format!("{folder}: {name}");
            if !NAMES_THAT_REPEAT.contains(&entry.as_str()) {
                wrong.push(entry.clone());
            }
            seen.push(entry);
        }
    }
    assert!(wrong.is_empty(), "name a file after what it does:\n{}", wrong.join("\n"));
    let stale: Vec<_> = NAMES_THAT_REPEAT.iter().filter(|name| !seen.iter().any(|it| it == *name)).collect();
    assert!(stale.is_empty(), "these names are unique now, so take them off the list: {stale:?}");
}

#[test]
fn a_repeated_file_name_is_found() {
    let paths = ["a/src/view/plan.rs", "a/src/plan.rs", "a/src/cli/plan.rs", "a/src/group.rs"];
    assert_eq!(repeated_names(&paths), ["plan.rs"]);
    let exempt = ["a/src/x/tests.rs", "a/src/y/tests.rs", "a/src/form/v4/body.rs", "a/src/form/v5/body.rs"];
    assert!(repeated_names(&exempt).is_empty());
}
