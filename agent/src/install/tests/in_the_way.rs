//! Files that already exist at a destination.

use super::*;

const OVERWRITE: &str = "file_exists_behavior: OVERWRITE\n";

#[test]
fn overwritten_files_become_ours_and_retained_ones_do_not() {
    let host = Host::new();
    host.put(&[("v1/app/a", "1"), ("v2/app/b", "2"), ("dest/a", "foreign")]);
    host.install("v1", "file_exists_behavior: RETAIN\n").expect("installed");
    host.check("dest/a", Some("foreign"));
    host.install("v1", OVERWRITE).expect("installed");
    host.check("dest/a", Some("1"));
    host.install("v2", "").expect("installed");
    host.check("dest/a", None);
}

#[test]
fn overwriting_never_reaches_another_name_or_another_file() {
    let host = Host::new();
    host.put(&[("v1/app/hard", "1"), ("v1/app/soft", "1"), ("v1/app/dir", "1"), ("v1/app/gone", "1")]);
    host.put(&[("dest/hard", "theirs"), ("outside", "theirs"), ("outdir/x", "theirs")]);
    fs::hard_link(host.at("dest/hard"), host.at("twin")).expect("linked");
    for (target, link) in [("../outside", "soft"), ("../outdir", "dir"), ("../never", "gone")] {
        symlink(target, host.at("dest").join(link)).expect("linked");
    }
    host.install("v1", OVERWRITE).expect("installed");
    for name in ["hard", "soft", "dir", "gone"] {
        let path = host.at("dest").join(name);
        assert!(fs::symlink_metadata(&path).expect("there").is_file(), "{name}");
        host.check(&format!("dest/{name}"), Some("1"));
    }
    for path in ["twin", "outside", "outdir/x"] {
        host.check(path, Some("theirs"));
    }
    assert!(!host.at("never").exists());
}

#[test]
fn a_program_that_runs_under_another_name_is_not_in_the_way() {
    let host = Host::new();
    host.put(&[("v1/app/tool", "1"), ("dest/x", "x")]);
    fs::copy("/bin/sleep", host.at("twin")).expect("copied");
    fs::hard_link(host.at("twin"), host.at("dest/tool")).expect("linked");
    let mut running = std::process::Command::new(host.at("twin")).arg("60").spawn().expect("started");
    let installed = host.install("v1", OVERWRITE);
    running.kill().and_then(|()| running.wait()).expect("ended");
    installed.expect("installed");
    host.check("dest/tool", Some("1"));
}

#[test]
fn what_is_no_file_is_named_before_anything_changes() {
    let host = Host::new();
    host.put(&[("v1/app/old", "1"), ("v2/app/thing", "2"), ("v2/app/pipe", "2"), ("v3/app/real", "3")]);
    host.install("v1", "").expect("installed");
    host.put(&[("dest/thing/x", "x"), ("dest/link", "f")]);
    nix::unistd::mkfifo(&host.at("dest/pipe"), nix::sys::stat::Mode::S_IRWXU).expect("made");
    assert_eq!(
        host.problems("v2", OVERWRITE),
        [
            "`dest/pipe` is a named pipe, and a file of the bundle is to be there: move the named pipe away",
            "`dest/thing` is a directory, and a file of the bundle is to be there: move the directory away",
        ]
    );
    host.check("dest/old", Some("1"));
    symlink("real", host.at("v3/app/link")).expect("linked");
    let said = host.problems("v3", OVERWRITE);
    assert_eq!(said, ["`dest/link` is a link in the bundle, and links do not overwrite what is there"]);
}

#[test]
fn a_first_installation_takes_over_what_is_already_as_it_is_to_be() {
    let host = Host::new();
    host.put(&[("v1/app/a", "1"), ("v1/app/b", "1"), ("dest/a", "1"), ("v2/app/c", "2"), ("dest/c", "2")]);
    symlink("a", host.at("v1/app/link")).expect("linked");
    symlink("a", host.at("dest/link")).expect("linked");
    host.put(&[("dest/b", "2")]);
    let said = host.problems("v1", "");
    assert!(said.len() == 1 && said[0].starts_with("`dest/b` already exists"), "{said:?}");
    fs::remove_file(host.at("dest/b")).expect("removed");
    host.install("v1", "").expect("installed");
    host.mark_last_successful("d-1");
    host.check("dest/b", Some("1"));
    // Later installations do not: a file that is there then belongs to someone else.
    let said = host.problems("v2", "");
    assert!(said.len() == 1 && said[0].starts_with("`dest/c` already exists"), "{said:?}");
    fs::remove_file(host.at("dest/c")).expect("removed");
    host.install("v2", "").expect("installed");
    assert!(!host.at("dest/a").exists() && fs::symlink_metadata(host.at("dest/link")).is_err());
}

#[test]
fn what_fails_on_every_host_is_foreseen_with_both_lines() {
    let host = Host::new();
    host.put(&[("v1/app/a", "1"), ("v1/other/a", "1"), ("v1/third/a/x", "1")]);
    let foreseen = |rest: &str| {
        let text =
            format!("version: 0.0\nos: linux\nfiles:\n  - source: app\n    destination: /srv/app\n{rest}");
        let parsed = proto::appspec::parse("appspec.yml", text.as_bytes()).expect("a good AppSpec file");
        let found = foresee(&parsed.appspec, &host.at("v1"));
        found
            .into_iter()
            .map(|(line, problem)| (line, problem.key(), problem.to_string()))
            .collect::<Vec<_>>()
    };
    assert_eq!(foreseen("  - source: made-by-a-script\n    destination: /srv/app\n"), []);
    let [(6, "files", two)] = &foreseen("  - source: other\n    destination: /srv/app\n")[..] else {
        panic!("not foreseen")
    };
    assert!(two.ends_with("are to be copied to `/srv/app/a` (lines 4 and 6 of the AppSpec file)"), "{two}");
    let [(6, "files", both)] = &foreseen("  - source: third\n    destination: /srv/app\n")[..] else {
        panic!("not foreseen")
    };
    assert!(both.contains("`/srv/app/a` is to become a directory"), "{both}");
    let twice = "permissions:\n  - object: /srv/app\n    mode: 600\n  - object: /srv/app/a\n    mode: 640\n";
    let [(9, "permissions", twice)] = &foreseen(twice)[..] else { panic!("not foreseen") };
    assert_eq!(twice, "two entries of `permissions`, in lines 7 and 9, apply to `/srv/app/a`");
}
