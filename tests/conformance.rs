//! Compares skein with recordings of the official CodeDeploy agent 1.8.1, on
//! bundles that were made for this purpose: `tests/conformance/*`.
//!
//! Each case is a directory of bundles and a `case.json`. A step's `expect` is
//! what was recorded; `ours` names what skein does differently on purpose, and
//! why. In all files, `/conformance` stands for the directory in which the case
//! runs, and `<DEPLOYMENT_n>` for its n-th deployment.
//!
//! Two differences occur at nearly every step and are removed before the
//! comparison: skein starts hooks in the revision's directory, and ends every
//! line of output as a line.
//!
//! File owners need root, and the user `cdtest` must exist. So everything runs
//! in its own namespaces, with another /etc/passwd.

#[path = "conformance/judging.rs"]
mod judging;
#[path = "conformance/listing.rs"]
mod listing;
#[path = "s3_revision.rs"]
mod s3_revision;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use judging::judge;
use listing::entry_line;
use serde_json::{Map, Value, json};

/// Set in the process that runs in the namespaces.
const INSIDE: &str = "SKEIN_CONFORMANCE_INSIDE";
const PLACEHOLDER: &str = "/conformance";
const GROUP: &str = "default-local-deployment-group";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const ALL_EVENTS: &str = "BeforeBlockTraffic,AfterBlockTraffic,ApplicationStop,DownloadBundle,BeforeInstall,\
                          Install,AfterInstall,ApplicationStart,ValidateService,BeforeAllowTraffic,\
                          AfterAllowTraffic";
/// The number of cases that run at the same time. They spend most of their time
/// waiting.
const AT_ONCE: usize = 4;

fn main() -> ExitCode {
    let filters: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if std::env::args().any(|word| word == "--list") {
        return ExitCode::SUCCESS;
    }
    if std::env::var_os(INSIDE).is_some() {
        return inside(&filters);
    }
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--mount-proc", "--propagation", "private", "--"]);
        command
    };
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if !is_root || !unshare().arg("true").output().is_ok_and(|output| output.status.success()) {
        println!("conformance: skipped: needs root");
        return ExitCode::SUCCESS;
    }
    let own = std::env::current_exe().expect("this program has a path");
    let status = unshare().arg(own).args(&filters).env(INSIDE, "1").status().expect("unshare runs");
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn inside(filters: &[String]) -> ExitCode {
    let base = tempfile::TempDir::new().expect("a temporary directory");
    fs::set_permissions(base.path(), Permissions::from_mode(0o755)).expect("opened to cdtest");
    make_user(base.path());
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance");
    let mut names: Vec<String> = fs::read_dir(&cases)
        .expect("the cases are there")
        .map(|entry| entry.expect("readable"))
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| filters.is_empty() || filters.iter().any(|filter| name.contains(filter)))
        .collect();
    names.sort();
    let (next, wrong) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (rows, failed) = Case::load(&cases, base.path(), name).run();
                    wrong.fetch_add(failed, Ordering::Relaxed);
                    print!("{rows}");
                }
            });
        }
    });
    match wrong.into_inner() {
        0 => ExitCode::SUCCESS,
        wrong => {
            println!("conformance: {wrong} steps are not as they should be");
            ExitCode::FAILURE
        }
    }
}

/// Adds the user and the group `cdtest`, and a supplementary group of the user,
/// in this mount namespace only.
fn make_user(base: &Path) {
    let home = base.join("home");
    fs::create_dir(&home).expect("made");
    std::os::unix::fs::chown(&home, Some(4242), Some(4242)).expect("given away");
    let user = format!("cdtest:x:4242:4242::{}:/bin/sh\n", home.display());
    // `su` refuses a user that has no entry in /etc/shadow.
    let files = [
        ("passwd", user),
        ("group", "cdtest:x:4242:\ncdextra:x:4343:cdtest\n".to_owned()),
        ("shadow", "cdtest:*:19000:0:99999:7:::\n".to_owned()),
    ];
    for (file, line) in files {
        let system = Path::new("/etc").join(file);
        let known = fs::read_to_string(&system).expect("readable");
        let others =
            known.lines().filter(|line| !line.starts_with("cdtest:") && !line.starts_with("cdextra:"));
        let content: String = others.map(|line| format!("{line}\n")).collect();
        let copy = base.join(file);
        fs::write(&copy, content + &line).expect("written");
        let mode = fs::metadata(&system).expect("there").permissions();
        fs::set_permissions(&copy, mode).expect("set");
        let output = Command::new("mount").arg("--bind").args([&copy, &system]).output().expect("mount runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

struct Case {
    name: String,
    /// The directory for which `/conformance` stands.
    dir: PathBuf,
    home: PathBuf,
    case: Value,
    /// The ids of the deployments so far, in the order of their steps.
    deployments: Vec<String>,
}

impl Case {
    fn load(cases: &Path, base: &Path, name: &str) -> Case {
        let dir = base.join(name);
        for (part, mode) in [("cwd", 0o755), ("dest", 0o755), ("root", 0o755), ("trace", 0o777)] {
            fs::create_dir_all(dir.join(part)).expect("made");
            fs::set_permissions(dir.join(part), Permissions::from_mode(mode)).expect("set");
        }
        let text = fs::read_to_string(cases.join(name).join("case.json")).expect("a case has a case.json");
        let work = dir.join("case").join(name);
        fs::create_dir_all(&work).expect("made");
        copy(&cases.join(name), &work, &dir.display().to_string());
        let config = format!(":root_dir: {}\n", dir.join("root").display());
        fs::write(dir.join("agent.yml"), config).expect("written");
        let case = serde_json::from_str(&text).expect("case.json is JSON");
        Case { name: name.to_owned(), dir, home: base.join("home"), case, deployments: Vec::new() }
    }

    /// Returns a row for each step, and the number of steps with a wrong
    /// result.
    fn run(mut self) -> (String, usize) {
        if let Some(needed) = self.missing() {
            return (format!("{:<40} skipped: needs {needed}\n", self.name), 0);
        }
        let work = self.dir.join("case").join(&self.name);
        if work.join("prepare.sh").exists() {
            self.shell("cd case/$(ls case) && sh prepare.sh");
        }
        let steps = self.case["steps"].as_array().expect("steps").clone();
        let (mut rows, mut failed) = (String::new(), 0);
        for (number, step) in (1..).zip(&steps) {
            let found = self.step(step);
            let (verdict, details) = judge(step, &found);
            failed += usize::from(!details.is_empty());
            rows += &format!("{:<40} {number:>2} {verdict}\n{details}", self.name);
        }
        (rows, failed)
    }

    fn missing(&self) -> Option<&str> {
        let needed = self.case["needs"].as_str()?;
        let is_tool = PATH.split(':').any(|dir| Path::new(dir).join(needed).exists());
        (!is_tool).then_some(needed)
    }

    fn shell(&self, command: &str) -> Vec<String> {
        let command = self.real(command);
        let output = Command::new("sh").arg("-c").arg(&command).current_dir(&self.dir).output();
        let output = output.unwrap_or_else(|error| panic!("{command}: {error}"));
        self.said(&output.stdout).lines().map(str::to_owned).collect()
    }

    /// Runs one step, and returns its result in the form of `expect`.
    fn step(&mut self, step: &Value) -> Value {
        for command in step["before"].as_array().into_iter().flatten() {
            self.shell(command.as_str().expect("a command"));
        }
        // Scripts run as several users, and otherwise the first of them would
        // own the file.
        let trace = self.dir.join("trace/trace.log");
        fs::write(&trace, "").expect("emptied");
        fs::set_permissions(&trace, Permissions::from_mode(0o666)).expect("opened to all");
        let before = self.dirs();
        let output = self.deploy(step);
        let made = self.dirs().into_iter().find(|id| !before.contains(id));
        self.deployments.extend(made.clone());
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let mut found = Map::new();
        if self.case["driver"] == "agent" {
            let events = report["events"].as_array().cloned().unwrap_or_default();
            let event = |event: &Value| {
                format!("{} {}", event["event"].as_str().unwrap_or("?"), code(&event["error_code"]))
            };
            found.insert("events".into(), events.iter().map(event).collect());
        }
        found.insert("ok".into(), output.status.success().into());
        found.insert("hooks".into(), self.lines(&trace).into());
        let log = made.iter().map(|id| (self.said(id.as_bytes()), self.scripts_log(id)));
        let log: BTreeMap<_, _> = log.filter(|(_, lines)| !lines.is_empty()).collect();
        found.insert("log".into(), json!(log));
        found.insert("tree".into(), self.tree(step).into());
        let state = self.dir.join("root/deployment-instructions");
        let mut cleanup = self.lines(&state.join(format!("{GROUP}-cleanup")));
        cleanup.sort();
        let has_cleanup = state.join(format!("{GROUP}-cleanup")).exists();
        found.insert("cleanup".into(), if has_cleanup { cleanup.into() } else { Value::Null });
        for (key, file) in [("last_successful", "last_successful"), ("most_recent", "most_recent")] {
            let marker = fs::read(state.join(format!("{GROUP}_{file}_install")));
            found.insert(key.into(), marker.map_or(Value::Null, |marker| self.said(&marker).into()));
        }
        let deployments: BTreeSet<String> = self.dirs().iter().map(|id| self.said(id.as_bytes())).collect();
        found.insert("deployments".into(), deployments.into_iter().collect());
        let after: Vec<String> = step["after"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|command| self.shell(command.as_str().expect("a command")))
            .collect();
        if step.get("after").is_some() {
            found.insert("after".into(), after.into());
        }
        found.insert("said".into(), self.said(&[output.stderr, output.stdout].concat()).into());
        Value::Object(found)
    }

    fn deploy(&self, step: &Value) -> Output {
        let word = |key: &str| step[key].as_str();
        let bundle = self.dir.join("case").join(&self.name).join(word("bundle").expect("a bundle"));
        let kind = word("type").unwrap_or("directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_skein"));
        let archive = match word("archive_cmd") {
            Some(packed) => self.packed_by(packed, kind),
            None => pack(&bundle, kind),
        };
        let revision = &step["spec"]["Revision"]["S3Revision"];
        let store = fs::read(&archive).ok().and_then(|bytes| s3_revision::Server::of(revision, bytes));
        let source = store.as_ref().map_or(archive, |store| PathBuf::from(&store.source));
        command.args(["--json", "local", "-t", kind, "-l"]).arg(source);
        command.arg("-c").arg(self.dir.join("agent.yml"));
        let args = step["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
        command.args(args.map(|arg| self.real(arg)));
        if self.case["driver"] == "agent" {
            let events = step["events"]
                .as_array()
                .map(|events| events.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","));
            command.args(["--only-events", events.as_deref().unwrap_or(ALL_EVENTS)]);
        }
        if step["keep_going"] == true {
            command.arg("--keep-going");
        }
        if step["spec"]["DeploymentType"] == "BLUE_GREEN" {
            command.arg("--blue-green-rollback");
        }
        command.env_clear().current_dir(self.dir.join("cwd"));
        command.envs([("HOME", "/root"), ("LOGNAME", "root"), ("USER", "root"), ("SHELL", "/bin/bash")]);
        command.env("PATH", PATH);
        command.envs(store.iter().flat_map(s3_revision::Server::environment));
        for (name, value) in step["env"].as_object().into_iter().flatten() {
            command.env(name, self.real(value.as_str().unwrap_or_default()));
        }
        if let Some(umask) = word("umask") {
            with_umask(&mut command, u32::from_str_radix(umask, 8).expect("octal digits"));
        }
        command.output().expect("skein runs")
    }

    /// Runs a command of the case that makes an archive at `$OUT`, and returns
    /// the archive.
    fn packed_by(&self, packed: &str, kind: &str) -> PathBuf {
        let work = self.dir.join("case").join(&self.name);
        let archive = work.join(format!("packed.{kind}"));
        let mut command = Command::new("sh");
        command.args(["-ec", packed]).env("OUT", &archive).current_dir(work);
        assert!(command.status().expect("it runs").success(), "{packed}");
        archive
    }

    fn dirs(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.join("root").join(GROUP)).into_iter().flatten();
        entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect()
    }

    fn lines(&self, file: &Path) -> Vec<String> {
        self.said(&fs::read(file).unwrap_or_default()).lines().map(str::to_owned).collect()
    }

    fn scripts_log(&self, deployment: &str) -> Vec<String> {
        let log = self.dir.join("root").join(GROUP).join(deployment).join("logs/scripts.log");
        let is_time = |text: &str| text.len() == 19 && text.starts_with("20") && text.contains(':');
        let lines = self.lines(&log).into_iter().map(|line| match line.split_at_checked(19) {
            Some((time, rest)) if is_time(time) => format!("<TIME>{rest}"),
            Some(_) | None => line,
        });
        // Only skein's log says here how a script failed.
        lines.filter(|line| !line.starts_with("<TIME> Failed - ")).collect()
    }

    fn tree(&self, step: &Value) -> Vec<String> {
        let wants_acls = step["expect"]["tree"].to_string().contains(" acl ");
        let mut lines = Vec::new();
        let top = self.dir.join("dest");
        let mut below = vec![top.clone()];
        while let Some(dir) = below.pop() {
            for entry in fs::read_dir(dir).expect("readable") {
                let path = entry.expect("readable").path();
                if path.symlink_metadata().expect("there").is_dir() {
                    below.push(path.clone());
                }
                let line = entry_line(&path, path.strip_prefix(&top).expect("below"), wants_acls);
                lines.push(self.said(line.as_bytes()));
            }
        }
        lines.sort();
        lines
    }

    /// Replaces the placeholder of the case by this run's directory.
    fn real(&self, text: &str) -> String {
        text.replace(PLACEHOLDER, &self.dir.display().to_string())
    }

    /// Replaces this run's directories and ids by the placeholders of the case.
    fn said(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes);
        let text = text.replace(&self.dir.display().to_string(), PLACEHOLDER);
        let mut text = text.replace(&self.home.display().to_string(), "/conformance/home");
        for (number, id) in (1..).zip(&self.deployments) {
            text = text.replace(id, &format!("<DEPLOYMENT_{number}>"));
        }
        text
    }
}

/// Copies a case, and replaces `/conformance` by the directory in which the
/// case runs.
fn copy(from: &Path, to: &Path, real: &str) {
    for entry in fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let metadata = from.symlink_metadata().expect("there");
        if metadata.is_dir() {
            fs::create_dir(&to).expect("made");
            copy(&from, &to, real);
        } else if metadata.is_symlink() {
            let target = fs::read_link(&from).expect("a link").display().to_string();
            std::os::unix::fs::symlink(target.replace(PLACEHOLDER, real), &to).expect("linked");
        } else {
            let content = replace(&fs::read(&from).expect("readable"), real);
            fs::write(&to, content).expect("written");
            fs::set_permissions(&to, metadata.permissions()).expect("set");
        }
    }
}

fn replace(content: &[u8], real: &str) -> Vec<u8> {
    let (mut rest, mut replaced) = (content, Vec::new());
    while let Some(at) = rest.windows(PLACEHOLDER.len()).position(|part| part == PLACEHOLDER.as_bytes()) {
        replaced.extend_from_slice(&rest[..at]);
        replaced.extend_from_slice(real.as_bytes());
        rest = &rest[at + PLACEHOLDER.len()..];
    }
    replaced.extend_from_slice(rest);
    replaced
}

/// Packs the bundle as the kind of archive that the step asks for.
fn pack(bundle: &Path, kind: &str) -> PathBuf {
    let archive = bundle.with_extension(kind);
    let mut command = match kind {
        "tar" | "tgz" => {
            let mut command = Command::new("tar");
            command.arg("-C").arg(bundle).arg(if kind == "tgz" { "-czf" } else { "-cf" });
            command.arg(&archive).arg(".");
            command
        }
        "zip" => {
            let mut command = Command::new("zip");
            command.arg("-qr").arg(&archive).arg(".").current_dir(bundle);
            command
        }
        _ => return bundle.to_owned(),
    };
    assert!(command.status().expect("it runs").success(), "{command:?}");
    archive
}

#[expect(unsafe_code, reason = "a mask can be given to another process in no other way")]
fn with_umask(command: &mut Command, umask: u32) {
    let set = move || {
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(umask));
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes one system call,
    // allocates nothing and takes no lock.
    unsafe { std::os::unix::process::CommandExt::pre_exec(command, set) };
}

/// Returns CodeDeploy's number of an error code.
fn code(name: &Value) -> u8 {
    match name.as_str() {
        Some("Success") => 0,
        Some("ScriptMissing") => 1,
        Some("ScriptNotExecutable") => 2,
        Some("ScriptTimedOut") => 3,
        Some("ScriptFailed") => 4,
        Some("OutputsLeftOpen") => 6,
        Some("FailedAfterRestart") => 7,
        Some(_) | None => 5,
    }
}
