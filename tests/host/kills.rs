//! `kill -9` at every step of an installation.

#![cfg(target_arch = "x86_64")]

use std::path::PathBuf;

use crate::steps::{Ended, can_trace, kill_at};
use crate::world::{FOREIGN, Host, Tree, said};

/// Three revisions that share some names and differ in others.
const REVISIONS: [(&str, [(&str, &str); 3]); 3] = [
    ("v1", [("page", "one"), ("sub/a", "one"), ("shared/own", "one")]),
    ("v2", [("page", "two"), ("new/deep/b", "two"), ("shared/own", "two")]),
    ("v3", [("page", "three"), ("sub/a", "three"), ("c", "three")]),
];

fn foreign() -> Tree {
    FOREIGN.iter().map(|(name, text)| ((*name).to_owned(), format!("644 {text}"))).collect()
}

fn whole(revision: usize) -> Tree {
    let files = REVISIONS[revision].1.iter();
    foreign()
        .into_iter()
        .chain(files.map(|(name, text)| ((*name).to_owned(), format!("640 {text}"))))
        .collect()
}

/// What somebody sees who looks just now: foreign files as they were, and of
/// ours whole ones only, of the old revision or the new. Modes come after.
fn check_nothing_is_half_written(host: &Host, revisions: [usize; 2], step: usize) {
    let tree = host.tree();
    for (name, text) in foreign() {
        assert_eq!(tree.get(&name), Some(&text), "step {step} touched a foreign file");
    }
    let is_ours = |name: &str| foreign().keys().all(|foreign| foreign != name) && !name.contains(".skein-");
    for (name, text) in tree.iter().filter(|(name, _)| is_ours(name)) {
        let content = text.split_once(' ').map(|(_, content)| content);
        let whole = revisions.iter().flat_map(|revision| REVISIONS[*revision].1);
        let mut of_name = whole.filter(|(known, _)| known == name).map(|(_, content)| Some(content));
        assert!(of_name.any(|whole| whole == content), "step {step}: `{name}` is {text}");
    }
}

/// Kills at each step that `counts`, and deploys again each time.
fn kill_everywhere(
    host: &Host,
    steps: std::ops::Range<usize>,
    every: usize,
    counts: impl Fn() -> bool,
) -> usize {
    let bundles: Vec<PathBuf> = REVISIONS
        .iter()
        .map(|(name, files)| {
            host.bundle(name, files, &[("AfterInstall", "true"), ("ApplicationStop", "true")])
        })
        .collect();
    let deploy = |revision: usize| {
        let output = host.local(&bundles[revision], &[]).output().expect("it runs");
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(host.tree(), whole(revision));
        assert!(!host.installing().exists());
    };
    deploy(0);
    let mut current = 0;
    for step in steps.step_by(every) {
        let next = (current + 1) % REVISIONS.len();
        let ended = kill_at(host.local(&bundles[next], &[]), step, &counts);
        check_nothing_is_half_written(host, [current, next], step);
        if let Ended::ByItself(code) = ended {
            assert_eq!(code, 0, "step {step}");
            assert_eq!(host.tree(), whole(next));
            return step;
        }
        // The same once more, or the one after it.
        current = if step % 2 == 0 { next } else { (next + 1) % REVISIONS.len() };
        deploy(current);
    }
    panic!("it never ended by itself");
}

#[test]
fn killed_at_any_step_of_an_install_a_host_ends_in_a_whole_revision() {
    if !can_trace() {
        println!("skipped: needs ptrace");
        return;
    }
    let host = Host::new();
    let installing = host.installing();
    let steps = kill_everywhere(&host, 0..1_000, 1, || installing.exists());
    assert!(steps > 40, "only {steps} steps were seen");
}

#[test]
fn killed_at_any_step_before_its_install_a_deployment_leaves_the_old_revision() {
    if !can_trace() {
        println!("skipped: needs ptrace");
        return;
    }
    let host = Host::new();
    // From its first step on; those of the install have their own test.
    let steps = kill_everywhere(&host, 0..2_000, 7, || true);
    assert!(steps > 80, "only {steps} steps were seen");
}
