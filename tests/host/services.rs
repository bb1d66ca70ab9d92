//! Services that hooks start keep the output that they were given, and must not
//! die of it, whichever process ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::world::{Host, expect};

/// The time within which everything must happen. A wait takes that long only if
/// it fails.
const DEADLINE: Duration = Duration::from_secs(30);

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < DEADLINE, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A service that writes a line and then the line's number to a file. It ends when a certain
/// file exists, or when a write fails because the reader is gone.
struct Service {
    dir: PathBuf,
}

impl Service {
    fn script(&self) -> String {
        let dir = self.dir.display();
        format!(
            "(trap 'echo pipe >{dir}/killed; exit 1' PIPE; n=0; while [ ! -e {dir}/stop ] && [ $n -lt 6000 ]; do \
             n=$((n + 1)); echo line $n || exit 1; echo $n >{dir}/count; sleep 0.01; done; : >{dir}/ended) &\necho started"
        )
    }

    fn count(&self) -> u32 {
        let text = fs::read_to_string(self.dir.join("count")).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        fs::write(self.dir.join("stop"), "").expect("written");
    }
}

/// Returns the only scripts.log below a deployment root.
fn log(root: &Path) -> PathBuf {
    let group = root.join("default-local-deployment-group");
    let entries = fs::read_dir(&group).expect("there").map(|entry| entry.expect("an entry").path());
    entries.map(|entry| entry.join("logs/scripts.log")).find(|log| log.exists()).expect("a log")
}

/// Returns the number of keepers that write to this log.
fn keepers(log: &Path) -> usize {
    let processes = fs::read_dir("/proc").expect("there").flatten();
    let commands = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    let log = log.as_os_str().as_encoded_bytes();
    let is_keeper = |command: &Vec<u8>| command.windows(log.len()).any(|part| part == log);
    commands.filter(is_keeper).count()
}

#[test]
fn a_service_goes_on_writing_when_skein_local_has_ended() {
    let host = Host::new();
    let service = Service { dir: host.path().to_owned() };
    let bundle = host.bundle("b", &[("page", "one")], &[("ApplicationStart", &service.script())]);
    expect(host.local(&bundle, &[]), 0, &[]);
    let log = log(&host.root());
    assert_eq!(keepers(&log), 1);
    let counted = service.count();
    assert!(counted > 0, "it serves");
    wait_until("it writes on", || service.count() > counted + 20);
    let wanted = format!("[stdout]line {}\n", counted + 20);
    wait_until("its lines are logged", || fs::read_to_string(&log).expect("readable").contains(&wanted));
    let said = fs::read_to_string(&log).expect("readable");
    assert!(said.contains("a process that it started keeps its output open"), "{said}");
    fs::write(host.path().join("stop"), "").expect("written");
    wait_until("it ended by itself", || host.path().join("ended").exists());
    assert!(!host.path().join("killed").exists());
    wait_until("nobody is left to read nothing", || keepers(&log) == 0);
}

/// Kills the process that reads the pipe, so that it cannot prepare for that.
#[test]
fn a_service_goes_on_writing_when_skein_is_killed_soon_after_the_script_has_ended() {
    let host = Host::new();
    let service = Service { dir: host.path().to_owned() };
    let bundle = host.bundle("b", &[("page", "one")], &[("ApplicationStart", &service.script())]);
    let mut local = host.local(&bundle, &[]).spawn().expect("skein runs");
    wait_until("the service serves", || service.count() > 0);
    let (began, log) = (Instant::now(), log(&host.root()));
    wait_until("its output is in other hands", || keepers(&log) == 1);
    assert!(began.elapsed() < Duration::from_secs(4), "not before all patience was at its end");
    local.kill().expect("killed");
    local.wait().expect("it ends");
    let counted = service.count();
    wait_until("it writes on", || service.count() > counted + 20);
    assert!(!host.path().join("killed").exists());
}

/// A child that ends a little later does not count as a service, and is not reported.
#[test]
fn a_child_that_ends_within_the_patience_is_waited_for_and_all_it_writes_is_logged() {
    let host = Host::new();
    let script = "(sleep 1; echo late) & echo started";
    let bundle = host.bundle("b", &[("page", "one")], &[("ApplicationStart", script)]);
    expect(host.local(&bundle, &[]), 0, &[]);
    let said = fs::read_to_string(log(&host.root())).expect("readable");
    assert!(said.contains("[stdout]late"), "{said}");
    assert!(!said.contains("keeps its output open"), "{said}");
}

#[test]
fn a_service_whose_log_is_gone_goes_on_and_fills_no_disk() {
    let host = Host::new();
    let service = Service { dir: host.path().to_owned() };
    let bundle = host.bundle("b", &[("page", "one")], &[("ApplicationStart", &service.script())]);
    expect(host.local(&bundle, &[]), 0, &[]);
    // The directory is renamed at once, because a log that is rotated while its
    // directory is being removed would come back.
    let away = host.path().join("away");
    fs::rename(host.root(), &away).expect("moved");
    fs::remove_dir_all(&away).expect("removed");
    let counted = service.count();
    wait_until("it writes on", || service.count() > counted + 20);
    let back = Command::new("find").arg(host.root()).output().expect("find runs").stdout;
    assert!(!host.root().exists(), "came back: {}", String::from_utf8_lossy(&back));
}

/// Returns true if this machine can give a command its own view of /etc, and if
/// its `su` opens PAM sessions that read /etc/environment.
fn has_pam() -> bool {
    let reads = fs::read_to_string("/etc/pam.d/su").unwrap_or_default();
    let reads = reads.lines().any(|line| line.contains("pam_env.so") && !line.starts_with('#'));
    let unshare = Command::new("unshare").args(["--mount", "true"]).output();
    nix::unistd::geteuid().is_root() && reads && unshare.is_ok_and(|output| output.status.success())
}

#[test]
fn runas_opens_a_pam_session() {
    if !has_pam() {
        println!("skipped: needs root, unshare, and a `su` with PAM");
        return;
    }
    let host = Host::new();
    let tell = "echo seen $FROM_ETC; echo files $(ulimit -n); echo shell $SHELL; echo is $(id -un)";
    let bundle = host.bundle("b", &[], &[("AfterInstall", tell)]);
    let text = fs::read_to_string(bundle.join("appspec.yml")).expect("there");
    let text = text.replace("  - source: app\n", "  - source: AfterInstall.sh\n") + "      runas: nobody\n";
    fs::write(bundle.join("appspec.yml"), text).expect("written");
    let (environment, limits) = (host.path().join("environment"), host.path().join("limits"));
    fs::write(&environment, "FROM_ETC=\"it is\"\n").expect("written");
    fs::write(&limits, "nobody - nofile 321\n").expect("written");
    // The user must be able to reach the script.
    open(host.path());
    let local = host.local(&bundle, &[]);
    let mut inside = Command::new("unshare");
    let mount = "touch /etc/environment && mount --bind \"$1\" /etc/environment && mount --bind \"$2\" \
                 /etc/security/limits.conf && shift 2 && exec \"$@\"";
    inside
        .args(["--mount", "--propagation", "private", "sh", "-c", mount, "sh"])
        .arg(environment)
        .arg(limits);
    inside.arg(local.get_program()).args(local.get_args());
    expect(inside, 0, &[]);
    let said = fs::read_to_string(log(&host.root())).expect("readable");
    let nobody = nix::unistd::User::from_name("nobody").expect("readable").expect("there");
    let shell = format!("shell {}", nobody.shell.display());
    for line in ["seen it is", "files 321", "is nobody", &shell] {
        assert!(said.contains(&format!("[stdout]{line}\n")), "{line}: {said}");
    }
}

fn open(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("set");
}

#[test]
fn a_hook_that_asks_the_terminal_gets_an_error_at_once() {
    if !Command::new("script").arg("--version").output().is_ok_and(|output| output.status.success()) {
        println!("skipped: needs script(1)");
        return;
    }
    let host = Host::new();
    let ask = "( read -r answer </dev/tty ) 2>/dev/null && echo answered || echo no terminal";
    let bundle = host.bundle("b", &[("page", "one")], &[("AfterInstall", ask)]);
    let local = host.local(&bundle, &[]);
    let mut words = vec![local.get_program().display().to_string()];
    words.extend(local.get_args().map(|word| word.display().to_string()));
    // `script` gives its command a terminal.
    let mut inside = Command::new("script");
    inside.args(["-qec", &words.join(" "), "/dev/null"]).stdin(std::process::Stdio::null());
    expect(inside, 0, &["Local deployment successful"]);
    let said = fs::read_to_string(log(&host.root())).expect("readable");
    assert!(said.contains("[stdout]no terminal\n"), "{said}");
}
