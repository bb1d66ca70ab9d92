//! Kills skein with `kill -9` at every step of an installation.

#![cfg(target_arch = "x86_64")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::steps::{Ended, can_trace, kill_at};
use crate::world::{FOREIGN, Host, Tree, expect, said};

/// Three revisions that have some file names in common and differ in others.
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

/// Checks what a reader sees at this moment: foreign files are unchanged, and
/// each of our files is complete, in the old revision or the new one. Modes are
/// set later.
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

/// Kills skein at each step that `counts`, and deploys again each time.
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
        // Deploys the same revision again, or the one after it.
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
    // Counts from the first step of the deployment. The steps of the
    // installation itself have their own test.
    let steps = kill_everywhere(&host, 0..2_000, 7, || true);
    assert!(steps > 80, "only {steps} steps were seen");
}

/// Returns, for each pid in the file, true if the process runs.
fn pids_run(file: &Path) -> Vec<bool> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let stat = |pid: &str| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A zombie counts as gone: only its parent has not waited for it yet.
    text.split_whitespace().map(stat).map(|stat| !stat.is_empty() && !stat.contains(") Z ")).collect()
}

#[track_caller]
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < Duration::from_secs(60), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Returns the files in the directories of all deployments whose names start
/// with `prefix`.
fn beside_archives(host: &Host, prefix: &str) -> Vec<PathBuf> {
    let group = host.root().join("default-local-deployment-group");
    let deployments = fs::read_dir(group).expect("deployments").flatten();
    let files = deployments.flat_map(|dir| fs::read_dir(dir.path()).expect("a directory").flatten());
    let named = files.filter(|file| file.file_name().to_string_lossy().starts_with(prefix));
    named.map(|file| file.path()).collect()
}

#[test]
fn a_script_that_outlives_its_deployment_is_ended_before_another_runs() {
    let host = Host::new();
    let at = |name: &str| host.path().join(name);
    // No process of it outlives the test.
    let hang = format!("while [ -d {} ]; do sleep 0.1; done", host.root().display());
    let leave = format!("({hang}) >/dev/null 2>&1 & echo $! >{}", at("service").display());
    let together = format!(
        "(trap '' TERM; {hang}) & echo \"$! $$\" >{}.new; mv {0}.new {0}; {hang}",
        at("hang").display()
    );
    let v1 = host.bundle("v1", &[("page", "one")], &[("BeforeInstall", &leave), ("AfterInstall", &together)]);
    let look = format!(
        "for pid in $(cat {}); do grep -qv ') Z ' /proc/$pid/stat && echo $pid >>{}; done; : >{}",
        at("hang").display(),
        at("met").display(),
        at("looked").display()
    );
    let v2 = host.bundle("v2", &[("page", "two")], &[("BeforeInstall", &look)]);

    let mut deploying = host.local(&v1, &[]).spawn().expect("it runs");
    wait_until("the script hangs", || pids_run(&at("hang")) == [true, true]);
    deploying.kill().expect("ours");
    deploying.wait().expect("ours");
    assert_eq!(pids_run(&at("hang")), [true, true], "nobody but a deployment ends them");

    expect(host.local(&v2, &[]), 0, &[]);
    assert!(at("looked").exists());
    assert_eq!(fs::read_to_string(at("met")).unwrap_or_default(), "", "they were met by the next script");
    assert_eq!(pids_run(&at("hang")), [false, false]);
    assert_eq!(pids_run(&at("service")), [true], "it was left by a script that had ended");
    assert_eq!(beside_archives(&host, "running-"), Vec::<PathBuf>::new());
    let logs = beside_archives(&host, "logs");
    let said = |dir: &PathBuf| fs::read_to_string(dir.join("scripts.log")).unwrap_or_default();
    let told = "Warning - AfterInstall.sh of AfterInstall went on when its agent was killed, and was ended";
    assert!(logs.iter().any(|dir| said(dir).contains(told)));
}

#[test]
fn a_script_whose_deployment_lives_is_not_touched_by_another() {
    let host = Host::new();
    let at = |name: &str| host.path().join(name);
    let wait = format!(
        "echo $$ >{}.new; mv {0}.new {0}; while [ -d {} ] && [ ! -e {} ]; do sleep 0.1; done",
        at("waits").display(),
        host.root().display(),
        at("go").display()
    );
    let v1 = host.bundle("v1", &[("page", "one")], &[("AfterInstall", &wait)]);
    let v2 = host.bundle("v2", &[("page", "two")], &[("AfterInstall", "true")]);

    let mut deploying = host.local(&v1, &[]).spawn().expect("it runs");
    wait_until("the script waits", || pids_run(&at("waits")) == [true]);
    let noted = beside_archives(&host, "running-");
    assert_eq!(noted.len(), 1);
    assert_eq!(fs::metadata(&noted[0]).expect("there").permissions().mode() & 0o777, 0o600);
    expect(host.local(&v2, &[]), 0, &[]);
    assert_eq!(pids_run(&at("waits")), [true]);
    assert_eq!(beside_archives(&host, "running-"), noted);

    fs::write(at("go"), "").expect("written");
    assert!(deploying.wait().expect("ours").success());
    assert_eq!(beside_archives(&host, "running-"), Vec::<PathBuf>::new());
}
