//! Checks that no archive stops the agent or writes outside its directory: neither beside it,
//! nor behind a link that leads out.

#![no_main]

mod bundle;
#[path = "../../agent/src/posix_acl.rs"]
#[expect(dead_code, reason = "the agent uses more of it")]
mod posix_acl;
#[path = "../../agent/src/regular_file.rs"]
#[expect(dead_code, reason = "the agent uses more of it")]
mod regular_file;

use std::fs;

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
});
