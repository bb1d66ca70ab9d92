use std::fs;

use super::*;

fn fence(number: u8) -> Fence {
    Fence::from_bytes([number; Fence::BYTES])
}

fn whole(path: &Path) -> FenceFile {
    FenceFile::open(path).unwrap().unwrap()
}

#[test]
fn the_last_fence_that_was_written_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fence");
    assert_eq!(FenceFile::open(&path).unwrap().err(), Some(NoFence::Missing));
    let mut file = FenceFile::create(&path).unwrap();
    assert_eq!(whole(&path).fence(), Fence::default());
    for number in 1..=5 {
        file.write(fence(number)).unwrap();
        assert_eq!(whole(&path).fence(), fence(number));
    }
    assert_eq!(fs::metadata(&path).unwrap().len(), 8_192, "it does not grow");
    assert!(FenceFile::create(&path).is_err(), "one that is there is never replaced");
}

#[test]
fn a_write_that_was_torn_leaves_the_one_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fence");
    let mut file = FenceFile::create(&path).unwrap();
    file.write(fence(1)).unwrap();
    let before = fs::read(&path).unwrap();
    file.write(fence(2)).unwrap();
    let after = fs::read(&path).unwrap();
    for torn in 0..RECORD_BYTES {
        // Write in place, so that the inode stays.
        let mixed = [&after[..torn], &before[torn..]].concat();
        file.file.write_all_at(&mixed, 0).unwrap();
        assert_eq!(whole(&path).fence(), fence(1), "torn after {torn} bytes");
    }
    file.file.write_all_at(&after, 0).unwrap();
    assert_eq!(whole(&path).fence(), fence(2));
}

#[test]
fn a_damaged_file_holds_one_of_the_last_two_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fence");
    let mut file = FenceFile::create(&path).unwrap();
    (1..=4).for_each(|number| file.write(fence(number)).unwrap());
    let bytes = fs::read(&path).unwrap();
    for at in (0..RECORD_BYTES).flat_map(|at| [at, SLOT_BYTES + at]) {
        file.file.write_all_at(&[bytes[at] ^ 1], at as u64).unwrap();
        assert!([fence(3), fence(4)].contains(&whole(&path).fence()), "byte {at}");
        file.file.write_all_at(&bytes[at..=at], at as u64).unwrap();
    }
    for length in 0..RECORD_BYTES {
        file.file.set_len(length as u64).unwrap();
        assert_eq!(FenceFile::open(&path).unwrap().err(), Some(NoFence::Damaged), "{length} bytes");
        file.file.write_all_at(&bytes, 0).unwrap();
    }
}

#[test]
fn a_copy_is_told_from_the_file_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (path, copy, moved) = (dir.path().join("fence"), dir.path().join("copy"), dir.path().join("moved"));
    FenceFile::create(&path).unwrap().write(fence(1)).unwrap();
    fs::copy(&path, &copy).unwrap();
    assert_eq!(FenceFile::open(&copy).unwrap().err(), Some(NoFence::Copied));
    // The directory may be renamed.
    fs::rename(&path, &moved).unwrap();
    assert_eq!(whole(&moved).fence(), fence(1));
}

#[test]
fn a_birth_time_that_is_unknown_says_nothing() {
    let known = Identity { inode: 1, born_nanos: 5 };
    assert!(known.is_same(Identity { born_nanos: 0, ..known }));
    assert!(!known.is_same(Identity { born_nanos: 6, ..known }));
    assert!(!known.is_same(Identity { inode: 2, ..known }));
}
