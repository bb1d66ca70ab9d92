//! The processor and the loader that a program (ELF) was built for.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Trouble;

const MAGIC: &[u8] = b"\x7fELF";
/// The offset of the byte that says if numbers have 64 bits; `ORDER_AT` is the offset of the one
/// that gives their order.
const CLASS_AT: usize = 4;
const ORDER_AT: usize = 5;
const MACHINE_AT: usize = 18;
/// The names of processors, by their numbers in the header.
const NAMES: [(u16, &str); 7] =
    [(3, "i386"), (8, "mips"), (21, "ppc64"), (22, "s390x"), (40, "arm"), (62, "x86_64"), (183, "aarch64")];
const I386: u16 = 3;
const X86_64: u16 = 62;
/// The kind of a program header that names the loader.
const LOADER: u32 = 3;
/// Real programs have about a dozen.
const HEADERS_MAX: u16 = 128;

pub(super) fn is_program(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Returns why this host cannot start the program.
pub(super) fn trouble(bytes: &[u8]) -> Option<Trouble> {
    let built_for = machine(bytes)?;
    let here = own()?;
    // Most of these systems also run the older programs.
    let runs = built_for == here || (built_for == I386 && here == X86_64);
    if !runs {
        return Some(Trouble::OtherMachine { built_for: name(built_for), here: name(here) });
    }
    let loader = loader(bytes).filter(|loader| !loader.exists())?;
    Some(Trouble::LoaderMissing(loader))
}

/// Returns this host's processor, from this process's own program.
fn own() -> Option<u16> {
    let mut start = [0; MACHINE_AT + 2];
    std::fs::File::open("/proc/self/exe").ok()?.read_exact(&mut start).ok()?;
    machine(&start)
}

fn machine(bytes: &[u8]) -> Option<u16> {
    let number: [u8; 2] = bytes.get(MACHINE_AT..MACHINE_AT + 2)?.try_into().ok()?;
    let is_big = *bytes.get(ORDER_AT)? == 2;
    Some(if is_big { u16::from_be_bytes(number) } else { u16::from_le_bytes(number) })
}

fn name(machine: u16) -> String {
    let known = NAMES.iter().find(|(number, _)| *number == machine);
    known.map_or_else(|| format!("processor type {machine}"), |(_, name)| (*name).to_owned())
}

/// Returns the loader that a 64-bit little-endian program asks for.
fn loader(bytes: &[u8]) -> Option<PathBuf> {
    if (bytes.get(CLASS_AT), bytes.get(ORDER_AT)) != (Some(&2), Some(&1)) {
        return None;
    }
    let number = |at: usize, length: usize| -> Option<u64> {
        let bytes = bytes.get(at..at.checked_add(length)?)?;
        Some(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    let place = |at: usize, length: usize| usize::try_from(number(at, length)?).ok();
    let (start, size, count) = (place(32, 8)?, place(54, 2)?, place(56, 2)?);
    let found = (0..count.min(usize::from(HEADERS_MAX))).find_map(|header| {
        let at = start.checked_add(header.checked_mul(size)?)?;
        (number(at, 4)? == u64::from(LOADER)).then_some(at)
    })?;
    let (from, length) = (place(found.checked_add(8)?, 8)?, place(found.checked_add(32)?, 8)?);
    let path = bytes.get(from..from.checked_add(length)?)?;
    let path = path.split(|byte| *byte == 0).next()?;
    Some(Path::new(OsStr::from_bytes(path)).to_owned())
}
