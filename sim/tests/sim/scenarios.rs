//! Plays each scenario, and compares its text with the golden file beside it.

use std::fs;
use std::path::{Path, PathBuf};

use sim::scenario::{Mistake, Scenario, perform};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

fn scenarios() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).expect("the folder of scenarios");
    let files = entries.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = files.filter(|file| file.extension().is_some_and(|e| e == "txt")).collect();
    files.sort();
    files
}

/// Plays a scenario and returns its text; fails if an expectation does not hold,
/// even if the golden file agrees.
fn play(file: &Path) -> Result<String, String> {
    let name = file.file_name().expect("a name").to_string_lossy();
    let text = fs::read_to_string(file).expect("a text");
    let told = |mistakes: Vec<Mistake>| mistakes.iter().map(|m| format!("{m}\n")).collect::<String>();
    let scenario = Scenario::parse(&name, &text).map_err(told)?;
    let performance = perform(&scenario, 1, |_| {});
    if performance.holds { Ok(performance.text) } else { Err(performance.text) }
}

fn is_written_anew() -> bool {
    std::env::var("SKEIN_GOLDEN").is_ok_and(|value| value == "write")
}

fn compare(file: &Path) -> Result<(), String> {
    let text = play(file)?;
    let golden = file.with_extension("out");
    if is_written_anew() {
        fs::write(&golden, text).expect("the golden text can be written");
        return Ok(());
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    let mut lines = (1..).zip(expected.lines().zip(text.lines()));
    match lines.find(|(_, (expected, got))| expected != got) {
        Some((line, (expected, got))) => {
            Err(format!("{}:{line}\n  was: {expected}\n  is:  {got}", golden.display()))
        }
        None if expected == text => Ok(()),
        None => Err(format!(
            "{} has {} lines, the story now {}",
            golden.display(),
            expected.lines().count(),
            text.lines().count()
        )),
    }
}

#[test]
fn every_scenario_is_told_as_its_golden_text_says() {
    let wrong: Vec<String> = scenarios()
        .iter()
        .filter_map(|file| compare(file).err().map(|what| format!("{}:\n{what}", file.display())))
        .collect();
    assert!(
        wrong.is_empty(),
        "{}\n{} scenarios differ. If that is how it should be: \
         SKEIN_GOLDEN=write cargo test -p skein-sim --test sim scenarios, and read the differences",
        wrong.join("\n\n"),
        wrong.len()
    );
}

#[test]
fn no_golden_text_is_without_its_scenario() {
    let entries =
        fs::read_dir(folder()).expect("the folder of scenarios").map(|e| e.expect("an entry").path());
    let golden: Vec<PathBuf> = entries.filter(|file| file.extension().is_some_and(|e| e == "out")).collect();
    for file in &golden {
        assert!(file.with_extension("txt").exists(), "{} belongs to no scenario", file.display());
    }
    assert!(is_written_anew() || golden.len() == scenarios().len());
}

#[test]
fn golden_texts_hold_no_random_ids() {
    for file in scenarios() {
        let golden = fs::read_to_string(file.with_extension("out")).unwrap_or_default();
        let is_id = |word: &&str| {
            let id = word.strip_prefix("d-").unwrap_or_default();
            id.len() == 9 && id.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
        };
        let mut words = golden.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        assert_eq!(words.find(is_id), None, "{}", file.display());
    }
}
