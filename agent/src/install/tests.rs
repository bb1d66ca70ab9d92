use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;

mod cut_off;
mod kept;

/// A host with one group, and bundles to install there.
struct Host {
    dir: TempDir,
    state: State,
}

impl Host {
    fn new() -> Host {
        let dir = TempDir::new().expect("a directory");
        let state = State::new(&dir.path().join("root"), "app~group");
        Host { dir, state }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Writes below the host's directory; what ends in `/` is a directory.
    fn put(&self, files: &[(&str, &str)]) {
        for (path, content) in files {
            let path = self.at(path);
            fs::create_dir_all(path.parent().expect("below")).expect("made");
            fs::write(path, content).expect("written");
        }
    }

    /// Installs `bundle` with `rest` after the entry that copies `app` to `dest`.
    fn install(&self, bundle: &str, rest: &str) -> Result<(), InstallError> {
        let rest = rest.replace("DEST", &self.at("dest").display().to_string());
        let text = format!(
            "version: 0.0\nos: linux\nfiles:\n  - source: /app\n    destination: {}\n{rest}",
            self.at("dest").display()
        );
        let parsed = proto::appspec::parse("appspec.yml", text.as_bytes()).expect("a good AppSpec file");
        install(&parsed.appspec, &self.at(bundle), FileExists::Disallow, &self.state)
    }

    fn problems(&self, bundle: &str, rest: &str) -> Vec<String> {
        match self.install(bundle, rest) {
            Err(InstallError::Plan(problems)) => problems
                .iter()
                .map(|problem| problem.to_string().replace(&format!("{}/", self.dir.path().display()), ""))
                .collect(),
            other => panic!("not refused while planning: {other:?}"),
        }
    }

    fn mode(&self, path: &str) -> u32 {
        fs::metadata(self.at(path)).expect("there").permissions().mode() & 0o7777
    }

    fn check(&self, path: &str, content: Option<&str>) {
        let found = fs::read_to_string(self.at(path)).ok();
        assert_eq!(found.as_deref(), content, "{path}");
    }

    fn cleanup(&self) -> Vec<String> {
        let text = fs::read_to_string(self.state.cleanup_file()).expect("there");
        text.lines().map(|line| line.replace(&format!("{}/", self.dir.path().display()), "")).collect()
    }
}

#[test]
fn the_next_revision_takes_the_place_of_the_one_before() {
    let host = Host::new();
    host.put(&[("v1/app/a", "1"), ("v1/app/sub/b", "1"), ("v2/app/a", "2"), ("v2/app/c", "2")]);
    host.install("v1", "").expect("installed");
    assert_eq!(host.cleanup(), ["dest", "dest/a", "dest/sub", "dest/sub/b"]);
    host.install("v2", "").expect("installed");
    host.check("dest/a", Some("2"));
    host.check("dest/c", Some("2"));
    assert!(!host.at("dest/sub").exists());
    assert_eq!(host.cleanup(), ["dest", "dest/a", "dest/c"]);
}

#[test]
fn directories_that_are_not_ours_or_not_empty_stay() {
    let host = Host::new();
    host.put(&[("v1/app/sub/a", "1"), ("v2/app/b", "2"), ("dest/foreign", "f")]);
    host.install("v1", "").expect("installed");
    host.put(&[("dest/sub/written-by-the-application", "x")]);
    host.install("v2", "").expect("installed");
    host.check("dest/foreign", Some("f"));
    host.check("dest/sub/written-by-the-application", Some("x"));
    host.check("dest/sub/a", None);
}

#[test]
fn conflicts_are_all_found_before_the_old_revision_is_touched() {
    let host = Host::new();
    host.put(&[("v1/app/a", "1"), ("v2/app/a", "2"), ("v2/app/b", "2"), ("v2/app/c", "2")]);
    host.install("v1", "").expect("installed");
    host.put(&[("dest/b", "foreign"), ("dest/c", "foreign")]);
    let exists = "already exists and is not from an earlier deployment: remove it, or choose \
                  `file_exists_behavior: OVERWRITE` or RETAIN";
    assert_eq!(host.problems("v2", ""), [format!("`dest/b` {exists}"), format!("`dest/c` {exists}")]);
    host.check("dest/a", Some("1"));
    assert_eq!(host.cleanup(), ["dest", "dest/a"], "the next install still knows what is there");
}

#[test]
fn overwritten_files_become_ours_and_retained_ones_do_not() {
    let host = Host::new();
    host.put(&[("v1/app/a", "1"), ("v2/app/b", "2"), ("dest/a", "foreign")]);
    host.install("v1", "file_exists_behavior: RETAIN\n").expect("installed");
    host.check("dest/a", Some("foreign"));
    host.install("v1", "file_exists_behavior: OVERWRITE\n").expect("installed");
    host.check("dest/a", Some("1"));
    host.install("v2", "").expect("installed");
    host.check("dest/a", None);
}

#[test]
fn overwriting_reaches_the_other_names_of_a_file() {
    let host = Host::new();
    host.put(&[("v1/app/a", "1"), ("v1/app/b", "1"), ("dest/a", "foreign"), ("dest/b", "foreign")]);
    fs::hard_link(host.at("dest/a"), host.at("twin")).expect("linked");
    let before = fs::metadata(host.at("dest/b")).expect("there").ino();
    host.install("v1", "file_exists_behavior: OVERWRITE\n").expect("installed");
    host.check("twin", Some("1"));
    let after = fs::metadata(host.at("dest/b")).expect("there").ino();
    assert_ne!(before, after, "a file with one name is replaced whole");
}

#[test]
fn what_is_already_there_decides_how_overwriting_goes() {
    let host = Host::new();
    host.put(&[("v1/app/thing", "1"), ("v2/app/real", "2"), ("dest/thing/x", "x"), ("dest/link", "f")]);
    host.install("v1", "file_exists_behavior: OVERWRITE\n").expect("installed");
    host.check("dest/thing/thing", Some("1"));
    symlink("real", host.at("v2/app/link")).expect("linked");
    let said = host.problems("v2", "file_exists_behavior: OVERWRITE\n");
    assert_eq!(said, ["`dest/link` is a link in the bundle, and links do not overwrite what is there"]);
}

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
fn a_deep_tree_is_laid_down_and_one_that_is_too_deep_refused() {
    let host = Host::new();
    let deepest = "d/".repeat(crate::bundle::unpack::DEPTH_MAX);
    fs::create_dir_all(host.at("v1/app").join(&deepest)).expect("made");
    host.install("v1", "").expect("installed");
    assert!(host.at("dest").join(&deepest).is_dir());
    let long = format!("  - source: /app\n    destination: DEST/x{}\n", "/d".repeat(3_000));
    let said = host.problems("v1", &long);
    assert!(said.len() == 1 && said[0].contains("is longer than any path can be"), "{said:?}");
    host.put(&[("v2/app/x", "2")]);
    for level in 0..3 {
        fs::create_dir_all(host.at(&format!("v2/{level}")).join("d/".repeat(100))).expect("made");
        let link = host.at(&format!("v2/{level}")).join("d/".repeat(100)).join("on");
        symlink(format!("{}../{}", "../".repeat(100), level + 1), link).expect("linked");
    }
    fs::create_dir(host.at("v2/3")).expect("made");
    symlink("../0", host.at("v2/app/on")).expect("linked");
    let said = host.problems("v2", "");
    assert!(said.len() == 1 && said[0].contains("more than 256 directories deep"), "{said:?}");
    assert!(host.at("dest/d").exists(), "the old revision still stands");
}

#[test]
fn links_that_multiply_are_refused() {
    let host = Host::new();
    // Each of forty directories has two links to the next: 2^40 copies of one file.
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
fn what_cannot_be_laid_down_is_refused_before_anything_changes() {
    let host = Host::new();
    host.put(&[("v1/app/a", "1"), ("v1/other/a", "1"), ("file", "f")]);
    let dest = host.at("dest").display().to_string();
    let extra =
        |source: &str, destination: &str| format!("  - source: {source}\n    destination: {destination}\n");
    assert_eq!(
        host.problems("v1", &extra("other", &dest)),
        ["both `v1/app/a` and `v1/other/a` are to be copied to `dest/a`"]
    );
    assert_eq!(
        host.problems("v1", &extra("missing", &dest)),
        ["`missing` is not in the bundle (line 6 of the AppSpec file)"]
    );
    let file = host.at("file").display().to_string();
    assert_eq!(
        host.problems("v1", &extra("other", &file)),
        ["`file` is to become a directory but is a file"]
    );
    let [problem] = &host.problems("v1", &extra("other", &format!("/{}", "n".repeat(256))))[..] else {
        panic!("one problem")
    };
    assert!(problem.ends_with("has a part of more than 255 bytes, which no name can have"), "{problem}");
    assert!(!host.at("dest").exists());
}

#[test]
fn files_keep_their_modes_and_times_and_directories_do_not() {
    let host = Host::new();
    host.put(&[("v1/app/sub/run", "1")]);
    fs::set_permissions(host.at("v1/app/sub"), fs::Permissions::from_mode(0o700)).expect("set");
    fs::set_permissions(host.at("v1/app/sub/run"), fs::Permissions::from_mode(0o4711)).expect("set");
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    fs::File::open(host.at("v1/app/sub/run")).expect("opened").set_modified(time).expect("set");
    host.install("v1", "").expect("installed");
    assert_eq!(host.mode("dest/sub/run"), 0o4711);
    assert_eq!(fs::metadata(host.at("dest/sub/run")).expect("there").modified().expect("known"), time);
    assert_ne!(host.mode("dest/sub"), 0o700);
}

#[test]
fn permissions_reach_what_their_pattern_says() {
    let host = Host::new();
    host.put(&[("v1/app/a.sh", ""), ("v1/app/.b.sh", ""), ("v1/app/c.txt", ""), ("v1/app/sub/d.sh", "")]);
    let check = |entry: &str, modes: [u32; 5]| {
        fs::remove_dir_all(host.at("dest")).ok();
        host.install("v1", &format!("permissions:\n  - object: DEST\n    mode: 751\n{entry}"))
            .expect("installed");
        let paths = ["dest/a.sh", "dest/.b.sh", "dest/c.txt", "dest/sub", "dest/sub/d.sh"];
        let changed = paths.map(|path| if host.mode(path) == 0o751 { 1 } else { 0 });
        assert_eq!(changed, modes, "{entry}");
    };
    check("", [1, 1, 1, 1, 1]);
    check("    pattern: \"*.sh\"\n", [1, 1, 0, 0, 0]);
    check("    pattern: \"*\"\n", [1, 1, 1, 1, 0]);
    check("    except: [\"*.sh\", sub]\n", [0, 0, 1, 0, 1]);
    check("    type: [file]\n", [1, 1, 1, 0, 1]);
    check("    type: [directory]\n", [0, 0, 0, 1, 0]);
}

#[test]
fn permissions_that_contradict_are_refused_with_their_lines() {
    let host = Host::new();
    host.put(&[("v1/app/a", "")]);
    let said = host.problems(
        "v1",
        "permissions:\n  - object: DEST\n    mode: 600\n  - object: DEST/a\n    owner: nobody-here\n",
    );
    assert_eq!(
        said,
        [
            "there is no user `nobody-here` on this host (line 9 of the AppSpec file)",
            "two entries of `permissions`, in lines 7 and 9, apply to `dest/a`",
        ]
    );
    let said = host.problems("v1", "permissions:\n  - object: DEST/a\n    pattern: \"*\"\n");
    assert!(said[0].contains("`pattern` and `except` do not apply"), "{said:?}");
}

#[test]
fn permissions_do_not_reach_out_through_links() {
    let host = Host::new();
    host.put(&[("v1/app/a", "1"), ("v1/app/sub/b", "1"), ("secret", "s")]);
    fs::set_permissions(host.at("secret"), fs::Permissions::from_mode(0o600)).expect("set");
    symlink("../a", host.at("v1/app/sub/inside")).expect("linked");
    symlink("inside", host.at("v1/app/sub/twice")).expect("linked");
    let mode = "permissions:\n  - object: DEST\n    mode: 666\n    type: [file]\n";
    host.install("v1", mode).expect("links to what is laid down are followed");
    assert_eq!(host.mode("dest/a"), 0o666);
    symlink("../../secret", host.at("v1/app/sub/out")).expect("linked");
    let secret = host.at("secret").display().to_string();
    let said = host.problems("v1", mode);
    assert_eq!(said.len(), 1, "{said:?}");
    let start = format!("`dest/sub/out` is a link to `{secret}`, which is not part of this installation");
    assert!(said[0].starts_with(&start.replace(&format!("{}/", host.dir.path().display()), "")), "{said:?}");
    assert_eq!(host.mode("secret"), 0o600);
}

#[test]
fn patterns_with_many_stars_do_not_take_forever() {
    let host = Host::new();
    let name = "a".repeat(200);
    host.put(&[(&format!("v1/app/{name}"), "")]);
    let pattern = format!("{}b", "*a".repeat(60));
    host.install(
        "v1",
        &format!("permissions:\n  - object: DEST\n    pattern: \"{pattern}\"\n    mode: 600\n"),
    )
    .expect("installed");
}
