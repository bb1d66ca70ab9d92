use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;

mod cut_off;
mod in_the_way;
mod kept;
mod links;

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

    /// Writes files below the host's directory; a path that ends in `/` is a directory.
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
        install(&parsed.appspec, &self.at(bundle), &Originals::default(), FileExists::Disallow, &self.state)
            .map(drop)
    }

    fn mark_last_successful(&self, deployment: &str) {
        let record = Record(tempfile::tempfile().expect("a file"));
        self.state.mark_last_successful(&self.state.deployment_dir(deployment), &record).expect("marked");
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
                  `file_exists_behavior: OVERWRITE` or RETAIN (for one deployment to a group: `skein deploy … \
                  --override file_exists=OVERWRITE`)";
    assert_eq!(host.problems("v2", ""), [format!("`dest/b` {exists}"), format!("`dest/c` {exists}")]);
    host.check("dest/a", Some("1"));
    assert_eq!(host.cleanup(), ["dest", "dest/a"], "the next install still knows what is there");
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
fn what_cannot_be_laid_down_is_refused_before_anything_changes() {
    let host = Host::new();
    host.put(&[("v1/app/a", "1"), ("v1/other/a", "1"), ("file", "f")]);
    let dest = host.at("dest").display().to_string();
    let extra =
        |source: &str, destination: &str| format!("  - source: {source}\n    destination: {destination}\n");
    assert_eq!(
        host.problems("v1", &extra("other", &dest)),
        ["both `v1/app/a` and `v1/other/a` are to be copied to `dest/a` (lines 4 and 6 of the AppSpec file)"]
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
