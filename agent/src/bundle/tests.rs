use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use tempfile::TempDir;

use super::unpack::{Limits, Refused, UnpackError, unpack};
use super::*;

mod damage;

/// Lists a directory's tree as lines: path, kind, mode, content.
fn listing(top: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut below = vec![PathBuf::new()];
    while let Some(dir) = below.pop() {
        for entry in fs::read_dir(top.join(&dir)).expect("a directory") {
            let path = dir.join(entry.expect("an entry").file_name());
            let metadata = fs::symlink_metadata(top.join(&path)).expect("there");
            let mode = metadata.permissions().mode() & 0o7777;
            let what = if metadata.is_dir() {
                below.push(path.clone());
                format!("dir {mode:o}")
            } else if metadata.is_symlink() {
                format!("-> {}", fs::read_link(top.join(&path)).expect("a link").display())
            } else {
                format!("{mode:o} {}", fs::read_to_string(top.join(&path)).expect("text"))
            };
            lines.push(format!("{} {what}", path.display()));
        }
    }
    lines.sort();
    lines
}

fn sample(dir: &Path) {
    fs::create_dir_all(dir.join("app/empty")).expect("made");
    fs::write(dir.join("appspec.yml"), "version: 0.0\nos: linux\n").expect("written");
    fs::write(dir.join("app/run"), "go").expect("written");
    fs::set_permissions(dir.join("app/run"), fs::Permissions::from_mode(0o755)).expect("set");
    fs::set_permissions(dir.join("appspec.yml"), fs::Permissions::from_mode(0o644)).expect("set");
    fs::set_permissions(dir.join("app"), fs::Permissions::from_mode(0o755)).expect("set");
    fs::set_permissions(dir.join("app/empty"), fs::Permissions::from_mode(0o700)).expect("set");
    symlink("run", dir.join("app/link")).expect("linked");
}

const SAMPLE: [&str; 5] = [
    "app dir 755",
    // A directory's own mode is not kept, as in CodeDeploy.
    "app/empty dir 755",
    "app/link -> run",
    "app/run 755 go",
    "appspec.yml 644 version: 0.0\nos: linux\n",
];

/// Acquires the source. Blocks.
fn acquire(source: &Source, cache: &Cache) -> Result<Revision, AcquireError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (settings, progress) = (Settings::default(), Progress::unheard());
    runtime.block_on(super::acquire(source.clone(), cache, &settings, &progress))
}

fn cache() -> (TempDir, Cache) {
    let dir = TempDir::new().expect("a directory");
    let cache = Cache::open(dir.path().join("cache")).expect("a cache");
    (dir, cache)
}

/// Unpacks `archive` and lists the result.
fn unpacked(archive: &[u8], limits: Limits) -> Result<Vec<String>, UnpackError> {
    let dir = TempDir::new().expect("a directory");
    let file = dir.path().join("archive");
    fs::write(&file, archive).expect("written");
    let destination = dir.path().join("out");
    let result = unpack(&file, &destination, limits).map(|_| listing(&destination));
    let left: Vec<_> =
        fs::read_dir(dir.path()).expect("listed").map(|entry| entry.expect("one").file_name()).collect();
    assert_eq!(left.len(), 1 + usize::from(result.is_ok()), "nothing unfinished stays: {left:?}");
    result
}

fn check_refused(archive: &[u8], limits: Limits, refused: &Refused) {
    match unpacked(archive, limits) {
        Err(UnpackError::Refused { cause, .. }) => assert_eq!(cause, *refused),
        other => panic!("not refused: {other:?}"),
    }
}

/// A tar whose names and links were not checked.
struct Hostile(tar::Builder<Vec<u8>>);

impl Hostile {
    fn new() -> Hostile {
        Hostile(tar::Builder::new(Vec::new()))
    }

    fn entry(mut self, kind: tar::EntryType, name: &str, link: &str, content: &[u8]) -> Hostile {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(content.len() as u64);
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.append(&header, content).expect("appended");
        self
    }

    fn file(self, name: &str) -> Hostile {
        self.entry(tar::EntryType::Regular, name, "", b"x")
    }

    fn link(self, name: &str, target: &str) -> Hostile {
        self.entry(tar::EntryType::Symlink, name, target, b"")
    }

    fn done(self) -> Vec<u8> {
        self.0.into_inner().expect("finished")
    }
}

#[test]
fn a_directory_comes_out_as_it_went_in() {
    let (dir, cache) = cache();
    sample(&dir.path().join("b"));
    let revision = acquire(&Source::Path(dir.path().join("b")), &cache).expect("packed");
    assert!(cache.has(&revision.digest));
    unpack(&cache.path(&revision.digest), &dir.path().join("out"), Limits::default()).expect("unpacked");
    assert_eq!(listing(&dir.path().join("out")), SAMPLE);
}

/// The threads that work on bundles have no more stack than those of tests.
#[test]
fn the_deepest_tree_that_is_allowed_fits_on_the_stack() {
    let dir = TempDir::new().expect("a directory");
    let (top, depth) = (dir.path().join("b"), unpack::DEPTH_MAX);
    fs::create_dir_all(top.join("d/".repeat(depth))).expect("made");
    let mut archive = Vec::new();
    pack::pack(&top, &mut archive).expect("packed");
    fs::write(dir.path().join("archive"), archive).expect("written");
    unpack(&dir.path().join("archive"), &dir.path().join("out"), Limits::default()).expect("unpacked");
    assert!(dir.path().join("out").join("d/".repeat(depth)).is_dir());
    unpack::copy(&top, &dir.path().join("copy"), Limits::default()).expect("copied");
    assert!(dir.path().join("copy").join("d/".repeat(depth)).is_dir());
    fs::create_dir_all(top.join("d/".repeat(depth + 1))).expect("made");
    let refused = unpack::copy(&top, &dir.path().join("copy"), Limits::default());
    assert!(matches!(refused, Err(UnpackError::Refused { cause: Refused::TooDeep, .. })), "{refused:?}");
    let refused = pack::pack(&top, &mut Vec::new());
    assert!(matches!(refused, Err(pack::PackError::Refused { cause: Refused::TooDeep, .. })), "{refused:?}");
}

#[test]
fn equal_trees_have_equal_digests_whenever_they_were_made() {
    let (dir, cache) = cache();
    let digest = |name: &str, seconds: u64| {
        sample(&dir.path().join(name));
        let file = File::open(dir.path().join(name).join("app/run")).expect("opened");
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        file.set_modified(time).expect("set");
        acquire(&Source::Path(dir.path().join(name)), &cache).expect("packed").digest
    };
    let first = digest("a", 1_000);
    assert_eq!(first, digest("b", 2_000_000));
    fs::write(dir.path().join("b/app/run"), "stop").expect("written");
    let changed = acquire(&Source::Path(dir.path().join("b")), &cache).expect("packed").digest;
    assert_ne!(first, changed);
}

#[test]
fn an_archive_is_known_by_its_bytes_and_kept_as_it_is() {
    let (dir, cache) = cache();
    let tar = Hostile::new().file("appspec.yml").done();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).expect("compressed");
    let gzip = gzip.finish().expect("compressed");
    let zstd = zstd::encode_all(tar.as_slice(), 1).expect("compressed");
    for archive in [&tar, &gzip, &zstd] {
        assert_eq!(unpacked(archive, Limits::default()).expect("unpacked"), ["appspec.yml 644 x"]);
        let file = dir.path().join("misnamed.zip");
        fs::write(&file, archive).expect("written");
        let revision = acquire(&Source::Path(file), &cache).expect("cached");
        assert_eq!(revision.digest, Digest::of(archive));
        assert_eq!(revision.size, archive.len() as u64);
    }
    let file = dir.path().join("text.tar");
    fs::write(&file, "not an archive").expect("written");
    assert!(matches!(acquire(&Source::Path(file), &cache), Err(AcquireError::NoArchive { .. })));
}

#[test]
fn a_zip_keeps_modes_and_links_but_not_setuid() {
    let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    zip.add_directory("app", options.unix_permissions(0o750)).expect("added");
    zip.start_file("app/run", options.unix_permissions(0o4755)).expect("added");
    zip.write_all(b"go").expect("written");
    zip.add_symlink("app/link", "run", options).expect("added");
    let zip = zip.finish().expect("finished").into_inner();
    assert_eq!(
        unpacked(&zip, Limits::default()).expect("unpacked"),
        ["app dir 750", "app/link -> run", "app/run 755 go"]
    );
}

#[test]
fn a_zip_from_windows_has_directories_and_ordinary_modes() {
    let options = zip::write::SimpleFileOptions::default().system(zip::System::Dos);
    let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    zip.start_file("app\\sub\\run", options).expect("added");
    zip.write_all(b"go").expect("written");
    let zip = zip.finish().expect("finished").into_inner();
    let listed = unpacked(&zip, Limits::default()).expect("unpacked");
    assert_eq!(listed, ["app dir 755", "app/sub dir 755", "app/sub/run 644 go"]);
    let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    zip.start_file("..\\x", options).expect("added");
    let zip = zip.finish().expect("finished").into_inner();
    check_refused(&zip, Limits::default(), &Refused::GoesUp);
}

#[test]
fn a_single_directory_around_the_appspec_is_stripped() {
    let unpacked = |tar: Hostile| unpacked(&tar.done(), Limits::default()).expect("unpacked");
    assert_eq!(
        unpacked(Hostile::new().file("top/AppSpec.yaml").file("top/a")),
        ["AppSpec.yaml 644 x", "a 644 x"]
    );
    assert_eq!(unpacked(Hostile::new().file("top/a")).len(), 2, "no AppSpec inside");
    assert_eq!(unpacked(Hostile::new().file("top/appspec.yml").file("a")).len(), 3, "not alone");
    let mac = Hostile::new().file("__MACOSX/top/._appspec.yml").file("._top").file(".DS_Store");
    assert_eq!(unpacked(mac.file("top/appspec.yml")), ["appspec.yml 644 x"], "but for what a Mac adds");
    let noise = Hostile::new().file("top/._appspec.yml").file("top/a");
    assert_eq!(unpacked(noise).len(), 3, "which is no AppSpec file either");
}

#[test]
fn nothing_is_stripped_of_a_packed_directory() {
    let dir = TempDir::new().expect("a directory");
    fs::create_dir(dir.path().join("only")).expect("made");
    fs::write(dir.path().join("only/appspec.yml"), "x").expect("written");
    let mut archive = Vec::new();
    pack::pack(dir.path(), &mut archive).expect("packed");
    let listed = unpacked(&archive, Limits::default()).expect("unpacked");
    assert_eq!(listed.last().map(String::as_str), Some("only/appspec.yml 644 x"));
}

#[test]
fn setuid_does_not_come_out_of_a_bundle() {
    let dir = TempDir::new().expect("a directory");
    sample(dir.path());
    fs::set_permissions(dir.path().join("app/run"), fs::Permissions::from_mode(0o6755)).expect("set");
    let mut archive = Vec::new();
    pack::pack(dir.path(), &mut archive).expect("packed");
    assert_eq!(unpacked(&archive, Limits::default()).expect("unpacked"), SAMPLE);
    let copy = dir.path().join("copy");
    let source = dir.path().join("app");
    unpack::copy(&source, &copy, Limits::default()).expect("copied");
    assert_eq!(listing(&copy), ["empty dir 755", "link -> run", "run 755 go"]);
    let inside = source.join("root/copy");
    let refused = unpack::copy(&source, &inside, Limits::default());
    assert!(matches!(refused, Err(UnpackError::Refused { cause: Refused::Itself, .. })), "{refused:?}");
}

#[test]
fn what_could_leave_the_bundle_is_refused() {
    let check = |tar: Hostile, refused: Refused| check_refused(&tar.done(), Limits::default(), &refused);
    let through = |above: &str| Refused::ThroughNonDirectory { above: above.into() };
    let hard = |target: &str| Refused::HardLink { target: target.into() };
    check(Hostile::new().file("/etc/x"), Refused::Absolute);
    check(Hostile::new().file("a/../../x"), Refused::GoesUp);
    check(Hostile::new().link("l", ".").file("l/x"), through("l"));
    check(Hostile::new().link("a/l", "/etc").file("a/l/b/x"), through("a/l"));
    check(Hostile::new().file("f").file("f/x"), through("f"));
    check(Hostile::new().link("l", ""), Refused::LinkTarget);
    check(Hostile::new().entry(tar::EntryType::Link, "h", "/etc/passwd", b""), hard("/etc/passwd"));
    check(Hostile::new().entry(tar::EntryType::Link, "h", "../x", b""), hard("../x"));
    check(Hostile::new().link("l", "x").entry(tar::EntryType::Link, "h", "l", b""), hard("l"));
    check(Hostile::new().entry(tar::EntryType::Char, "d", "", b""), Refused::Special("device"));
    check(Hostile::new().entry(tar::EntryType::Fifo, "p", "", b""), Refused::Special("named pipe"));
    check(Hostile::new().file("a\nb"), Refused::ControlCharacter);
}

#[test]
fn a_zip_is_held_to_the_same() {
    let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    zip.add_symlink("a/link", "../../x", options).expect("added");
    zip.start_file("a/link/x", options).expect("added");
    let zip = zip.finish().expect("finished").into_inner();
    check_refused(&zip, Limits::default(), &Refused::ThroughNonDirectory { above: "a/link".into() });
}

#[test]
fn links_are_laid_down_wherever_they_lead() {
    let tar = Hostile::new().file("a/x").link("a/up", "../b").link("dot", "./a/x").file("b");
    let tar =
        tar.link("python", "/usr/bin/python3").link("out", "../../x").link("here", ".").link("h", "here/..");
    assert_eq!(
        unpacked(&tar.done(), Limits::default()).expect("unpacked"),
        [
            "a dir 755",
            "a/up -> ../b",
            "a/x 644 x",
            "b 644 x",
            "dot -> ./a/x",
            "h -> here/..",
            "here -> .",
            "out -> ../../x",
            "python -> /usr/bin/python3"
        ]
    );
}

#[test]
fn a_hard_link_to_an_earlier_file_is_one_file() {
    let tar = Hostile::new().file("a").entry(tar::EntryType::Link, "b", "a", b"").done();
    assert_eq!(unpacked(&tar, Limits::default()).expect("unpacked"), ["a 644 x", "b 644 x"]);
}

/// Returns a gzipped tar of one empty entry, after a long name of this many bytes.
fn with_long_name(bytes: usize) -> Vec<u8> {
    let name = vec![b'a'; bytes];
    let tar = Hostile::new().entry(tar::EntryType::GNULongName, "././@LongLink", "", &name).file("x").done();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).expect("compressed");
    gzip.finish().expect("compressed")
}

#[test]
fn a_name_is_refused_before_it_fills_the_memory() {
    let refused = unpacked(&with_long_name(50 * 1024 * 1024), Limits::default()).expect_err("refused");
    assert!(matches!(refused, UnpackError::Headers(_)), "{refused:?}");
    // A name that is long but could be real is refused for its length.
    check_refused(&with_long_name(4_000), Limits::default(), &Refused::TooLong);
    // A large file before it makes no difference.
    let (large, name) = (vec![0; 1024 * 1024], vec![b'a'; 1024 * 1024]);
    let tar = Hostile::new().entry(tar::EntryType::Regular, "large", "", &large);
    let tar = tar.entry(tar::EntryType::GNULongName, "././@LongLink", "", &name).file("x").done();
    assert!(matches!(unpacked(&tar, Limits::default()), Err(UnpackError::Headers(_))));
    // Nor does one that is skipped: the top itself has no content.
    let tar = Hostile::new().entry(tar::EntryType::Regular, ".", "", &large).file("x").done();
    assert_eq!(unpacked(&tar, Limits::default()).expect("unpacked"), ["x 644 x"]);
}

#[test]
fn owners_are_known_by_name_if_this_host_knows_it() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let entry = |name: &str, user: &str, group: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.set_mode(0o664);
        header.set_uid(4_711);
        header.set_gid(4_712);
        header.set_username(user).expect("short");
        header.set_groupname(group).expect("short");
        header.set_path(name).expect("short");
        header.set_cksum();
        header
    };
    let dir = TempDir::new().expect("a directory");
    let mut tar = tar::Builder::new(Vec::new());
    tar.append(&entry("known", "nobody", "root"), io::empty()).expect("added");
    tar.append(&entry("foreign", "no-such-user-here", ""), io::empty()).expect("added");
    fs::write(dir.path().join("tar"), tar.into_inner().expect("finished")).expect("written");
    let out = dir.path().join("out");
    let inventory = unpack(&dir.path().join("tar"), &out, Limits::default()).expect("unpacked");
    let nobody = nix::unistd::User::from_name("nobody").expect("looked up").expect("there").uid.as_raw();
    let owners: Vec<_> = inventory.files().map(|(path, given)| (path, given.mode, given.owner)).collect();
    assert_eq!(
        owners,
        [("foreign".into(), 0o664, Some((4_711, 4_712))), ("known".into(), 0o664, Some((nobody, 0)))],
        "they are noted"
    );
    for name in ["known", "foreign"] {
        let metadata = fs::metadata(out.join(name)).expect("there");
        assert_eq!((metadata.uid(), metadata.mode() & 0o022), (0, 0), "only root writes `{name}`");
    }
}

#[test]
fn the_archives_owner_can_still_read_what_is_unpacked() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let mut tar = tar::Builder::new(Vec::new());
    for (kind, name) in [(tar::EntryType::Directory, "closed"), (tar::EntryType::Regular, "closed/run")] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_mode(0o700);
        header.set_uid(4_711);
        header.set_gid(4_712);
        header.set_path(name).expect("short");
        header.set_cksum();
        tar.append(&header, io::empty()).expect("added");
    }
    let dir = TempDir::new().expect("a directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("set");
    fs::write(dir.path().join("tar"), tar.into_inner().expect("finished")).expect("written");
    unpack(&dir.path().join("tar"), &dir.path().join("out"), Limits::default()).expect("unpacked");
    let can = |user: &str, what: &str| {
        let run = dir.path().join("out/closed/run");
        let test = std::process::Command::new("setpriv")
            .args(["--reuid", user, "--regid", "4713", "--clear-groups", "test", what])
            .arg(run)
            .status();
        test.is_ok_and(|status| status.success())
    };
    if !can("0", "-e") {
        println!("skipped: needs setpriv");
        return;
    }
    assert!(can("4711", "-x") && can("4711", "-r"));
    assert!(!can("4711", "-w"), "it runs as root, so only root writes it");
    assert!(!can("4714", "-e"));
}

#[test]
fn a_zip_keeps_times() {
    let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    let time = zip::DateTime::from_date_and_time(2020, 2, 29, 12, 30, 8).expect("a time");
    let options = zip::write::SimpleFileOptions::default().last_modified_time(time);
    zip.start_file("a", options).expect("added");
    let dir = TempDir::new().expect("a directory");
    fs::write(dir.path().join("zip"), zip.finish().expect("finished").into_inner()).expect("written");
    unpack(&dir.path().join("zip"), &dir.path().join("out"), Limits::default()).expect("unpacked");
    let modified = fs::metadata(dir.path().join("out/a")).expect("there").mtime();
    let day = jiff::civil::date(2020, 2, 29).at(12, 30, 8, 0);
    let expected = day.to_zoned(jiff::tz::TimeZone::system()).expect("a time").timestamp();
    assert_eq!(modified, expected.as_second());
}

#[test]
fn a_pipe_is_no_bundle_and_nobody_waits_for_it() {
    let (dir, cache) = cache();
    let pipe = dir.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("made");
    assert!(matches!(acquire(&Source::Path(pipe.clone()), &cache), Err(AcquireError::Read { .. })));
    let refused = unpack(&pipe, &dir.path().join("out"), Limits::default());
    assert!(matches!(refused, Err(UnpackError::Read { .. })), "{refused:?}");
}

#[test]
fn bombs_are_stopped_while_they_unpack() {
    let limits = |entries_max, bytes_max, ratio_max| Limits { entries_max, bytes_max, ratio_max };
    let many = Hostile::new().file("a").file("b").file("c").done();
    check_refused(&many, limits(2, 100, 200), &Refused::TooManyEntries(2));
    check_refused(&many, limits(9, 2, 200), &Refused::TooLarge(2));
    let zeros = vec![0; 70 * 1024 * 1024];
    let bomb = Hostile::new().entry(tar::EntryType::Regular, "zeros", "", &zeros).done();
    let bomb = zstd::encode_all(bomb.as_slice(), 1).expect("compressed");
    check_refused(&bomb, Limits::default(), &Refused::Ratio(200));
}

#[test]
fn special_files_are_refused_and_links_are_packed_as_they_are() {
    let (dir, cache) = cache();
    let bundle = dir.path().join("b");
    let packs = || acquire(&Source::Path(bundle.clone()), &cache);
    sample(&bundle);
    symlink("/etc/passwd", bundle.join("out")).expect("linked");
    let revision = packs().expect("packed");
    unpack(&cache.path(&revision.digest), &dir.path().join("out"), Limits::default()).expect("unpacked");
    assert_eq!(fs::read_link(dir.path().join("out/out")).expect("a link"), Path::new("/etc/passwd"));
    nix::unistd::mkfifo(&bundle.join("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("made");
    assert!(matches!(packs(), Err(AcquireError::Pack { cause: pack::PackError::Special { .. }, .. })));
}

#[test]
fn a_bundle_does_not_take_what_the_agent_keeps_free() {
    let dir = TempDir::new().expect("a directory");
    let stat = rustix::fs::statvfs(dir.path()).expect("there");
    let free = stat.f_bavail * stat.f_frsize;
    cache::require_room(&dir.path().join("not/there/yet"), 1).expect("there is room for a byte");
    let full = cache::require_room(dir.path(), free).expect_err("nothing would be left");
    assert_eq!(full.kept, cache::kept_bytes(&stat));
    assert!(full.to_string().starts_with("the disk is full: "), "{full}");
}

#[test]
fn only_the_right_bytes_are_adopted() {
    let (_dir, cache) = cache();
    let digest = Digest::of(b"good");
    fs::write(cache.part(&digest), "evil").expect("written");
    assert!(matches!(cache.adopt(&digest), Err(CacheError::WrongDigest { .. })));
    assert!(!cache.has(&digest) && !cache.part(&digest).exists());
    fs::write(cache.part(&digest), "good").expect("written");
    assert_eq!(cache.adopt(&digest).expect("adopted"), cache.path(&digest));
    assert_eq!(cache.size(&digest), Some(4));
}

#[test]
fn a_full_cache_loses_what_was_not_used_for_longest() {
    let dir = TempDir::new().expect("a directory");
    let cache = Cache::open_with(dir.path(), 6 * 100).expect("a cache");
    let keep = |number: u8| {
        let mut incoming = cache.incoming().expect("a file");
        incoming.write_all(&[number; 100]).expect("written");
        let (digest, _) = incoming.keep().expect("kept");
        // Their own times could be equal.
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000 + u64::from(number));
        File::open(cache.path(&digest)).and_then(|file| file.set_modified(time)).expect("set");
        digest
    };
    let digests: Vec<Digest> = (0..6).map(keep).collect();
    cache.used(&digests[0]);
    keep(6);
    keep(7);
    let left: Vec<bool> = digests.iter().map(|digest| cache.has(digest)).collect();
    assert_eq!(left, [true, false, false, true, true, true]);
}

#[test]
fn a_path_in_a_bundle_is_resolved_unless_a_link_leads_out() {
    let dir = TempDir::new().expect("a directory");
    let top = dir.path().join("top");
    fs::create_dir_all(top.join("a/b")).expect("made");
    fs::write(top.join("a/b/file"), "").expect("written");
    fs::write(dir.path().join("secret"), "").expect("written");
    let links = [("near", "a/b"), ("back", "../top/a"), ("out", "../secret"), ("a/up", "../..")];
    for (link, target) in links {
        symlink(target, top.join(link)).expect("linked");
    }
    symlink(top.join("a"), top.join("full")).expect("linked");
    // The way to the bundle may have links of its own.
    symlink("top", dir.path().join("way")).expect("linked");
    for top in [top, dir.path().join("way")] {
        let inside = |below: &str| unpack::inside(&top, Path::new(below)).map_err(|error| error.kind());
        for (below, real) in [
            ("", ""),
            ("a/b/file", "a/b/file"),
            ("./a//b/./file", "a/b/file"),
            ("a/b/../b/file", "a/b/file"),
            ("near/file", "a/b/file"),
            ("back/b", "a/b"),
            ("full/b", "a/b"),
        ] {
            assert_eq!(inside(below).as_deref(), Ok(Path::new(real)), "{below}");
        }
        for below in ["out", "a/up/secret", "../secret", "/etc/passwd"] {
            assert_eq!(inside(below), Err(io::ErrorKind::InvalidInput), "{below}");
        }
        assert_eq!(inside("a/missing"), Err(io::ErrorKind::NotFound));
        assert_eq!(inside("a/b/file/x"), Err(io::ErrorKind::NotADirectory));
    }
}
