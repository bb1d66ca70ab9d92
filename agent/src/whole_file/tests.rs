use std::os::unix::fs::FileExt;

use super::*;

#[test]
fn a_file_that_was_changed_in_any_way_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("marker");
    if !keeps_checksums(dir.path()) {
        eprintln!("skipped: needs a file system with extended attributes");
        return;
    }
    let content = b"/opt/skein/deployment";
    let damages = (0..content.len()).flat_map(|at| {
        let mut flipped = content.to_vec();
        flipped[at] ^= 1;
        [flipped, content[..at].to_vec(), vec![0; at + 1]]
    });
    for damaged in damages {
        write(&path, content).unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), content);
        // Damage it in place, as a disk does.
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(damaged.len() as u64).unwrap();
        file.write_all_at(&damaged, 0).unwrap();
        assert_eq!(read(&path).unwrap(), None, "{damaged:?}");
        assert_eq!(fs::read(aside(&path)).unwrap(), damaged, "a person may look at it");
        assert_eq!(read(&path).unwrap(), None, "and nothing is left to tell of");
        assert!(!path.exists());
    }
}

#[test]
fn a_file_that_was_written_by_others_is_taken_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("marker");
    assert_eq!(read(&path).unwrap(), None);
    fs::write(&path, "of an earlier agent").unwrap();
    assert_eq!(read(&path).unwrap().unwrap(), b"of an earlier agent");
    replace(&path, b"new").unwrap();
    assert_eq!(read(&path).unwrap().unwrap(), b"new");
    let names = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(names, 1, "no temporary file stays");
}

#[test]
fn a_file_that_grew_line_by_line_is_checked_once_it_is_sealed() {
    let dir = tempfile::tempdir().unwrap();
    if !keeps_checksums(dir.path()) {
        eprintln!("skipped: needs a file system with extended attributes");
        return;
    }
    let path = dir.path().join("journal");
    let mut file = File::options().append(true).create(true).open(&path).unwrap();
    file.write_all(b"one\n").unwrap();
    assert_eq!(read(&path).unwrap().unwrap(), b"one\n");
    seal(&file, b"one\n").unwrap();
    file.write_all(b"two\n").unwrap();
    assert_eq!(read(&path).unwrap(), None);
}

#[test]
fn a_file_is_not_written_before_another_that_cannot_be_synced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("marker");
    let earlier = tempfile::tempfile().unwrap();
    write_after(&earlier, &path, b"old").unwrap();
    assert_eq!(read(&path).unwrap().unwrap(), b"old");
    // The kernel refuses to sync a device without storage.
    let earlier = File::open("/dev/null").unwrap();
    write_after(&earlier, &path, b"new").unwrap_err();
    assert_eq!(read(&path).unwrap().unwrap(), b"old");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays");
}
