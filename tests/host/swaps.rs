//! A user owns the directory into which root installs, and replaces its
//! contents by links while root works there.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::world::{Host, said};

/// Set in the process that acts as the user: the directory into which root
/// installs, and the directory of root's files.
const DEST: &str = "SKEIN_SWAPS_DEST";
const SECRET: &str = "SKEIN_SWAPS_SECRET";
const USER: u32 = 4_711;
/// The number of files and of directories that the user replaces.
const NAMES: u32 = 40;
/// Each round is a race of some thousand system calls.
const ROUNDS: usize = 12;
/// Longer than the rounds take on a busy machine.
const ATTACK_MAX: Duration = Duration::from_secs(120);

/// The attacking process. It must end with the test, or the test's directory
/// could not be removed.
struct Attacker(Child);

impl Drop for Attacker {
    fn drop(&mut self) {
        // An error means that it has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Acts as the user. Does nothing if this is not that process.
#[test]
fn attack() {
    let (Some(dest), Some(secret)) = (std::env::var_os(DEST), std::env::var_os(SECRET)) else { return };
    let (dest, secret) = (PathBuf::from(dest), PathBuf::from(secret));
    let shadow = secret.join("shadow");
    fs::write(dest.join("began"), "").expect("the directory is the user's");
    // The process that started this one may be gone without a signal.
    let since = Instant::now();
    while dest.exists() && since.elapsed() < ATTACK_MAX {
        for n in 0..NAMES {
            // Each call fails at times, as the names come and go.
            let (dir, away, file) =
                (dest.join(format!("d{n}")), dest.join(format!(".away{n}")), dest.join(format!("f{n}")));
            let _ = fs::rename(&dir, &away);
            let _ = symlink(&secret, &dir);
            let _ = fs::remove_file(&dir);
            let _ = fs::rename(&away, &dir);
            let _ = fs::remove_file(&file);
            let _ = symlink(&shadow, &file);
            for entry in fs::read_dir(&dest).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().starts_with(".skein-") {
                    let _ = fs::remove_file(entry.path());
                    let _ = symlink(&shadow, entry.path());
                }
            }
        }
    }
}

/// Starts the attack as the user, who cannot reach the directory of this
/// program.
fn start(host: &Host, secret: &Path) -> Attacker {
    let program = host.path().join("attacker");
    fs::copy(std::env::current_exe().expect("this program has a path"), &program).expect("copied");
    let mut command = Command::new(program);
    command.args(["--exact", "swaps::attack"]).env(DEST, host.dest()).env(SECRET, secret);
    command.uid(USER).gid(USER).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
    Attacker(command.spawn().expect("started"))
}

fn bundle(host: &Host) -> PathBuf {
    let files: Vec<(String, String)> = (0..NAMES)
        .flat_map(|n| [(format!("d{n}/shadow"), format!("new {n}")), (format!("f{n}"), format!("new {n}"))])
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let bundle = host.bundle("v1", &files, &[]);
    let appspec = fs::read_to_string(bundle.join("appspec.yml")).expect("there");
    let given = appspec.replace("    mode: 640\n    type: [file]\n", "    mode: 777\n    owner: nobody\n");
    assert_ne!(given, appspec);
    fs::write(bundle.join("appspec.yml"), given).expect("written");
    bundle
}

#[test]
fn a_user_who_swaps_links_gets_nothing_of_roots() {
    if !nix::unistd::geteuid().is_root() || !matches!(nix::unistd::User::from_name("nobody"), Ok(Some(_))) {
        println!("skipped: needs root and a user `nobody`");
        return;
    }
    let host = Host::new();
    let (secret, bundle) = (host.path().join("secret"), bundle(&host));
    fs::create_dir(&secret).expect("made");
    fs::write(secret.join("shadow"), "root's").expect("written");
    for (path, mode) in [(host.path(), 0o755), (&secret.join("shadow"), 0o600), (&secret, 0o755)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
    }
    std::os::unix::fs::chown(host.dest(), Some(USER), Some(USER)).expect("given away");
    let mut attacker = start(&host, &secret);
    while !host.dest().join("began").exists() {
        assert!(attacker.0.try_wait().expect("ours").is_none(), "it does not begin");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    for round in 0..ROUNDS {
        // The installation may fail because of the user, but must not be
        // misled.
        let file_exists = if round % 2 == 0 { "OVERWRITE" } else { "DISALLOW" };
        let output = host.local(&bundle, &["-b", file_exists]).output().expect("it runs");
        let found = fs::metadata(secret.join("shadow")).map(|found| (found.uid(), found.mode() & 0o777));
        let content = fs::read_to_string(secret.join("shadow"));
        assert_eq!(found.expect("there"), (0, 0o600), "round {round}: {}", said(&output));
        assert_eq!(content.expect("readable"), "root's", "round {round}: {}", said(&output));
        let of_secret = fs::metadata(&secret).expect("there");
        assert_eq!(
            (of_secret.uid(), of_secret.mode() & 0o777),
            (0, 0o755),
            "round {round}: {}",
            said(&output)
        );
        let names = fs::read_dir(&secret).expect("there").count();
        assert_eq!(names, 1, "round {round}: {}", said(&output));
    }
    assert!(attacker.0.try_wait().expect("ours").is_none(), "it went on to the end");
}
