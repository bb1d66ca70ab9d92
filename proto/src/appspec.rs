//! The AppSpec file: a bundle's description of its own installation.
//!
//! [`parse`] accepts CodeDeploy's grammar as CodeDeploy's agent reads it, with two
//! differences. It finds all mistakes at once, each with its place and what to
//! write instead. And where that agent silently ignores something that is surely a
//! mistake (`permission:`, `overwrite:`), it warns. It reads the YAML as a tree
//! with positions (`tree`) and never directly into structs, because the first thing
//! that a reader of an error needs is the place.
//!
//! Documented differences: a byte order mark and anchors are accepted, `mode: 0644`
//! means 0644, and names of unknown events and paths that leave the bundle are
//! refused.

mod access;
mod advice;
mod files;
mod hooks;
mod permissions;
mod reader;
mod scalar;
mod tree;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

pub use access::{Ace, AceKind, SeContext};

use crate::lifecycle::LifecycleEvent;
use crate::policy::FileExists;
use crate::suggest;
use reader::{Cursor, Reader};

/// The longest AppSpec file that is read, in bytes. Real ones are below 8 KiB; a
/// file longer than this is something else under that name.
pub const APPSPEC_BYTES_MAX: usize = 256 * 1024;

/// The content of an AppSpec file. `version` and `os` have one accepted value each
/// (0.0 and linux), so they are checked but not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppSpec {
    /// The files to copy, in the file's order.
    pub files: Vec<FileMapping>,
    /// The action of Install for files that are in the way. Takes precedence over
    /// the deployment's own setting.
    pub file_exists: Option<FileExists>,
    /// The modes, owners and so on of copied files, in the file's order.
    pub permissions: Vec<Permission>,
    /// The scripts of each event that has any, in the file's order.
    pub hooks: BTreeMap<LifecycleEvent, Vec<Script>>,
    /// The scripts of events that the user invented. Only `skein local` runs them.
    pub custom_hooks: BTreeMap<String, Vec<Script>>,
}

/// The names besides the lifecycle events that an AppSpec file may hook.
#[derive(Clone, Copy, Debug)]
pub enum CustomEvents<'n> {
    /// These names and no others.
    Only(&'n [String]),
    /// Any name: the file was checked when its revision was installed.
    Any,
}

/// One entry of `files`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMapping {
    /// The path in the bundle, relative and without `..`; empty for the whole
    /// bundle.
    pub source: String,
    /// The directory to copy to, as written.
    pub destination: String,
    /// The line in the AppSpec file.
    pub line: usize,
}

/// One script of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The path in the bundle, as written.
    pub location: String,
    /// The most time that the script may run.
    pub timeout: Duration,
    /// True if the AppSpec file gives `timeout`, false if it is the default.
    pub timeout_given: bool,
    /// The user that runs the script; `None` for the agent's own user.
    pub runas: Option<String>,
    /// True if the script is started through `sudo`.
    pub sudo: bool,
    /// The line in the AppSpec file.
    pub line: usize,
}

/// One entry of `permissions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// The file or directory that the entry is for.
    pub object: String,
    /// A pattern for names below a directory; `**` matches all, at any depth.
    pub pattern: String,
    /// Names directly below the directory that the entry leaves out.
    pub except: Vec<String>,
    /// True if the entry applies to files.
    pub files: bool,
    /// True if the entry applies to directories.
    pub directories: bool,
    /// The twelve mode bits.
    pub mode: Option<u32>,
    /// The name of the owner.
    pub owner: Option<String>,
    /// The name of the owning group.
    pub group: Option<String>,
    /// Entries of the access control list.
    pub acls: Vec<Ace>,
    /// The SELinux context.
    pub context: Option<SeContext>,
    /// The line in the AppSpec file.
    pub line: usize,
}

/// An AppSpec file that was read without mistakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The content of the file.
    pub appspec: AppSpec,
    /// Warnings: what is accepted, but is probably a mistake.
    pub warnings: Vec<Mistake>,
}

/// The full result of examining an AppSpec file, valid or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examined {
    /// The content of the file, as far as it could be read. It may be shown, but
    /// must never be carried out while there are mistakes.
    pub appspec: AppSpec,
    /// The mistakes to correct, in the order of their places.
    pub mistakes: Vec<Mistake>,
    /// Warnings: what is accepted, but is probably a mistake.
    pub warnings: Vec<Mistake>,
}

/// A mistake at one place of an AppSpec file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The name of the AppSpec file, or of another file in the bundle.
    pub file: String,
    /// The line, counted from 1; 0 for the file as a whole.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// The key, such as `hooks.AfterInstall[0].timeout`; empty for the file as a
    /// whole.
    pub key: String,
    /// The mistake, and what to write instead.
    pub problem: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: ", self.file)?,
            line => write!(f, "{}:{line}:{}: ", self.file, self.column)?,
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.problem)
    }
}

/// Reads an AppSpec file. `file` is its name, for the messages.
/// # Errors
/// All mistakes in the file, in the order of their places.
pub fn parse(file: &str, bytes: &[u8]) -> Result<Parsed, Vec<Mistake>> {
    parse_with(file, bytes, CustomEvents::Only(&[]))
}

/// Reads an AppSpec file that may also hook `custom` events.
/// # Errors
/// As [`parse`].
pub fn parse_with(file: &str, bytes: &[u8], custom: CustomEvents<'_>) -> Result<Parsed, Vec<Mistake>> {
    let Examined { appspec, mistakes, warnings } = examine(file, bytes, custom);
    if mistakes.is_empty() { Ok(Parsed { appspec, warnings }) } else { Err(mistakes) }
}

/// Examines an AppSpec file, and returns all mistakes and warnings. What could be
/// read of a file with mistakes helps to find mistakes outside of it, such as
/// scripts that are missing from the bundle.
pub fn examine(file: &str, bytes: &[u8], custom: CustomEvents<'_>) -> Examined {
    let mut reader = Reader::new(file);
    let appspec = match read_text(bytes) {
        Ok(text) => read(&mut reader, text, custom),
        Err((at, problem)) => {
            reader.mistake(at, "", problem);
            AppSpec::default()
        }
    };
    let (mistakes, warnings) = reader.finish();
    Examined { appspec, mistakes, warnings }
}

fn read_text(bytes: &[u8]) -> Result<&str, (tree::Position, String)> {
    let start = tree::Position { line: 1, column: 1 };
    if bytes.len() > APPSPEC_BYTES_MAX {
        let problem =
            format!("longer than {APPSPEC_BYTES_MAX} bytes, which no AppSpec file is: is it this file?");
        return Err((start, problem));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let line = good.matches('\n').count() + 1;
        let column = good.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        (tree::Position { line, column }, "not UTF-8 from here on: save the file as UTF-8".to_owned())
    })?;
    // The official agent takes the mark as a column, and then does not find the
    // first key.
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

const TOP_KEYS: [&str; 6] = ["version", "os", "files", "file_exists_behavior", "permissions", "hooks"];

fn read(reader: &mut Reader, text: &str, custom: CustomEvents<'_>) -> AppSpec {
    let document = match tree::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let problem = error.problem;
            let advice = advice::on_syntax(text, error.at.line, &TOP_KEYS);
            let problem = match advice {
                // The parser gives up here on text that may be valid YAML.
                _ if problem.starts_with("recursion limit") => {
                    "nested deeper than any AppSpec file is".to_owned()
                }
                Some(advice) => format!("not YAML: {advice} (the parser says: {problem})"),
                None => format!("not YAML: {problem}"),
            };
            reader.mistake(error.at, "", problem);
            return AppSpec::default();
        }
    };
    let Some(root) = document.root else {
        let start = tree::Position { line: 1, column: 1 };
        reader.mistake(start, "", "empty: it needs at least `version: 0.0` and `os: linux`".to_owned());
        return AppSpec::default();
    };
    if let Some(at) = document.more {
        reader.warning(at, "", "a second YAML document starts here and is ignored".to_owned());
    }
    let root = Cursor::new(&root, String::new());
    if let Some(text) = root.scalar() {
        let problem = text.lines().next().and_then(advice::without_blank).unwrap_or_else(|| {
            "text, but no AppSpec file: it has keys such as `version: 0.0`, each at the start of a line"
                .to_owned()
        });
        root.mistake(reader, problem);
        return AppSpec::default();
    }
    let Some(top) = root.map(reader, "keys such as `version: 0.0`") else { return AppSpec::default() };
    let resources = top.get("Resources").or_else(|| top.get("resources"));
    if let (Some(resources), None) = (resources, top.get("os")) {
        let problem = "this is an AppSpec file for Amazon ECS or AWS Lambda: one for hosts has `os: linux`, \
                       `files` and `hooks`";
        reader.mistake(resources.at(), "Resources", problem.to_owned());
        return AppSpec::default();
    }
    version(reader, &top);
    os(reader, &top);
    let (hooks, custom_hooks) = hooks::read(reader, &top, custom);
    let files = files::read(reader, &top);
    let permissions = permissions::read(reader, &top, &files);
    let file_exists = file_exists(reader, &top);
    let appspec = AppSpec { hooks, custom_hooks, files, permissions, file_exists };
    outdented_hooks(reader, &top);
    top.warn_unknown(reader, &TOP_KEYS, |key| key.parse::<LifecycleEvent>().is_ok().then(String::new));
    appspec
}

fn version(reader: &mut Reader, top: &reader::Map<'_>) {
    let Some(version) = top.require(reader, "version", &TOP_KEYS, "write `version: 0.0`") else { return };
    if version.number() == Some(0.0) {
        return;
    }
    let problem = match version.scalar() {
        Some(text) if scalar::number(text) == Some(0.0) => {
            format!("\"{text}\" is text here: write the number without quotes, `version: 0.0`")
        }
        Some(text) => format!("invalid version `{text}`: only 0.0 is supported"),
        None => "must be the number 0.0".to_owned(),
    };
    version.mistake(reader, problem);
}

fn os(reader: &mut Reader, top: &reader::Map<'_>) {
    let Some(os) = top.require(reader, "os", &TOP_KEYS, "write `os: linux`") else { return };
    let problem = match os.scalar() {
        Some("linux") => return,
        Some("windows") => "windows: this bundle is for Windows hosts, and this host runs Linux".to_owned(),
        Some(text) if text.eq_ignore_ascii_case("linux") => {
            format!("`{text}` is not a system: upper and lower case count; did you mean linux?")
        }
        Some(text) => format!("`{text}` is not a system: every distribution is written `linux`"),
        None => "must be `linux`".to_owned(),
    };
    os.mistake(reader, problem);
}

fn file_exists(reader: &mut Reader, top: &reader::Map<'_>) -> Option<FileExists> {
    let given = top.given("file_exists_behavior")?;
    match given.scalar() {
        Some("DISALLOW") => return Some(FileExists::Disallow),
        Some("OVERWRITE") => return Some(FileExists::Overwrite),
        Some("RETAIN") => return Some(FileExists::Retain),
        Some(text) => {
            let advice = suggest::nearest(text, ["DISALLOW", "OVERWRITE", "RETAIN"]);
            let advice = suggest::did_you_mean(advice);
            given.mistake(reader, format!("`{text}` is none of DISALLOW, OVERWRITE and RETAIN{advice}"));
        }
        None => given.mistake(reader, "must be one of DISALLOW, OVERWRITE and RETAIN".to_owned()),
    }
    None
}

fn outdented_hooks(reader: &mut Reader, top: &reader::Map<'_>) {
    for (key, cursor) in top.iter() {
        if key.parse::<LifecycleEvent>().is_ok() {
            let problem = "an event at the top level is ignored: indent it below `hooks:`";
            reader.warning(cursor.key_at(), key, problem.to_owned());
        }
    }
}

#[cfg(test)]
mod tests;
