//! Unpacks thousands of archives with mistakes, the same ones each time. The fuzz target
//! (`fuzz/fuzz_targets/archive.rs`) does this for longer. Without a nightly compiler for the
//! fuzz target, set the variable `MUTATION_ROUNDS` for more rounds.

use std::fs;
use std::io::Write as _;
use tempfile::TempDir;

use super::{Limits, unpack};

/// Takes a few seconds.
const ROUNDS: u64 = 1_000;
const LIMITS: Limits = Limits { entries_max: 100, bytes_max: 1024 * 1024, ratio_max: 200 };
/// The size of a tar header, and the position of its checksum.
const BLOCK: usize = 512;
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// A SplitMix64 generator: each round gets its own numbers, the same in every run.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap_or(0)
    }
}

fn tar() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |kind, name: &str, target: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(content.len() as u64);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        tar.append(&header, content).expect("appended");
    };
    use tar::EntryType as T;
    add(T::Directory, "dir/", "", b"");
    add(T::Regular, "dir/file", "", b"content");
    add(T::Symlink, "dir/up", "../other", b"");
    add(T::Symlink, "dir/out", "../../outside", b"");
    add(T::Regular, "other", "", b"x");
    add(T::Link, "dir/hard", "other", b"");
    add(T::XHeader, "pax", "", b"20 path=long/name/x\n");
    add(T::Regular, "short", "", b"y");
    add(T::GNULongName, "././@LongLink", "", b"long/er/name\0");
    add(T::Regular, "cut", "", b"z");
    tar.into_inner().expect("finished")
}

fn zip() -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
    zip.add_directory("dir", options).expect("added");
    zip.start_file("dir/file", options).expect("added");
    zip.write_all(&[b'x'; 300]).expect("written");
    zip.add_symlink("dir/link", "file", options).expect("added");
    zip.add_symlink("dir/out", "../../outside", options).expect("added");
    zip.finish().expect("finished").into_inner()
}

/// Changes a few bytes, or cuts off the end.
fn mutate(archive: &mut Vec<u8>, chance: &mut Chance) {
    const TELLING: [&[u8]; 10] =
        [b"dir/out/x", b"../", b"/etc/", b"..", b"\0", b"\n", b"\xff\xff\xff\xff", b"0", b"2", b"5"];
    for _ in 0..=chance.below(4) {
        let at = chance.below(archive.len());
        match chance.below(6) {
            0 => archive[at] ^= 1 << chance.below(8),
            1 => archive.truncate(at.max(1)),
            2 => {
                let block = at / BLOCK * BLOCK;
                let copy = archive[block..archive.len().min(block + BLOCK)].to_vec();
                archive.splice(block..block, copy);
            }
            _ => {
                let word = TELLING[chance.below(TELLING.len())];
                // Names, types and targets are the interesting fields.
                let field = [0, 100, 124, 156, 157, 345][chance.below(6)];
                let start = (at / BLOCK * BLOCK + field).min(archive.len());
                let end = archive.len().min(start + word.len());
                archive[start..end].copy_from_slice(&word[..end - start]);
            }
        }
    }
}

/// Recomputes the checksums of changed headers; otherwise every change would be found by its checksum.
fn sum_up(archive: &mut [u8]) {
    for block in archive.chunks_exact_mut(BLOCK).filter(|block| block[257..262] == *b"ustar") {
        block[CHECKSUM].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

#[test]
fn mutated_archives_write_nothing_outside_and_leave_nothing_behind() {
    let (tar, zip) = (tar(), zip());
    let dir = TempDir::new().expect("a directory");
    let (archive, inside) = (dir.path().join("archive"), dir.path().join("inside"));
    // Links point there, and nothing may follow them.
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).expect("made");
    let mut good = 0;
    let rounds = std::env::var("MUTATION_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    for round in 0..rounds {
        let mut chance = Chance(round);
        let mut bytes = if round % 4 == 0 { zip.clone() } else { tar.clone() };
        mutate(&mut bytes, &mut chance);
        if round % 4 != 0 {
            sum_up(&mut bytes);
        }
        if round % 16 == 1 {
            bytes = zstd::encode_all(bytes.as_slice(), 1).expect("compressed");
        }
        fs::write(&archive, &bytes).expect("written");
        let unpacked = unpack(&archive, &inside, LIMITS);
        let names = fs::read_dir(dir.path()).expect("there").count();
        assert_eq!(names, 2 + usize::from(unpacked.is_ok()), "round {round} left something");
        assert_eq!(fs::read_dir(&outside).expect("there").count(), 0, "round {round} went through a link");
        if unpacked.is_ok() {
            good += 1;
            fs::remove_dir_all(&inside).expect("removed");
        }
    }
    assert!(good > rounds / 50 && good < rounds, "{good} of {rounds} were unpacked");
}
