//! Bundles for tests: an AppSpec, and one script for all hooks, which leaves a
//! trace and then does what the test wants.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The action of a hook between its two lines in the trace.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed {
    /// Waits until [`crate::world::Mesh::go`].
    Hold,
    /// Prints the reason and exits with code 3.
    Fail,
    /// Never ends by itself.
    Hang,
    /// Never ends by itself, and has a child that ignores SIGTERM. It writes
    /// down both pids.
    HangTogether,
    /// Leaves a process behind, as a hook that starts a service does, and
    /// writes down its pid.
    LeaveService,
    /// Writes down which of the hanging processes still run.
    Look,
}

/// The hooks in the order of a turn.
const HOOKS: [&str; 5] =
    ["ApplicationStop", "BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"];
/// The longest time that a hook waits, in tenths of a second, so that a hook whose test is over
/// does not run on. It ends earlier if its mesh's directory is removed.
const PATIENCE: u32 = 1_200;

pub(crate) struct Bundle {
    version: String,
    deeds: Vec<(Deed, String)>,
    files: Vec<(String, Vec<u8>, String)>,
    timeout: u32,
}

impl Bundle {
    pub(crate) fn new(version: &str) -> Bundle {
        Bundle { version: version.into(), deeds: Vec::new(), files: Vec::new(), timeout: 100 }
    }

    /// Makes the hook of one event do something, on the hosts that match the
    /// shell pattern.
    pub(crate) fn does(mut self, deed: Deed, event: &str, hosts: &str) -> Bundle {
        assert!(HOOKS.contains(&event), "{event} has no hook");
        self.deeds.push((deed, format!("{event}:{hosts}")));
        self
    }

    /// Adds a file that Install copies into a directory.
    pub(crate) fn installs(mut self, name: &str, content: Vec<u8>, directory: &Path) -> Bundle {
        self.files.push((name.into(), content, directory.display().to_string()));
        self
    }

    /// Sets the timeout of each hook, in seconds.
    pub(crate) fn timeout(mut self, seconds: u32) -> Bundle {
        self.timeout = seconds;
        self
    }

    /// Writes the bundle as a directory into `world`.
    pub(crate) fn write(&self, world: &Path) -> PathBuf {
        let path = world.join(format!("bundle-{}", self.version));
        fs::create_dir_all(&path).expect("a directory");
        fs::write(path.join("appspec.yml"), self.appspec()).expect("a file");
        fs::write(path.join("hook.sh"), self.script()).expect("a file");
        fs::write(path.join("version"), &self.version).expect("a file");
        for (name, content, _) in &self.files {
            fs::write(path.join(name), content).expect("a file");
        }
        path
    }

    fn appspec(&self) -> String {
        let mut text = String::from("version: 0.0\nos: linux\n");
        if !self.files.is_empty() {
            text.push_str("files:\n");
        }
        for (name, _, directory) in &self.files {
            writeln!(text, "  - source: {name}\n    destination: {directory}").expect("a string");
        }
        text.push_str("hooks:\n");
        for hook in HOOKS {
            let timeout = self.timeout;
            writeln!(text, "  {hook}:\n    - location: hook.sh\n      timeout: {timeout}").expect("a string");
        }
        text
    }

    fn script(&self) -> String {
        let mut cases = String::new();
        for (deed, place) in &self.deeds {
            let does = match deed {
                Deed::Hold => format!("until_there go.{}", self.version),
                Deed::Fail => "echo \"$LIFECYCLE_EVENT finds a fault\"; say end; exit 3".into(),
                Deed::Hang => "until_there never".into(),
                Deed::HangTogether => "hang_together".into(),
                Deed::LeaveService => {
                    "until_there never >/dev/null 2>&1 & echo $! >\"$TEST_WORLD/service\"".into()
                }
                Deed::Look => "look".into(),
            };
            writeln!(cases, "  {place}) {does} ;;").expect("a string");
        }
        format!(
            "#!/bin/sh\n\
             say() {{ echo \"$1 $LIFECYCLE_EVENT $TEST_HOST $DEPLOYMENT_ID $(date +%s.%N)\" >>\"$TEST_WORLD/trace\"; }}\n\
             until_there() {{\n\
             \x20 tries=0\n\
             \x20 while [ -d \"$TEST_WORLD\" ] && [ ! -e \"$TEST_WORLD/$1\" ] && [ $tries -lt {PATIENCE} ]; do\n\
             \x20   sleep 0.1; tries=$((tries + 1))\n\
             \x20 done\n\
             }}\n\
             hang_together() {{\n\
             \x20 (trap '' TERM; until_there never) &\n\
             \x20 echo \"$! $$\" >\"$TEST_WORLD/hang\"\n\
             \x20 until_there never\n\
             }}\n\
             look() {{\n\
             \x20 for pid in $(cat \"$TEST_WORLD/hang\"); do\n\
             \x20   grep -qv ') Z ' /proc/$pid/stat && echo $pid >>\"$TEST_WORLD/met\"\n\
             \x20 done\n\
             \x20 : >\"$TEST_WORLD/looked\"\n\
             }}\n\
             [ -d \"$TEST_WORLD\" ] || exit 1\n\
             say begin\n\
             echo \"$LIFECYCLE_EVENT of {} on $TEST_HOST\"\n\
             case \"$LIFECYCLE_EVENT:$TEST_HOST\" in\n\
             {cases}\
             esac\n\
             say end\n",
            self.version
        )
    }
}
