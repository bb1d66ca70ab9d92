//! Damages every file of a stopped agent's store in every way. The host must start with
//! everything that it promised, or set the store aside, vote under a new number, and say so.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use proto::id::VoterId;

use super::Host;

/// Returns the interval of the bytes to damage. `SKEIN_DAMAGE_EVERY=1` damages
/// all of them, which takes minutes.
fn every() -> usize {
    let asked = std::env::var("SKEIN_DAMAGE_EVERY").ok().and_then(|every| every.parse().ok());
    asked.filter(|every| *every > 0).unwrap_or(17)
}

/// A stopped host, and the content of its files at that time.
struct Stopped {
    host: Host,
    files: BTreeMap<PathBuf, Vec<u8>>,
    voter: VoterId,
    index: u64,
}

/// The way in which a host started from damaged files.
#[derive(Debug, PartialEq, Eq)]
enum Start {
    Whole,
    Amnesia,
}

impl Stopped {
    fn new() -> Self {
        let host = Host::founding();
        let (voter, index) = host.start_and_end();
        let mut files = BTreeMap::new();
        read_all(&host.store(), &mut files);
        let fence = fence(&host);
        files.insert(fence.clone(), fs::read(&fence).unwrap());
        Stopped { host, files, voter, index }
    }

    /// Starts the host after this damage.
    fn start_after(&self, damage: impl FnOnce()) -> Start {
        self.put_back();
        damage();
        let (voter, index) = self.host.start_and_end();
        let aside = self.host.aside();
        match aside.len() {
            0 => {
                assert_eq!(voter, self.voter);
                assert!(index >= self.index, "the ledger ends at {index} of {}", self.index);
                Start::Whole
            }
            _ => {
                assert_ne!(voter, self.voter);
                assert_eq!((aside.len(), index), (1, 0));
                Start::Amnesia
            }
        }
    }

    /// Restores everything to the state when the host stopped. The fence is moved
    /// and written in place, because it recognizes a copy of itself.
    fn put_back(&self) {
        for aside in self.host.aside() {
            if aside.join("fence").exists() {
                fs::rename(aside.join("fence"), fence(&self.host)).unwrap();
            }
            fs::remove_dir_all(aside).unwrap();
        }
        fs::remove_dir_all(self.host.store()).unwrap();
        for (path, content) in &self.files {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            write_in_place(path, content);
        }
    }
}

fn fence(host: &Host) -> PathBuf {
    host.dir.path().join("store.fence")
}

fn read_all(directory: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, files);
        } else {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
}

fn write_in_place(path: &Path, content: &[u8]) {
    let file = fs::File::options().write(true).create(true).truncate(false).open(path).unwrap();
    file.set_len(content.len() as u64).unwrap();
    file.write_all_at(content, 0).unwrap();
}

/// Returns the places to damage in a file: densely where it has data.
fn places(content: &[u8], every: usize) -> impl Iterator<Item = usize> {
    let end = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    (0..end).step_by(every).chain((end..content.len()).step_by(content.len() / 4 + 1))
}

#[test]
fn a_flipped_byte_loses_nothing_that_was_promised_or_all_of_it() {
    let stopped = Stopped::new();
    let mut starts = Vec::new();
    for (path, content) in &stopped.files {
        for at in places(content, every()) {
            let mut flipped = content.clone();
            flipped[at] ^= 0x10;
            starts.push(stopped.start_after(|| write_in_place(path, &flipped)));
        }
    }
    assert!(starts.contains(&Start::Whole) && starts.contains(&Start::Amnesia));
}

#[test]
fn a_file_that_was_cut_off_loses_nothing_that_was_promised_or_all_of_it() {
    let stopped = Stopped::new();
    let mut starts = Vec::new();
    for (path, content) in &stopped.files {
        for length in places(content, every()) {
            starts.push(stopped.start_after(|| write_in_place(path, &content[..length])));
        }
    }
    assert!(starts.contains(&Start::Whole) && starts.contains(&Start::Amnesia));
}

#[test]
fn a_file_that_is_missing_or_of_zeros_loses_nothing_that_was_promised_or_all_of_it() {
    let stopped = Stopped::new();
    for (path, content) in &stopped.files {
        stopped.start_after(|| write_in_place(path, &vec![0; content.len()]));
        stopped.start_after(|| fs::remove_file(path).unwrap());
    }
}
