//! One host: its bundles, its deployment root, and its destination.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

pub(crate) const SKEIN: &str = env!("CARGO_BIN_EXE_skein");
/// Files in the destination that another program made.
pub(crate) const FOREIGN: [(&str, &str); 2] = [("foreign", "theirs"), ("shared/foreign", "theirs too")];

pub(crate) struct Host {
    dir: TempDir,
}

/// The files below a directory: a file's content, or a link's target, by name.
pub(crate) type Tree = BTreeMap<String, String>;

impl Host {
    /// Returns a host with foreign files in the destination.
    pub(crate) fn new() -> Host {
        let host = Host { dir: TempDir::new().expect("a directory") };
        for (name, content) in FOREIGN {
            put(&host.dest().join(name), content);
        }
        host
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn dest(&self) -> PathBuf {
        self.path().join("dest")
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.path().join("root")
    }

    /// Returns the file that exists while an installation is under way.
    pub(crate) fn installing(&self) -> PathBuf {
        let name = "default-local-deployment-group-installing.json";
        self.root().join("deployment-instructions").join(name)
    }

    /// Writes a bundle of these files, all with mode 0640, and of a script for
    /// each given event.
    pub(crate) fn bundle(&self, name: &str, files: &[(&str, &str)], scripts: &[(&str, &str)]) -> PathBuf {
        let bundle = self.path().join(name);
        for (name, content) in files {
            put(&bundle.join("app").join(name), content);
        }
        let dest = self.dest().display().to_string();
        let mut appspec = format!(
            "version: 0.0\nos: linux\nfiles:\n  - source: app\n    destination: {dest}\npermissions:\n  - object: \
             {dest}\n    mode: 640\n    type: [file]\nhooks:\n"
        );
        for (event, script) in scripts {
            put(&bundle.join(format!("{event}.sh")), &format!("#!/bin/sh\n{script}\n"));
            appspec += &format!("  {event}:\n    - location: {event}.sh\n");
        }
        put(&bundle.join("appspec.yml"), &appspec);
        bundle
    }

    pub(crate) fn local(&self, bundle: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(SKEIN);
        command.arg("local").arg(bundle).arg("--deploy-root").arg(self.root()).args(args);
        command.env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }

    /// Returns the files in the destination.
    pub(crate) fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        let mut below = vec![self.dest()];
        while let Some(dir) = below.pop() {
            for entry in fs::read_dir(&dir).expect("a directory") {
                let path = entry.expect("an entry").path();
                let metadata = path.symlink_metadata().expect("there");
                let name = path.strip_prefix(self.dest()).expect("below").display().to_string();
                if metadata.is_dir() {
                    below.push(path);
                } else {
                    let mode = metadata.permissions().mode() & 0o777;
                    let text = fs::read_to_string(&path).expect("text");
                    tree.insert(name, format!("{mode:o} {text}"));
                }
            }
        }
        tree
    }
}

fn put(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().expect("below something")).expect("made");
    fs::write(path, content).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("set");
}

/// Returns both streams, for messages and for words that must occur.
pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[track_caller]
pub(crate) fn expect(mut command: Command, code: i32, words: &[&str]) -> String {
    let output = command.output().expect("it runs");
    let said = said(&output);
    assert_eq!(output.status.code(), Some(code), "the exit code of {command:?}: {said}");
    for word in words {
        assert!(said.contains(word), "nothing is said of `{word}`: {said}");
    }
    said
}
