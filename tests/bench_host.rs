//! Compares the host side with other tools on this machine: `cargo bench -p
//! skein-agent --bench host`. It prints a table and judges nothing.
//!
//! It measures whole processes; peak memory is the kernel's number. Each other
//! tool runs in turn with skein, so that a busy machine slows both. Two variables
//! change what is measured:
//!
//! - `SKEIN_BENCH_BEFORE`: another `skein`, such as one built from an earlier commit.
//!   It runs in turn with this one, and the table says how much slower this one is.
//! - `SKEIN_BENCH_DIR`: the directory to work in. The default is /dev/shm, because
//!   ext4 takes seconds to reuse the inode numbers of removed files and skips each of
//!   them meanwhile, so that every later run would be slower than the one before it.
//!   Only on a disk does a deployment wait for its records to be durable.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

const SKEIN: &str = env!("CARGO_BIN_EXE_skein");
const FILES: usize = 10_000;
const ROUNDS: usize = 7;
const TRIVIAL_ROUNDS: usize = 101;

fn main() {
    // `cargo test --benches` only checks that the program starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let programs = Programs::copy();
    trivial(&programs);
    many_files(&programs);
}

fn row(what: &str, value: &str) {
    println!("{what:<58} {value}");
}

/// The programs to measure: copies of both, so that neither is as the linker wrote it and the
/// other as `cp` did, which made a difference when it was tried.
struct Programs {
    ours: PathBuf,
    before: Option<PathBuf>,
    _home: tempfile::TempDir,
}

impl Programs {
    fn copy() -> Programs {
        let home = workplace();
        let copy = |from: &Path, name: &str| {
            let to = home.path().join(name);
            fs::copy(from, &to).expect("copied");
            to
        };
        let before = std::env::var_os("SKEIN_BENCH_BEFORE").map(|path| copy(Path::new(&path), "before"));
        Programs { ours: copy(Path::new(SKEIN), "ours"), before, _home: home }
    }
}

/// Creates a directory to work in.
fn workplace() -> tempfile::TempDir {
    let chosen = std::env::var_os("SKEIN_BENCH_DIR").map(PathBuf::from);
    let shared = Some(PathBuf::from("/dev/shm")).filter(|shared| shared.is_dir());
    let above = chosen.or(shared).unwrap_or_else(std::env::temp_dir);
    tempfile::tempdir_in(above).expect("a directory")
}

/// Prints how this build compares with the earlier one.
fn compare(what: &str, ours: &[Duration], before: &[Duration]) {
    if before.is_empty() {
        return;
    }
    let middle = before.len() / 2;
    row(&format!("{what}, before: min / p50"), &millis(&[before[0], before[middle]]));
    let change = ours[middle].as_secs_f64() / before[middle].as_secs_f64() - 1.0;
    row("  change of p50; goal: at most +5 %", &format!("{:+.1} %", change * 100.0));
}

fn trivial(programs: &Programs) {
    let (home, other) = (workplace(), workplace());
    let bundles = (bundle(home.path(), 1), bundle(other.path(), 1));
    let local = || skein(&programs.ours, &bundles.0, home.path());
    let (mut ours, mut earlier) = (Vec::new(), Vec::new());
    let before = || programs.before.as_ref().map(|before| skein(before, &bundles.1, other.path()));
    for round in 0..TRIVIAL_ROUNDS {
        let is_first = round % 2 == 0;
        earlier.extend(before().filter(|_| is_first).map(|mut command| timed(&mut command)));
        ours.push(timed(&mut local()));
        earlier.extend(before().filter(|_| !is_first).map(|mut command| timed(&mut command)));
    }
    let (ours, earlier) = (sorted(ours), sorted(earlier));
    row("skein local, one file, no hooks: min / p50", &millis(&[ours[0], ours[TRIVIAL_ROUNDS / 2]]));
    row("  goal: 50 ms; the official agent 1.8.1, elsewhere: 660 ms", "");
    compare("skein local, one file", &ours, &earlier);
    row("skein local, one file: peak memory", &format!("{:.1} MiB", peak(local())));
    row("  goal: 20 MiB; the official agent 1.8.1, elsewhere: 48 MiB", "");
}

fn many_files(programs: &Programs) {
    let home = workplace();
    let (mut ours, mut earlier, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    // Each round is a first deployment, into directories of its own. Nothing is
    // removed before the end: see above on ext4.
    let before = |round: usize| {
        let before = programs.before.as_ref()?;
        let fresh = home.path().join(format!("before-{round}"));
        let archive = fresh.join("b.tar");
        let bundle = bundle(&fresh, FILES);
        run(Command::new("tar").arg("-C").arg(&bundle).arg("-cf").arg(&archive).arg("."));
        Some(timed(&mut skein(before, &archive, &fresh)))
    };
    for round in 0..ROUNDS {
        let is_first = round % 2 == 0;
        if is_first {
            earlier.extend(before(round));
        }
        let fresh = home.path().join(format!("round-{round}"));
        let (archive, unpacked) = (fresh.join("b.tar"), fresh.join("unpacked"));
        let bundle = bundle(&fresh, FILES);
        run(Command::new("tar").arg("-C").arg(&bundle).arg("-cf").arg(&archive).arg("."));
        fs::create_dir(&unpacked).expect("made");
        ours.push(timed(&mut skein(&programs.ours, &archive, &fresh)));
        if !is_first {
            earlier.extend(before(round));
        }
        let unpack = timed(Command::new("tar").arg("-C").arg(&unpacked).arg("-xpf").arg(&archive));
        let copy = timed(Command::new("cp").arg("-a").arg(unpacked.join("app")).arg(fresh.join("copy")));
        theirs.push(unpack + copy);
    }
    let last = home.path().join("last");
    let bundle = bundle(&last, FILES);
    let (ours, earlier, theirs) = (sorted(ours), sorted(earlier), sorted(theirs));
    let middle = ROUNDS / 2;
    row(&format!("skein local, {FILES} small files, tar: min / p50"), &millis(&[ours[0], ours[middle]]));
    compare(&format!("skein local, {FILES} small files"), &ours, &earlier);
    row("tar x, then cp -a: min / p50", &millis(&[theirs[0], theirs[middle]]));
    let ratio = ours[middle].as_secs_f64() / theirs[middle].as_secs_f64();
    row("  ratio of p50; goal: 1.5", &format!("{ratio:.2}"));
    row(
        &format!("skein local, {FILES} small files: peak memory"),
        &format!("{:.1} MiB", peak(skein(&programs.ours, &bundle, &last))),
    );
}

fn bundle(home: &Path, files: usize) -> PathBuf {
    let bundle = home.join("bundle");
    for number in 0..files {
        let dir = bundle.join("app").join(format!("dir-{}", number / 100));
        fs::create_dir_all(&dir).expect("made");
        fs::write(dir.join(format!("file-{number}")), format!("{number:0512}")).expect("written");
    }
    let dest = home.join("dest").display().to_string();
    let appspec = format!("version: 0.0\nos: linux\nfiles:\n  - source: app\n    destination: {dest}\n");
    fs::write(bundle.join("appspec.yml"), appspec).expect("written");
    bundle
}

fn skein(program: &Path, bundle: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("local").arg(bundle).arg("--deploy-root").arg(home.join("root"));
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn run(command: &mut Command) {
    let status = command.status().expect("it runs");
    assert!(status.success(), "{command:?}");
}

fn timed(command: &mut Command) -> Duration {
    let start = Instant::now();
    run(command);
    start.elapsed()
}

fn sorted(times: impl IntoIterator<Item = Duration>) -> Vec<Duration> {
    let mut times: Vec<Duration> = times.into_iter().collect();
    times.sort();
    times
}

fn millis(times: &[Duration]) -> String {
    let words = times.iter().map(|time| format!("{:.1} ms", time.as_secs_f64() * 1_000.0));
    words.collect::<Vec<_>>().join(" / ")
}

/// Returns the most memory that the program held, in MiB, read when it was about to end. (The
/// peak that a parent gets for its children includes what they held before they executed that
/// program.)
#[expect(unsafe_code, reason = "a process can only ask to be traced between fork and exec")]
#[expect(clippy::zombie_processes, reason = "it is waited for by its number")]
#[expect(clippy::wildcard_enum_match_arm, reason = "of the ways to stop only these are asked for")]
fn peak(mut command: Command) -> f64 {
    // SAFETY: the closure makes one system call, allocates nothing and takes no
    // lock.
    unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) };
    let child = command.spawn().expect("it starts");
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    waitpid(pid, None).expect("it begins");
    ptrace::setoptions(pid, Options::PTRACE_O_TRACEEXIT).expect("ours to trace");
    let (mut peak, mut deliver) = (0.0, None);
    loop {
        ptrace::cont(pid, deliver.take()).expect("it goes on");
        match waitpid(pid, None).expect("ours to wait for") {
            WaitStatus::PtraceEvent(..) => {
                let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it is still there");
                let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
                let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
                peak = kib / 1_024.0;
            }
            WaitStatus::Stopped(_, Signal::SIGTRAP) => {}
            WaitStatus::Stopped(_, signal) => deliver = Some(signal),
            WaitStatus::Exited(_, code) => {
                assert_eq!(code, 0, "{command:?}");
                return peak;
            }
            other => panic!("it ended otherwise: {other:?}"),
        }
    }
}
