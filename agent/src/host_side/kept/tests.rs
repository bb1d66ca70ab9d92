use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;
use crate::bundle::unpack::unpack;

/// Returns one deployment with an unpacked bundle and its inventory, and the directory for another.
fn kept() -> (TempDir, PathBuf, PathBuf, Digest) {
    let root = TempDir::new().expect("a directory");
    let (first, second) = (root.path().join("group/d-1"), root.path().join("group/d-2"));
    let source = root.path().join("source");
    fs::create_dir_all(source.join("app/empty")).expect("made");
    fs::create_dir_all(&second).expect("made");
    fs::write(source.join("appspec.yml"), "version: 0.0\nos: linux\n").expect("written");
    fs::write(source.join("app/run"), "go").expect("written");
    fs::set_permissions(source.join("app/run"), fs::Permissions::from_mode(0o750)).expect("set");
    symlink("run", source.join("app/link")).expect("linked");
    symlink("/nowhere", source.join("app/out")).expect("linked");
    let packed = root.path().join("packed");
    pack(&source, &packed);
    let inventory = unpack(&packed, &archive_of(&first), Limits::default()).expect("unpacked");
    let digest = Digest::of(b"a bundle");
    note(&first, Some(&digest), &inventory).expect("noted");
    (root, first, second, digest)
}

/// Packs with times, as tar does.
fn pack(source: &Path, archive: &Path) {
    let mut tar = tar::Builder::new(fs::File::create(archive).expect("made"));
    tar.follow_symlinks(false);
    fs::File::open(source.join("app/run"))
        .and_then(|file| file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000)))
        .expect("set");
    tar.append_dir_all("", source).expect("packed");
    tar.finish().expect("packed");
}

fn check(change: impl Fn(&Path), is_used: bool) {
    let (root, first, second, digest) = kept();
    change(&archive_of(&first));
    assert_eq!(unpack_again(root.path(), &second, &digest, Limits::default()), is_used);
    let archive = archive_of(&second);
    assert_eq!(archive.exists(), is_used, "all of it or nothing");
    if is_used {
        assert_eq!(fs::read_to_string(archive.join("app/run")).expect("there"), "go");
        let metadata = fs::metadata(archive.join("app/run")).expect("there");
        assert_eq!((metadata.mode() & 0o7777, metadata.mtime()), (0o750, 1_000));
        assert_eq!(fs::read_link(archive.join("app/link")).expect("there"), Path::new("run"));
        assert_eq!(fs::read_link(archive.join("app/out")).expect("there"), Path::new("/nowhere"));
        assert!(archive.join("app/empty").is_dir() && !archive.join("app/left.log").exists());
        assert_eq!(find(root.path(), &digest).len(), 2, "it can be used again itself");
    }
}

#[test]
fn what_was_unpacked_before_is_used_again() {
    check(|_| {}, true);
    // Files that scripts left there, and modes that they changed, are not copied.
    check(|archive| fs::write(archive.join("app/left.log"), "x").expect("written"), true);
    check(
        |archive| {
            fs::set_permissions(archive.join("app/run"), fs::Permissions::from_mode(0o4777)).expect("set");
        },
        true,
    );
}

#[test]
fn what_is_no_longer_what_was_unpacked_is_not_used() {
    check(|archive| fs::write(archive.join("app/run"), "no").expect("written"), false);
    check(|archive| fs::remove_file(archive.join("appspec.yml")).expect("removed"), false);
    check(
        |archive| {
            fs::remove_file(archive.join("app/link")).expect("removed");
            symlink("/etc/passwd", archive.join("app/link")).expect("linked");
        },
        false,
    );
    check(
        |archive| {
            // The same content, but through a link that may lead elsewhere tomorrow.
            fs::rename(archive.join("app/run"), archive.join("app/away")).expect("moved");
            symlink("away", archive.join("app/run")).expect("linked");
        },
        false,
    );
    check(
        |archive| {
            fs::remove_file(archive.join("app/run")).expect("removed");
            let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
            nix::unistd::mkfifo(&archive.join("app/run"), mode).expect("a pipe");
        },
        false,
    );
}

#[test]
fn a_note_that_is_none_is_not_believed() {
    let (root, first, second, digest) = kept();
    fs::write(note_in(&first, &digest), "{\"items\": [").expect("written");
    assert!(!unpack_again(root.path(), &second, &digest, Limits::default()));
    let other = Digest::of(b"another bundle");
    assert!(find(root.path(), &other).is_empty() && find(Path::new("/nowhere"), &digest).is_empty());
}

#[test]
fn a_note_does_not_lead_out_of_the_directory() {
    let (root, first, second, digest) = kept();
    let path = note_in(&first, &digest);
    let note = fs::read_to_string(&path).expect("there").replace("app/run", "../../run");
    fs::write(&path, note).expect("written");
    assert!(!unpack_again(root.path(), &second, &digest, Limits::default()));
    assert!(!root.path().join("group/run").exists() && !root.path().join("run").exists());
}
