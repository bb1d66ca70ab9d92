//! Links in the bundle and on the host.

use super::*;

#[test]
fn links_that_lead_to_each_other_come_to_an_end() {
    let host = Host::new();
    host.put(&[("v1/app/a/x", "1"), ("v1/app/b/y", "1")]);
    for (at, target) in [("a/one", "../b"), ("a/two", "../b"), ("b/one", "../a"), ("b/two", "../a")] {
        symlink(target, host.at("v1/app").join(at)).expect("linked");
    }
    host.install("v1", "").expect("installed");
    host.check("dest/a/one/y", Some("1"));
    let link = fs::read_link(host.at("dest/a/one/two")).expect("what leads back stays a link");
    assert_eq!(link, Path::new("../a"));
    assert_eq!(fs::read_dir(host.at("dest/a/one")).expect("listed").count(), 3);
}

#[test]
fn links_that_multiply_are_refused() {
    let host = Host::new();
    // Each of forty directories has two links to the next, which gives 2^40 copies of one file.
    for level in 0..40 {
        host.put(&[(&format!("v1/app/{level}/x"), "1")]);
        for name in ["a", "b"] {
            let link = host.at(&format!("v1/app/{level}/{name}"));
            symlink(format!("../{}", level + 1), link).expect("linked");
        }
    }
    host.put(&[("v1/app/40/x", "1")]);
    let said = host.problems("v1", "");
    assert!(
        said.len() == 1 && said[0].contains("v1/app/40` is where more than 1000 links lead to"),
        "{said:?}"
    );
    assert!(!host.at("dest").exists());
}

#[test]
fn a_link_to_nowhere_in_a_directorys_place_is_found_in_time() {
    let host = Host::new();
    host.put(&[("v1/app/a", "1"), ("v2/app/sub/b", "2")]);
    host.install("v1", "").expect("installed");
    symlink("nowhere", host.at("dest/sub")).expect("linked");
    assert_eq!(
        host.problems("v2", ""),
        ["`dest/sub` is to become a directory but is a link that leads nowhere: remove it, or make what it \
          leads to"]
    );
    host.check("dest/a", Some("1"));
}

#[test]
fn links_to_files_stay_links_and_links_to_directories_become_copies() {
    let host = Host::new();
    host.put(&[("v1/app/sub/a", "1"), ("v1/shared/s", "s")]);
    for (target, link) in [("sub/a", "file"), ("nowhere", "dangling"), ("../shared", "dir"), (".", "loop")] {
        symlink(target, host.at("v1/app").join(link)).expect("linked");
    }
    host.install("v1", "").expect("installed");
    let target =
        |link: &str| fs::read_link(host.at("dest").join(link)).ok().map(|path| path.display().to_string());
    assert_eq!(target("file").as_deref(), Some("sub/a"));
    assert_eq!(target("dangling").as_deref(), Some("nowhere"));
    assert_eq!((target("dir"), fs::read_to_string(host.at("dest/dir/s")).ok()), (None, Some("s".into())));
    assert_eq!(target("loop").as_deref(), Some("."), "and not forty directories");
}

#[test]
fn permissions_do_not_reach_out_through_links() {
    let host = Host::new();
    host.put(&[("v1/app/a", "1"), ("v1/app/sub/b", "1"), ("secret", "s")]);
    fs::set_permissions(host.at("secret"), fs::Permissions::from_mode(0o600)).expect("set");
    symlink("../a", host.at("v1/app/sub/inside")).expect("linked");
    symlink("inside", host.at("v1/app/sub/twice")).expect("linked");
    symlink("../../secret", host.at("v1/app/sub/out")).expect("linked");
    symlink(host.at("secret"), host.at("v1/app/sub/absolute")).expect("linked");
    symlink("nowhere", host.at("v1/app/sub/dangling")).expect("linked");
    host.install("v1", "permissions:\n  - object: DEST\n    mode: 666\n").expect("patterns pass links over");
    assert_eq!(host.mode("dest/a"), 0o666, "a link to what is laid down leads there");
    assert_eq!(host.mode("secret"), 0o600);
    let said = host.problems("v1", "permissions:\n  - object: DEST/sub/out\n    mode: 666\n");
    let secret = host.at("secret").display().to_string();
    let start = format!("`dest/sub/out` is a link to `{secret}`, which is not part of this installation");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with(&start.replace(&format!("{}/", host.dir.path().display()), "")), "{said:?}");
    assert_eq!(host.mode("secret"), 0o600);
}

#[test]
fn links_that_lead_out_of_the_bundle_are_laid_down_and_never_followed() {
    let host = Host::new();
    host.put(&[
        ("v1/app/bin/run", "1"),
        ("outside/x", "theirs"),
        ("v2/app/other/x", "2"),
        ("v3/app/other/x", "3"),
    ]);
    let outside = host.at("outside").display().to_string();
    let links = [
        ("bin/python", "/usr/bin/env"),
        ("storage", outside.as_str()),
        ("up", "../../outside"),
        ("no", "../no"),
    ];
    for (link, target) in links {
        symlink(target, host.at("v1/app").join(link)).expect("linked");
    }
    host.install("v1", "").expect("installed");
    for (link, target) in links {
        assert_eq!(fs::read_link(host.at("dest").join(link)).expect("a link"), Path::new(target), "{link}");
    }
    // Another source with a destination behind one of the links.
    let behind = |version: &str| {
        fs::create_dir_all(host.at(&format!("{version}/more"))).expect("made");
        fs::write(host.at(&format!("{version}/more/x")), "bad").expect("written");
        "  - source: more\n    destination: DEST/storage/deep\n"
    };
    let said = host.problems("v1", behind("v1"));
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("`dest/storage` is to become a directory, and something else"), "{said:?}");
    // A source behind a link, which is not part of the bundle.
    let said = host.problems("v1", "  - source: app/storage/x\n    destination: DEST\n");
    assert!(said.len() == 1 && said[0].contains("outside of it"), "{said:?}");
    // The next revision has a directory where the previous one had the link.
    symlink("nowhere", host.at("v2/app/storage")).expect("linked");
    host.install("v2", "").expect("installed");
    host.put(&[("v3/app/storage/x", "3")]);
    host.install("v3", "").expect("the link is gone by then");
    host.check("dest/storage/x", Some("3"));
    host.check("outside/x", Some("theirs"));
    assert_eq!(fs::read_dir(host.at("outside")).expect("listed").count(), 1);
}

#[test]
fn a_link_that_a_user_has_swapped_in_is_refused_before_anything_changes() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: needs root, to give directories away");
        return;
    }
    let host = Host::new();
    host.put(&[
        ("v1/app/conf/a", "1"),
        ("v2/app/conf/a", "2"),
        ("v3/app/theirs/x", "3"),
        ("etc/foreign", "f"),
    ]);
    host.install("v1", "").expect("installed");
    fs::create_dir(host.at("dest/theirs")).expect("made");
    std::os::unix::fs::chown(host.at("dest"), Some(4_711), Some(4_711)).expect("given away");
    let swap = |name: &str| {
        let (dir, etc) = (host.at("dest").join(name), host.at("etc"));
        fs::rename(&dir, host.at("dest").join(format!("{name}.away"))).expect("moved");
        symlink(etc, &dir).expect("linked");
        std::os::unix::fs::lchown(&dir, Some(4_711), Some(4_711)).expect("given away");
    };
    fs::write(host.at("etc/a"), "root's").expect("written");
    swap("conf");
    host.install("v2", "").expect("the link goes, and what it leads to stays");
    host.check("etc/a", Some("root's"));
    host.check("dest/conf/a", Some("2"));
    assert!(fs::symlink_metadata(host.at("dest/conf")).expect("there").is_dir());
    swap("theirs");
    let said = host.problems("v3", "");
    let start = "`dest/theirs` is a link that others than root can change";
    assert!(said.len() == 1 && said[0].starts_with(start), "{said:?}");
    host.check("dest/conf/a", Some("2"));
}
