use std::process::{Child, Stdio};

use tempfile::TempDir;
use tokio::process::Command;

use super::*;

/// A script that runs as a child of this test, and its record.
struct Outlived {
    dir: TempDir,
    child: Child,
    record: Record,
    /// The second line of the record.
    stat: String,
}

impl Outlived {
    /// Starts a script whose agent has ended. The script has a child of its own,
    /// and both ignore SIGTERM.
    fn new() -> Outlived {
        Outlived::running("trap '' TERM; sleep 600 & : >\"$0\"; wait; sleep 600", None)
    }

    /// Starts a script that creates the file `$0` once it is ready.
    fn running(script: &str, cgroup: Option<&Cgroup>) -> Outlived {
        let dir = TempDir::new().expect("a directory");
        let ready = dir.path().join("ready");
        let mut gone = Command::new("true").as_std_mut().spawn().expect("runs");
        let owner_stat = stat_of(gone.id());
        gone.wait().expect("ours");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).arg(&ready).process_group(0).stdin(Stdio::null());
        if let Some(cgroup) = cgroup {
            cgroup.enter(&mut command);
        }
        let child = command.as_std_mut().spawn().expect("runs");
        wait_at_most(Duration::from_secs(20), || ready.exists());
        let record = Record {
            reach: Reach::here().expect("there"),
            owner: Stat::parse(owner_stat.as_bytes()).expect("a line").process,
            deployment: "d-ABCDEFGHI".into(),
            event: "ApplicationStart".into(),
            script: "start.sh".into(),
            cgroup: cgroup.map(|cgroup| cgroup.place().expect("there")),
        };
        let stat = stat_of(child.id());
        Outlived { dir, child, record, stat }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("running-1.json")
    }

    /// Looks for leftover scripts, and expects this many to be ended, the record
    /// to stay or not, and the script to run or not.
    #[track_caller]
    fn check(&mut self, ended: usize, stays: bool, runs: bool) {
        let record = serde_json::to_string(&self.record).expect("text");
        fs::write(self.file(), format!("{record}\n{}", self.stat)).expect("written");
        self.check_file(ended, stays, runs);
    }

    #[track_caller]
    fn check_file(&mut self, ended: usize, stays: bool, runs: bool) {
        let patience = Patience {
            after_terminate: Duration::from_millis(100),
            for_output: Duration::from_millis(100),
            for_script: None,
        };
        let told = end_left(&[self.dir.path().to_owned()], patience);
        assert_eq!(told.len(), ended, "{told:?}");
        assert!(told.iter().all(|ended| ended.is_gone));
        let group = i32::try_from(self.child.id()).expect("a pid");
        assert_eq!((self.file().exists(), runs_in(group)), (stays, runs));
    }
}

impl Drop for Outlived {
    fn drop(&mut self) {
        // If it is gone, there is nothing to kill.
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ = group.map(|group| kill_process_group(group, Signal::KILL));
        let _ = self.child.wait();
    }
}

fn stat_of(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/stat")).expect("there")
}

#[test]
fn a_script_that_outlived_its_agent_is_ended_with_its_children() {
    let mut outlived = Outlived::new();
    outlived.check(1, false, false);
    // Look again: the second time, it is already ended.
    outlived.check(0, false, false);
}

#[test]
fn what_has_left_its_process_group_is_ended_too() {
    let Some(cgroup) = Cgroup::make() else {
        println!("skipped: needs a writable control group");
        return;
    };
    let script = "setsid sh -c ': >\"$0\"; exec sleep 600' \"$0\" & wait; sleep 600";
    let mut outlived = Outlived::running(script, Some(&cgroup));
    assert!(!cgroup.is_empty());
    outlived.check(1, false, false);
    assert!(cgroup.is_empty());
}

#[test]
fn a_script_whose_agent_lives_is_let_run() {
    let mut outlived = Outlived::new();
    outlived.record.owner = Process::own().expect("there");
    outlived.check(0, true, true);
}

#[test]
fn what_a_script_left_behind_that_has_ended_is_let_run() {
    let mut outlived = Outlived::new();
    let leader = i32::try_from(outlived.child.id()).ok().and_then(Pid::from_raw).expect("a pid");
    rustix::process::kill_process(leader, Signal::KILL).expect("ours");
    let stat = Stat::parse(outlived.stat.as_bytes()).expect("a line");
    // First it is a zombie, then nothing: both count as ended.
    wait_at_most(Duration::from_secs(20), || stat.process.now().is_none());
    outlived.check(0, false, true);
    outlived.child.wait().expect("ours");
    outlived.check(0, false, true);
}

#[test]
fn another_process_of_that_number_is_let_run() {
    let mut outlived = Outlived::new();
    let stat = outlived.stat.clone();
    let started =
        stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19)).expect("a number");
    outlived.stat = stat.replace(&format!(" {started} "), " 1 ");
    outlived.check(0, false, true);
    outlived.stat = stat;
    let here = outlived.record.reach.clone();
    outlived.record.reach.boot = "another".into();
    outlived.check(0, false, true);
    outlived.record.reach = here;
    outlived.record.reach.pids = "pid:[1]".into();
    outlived.check(0, true, true);
}

#[test]
fn what_leads_no_group_is_let_run() {
    let mut outlived = Outlived::new();
    let (pid, stat) = (outlived.child.id(), outlived.stat.clone());
    outlived.stat = stat.replacen(&format!(" {pid} "), " 1 ", 1);
    outlived.check(0, true, true);
    outlived.stat = "1 (init) S 0 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 1 0 0".into();
    outlived.check(0, true, true);
}

#[test]
fn what_cannot_be_read_is_passed_over() {
    let mut outlived = Outlived::new();
    outlived.stat = "nothing".into();
    outlived.check(0, true, true);
    outlived.stat = String::new();
    outlived.check(0, false, true);
    for content in [&b""[..], b"{", b"{}\n1 (a) S", &[b'x'; 2 * RECORD_BYTES_MAX], b"\xff\n\xff"] {
        fs::write(outlived.file(), content).expect("written");
        outlived.check_file(0, true, true);
    }
    fs::remove_file(outlived.file()).expect("removed");
    std::os::unix::fs::symlink("/etc/passwd", outlived.file()).expect("linked");
    outlived.check_file(0, true, true);
    fs::remove_file(outlived.file()).expect("removed");
    fs::create_dir(outlived.file()).expect("made");
    outlived.check_file(0, true, true);
}

#[test]
fn what_another_user_wrote_is_passed_over() {
    if !geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let mut outlived = Outlived::new();
    fs::write(outlived.file(), "").expect("written");
    std::os::unix::fs::chown(outlived.file(), Some(65_534), None).expect("given away");
    // Writing into the file does not make it ours.
    outlived.check(0, true, true);
}
