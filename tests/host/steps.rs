//! Kills a program at its n-th step: between two of the system calls that
//! change something on the disk. The program is the one that users run; the
//! kernel stops it there (ptrace), not the program itself.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

/// The end of a traced program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was killed right before the requested step.
    Killed,
    /// It ended before that step, with this exit code.
    ByItself(i32),
}

/// The system calls that change something on the disk, by their x86-64 numbers.
#[cfg(target_arch = "x86_64")]
const STEPS: [u64; 34] = [
    1, 18, 20, 40, 74, 75, 76, 77, 82, 83, 84, 85, 86, 87, 88, 90, 91, 92, 93, 94, 188, 258, 260, 263, 264,
    265, 266, 268, 277, 280, 285, 316, 326, 452,
];
/// `open` and `openat`, and the flag with which they create a file.
#[cfg(target_arch = "x86_64")]
const OPENS: [u64; 2] = [2, 257];
#[cfg(target_arch = "x86_64")]
const CREATE: u64 = 0o100;

/// Runs `command`, and kills it before step number `step`, counted from 0. Only
/// steps at which `counts` returns true are counted.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "a process can only ask to be traced between fork and exec")]
#[expect(clippy::zombie_processes, reason = "it is waited for by its number")]
#[expect(clippy::wildcard_enum_match_arm, reason = "of the ways to stop only these are asked for")]
pub(crate) fn kill_at(mut command: Command, step: usize, counts: impl Fn() -> bool) -> Ended {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: the closure makes one system call, allocates nothing and takes no
    // lock.
    unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) };
    let child = command.spawn().expect("it starts");
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    assert!(matches!(waitpid(pid, None), Ok(WaitStatus::Stopped(_, Signal::SIGTRAP))), "it begins");
    let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL;
    ptrace::setoptions(pid, options).expect("ours to trace");
    let (mut seen, mut enters, mut deliver) = (0, true, None);
    loop {
        ptrace::syscall(pid, deliver.take()).expect("it goes on");
        match waitpid(pid, None).expect("ours to wait for") {
            WaitStatus::PtraceSyscall(_) => {
                if enters && is_step(pid) && counts() {
                    if seen == step {
                        kill(pid);
                        return Ended::Killed;
                    }
                    seen += 1;
                }
                enters = !enters;
            }
            WaitStatus::Stopped(_, signal) => deliver = Some(signal),
            WaitStatus::Exited(_, code) => return Ended::ByItself(code),
            other => panic!("it ended otherwise: {other:?}"),
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn is_step(pid: Pid) -> bool {
    let registers = ptrace::getregs(pid).expect("it is stopped");
    let flags = if registers.orig_rax == OPENS[0] { registers.rsi } else { registers.rdx };
    STEPS.contains(&registers.orig_rax) || (OPENS.contains(&registers.orig_rax) && flags & CREATE != 0)
}

#[cfg(target_arch = "x86_64")]
#[expect(clippy::wildcard_enum_match_arm, reason = "of the ways to stop only these are asked for")]
fn kill(pid: Pid) {
    nix::sys::signal::kill(pid, Signal::SIGKILL).expect("ours to kill");
    loop {
        match waitpid(pid, None).expect("ours to wait for") {
            WaitStatus::Signaled(_, Signal::SIGKILL, _) => return,
            WaitStatus::Exited(..) => panic!("it was faster than its killer"),
            _ => {}
        }
    }
}

/// Returns true if processes may be traced here, which some containers forbid.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "as above")]
pub(crate) fn can_trace() -> bool {
    let mut command = Command::new("/bin/true");
    // SAFETY: as above.
    unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) };
    let Ok(mut child) = command.spawn() else { return false };
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    let stopped = matches!(waitpid(pid, None), Ok(WaitStatus::Stopped(..)));
    // The process may already be gone, which is fine.
    let _ = child.kill();
    let _ = child.wait();
    stopped
}
