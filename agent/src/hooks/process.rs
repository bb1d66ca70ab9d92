//! Identifies processes. A pid alone does not: it belongs to another process some
//! time later, and after the next boot.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

/// A process, identified until the next boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    pub(super) pid: i32,
    /// The start time, in clock ticks since boot.
    started: u64,
}

impl Process {
    /// Returns the identity of this process.
    pub(super) fn own() -> io::Result<Process> {
        let stat = fs::read("/proc/self/stat")?;
        let stat = Stat::parse(&stat).ok_or_else(|| invalid("/proc/self/stat is not as it should be"))?;
        Ok(stat.process)
    }

    /// Returns the state of this process; `None` if it is gone. One that has
    /// ended counts as gone, even before its parent has waited for it.
    pub(super) fn now(&self) -> Option<Stat> {
        Stat::of(self.pid).filter(|stat| stat.process == *self && !stat.has_ended)
    }

    /// Returns true if its pid belongs to another process by now.
    pub(super) fn is_replaced(&self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| stat.process != *self)
    }
}

/// The fields of `/proc/PID/stat` that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) process: Process,
    /// The process group's id.
    pub(super) group: i32,
    pub(super) has_ended: bool,
}

/// The size of a buffer for a line of `/proc/PID/stat`. A line has three hundred
/// bytes, and none of its fifty numbers can be longer than twenty.
pub(super) const STAT_BYTES_MAX: usize = 1_280;

impl Stat {
    pub(super) fn parse(line: &[u8]) -> Option<Stat> {
        let line = String::from_utf8_lossy(line);
        // The name between the brackets may contain anything, even brackets.
        let (start, rest) = line.rsplit_once(')')?;
        let pid = start.split_once(' ')?.0.parse().ok()?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // Fields are counted from one, as in proc(5); the state is the third.
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Stat {
            process: Process { pid, started: field(22)?.parse().ok()? },
            group: field(5)?.parse().ok()?,
            has_ended: matches!(field(3)?, "Z" | "X" | "x"),
        })
    }

    fn of(pid: i32) -> Option<Stat> {
        Stat::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Returns all processes that are visible from here.
    fn all() -> impl Iterator<Item = Stat> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| Stat::of(entry.file_name().to_str()?.parse().ok()?))
    }
}

/// Returns true if any process still runs in a process group.
pub(super) fn runs_in(group: i32) -> bool {
    Stat::all().any(|stat| stat.group == group && !stat.has_ended)
}

/// Returns the processes that still run in a process group.
pub(super) fn members(group: i32) -> impl Iterator<Item = i32> {
    let running = Stat::all().filter(move |stat| stat.group == group && !stat.has_ended);
    running.map(|stat| stat.process.pid)
}

/// The boot and the namespace in which a pid is valid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reach {
    pub(super) boot: String,
    /// The pid namespace: a container has its own.
    pub(super) pids: String,
}

impl Reach {
    pub(super) fn here() -> io::Result<Reach> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        let pids = fs::read_link("/proc/self/ns/pid")?.display().to_string();
        Ok(Reach { boot, pids })
    }
}

pub(super) fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_whatever_the_name_is() {
        let numbers = "S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 7777 0 0";
        let expected = Stat { process: Process { pid: 42, started: 7_777 }, group: 42, has_ended: false };
        for name in ["(sh)", "(a b)", "()) Z 9 9 ()"] {
            assert_eq!(Stat::parse(format!("42 {name} {numbers}\n").as_bytes()), Some(expected), "{name}");
        }
        for wrong in ["", "42", "42 (sh", "42 (sh)", "42 (sh) S 1 42", "x (sh) S"] {
            assert_eq!(Stat::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn this_process_is_itself_and_no_other() {
        let own = Process::own().expect("there");
        assert_eq!(own.now().map(|stat| stat.process), Some(own));
        assert!(!own.is_replaced());
        let other = Process { started: own.started + 1, ..own };
        assert_eq!(other.now(), None);
        assert!(other.is_replaced());
    }
}
