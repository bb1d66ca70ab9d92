//! The AppSpec file: what a bundle says about its own installation.
//!
//! [`parse`] is CodeDeploy's grammar as its agent reads it, with two
//! differences: all mistakes are found at once, each with its place and what to
//! write instead, and what that agent passes over in silence although it is
//! surely not meant (`permission:`, `overwrite:`) becomes a warning. The YAML
//! is read as a tree with positions (`tree`), never into structs directly,
//! because a place is what a reader of a refusal needs first.
//!
//! Documented differences: a byte order mark and anchors are accepted, `mode:
//! 0644` means 0644, names of unknown events are refused, and so are paths
//! that leave the bundle.

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

/// The longest AppSpec file that is read. Real ones are below 8 KiB; a longer
/// one than this is something else under that name.
pub const APPSPEC_BYTES_MAX: usize = 256 * 1024;

/// An AppSpec file. `version` and `os` each have one accepted value (0.0,
/// linux), so they are checked and not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppSpec {
    /// What to copy where, in the file's order.
    pub files: Vec<FileMapping>,
    /// What to do with files in the way; wins over the deployment's own.
    pub file_exists: Option<FileExists>,
    /// Modes, owners and so on of what was copied, in the file's order.
    pub permissions: Vec<Permission>,
    /// The scripts of each event that has any, in the file's order.
    pub hooks: BTreeMap<LifecycleEvent, Vec<Script>>,
    /// The same of events that somebody made up: only `skein local` runs them.
    pub custom_hooks: BTreeMap<String, Vec<Script>>,
}

/// Which names that are no lifecycle event an AppSpec file may hook.
#[derive(Clone, Copy, Debug)]
pub enum CustomEvents<'n> {
    /// These and no others.
    Only(&'n [String]),
    /// All: the file was judged when its revision was installed.
    Any,
}

/// One entry of `files`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMapping {
    /// Relative to the bundle, without `..`; empty for all of it.
    pub source: String,
    /// The directory that it goes into, as written.
    pub destination: String,
    /// Where in the AppSpec file.
    pub line: usize,
}

/// One script of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Relative to the bundle, as written.
    pub location: String,
    /// How long it may run.
    pub timeout: Duration,
    /// Whether the AppSpec file says so, or `timeout` is the default.
    pub timeout_given: bool,
    /// As whom it runs; none means as the agent.
    pub runas: Option<String>,
    /// Whether it is started through `sudo`.
    pub sudo: bool,
    /// Where in the AppSpec file.
    pub line: usize,
}

/// One entry of `permissions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// The file or directory that it is about.
    pub object: String,
    /// Which names below a directory; `**` is all, at any depth.
    pub pattern: String,
    /// Names directly below a directory that are left out.
    pub except: Vec<String>,
    /// Whether it is about files.
    pub files: bool,
    /// Whether it is about directories.
    pub directories: bool,
    /// The twelve mode bits.
    pub mode: Option<u32>,
    /// A user's name.
    pub owner: Option<String>,
    /// A group's name.
    pub group: Option<String>,
    /// Entries of the access control list.
    pub acls: Vec<Ace>,
    /// What SELinux is to know of it.
    pub context: Option<SeContext>,
    /// Where in the AppSpec file.
    pub line: usize,
}

/// An AppSpec file that was read, and what is odd about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// What it says.
    pub appspec: AppSpec,
    /// What is accepted, but surely not meant.
    pub warnings: Vec<Mistake>,
}

/// All that can be said of an AppSpec file, good or bad.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examined {
    /// What it says, as far as it could be read: for looking at, never to be
    /// carried out while there are mistakes.
    pub appspec: AppSpec,
    /// What must be put right, in the order of their places.
    pub mistakes: Vec<Mistake>,
    /// What is accepted, but surely not meant.
    pub warnings: Vec<Mistake>,
}

/// Something wrong at one place of an AppSpec file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The AppSpec file's name, or that of another file of the bundle.
    pub file: String,
    /// From 1; 0 if it is about the file as a whole.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// Which key, as `hooks.AfterInstall[0].timeout`; empty for the whole file.
    pub key: String,
    /// What is wrong, and what to write instead.
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
/// All mistakes that are in it, in the order of their places.
pub fn parse(file: &str, bytes: &[u8]) -> Result<Parsed, Vec<Mistake>> {
    parse_with(file, bytes, CustomEvents::Only(&[]))
}

/// Reads an AppSpec file that may hook events of its user's own.
/// # Errors
/// As [`parse`].
pub fn parse_with(file: &str, bytes: &[u8], custom: CustomEvents<'_>) -> Result<Parsed, Vec<Mistake>> {
    let Examined { appspec, mistakes, warnings } = examine(file, bytes, custom);
    if mistakes.is_empty() { Ok(Parsed { appspec, warnings }) } else { Err(mistakes) }
}

/// Looks an AppSpec file over, with all that is wrong and all that is odd. What
/// is left of a file with mistakes helps to find those that lie outside of it,
/// such as scripts that are not in the bundle.
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
    // The official agent counts the mark as a column and then misses the first key.
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
                // The parser gives up on what may well be YAML.
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
        Some(text) => format!("`{text}` is no version: the only one there is, is 0.0"),
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
