//! Installations that are interrupted, and two at a time.

use super::*;

#[test]
fn what_was_noted_and_cannot_have_been_made_stops_no_installation() {
    let host = Host::new();
    host.put(&[("v1/app/a", "1"), ("file", "f")]);
    symlink(host.at("loop"), host.at("loop")).expect("a link");
    let impossible = [format!("/{}", "n".repeat(256)), host.at("file/x").display().to_string()];
    let looping = host.at("loop/x").display().to_string();
    let journal = format!("{}\n{}\n{looping}\n", impossible[0], impossible[1]);
    crate::whole_file::write(&host.state.cleanup_file(), journal.as_bytes()).expect("written");
    host.install("v1", "").expect("installed");
    host.check("dest/a", Some("1"));
}

#[test]
fn an_install_that_was_cut_off_is_cleaned_up_by_the_next() {
    let host = Host::new();
    host.put(&[("v1/app/a", "1"), ("v1/app/b", "1"), ("v2/app/c", "2")]);
    // The state left by an agent that died while it copied `b`, and by another
    // while it recorded a path.
    let dest = host.at("dest").display().to_string();
    host.put(&[("dest/a", "1")]);
    fs::write(cleanup::part_of(&host.at("dest/b")), "half").expect("written");
    let journal = format!("{dest}\n{dest}/a\n{dest}/b\n{dest}/never-");
    crate::whole_file::write(&host.state.cleanup_file(), journal.as_bytes()).expect("written");
    host.install("v2", "").expect("installed");
    let names: Vec<_> =
        fs::read_dir(&dest).expect("there").map(|entry| entry.expect("one").file_name()).collect();
    assert_eq!(names, ["c"]);
}

/// Waits for a lock: a process that another test is just starting shares our open
/// files, and so our lock, until it executes its own program.
fn once_unlocked<T>(look: impl Fn() -> Option<T>) -> T {
    for _ in 0..5_000 {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("it stays locked")
}

/// The panic by which a witness stops the installation, as if the agent were killed.
struct Killed;

#[test]
fn an_agent_that_is_killed_at_any_step_ends_in_a_whole_revision() {
    use crate::host_side::deployment::Deployment;
    use unfinished::{Intent, UnderWay};
    let appspec_of = |host: &Host| {
        let dest = host.at("dest").display().to_string();
        format!(
            "version: 0.0\nos: linux\nfiles:\n  - source: /app\n    destination: {dest}\npermissions:\n  \
             - object: {dest}\n    mode: 640\n    type: [file]\n"
        )
    };
    let mut step = 0;
    loop {
        let host = Host::new();
        host.put(&[("v1/app/a", "1"), ("v1/app/sub/b", "1")]);
        let archive = host.state.deployment_dir("d-2").join("deployment-archive");
        let below = |path: &str| archive.strip_prefix(host.dir.path()).expect("below").join(path);
        for (path, content) in [("app/a", "2"), ("app/c/d", "2"), ("appspec.yml", &appspec_of(&host))] {
            host.put(&[(below(path).to_str().expect("text"), content)]);
        }
        host.install("v1", "").expect("installed");
        let parsed = proto::appspec::parse("appspec.yml", appspec_of(&host).as_bytes()).expect("good");
        let intent = Intent {
            deployment: "d-2".into(),
            appspec_name: "appspec.yml".into(),
            custom_events: Vec::new(),
            file_exists: FileExists::Disallow,
        };
        let mut left = step;
        let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _under_way = UnderWay::begin(&host.state, &intent).expect("begun");
            let mut witness = || {
                if left == 0 {
                    std::panic::resume_unwind(Box::new(Killed));
                }
                left -= 1;
            };
            let parts = (&parsed.appspec, &host.state);
            watched(parts.0, &archive, &Originals::default(), FileExists::Disallow, parts.1, &mut witness)
                .map(drop)
                .expect("installed");
        }));
        once_unlocked(|| {
            Deployment::finish_interrupted(&host.state).expect("finished");
            (!host.state.installing_file().exists()).then_some(())
        });
        host.check("dest/a", Some("2"));
        host.check("dest/c/d", Some("2"));
        host.check("dest/sub/b", None);
        assert_eq!(host.mode("dest/c/d"), 0o640, "killed at step {step}");
        assert_eq!(host.cleanup(), ["dest", "dest/a", "dest/c", "dest/c/d"]);
        assert_eq!(host.state.last_successful().expect("readable"), Some(host.state.deployment_dir("d-2")));
        assert!(!host.state.installing_file().exists());
        if killed.is_ok() {
            break;
        }
        step += 1;
    }
    assert!(step > 10, "only {step} steps were seen");
}

#[test]
fn two_installations_of_a_group_do_not_run_at_once() {
    use unfinished::{Intent, UnderWay};
    let host = Host::new();
    let intent = Intent {
        deployment: "d-1".into(),
        appspec_name: "appspec.yml".into(),
        custom_events: Vec::new(),
        file_exists: FileExists::Disallow,
    };
    let first = UnderWay::begin(&host.state, &intent).expect("begun");
    let second = UnderWay::begin(&host.state, &intent).expect_err("refused");
    assert_eq!(second.kind(), io::ErrorKind::ResourceBusy);
    assert!(UnderWay::interrupted(&host.state).expect("looked").is_none(), "it is not cut off");
    drop(first);
    let (again, found) = once_unlocked(|| UnderWay::interrupted(&host.state).expect("looked"));
    assert_eq!(found, intent);
    again.done().expect("done");
    assert!(UnderWay::interrupted(&host.state).expect("looked").is_none());
}
