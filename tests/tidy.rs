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
    for folder in ["proto/src", "agent/src", "sim/src"] {
        let files = sources(folder);
        let paths: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
        wrong.extend(repeated_names(&paths).into_iter().map(|name| format!("{folder}: {name}")));
    }
    assert!(wrong.is_empty(), "name a file after what it does:\n{}", wrong.join("\n"));
}

#[test]
fn a_repeated_file_name_is_found() {
    let paths = ["a/src/view/plan.rs", "a/src/plan.rs", "a/src/cli/plan.rs", "a/src/group.rs"];
    assert_eq!(repeated_names(&paths), ["plan.rs"]);
    let exempt = ["a/src/x/tests.rs", "a/src/y/tests.rs", "a/src/form/v4/body.rs", "a/src/form/v5/body.rs"];
    assert!(repeated_names(&exempt).is_empty());
}

/// Returns what is wrong with the list of mutants: files that do not exist, and texts that
/// do not occur exactly once, so that the mutant could not be built.
fn mutants_without_their_text(list: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut name = "";
    let mut lines = list.lines();
    while let Some(line) = lines.next() {
        if let Some(mutant) = line.strip_prefix("mutant ") {
            name = mutant;
        }
        let Some(path) = line.strip_prefix("file ") else { continue };
        let old: Vec<&str> = lines.by_ref().skip(1).take_while(|line| *line != "new").collect();
        let old = old.join("\n");
        match read(path) {
            None => wrong.push(format!("{name}: no file {path}")),
            Some(text) if text.matches(&old).count() != 1 => {
                wrong.push(format!("{name}: {} times in {path}: {old}", text.matches(&old).count()));
            }
            Some(_) => {}
        }
    }
    wrong
}

#[test]
fn every_mutant_finds_its_text_once() {
    let root = root();
    let list = fs::read_to_string(root.join("sim/mutants.txt")).expect("the list of mutants");
    let wrong = mutants_without_their_text(&list, |path| fs::read_to_string(root.join(path)).ok());
    assert!(wrong.is_empty(), "mend sim/mutants.txt:\n{}", wrong.join("\n"));
    let stale = "mutant a part\nfile x.rs\nold\n    b\nnew\n    c\nend\n";
    assert_eq!(mutants_without_their_text(stale, |_| Some("    b\n".into())), Vec::<String>::new());
    assert_eq!(mutants_without_their_text(stale, |_| Some("c".into())).len(), 1);
    assert_eq!(mutants_without_their_text(stale, |_| None).len(), 1);
}

/// Words of another language's grammar, or of our own, and what the field says instead.
const UNUSUAL: [(&str, &str); 8] = [
    ("any more", "no longer"),
    ("for ever", "forever, or without end"),
    ("by a mistake of ours", "internal error"),
    ("parted by", "separated by"),
    ("on and on", "too many, with the limit"),
    ("untold", "unannounced, or undelivered"),
    ("spoiled", "failed, or ended unhealthy"),
    ("hopeless", "unsatisfiable"),
];

/// Returns true if the line has the words, and not only as a part of longer ones.
fn has_words(line: &str, words: &str) -> bool {
    let is_letter = |next: char| next.is_alphanumeric() || next == '_';
    line.match_indices(words)
        .any(|(at, _)| !line[..at].ends_with(is_letter) && !line[at + words.len()..].starts_with(is_letter))
}

#[test]
fn texts_and_names_use_the_words_of_the_field() {
    let unusual = |line: &str| UNUSUAL.iter().any(|(words, _)| has_words(line, words));
    let folders = ["proto/src", "agent/src", "sim/src", "tests"];
    no_line(&folders, unusual, &format!("say it in plain English: {UNUSUAL:?}"));
    assert!(has_words("it is not there any more.", "any more") && !has_words("for everything", "for ever"));
    assert!(!has_words("many more", "any more"));
}

#[test]
fn the_core_knows_no_command_line() {
    let is_told = |line: &str| {
        let code = line.split("//").next().unwrap_or_default();
        ["`skein ", " --", "(--", "`--"].iter().any(|start| {
            let mut found = code.match_indices(start).map(|(at, _)| &code[at + start.len()..]);
            found.any(|rest| rest.starts_with(|next: char| next.is_ascii_lowercase()))
        })
    };
    no_line(
        &["proto/src"],
        is_told,
        "a refusal says what is wrong; agent/src/refusal_advice.rs says which command helps",
    );
    assert!(is_told("    \"wait, or submit with --queue\"") && !is_told("    // see `skein plan`"));
}
