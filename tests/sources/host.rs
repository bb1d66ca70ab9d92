//! A host that runs `skein local` with its own environment.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

pub(crate) const SKEIN: &str = env!("CARGO_BIN_EXE_skein");

pub(crate) struct Host {
    pub(crate) dir: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

/// The result of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) is_success: bool,
    /// The output on stdout and stderr together.
    pub(crate) said: String,
    /// The lines that the hook wrote.
    pub(crate) trace: String,
    pub(crate) took: Duration,
}

impl Host {
    /// Returns a host without credentials and without a cloud around it.
    pub(crate) fn new() -> Host {
        let host = Host { dir: tempfile::tempdir().expect("a directory"), environment: Vec::new() };
        host.with("AWS_EC2_METADATA_DISABLED", "true")
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Host {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn with_file(self, variable: &str, name: &str, text: &str) -> Host {
        let path = self.dir.path().join(name);
        fs::write(&path, text).expect("written");
        self.with(variable, &path.display().to_string())
    }

    /// Returns a command that sees nothing of this machine's own settings.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", std::env::var("PATH").unwrap_or_default());
        command.env("HOME", self.dir.path()).env("TRACE", self.trace());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn trace(&self) -> PathBuf {
        self.dir.path().join("trace")
    }

    pub(crate) fn local(&self, source: &str) -> Ran {
        self.local_with(source, &[])
    }

    pub(crate) fn local_with(&self, source: &str, args: &[&str]) -> Ran {
        let mut command = self.command(SKEIN);
        command.args(["local", "-l", source]).args(args);
        command.arg("--deploy-root").arg(self.dir.path().join("root"));
        self.run(command)
    }

    pub(crate) fn run(&self, mut command: Command) -> Ran {
        let _ = fs::remove_file(self.trace());
        let began = Instant::now();
        let Output { status, stdout, stderr } = command.output().expect("it runs");
        let said = String::from_utf8_lossy(&[stderr, stdout].concat()).into_owned();
        let trace = fs::read_to_string(self.trace()).unwrap_or_default();
        Ran { is_success: status.success(), said, trace, took: began.elapsed() }
    }

    /// Checks that nothing is left of a bundle that did not arrive completely.
    pub(crate) fn assert_clean(&self) {
        let mut below = vec![self.dir.path().join("root")];
        while let Some(dir) = below.pop() {
            for entry in fs::read_dir(dir).into_iter().flatten() {
                let path = entry.expect("readable").path();
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                assert!(!name.starts_with("arriving") && name != "bundle.tar", "{} is left", path.display());
                if path.is_dir() {
                    below.push(path);
                }
            }
        }
    }
}

impl Ran {
    pub(crate) fn succeeded(&self) -> &Ran {
        assert!(self.is_success, "{}", self.said);
        self
    }

    /// Checks that the deployment succeeded with the bundle of this word.
    pub(crate) fn deployed(&self, word: &str) -> &Ran {
        self.succeeded();
        assert!(self.trace.contains(&format!("content={word}\n")), "{}\n{}", self.trace, self.said);
        self
    }

    pub(crate) fn refused(&self, because: &str) -> &Ran {
        assert!(
            !self.is_success && self.said.contains(because),
            "not refused with `{because}`: {}",
            self.said
        );
        assert_eq!(self.trace, "", "no script may have run");
        self
    }

    /// Returns the hook's variables whose names begin with `start`.
    pub(crate) fn variables(&self, start: &str) -> Vec<&str> {
        self.trace.lines().filter(|line| line.starts_with(start)).collect()
    }

    /// Returns the peak memory, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let line = self.trace.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }
}
