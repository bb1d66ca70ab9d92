use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use tempfile::TempDir;

use super::*;

/// Two users who are neither root nor the agent's.
const USER: u32 = 4_711;
const OTHER: u32 = 4_712;

/// Creates directories and links below one that root owns: the path, the owner,
/// and the mode or the link's target.
fn tree(entries: &[(&str, u32, Result<u32, &str>)]) -> Option<TempDir> {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: needs root, to give directories away");
        return None;
    }
    let dir = TempDir::new().expect("a directory");
    for (path, owner, what) in entries {
        let path = dir.path().join(path);
        match what {
            Ok(mode) => {
                fs::create_dir(&path).expect("made");
                fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).expect("set");
            }
            Err(target) => {
                symlink(target.replace("TOP", &dir.path().display().to_string()), &path).expect("linked")
            }
        }
        std::os::unix::fs::lchown(&path, Some(*owner), Some(*owner)).expect("given away");
    }
    Some(dir)
}

#[track_caller]
fn check(entries: &[(&str, u32, Result<u32, &str>)], path: &str, leads_to: Option<&str>) {
    let Some(dir) = tree(entries) else { return };
    let mut folders = Folders::new();
    let found = folders.open(&dir.path().join(path)).and_then(Folder::real_path);
    match (found, leads_to) {
        (Ok(found), Some(wanted)) => {
            assert_eq!(found, dir.path().canonicalize().expect("there").join(wanted));
        }
        (Err(error), None) => assert!(NotFollowed::of(&error).is_some(), "{error}"),
        (found, wanted) => panic!("{path}: {found:?}, where {wanted:?} was expected"),
    }
}

#[test]
fn links_of_an_administrator_are_followed() {
    let www = [("srv", 0, Ok(0o755)), ("srv/www", 0, Ok(0o755)), ("var", 0, Ok(0o755))];
    for target in ["../srv/www", "TOP/srv/www"] {
        check(&[www[0], www[1], www[2], ("var/www", 0, Err(target))], "var/www", Some("srv/www"));
    }
    check(&[www[0], www[1], www[2], ("var/www", 0, Err("../srv/www"))], "var", Some("var"));
    // Only its owner can change a link of root's in a sticky directory.
    let sticky = [("tmp", 0, Ok(0o1777)), ("srv", 0, Ok(0o755)), ("tmp/link", 0, Err("../srv"))];
    check(&sticky, "tmp/link", Some("srv"));
}

#[test]
fn links_that_others_can_put_there_are_not_followed_out_of_what_is_theirs() {
    let app = [("app", USER, Ok(0o755)), ("etc", 0, Ok(0o755)), ("theirs", USER, Ok(0o755))];
    let with = |link: (&'static str, u32, Result<u32, &'static str>)| [app[0], app[1], app[2], link];
    check(&with(("app/x", USER, Err("../etc"))), "app/x", None);
    check(&with(("app/x", USER, Err("../theirs"))), "app/x", Some("theirs"));
    check(&with(("app/x", OTHER, Err("../theirs"))), "app/x", None);
    // A link of root's that the directory's owner may have moved there.
    check(&with(("app/x", 0, Err("../etc"))), "app/x", None);
    check(&with(("app/x", 0, Err("../theirs"))), "app/x", Some("theirs"));
    // Through a link that leads to another link.
    let twice = [app[0], app[1], ("app/y", USER, Err("../etc")), ("x", 0, Err("app/y"))];
    check(&twice, "x", None);
    let open = [("all", 0, Ok(0o777)), app[1], ("all/x", 0, Err("../etc"))];
    check(&open, "all/x", None);
    let group = [("all", 0, Ok(0o775)), app[1], ("all/x", 0, Err("../etc"))];
    check(&group, "all/x", None);
}

#[test]
fn what_lies_below_a_directory_of_others_is_not_safe_either() {
    let below = [
        ("app", USER, Ok(0o755)),
        ("app/roots", 0, Ok(0o755)),
        ("etc", 0, Ok(0o755)),
        ("app/roots/x", 0, Err("../../etc")),
    ];
    check(&below, "app/roots/x", None);
}

#[test]
fn a_loop_ends_and_a_file_is_no_directory() {
    let dir = TempDir::new().expect("a directory");
    symlink("loop", dir.path().join("loop")).expect("linked");
    fs::write(dir.path().join("file"), "x").expect("written");
    let error = |name: &str| Folders::new().open(&dir.path().join(name)).map(drop).expect_err("refused");
    assert_eq!(error("loop").raw_os_error(), Some(Errno::LOOP.raw_os_error()));
    assert_eq!(error("file/x").raw_os_error(), Some(Errno::NOTDIR.raw_os_error()));
    assert_eq!(error("missing").kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_directory_that_somebody_has_swapped_is_not_taken_for_the_one_that_was_made() {
    let Some(dir) = tree(&[("app", USER, Ok(0o755)), ("app/secret", 0, Ok(0o700))]) else { return };
    let mut folders = Folders::new();
    let app = folders.open(&dir.path().join("app")).expect("open");
    assert_eq!(app.make_directory(OsStr::new("secret")).expect("there"), None);
    let made = app.make_directory(OsStr::new("new")).expect("made").expect("empty and the agent's own");
    assert_eq!(app.directory(OsStr::new("new")).expect("there").1, made);
    chown(dir.path().join("app/new"), Some(USER), None).expect("given away");
    assert_eq!(app.make_directory(OsStr::new("new")).expect("there"), None);
}

#[test]
fn renaming_replaces_only_what_it_may() {
    let dir = TempDir::new().expect("a directory");
    let mut folders = Folders::new();
    let folder = folders.open(dir.path()).expect("open");
    for name in ["new", "newer", "old"] {
        fs::write(dir.path().join(name), name).expect("written");
    }
    let rename = |from: &str, replaces| folder.rename(OsStr::new(from), OsStr::new("old"), replaces);
    assert_eq!(rename("new", false).expect_err("refused").kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read_to_string(dir.path().join("old")).expect("there"), "old");
    rename("newer", true).expect("renamed");
    assert_eq!(fs::read_to_string(dir.path().join("old")).expect("there"), "newer");
}
