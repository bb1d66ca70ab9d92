//! Examines a script's file: what will run it, and why it may not start.

mod machine;

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::regular_file;

/// The number of bytes of a file to look at. Real scripts are shorter; its
/// interpreter will report what is wrong further down in a longer one.
const LOOKED_AT_MAX: u64 = 256 * 1024;
/// The number of bytes of a first line that Linux reads.
const FIRST_LINE_MAX: usize = 256;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The shells, which take a carriage return for a part of the command.
const SHELLS: [&str; 7] = ["sh", "bash", "dash", "ash", "ksh", "mksh", "zsh"];

/// The beginning of a script.
#[derive(Debug)]
pub(crate) struct ScriptFile {
    bytes: Vec<u8>,
}

/// A defect that prevents, or may prevent, a script from starting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    #[error(
        "its lines end as on Windows (CR LF), so its interpreter will not be found: save it with Unix line ends"
    )]
    WindowsFirstLine,
    #[error(
        "its line {line} ends as on Windows (CR LF), which a shell takes for a part of the command: save it with \
         Unix line ends"
    )]
    WindowsLine { line: usize },
    #[error(
        "it begins with a byte order mark, so the system does not see its first line: save it as UTF-8 without one"
    )]
    ByteOrderMark,
    #[error("it is empty")]
    Empty,
    #[error(
        "`#!` stands in line {line} and must be the very first characters of the file, so {runner} runs it instead"
    )]
    LateInterpreter { line: usize, runner: &'static str },
    #[error("it has no `#!` line, so {runner} runs it: begin it with `#!/bin/bash`, if it is one of bash")]
    NoInterpreter { runner: &'static str },
    #[error("its first line names `{0}`, which is not on this host")]
    InterpreterMissing(PathBuf),
    #[error("its first line asks `env` for `{program}`, which is in no directory of PATH ({path})")]
    ProgramMissing { program: String, path: String },
    #[error("it is a program for {built_for}, and this host is {here}")]
    OtherMachine { built_for: String, here: String },
    #[error(
        "it is a program whose loader `{0}` is not on this host: build it for this system, or statically"
    )]
    LoaderMissing(PathBuf),
}

impl Trouble {
    /// Returns true if another host may not have this trouble.
    fn is_of_this_host(&self) -> bool {
        match self {
            Trouble::InterpreterMissing(_)
            | Trouble::ProgramMissing { .. }
            | Trouble::OtherMachine { .. }
            | Trouble::LoaderMissing(_) => true,
            Trouble::WindowsFirstLine
            | Trouble::WindowsLine { .. }
            | Trouble::ByteOrderMark
            | Trouble::Empty
            | Trouble::LateInterpreter { .. }
            | Trouble::NoInterpreter { .. } => false,
        }
    }

    /// Returns true if it is a program that no processor of this kind can run.
    pub(crate) fn is_of_machine(&self) -> bool {
        matches!(self, Trouble::OtherMachine { .. })
    }

    /// Returns true if it explains that a script could not start, or that a
    /// command in it was not found.
    fn explains_failure(&self) -> bool {
        match self {
            Trouble::Empty | Trouble::NoInterpreter { .. } => false,
            Trouble::WindowsFirstLine
            | Trouble::WindowsLine { .. }
            | Trouble::ByteOrderMark
            | Trouble::LateInterpreter { .. }
            | Trouble::InterpreterMissing(_)
            | Trouble::ProgramMissing { .. }
            | Trouble::OtherMachine { .. }
            | Trouble::LoaderMissing(_) => true,
        }
    }
}

impl ScriptFile {
    pub(crate) fn read(path: &Path) -> io::Result<ScriptFile> {
        let mut bytes = Vec::new();
        regular_file::open(path)?.take(LOOKED_AT_MAX).read_to_end(&mut bytes)?;
        Ok(ScriptFile { bytes })
    }

    /// Returns true if the system itself can start it. Other files are run by a shell, by old custom.
    pub(crate) fn starts_by_itself(&self) -> bool {
        self.bytes.starts_with(b"#!") || machine::is_program(&self.bytes)
    }

    /// Returns what may go wrong with it; leaves out what concerns only this host, unless `is_here`.
    pub(crate) fn warnings(&self, has_user: bool, is_here: bool) -> Vec<Trouble> {
        let troubles = self.troubles(has_user, &std::env::var("PATH").unwrap_or_default());
        troubles.into_iter().filter(|trouble| is_here || !trouble.is_of_this_host()).collect()
    }

    /// Returns why it did not start here, or why one of its commands was not found, with this `PATH`.
    pub(crate) fn why_it_failed(&self, has_user: bool, path: &str) -> Option<Trouble> {
        self.troubles(has_user, path).into_iter().find(Trouble::explains_failure)
    }

    fn troubles(&self, has_user: bool, path: &str) -> Vec<Trouble> {
        let runner = if has_user { "its user's login shell" } else { "/bin/sh" };
        if self.bytes.trim_ascii().is_empty() {
            return vec![Trouble::Empty];
        }
        if machine::is_program(&self.bytes) {
            return machine::trouble(&self.bytes).into_iter().collect();
        }
        if self.bytes.starts_with(BYTE_ORDER_MARK) {
            return vec![Trouble::ByteOrderMark];
        }
        let interpreter = self.interpreter();
        let first = match &interpreter {
            None => Some(self.without_interpreter(runner)),
            Some(Interpreter { ends_as_on_windows: true, .. }) => Some(Trouble::WindowsFirstLine),
            Some(interpreter) => interpreter.missing(path),
        };
        let is_shell = interpreter.as_ref().is_none_or(Interpreter::is_shell);
        let line = self.windows_line().filter(|_| is_shell && first != Some(Trouble::WindowsFirstLine));
        first.into_iter().chain(line.map(|line| Trouble::WindowsLine { line })).collect()
    }

    fn without_interpreter(&self, runner: &'static str) -> Trouble {
        /// The number of lines to search; further down it is a comment, or part of something else.
        const NEAR: usize = 3;
        let mut near = self.bytes.split(|byte| *byte == b'\n').take(NEAR);
        match near.position(|line| line.trim_ascii_start().starts_with(b"#!")) {
            Some(at) => Trouble::LateInterpreter { line: at + 1, runner },
            None => Trouble::NoInterpreter { runner },
        }
    }

    fn interpreter(&self) -> Option<Interpreter> {
        let line = self.bytes.strip_prefix(b"#!")?;
        let line = line.split(|byte| *byte == b'\n').next()?;
        let line = String::from_utf8_lossy(&line[..line.len().min(FIRST_LINE_MAX)]).into_owned();
        let mut words = line.split_whitespace().map(str::to_owned);
        Some(Interpreter {
            ends_as_on_windows: line.ends_with('\r'),
            program: words.next()?,
            arguments: words.collect(),
        })
    }

    /// Returns the number of the first line that ends in CR LF.
    fn windows_line(&self) -> Option<usize> {
        let mut lines = self.bytes.split_inclusive(|byte| *byte == b'\n');
        lines.position(|line| line.ends_with(b"\r\n")).map(|at| at + 1)
    }
}

/// The content of a `#!` line.
struct Interpreter {
    ends_as_on_windows: bool,
    program: String,
    arguments: Vec<String>,
}

impl Interpreter {
    /// Returns the program that `env` runs, if the interpreter is `env`.
    fn asked_of_env(&self) -> Option<&str> {
        let is_env = Path::new(&self.program).file_name().is_some_and(|name| name == "env");
        let mut words = self.arguments.iter().map(String::as_str);
        is_env.then(|| words.find(|word| !word.starts_with('-') && !word.contains('='))).flatten()
    }

    fn is_shell(&self) -> bool {
        let program = self.asked_of_env().unwrap_or(&self.program);
        let name = Path::new(program).file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| SHELLS.contains(&name))
    }

    fn missing(&self, path: &str) -> Option<Trouble> {
        if !Path::new(&self.program).exists() {
            return Some(Trouble::InterpreterMissing(PathBuf::from(&self.program)));
        }
        let program = self.asked_of_env()?;
        let is_there = program.contains('/') && Path::new(program).exists()
            || std::env::split_paths(path).any(|dir| dir.join(program).exists());
        (!is_there).then(|| Trouble::ProgramMissing { program: program.to_owned(), path: path.to_owned() })
    }
}

#[cfg(test)]
mod tests;
