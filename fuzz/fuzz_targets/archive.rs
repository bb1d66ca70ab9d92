//! No archive, whatever is in it, stops the agent, writes outside its
//! directory, or leaves a link there that leads out.

#![no_main]

mod bundle;
#[path = "../../agent/src/regular_file.rs"]
#[expect(dead_code, reason = "the agent uses more of it")]
mod regular_file;

use std::fs;
use std::path::Path;

use bundle::unpack::{Limits, unpack};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { entries_max: 1_000, bytes_max: 4 * 1024 * 1024, ratio_max: 200 };

fuzz_target!(|bytes: &[u8]| {
    let dir = tempfile::TempDir::new().expect("a directory");
    let (archive, inside) = (dir.path().join("archive"), dir.path().join("inside"));
    fs::write(&archive, bytes).expect("written");
    let unpacked = unpack(&archive, &inside, LIMITS);
    let names = fs::read_dir(dir.path()).expect("there").map(|entry| entry.expect("one").file_name());
    let mut names: Vec<_> = names.collect();
    names.sort();
    let expected = if unpacked.is_ok() { &["archive", "inside"][..] } else { &["archive"] };
    assert_eq!(names, expected, "something was left beside it");
    if unpacked.is_ok() {
        let top = inside.canonicalize().expect("there");
        stays_inside(&top, &top);
    }
});

fn stays_inside(dir: &Path, top: &Path) {
    // Its owner may have been denied to read it, by the archive.
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if let Ok(target) = path.canonicalize() {
            assert!(target.starts_with(top), "{} leads to {}", path.display(), target.display());
        }
        if path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
            stays_inside(&path, top);
        }
    }
}
