use std::time::Instant;

use tempfile::TempDir;

use super::*;
use crate::child_env::not_for_scripts;

/// A revision with scripts.
struct Revision {
    dir: TempDir,
}

impl Revision {
    fn new(scripts: &[(&str, &str)]) -> Revision {
        let dir = TempDir::new().expect("a directory");
        for (name, content) in scripts {
            std::fs::write(dir.path().join(name), content).expect("written");
        }
        // Users other than root must reach what they are to run.
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(dir.path(), open).expect("set");
        Revision { dir }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("logs/scripts.log")
    }

    /// Returns the log without its times.
    fn logged(&self) -> Vec<String> {
        let bytes = std::fs::read(self.log()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).lines().map(|line| line[20..].to_owned()).collect()
    }

    async fn run_with(&self, scripts: &[Script], cancel: &CancellationToken) -> Result<(), HookFailure> {
        let environment =
            [("DEPLOYMENT_ID", "d-ABCDEFGHI".to_owned()), ("LIFECYCLE_EVENT", "AfterInstall".into())];
        let (log, deployments_log) = (self.log(), self.dir.path().join("logs/deployments.log"));
        let hooks =
            Hooks { log: &log, deployments_log: &deployments_log, ..self.hooks(scripts, &environment) };
        run(&hooks, cancel).await
    }

    /// Returns an event with these scripts that writes no log.
    fn hooks<'e>(&'e self, scripts: &'e [Script], environment: &'e [(&'static str, String)]) -> Hooks<'e> {
        Hooks {
            event: "AfterInstall",
            scripts,
            dir: self.dir.path(),
            archive: self.dir.path(),
            environment,
            log: Path::new("/dev/null"),
            deployment: "d-ABCDEFGHI",
            deployments_log: Path::new("/dev/null"),
            patience: Patience {
                after_terminate: Duration::from_millis(200),
                for_output: Duration::from_millis(200),
                for_script: None,
            },
        }
    }

    async fn run(&self, scripts: &[Script]) -> Result<(), HookFailure> {
        self.run_with(scripts, &CancellationToken::new()).await
    }
}

fn script(location: &str) -> Script {
    let (location, timeout) = (location.into(), Duration::from_secs(20));
    Script { location, timeout, timeout_given: true, runas: None, sudo: false, line: 1 }
}

/// Runs one script with this content and expects this code and message.
async fn check(content: &str, expected: Result<(), (ErrorCode, &str)>) {
    let revision = Revision::new(&[("s", content)]);
    let ended = revision.run(&[script("s")]).await;
    let told = ended.map_err(|failure| (failure.cause.code(), failure.cause.to_string()));
    assert_eq!(told, expected.map_err(|(code, message)| (code, message.to_owned())), "{content}");
}

async fn wait_until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn is_alive(pid_file: &Path) -> bool {
    let pid = std::fs::read_to_string(pid_file).expect("written");
    // A zombie that its parent has not waited for yet counts as gone.
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[tokio::test]
async fn scripts_run_in_order_in_the_revision_with_codedeploys_environment() {
    let shell = "#!/bin/sh\n";
    let revision = Revision::new(&[
        ("a", &format!("{shell}pwd; echo $LIFECYCLE_EVENT $DEPLOYMENT_ID $#; cat; echo warned >&2")),
        ("b", "echo no shebang"),
    ]);
    revision.run(&[script("/a"), script("./b")]).await.expect("succeeded");
    let here = revision.dir.path().canonicalize().expect("there").display().to_string();
    let mut logged = revision.logged();
    // The order between the two streams is not defined.
    let warned = logged.iter().position(|line| line == "[stderr]warned").expect("logged");
    logged.remove(warned);
    assert_eq!(
        logged,
        [
            "LifecycleEvent - AfterInstall",
            "Script - /a",
            &format!("[stdout]{here}"),
            "[stdout]AfterInstall d-ABCDEFGHI 0",
            "Script - ./b",
            "[stdout]no shebang",
        ]
    );
}

#[tokio::test]
async fn every_line_has_its_time_and_stream_in_both_logs() {
    let revision = Revision::new(&[("s", "#!/bin/sh\necho out; echo err >&2\n")]);
    revision.run(&[script("s")]).await.expect("succeeded");
    let is_time = |text: &str| {
        let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
        shape == "9999-99-99 99:99:99"
    };
    let log = std::fs::read_to_string(revision.log()).expect("there");
    assert!(log.lines().all(|line| is_time(&line[..19])), "{log}");
    let all = std::fs::read_to_string(revision.dir.path().join("logs/deployments.log")).expect("there");
    for line in ["[stdout]out", "[stderr]err"] {
        assert!(log.lines().any(|logged| logged.ends_with(&format!(" {line}"))), "{log}");
        assert!(all.lines().any(|logged| logged.ends_with(&format!("] [d-ABCDEFGHI]{line}"))), "{all}");
    }
}

#[test]
fn the_agents_own_credentials_are_not_the_scripts() {
    let revision = Revision::new(&[]);
    let scripts = [script("s"), Script { sudo: true, ..script("s") }];
    // Scripts must not inherit it even if the deployment's own environment has one.
    let environment = [("DEPLOYMENT_ID", "d-ABCDEFGHI".to_owned()), ("GITHUB_TOKEN", "secret".into())];
    let hooks = revision.hooks(&scripts, &environment);
    for script in &scripts {
        let command = script::command(&hooks, script, Path::new("/s"), None, None);
        let given = |name: &str| command.as_std().get_envs().find(|(given, _)| *given == name);
        let known = [
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "GITHUB_TOKEN",
            "NOTIFY_SOCKET",
        ];
        for name in known.into_iter().chain(not_for_scripts()) {
            assert_eq!(given(name).map(|(_, value)| value), Some(None), "{name} is taken away");
        }
        assert_eq!(given("DEPLOYMENT_ID").and_then(|(_, value)| value), Some("d-ABCDEFGHI".as_ref()));
        assert_eq!(given("PATH"), None, "the rest is the agent's");
    }
}

#[tokio::test]
async fn an_event_without_scripts_leaves_no_log() {
    let revision = Revision::new(&[]);
    revision.run(&[]).await.expect("succeeded");
    assert!(!revision.log().exists());
}

#[tokio::test]
async fn the_first_script_that_fails_ends_the_event() {
    let revision =
        Revision::new(&[("a", "#!/bin/sh\necho broken >&2\nexit 3\n"), ("b", "#!/bin/sh\necho b\n")]);
    let failure = revision.run(&[script("a"), script("b")]).await.expect_err("failed");
    assert_eq!((failure.script.as_str(), failure.cause.code()), ("a", ErrorCode::ScriptFailed));
    assert_eq!(failure.log, "LifecycleEvent - AfterInstall\nScript - a\n[stderr]broken\n");
}

#[tokio::test]
async fn each_way_to_fail_has_its_code_and_words() {
    check("#!/bin/sh\nexit 0\n", Ok(())).await;
    check("#!/bin/sh\nexit 7\n", Err((ErrorCode::ScriptFailed, "it failed with exit code 7"))).await;
    check("#!/bin/sh\nkill -9 $$\n", Err((ErrorCode::ScriptFailed, "it was ended by signal 9"))).await;
    let no_interpreter = "cannot start it: its first line names `/no/such/thing`, which is not on this host";
    check("#!/no/such/thing\n", Err((ErrorCode::ScriptFailed, no_interpreter))).await;
    let windows = "cannot start it: its lines end as on Windows (CR LF), so its interpreter will not be found: save \
                   it with Unix line ends";
    check("#!/bin/sh\r\nexit 0\r\n", Err((ErrorCode::ScriptFailed, windows))).await;
    let revision = Revision::new(&[]);
    let missing = revision.run(&[script("s")]).await.expect_err("missing");
    assert_eq!(missing.cause.code(), ErrorCode::ScriptMissing);
    // Not even root can change the mode of a file in /proc.
    std::os::unix::fs::symlink("/proc/self/status", revision.dir.path().join("fixed")).expect("linked");
    let fixed = revision.run(&[script("fixed")]).await.expect_err("not executable");
    assert_eq!(fixed.cause.code(), ErrorCode::ScriptNotExecutable);
    std::fs::create_dir(revision.dir.path().join("dir")).expect("made");
    let directory = revision.run(&[script("dir")]).await.expect_err("a directory");
    assert_eq!(directory.cause.code(), ErrorCode::ScriptFailed);
    let said = directory.cause.to_string();
    assert!(
        said.ends_with("/dir` is a directory, not a script: check `location` in the AppSpec file"),
        "{said}"
    );
}

/// Runs one script with this content, and expects this exit code with a cause that contains this text.
async fn check_cause(content: &[u8], code: i32, says: &str) {
    let revision = Revision::new(&[]);
    std::fs::write(revision.dir.path().join("s"), content).expect("written");
    let failed = revision.run(&[script("s")]).await.expect_err("failed").cause;
    let said = failed.to_string();
    let starts = format!("it failed with exit code {code}: ");
    assert!(said.starts_with(&starts) && said.contains(says), "{content:?}: {said}");
}

#[tokio::test]
async fn exit_codes_of_what_could_not_be_run_are_explained() {
    check_cause(b"#!/bin/sh\nno-such-command-here\n", 127, "command not found").await;
    check_cause(b"#!/bin/sh\ntrue\r\nno-such\r\n", 127, "its line 2 ends as on Windows (CR LF)").await;
    check_cause(b"#!/usr/bin/env bash\r\ntrue\n", 127, "its lines end as on Windows (CR LF)").await;
    check_cause(
        b"#!/usr/bin/env no-such-shell\n",
        127,
        "asks `env` for `no-such-shell`, which is in no directory",
    )
    .await;
    check_cause(b"\xef\xbb\xbf#!/no/such\nexit 127\n", 127, "begins with a byte order mark").await;
    check_cause(b"#!/bin/sh\n: >not-executable\n./not-executable\n", 126, "may not be executed").await;
}

#[tokio::test]
async fn a_program_for_another_processor_is_called_so() {
    let revision = Revision::new(&[]);
    let mut program = std::fs::read("/bin/true").expect("there");
    program[18..20].copy_from_slice(&22_u16.to_le_bytes());
    std::fs::write(revision.dir.path().join("s"), program).expect("written");
    let failed = revision.run(&[script("s")]).await.expect_err("failed").cause.to_string();
    assert!(failed.contains("it is a program for s390x, and this host is "), "{failed}");
}

#[tokio::test]
async fn a_script_that_takes_too_long_is_stopped_with_all_its_children() {
    let revision = Revision::new(&[(
        "s",
        "#!/bin/sh\ntrap '' TERM\nsh -c 'trap \"\" TERM; echo $$ > child; exec sleep 600' &\necho $$ > parent\n\
         while :; do sleep 0.1; done\n",
    )]);
    let slow = Script { timeout: Duration::from_millis(300), ..script("s") };
    let failure = revision.run(&[slow]).await.expect_err("timed out");
    assert_eq!(failure.cause.code(), ErrorCode::ScriptTimedOut);
    for name in ["parent", "child"] {
        wait_until("both are gone", || !is_alive(&revision.dir.path().join(name))).await;
    }
}

#[tokio::test]
async fn a_script_may_be_given_less_time_than_it_asks_for() {
    let revision = Revision::new(&[("s", "#!/bin/sh\nexec sleep 60\n")]);
    let slow = [Script { timeout: Duration::from_secs(3_600), ..script("s") }];
    let mut hooks = revision.hooks(&slow, &[]);
    hooks.patience.for_script = Some(Duration::from_millis(300));
    let failure = run(&hooks, &CancellationToken::new()).await.expect_err("it is stopped");
    assert!(matches!(failure.cause, HookError::TimedOut(limit) if limit == Duration::from_millis(300)));
}

#[tokio::test]
async fn a_script_that_heeds_sigterm_may_clean_up() {
    let revision = Revision::new(&[(
        "s",
        "#!/bin/sh\ntrap 'echo cleaned; exit 0' TERM\necho started\nwhile :; do sleep 0.02; done\n",
    )]);
    let cancel = CancellationToken::new();
    let scripts = [script("s")];
    let stopper = async {
        wait_until("it has started", || revision.logged().contains(&"[stdout]started".to_owned())).await;
        cancel.cancel();
    };
    let (ended, ()) = tokio::join!(revision.run_with(&scripts, &cancel), stopper);
    assert_eq!(ended.expect_err("stopped").cause.code(), ErrorCode::Stopped);
    assert!(revision.logged().contains(&"[stdout]cleaned".to_owned()));
}

#[tokio::test]
async fn a_background_child_that_holds_the_output_fails_nothing() {
    let revision = Revision::new(&[(
        "s",
        "#!/bin/sh\n( while [ ! -e go ]; do sleep 0.02; done; echo late; echo $? > alive ) &\necho $! > child\n",
    )]);
    revision.run(&[script("s")]).await.expect("succeeded");
    let warned = |line: &String| line.starts_with("Warning - s has ended, but a process");
    assert!(revision.logged().iter().any(warned), "{:?}", revision.logged());
    std::fs::write(revision.dir.path().join("go"), "").expect("written");
    wait_until("what it writes later is kept", || revision.logged().contains(&"[stdout]late".to_owned()))
        .await;
    wait_until("it lived on", || revision.dir.path().join("alive").exists()).await;
}

#[tokio::test]
async fn output_is_bounded_in_memory_and_whole_on_disk() {
    let revision = Revision::new(&[("s", "#!/bin/sh\nhead -c 1000000 /dev/zero | tr '\\0' x\nexit 1\n")]);
    let failure = revision.run(&[script("s")]).await.expect_err("failed");
    assert!(failure.log.len() <= proto::entry::FAILURE_LOG_MAX && failure.log.ends_with("xxx\n"));
    let logged = revision.logged();
    let (said, written) = logged.split_last().expect("lines");
    assert_eq!(said, "Failed - s: it failed with exit code 1");
    let bytes: usize = written.iter().map(|line| line.matches('x').count()).sum();
    assert_eq!(bytes, 1_000_000);
}

#[tokio::test]
async fn output_that_is_not_text_is_kept_as_it_is() {
    let revision = Revision::new(&[("s", "#!/bin/sh\nprintf 'a\\377b\\nno newline'\n")]);
    revision.run(&[script("s")]).await.expect("succeeded");
    let bytes = std::fs::read(revision.log()).expect("there");
    assert!(bytes.windows(3).any(|window| window == b"a\xffb"));
    assert_eq!(revision.logged().last().map(String::as_str), Some("[stdout]no newline"));
}

#[tokio::test]
async fn runas_is_the_user_with_its_groups_and_home() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let revision = Revision::new(&[("s", "#!/bin/sh\nid -un; id -G; echo $USER $HOME $LIFECYCLE_EVENT\n")]);
    let user = nix::unistd::User::from_name("nobody").expect("looked up").expect("there");
    revision.run(&[Script { runas: Some("nobody".into()), ..script("s") }]).await.expect("succeeded");
    let told = format!("[stdout]nobody {} AfterInstall", user.dir.display());
    let logged = revision.logged();
    assert_eq!(logged[2], "[stdout]nobody");
    assert!(!logged[3].split([']', ' ']).any(|group| group == "0"), "root's groups are gone: {}", logged[3]);
    assert_eq!(logged[4], told);
    assert_eq!(logged.len(), 5, "{logged:?}");
    let unknown = revision.run(&[Script { runas: Some("nobody-here".into()), ..script("s") }]).await;
    assert!(matches!(unknown.expect_err("refused").cause, HookError::RunAs(UserError::Unknown(_))));
}

#[tokio::test]
async fn a_script_has_a_session_of_its_own_and_no_terminal() {
    let ask = "#!/bin/sh\nread -r pid rest </proc/$$/stat\necho $((pid - $(echo $rest | awk '{print $5}')))\n\
               ( : </dev/tty ) 2>/dev/null && echo a terminal || echo none\n";
    let revision = Revision::new(&[("s", ask)]);
    revision.run(&[script("s")]).await.expect("succeeded");
    assert_eq!(revision.logged()[2..], ["[stdout]0", "[stdout]none"]);
}

#[tokio::test]
async fn a_script_without_an_interpreter_is_its_users_shells() {
    if !nix::unistd::geteuid().is_root() || !Path::new("/bin/bash").exists() {
        println!("skipped: needs root and bash");
        return;
    }
    let revision = Revision::new(&[("s", "words=(a b c)\necho ${#words[@]} $SHELL\n")]);
    // Root's shell is bash on most systems, and /bin/sh often is not.
    let root = nix::unistd::User::from_name("root").expect("looked up").expect("there");
    if root.shell != Path::new("/bin/bash") {
        println!("skipped: needs a root whose shell is bash");
        return;
    }
    revision.run(&[Script { runas: Some("root".into()), ..script("s") }]).await.expect("succeeded");
    assert_eq!(revision.logged()[2..], ["[stdout]3 /bin/bash"]);
}

#[tokio::test]
async fn a_directory_that_the_user_may_not_enter_is_named() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let revision = Revision::new(&[]);
    let closed = revision.dir.path().join("closed");
    std::fs::create_dir(&closed).expect("made");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).expect("set");
    std::fs::write(closed.join("s"), "#!/bin/sh\n").expect("written");
    let failed = revision.run(&[Script { runas: Some("nobody".into()), ..script("closed/s") }]).await;
    let said = failed.expect_err("failed").cause.to_string();
    let here = closed.canonicalize().expect("there");
    let names = format!("user `nobody` may not enter or read `{}` (mode 0700, of root)", here.display());
    assert!(said.contains(&names), "{said}");
}

#[tokio::test]
async fn what_leaves_the_process_group_is_stopped_too() {
    if cgroup::Cgroup::make().is_none() {
        println!("skipped: needs a writable control group");
        return;
    }
    let revision =
        Revision::new(&[("s", "#!/bin/sh\nsetsid sh -c 'echo $$ > pid; exec sleep 300' &\nsleep 300\n")]);
    let script = Script { timeout: Duration::from_secs(1), ..script("s") };
    let failed = revision.run(&[script]).await.expect_err("timed out");
    assert_eq!(failed.cause.code(), ErrorCode::ScriptTimedOut);
    let pid = std::fs::read_to_string(revision.dir.path().join("pid")).expect("written");
    let stat = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    let is_gone = || stat().rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('Z'));
    let start = Instant::now();
    while !is_gone() && start.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(is_gone(), "{}", stat());
}
