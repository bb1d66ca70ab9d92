//! Reads TOML that people typed; reports every mistake with its line and the probable intention.

use std::path::{Path, PathBuf};

use proto::suggest::nearest;
use serde::de::DeserializeOwned;

/// The longest file to read, in bytes: a thousand times any real one.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The reason why a file could not be read as what it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TomlError {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("{} is larger than {FILE_BYTES_MAX} bytes: is it the right file?", path.display())]
    TooLarge { path: PathBuf },
    #[error("{}:{line}: {problem}", path.display())]
    Parse { path: PathBuf, line: usize, problem: String },
}

/// Reads and parses a file.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T, TomlError> {
    let cannot_read = |cause| TomlError::Read { path: path.to_owned(), cause };
    if std::fs::metadata(path).map_err(cannot_read)?.len() > FILE_BYTES_MAX {
        return Err(TomlError::TooLarge { path: path.to_owned() });
    }
    let text = std::fs::read_to_string(path).map_err(cannot_read)?;
    parse(path, &text)
}

/// Parses `text`, which was read from `path`.
pub(crate) fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, TomlError> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().map_or("", |span| text.get(..span.start).unwrap_or(""));
        let line = before.matches('\n').count() + 1;
        TomlError::Parse { path: path.to_owned(), line, problem: with_suggestion(error.message()) }
    })
}

/// Adds a suggestion to Serde's messages of the form "unknown field `x`, expected one of `a`, `b`".
pub(crate) fn with_suggestion(message: &str) -> String {
    let message = message.trim();
    let mut quoted = message.split('`').skip(1).step_by(2);
    if !(message.starts_with("unknown field") || message.starts_with("unknown variant")) {
        return message.to_string();
    }
    let Some(unknown) = quoted.next() else { return message.to_string() };
    let known: Vec<&str> = quoted.collect();
    let word = if message.starts_with("unknown field") { "key" } else { "word" };
    match nearest(unknown, known.iter().copied()) {
        Some(meant) => format!("unknown {word} `{unknown}`; did you mean `{meant}`?"),
        None => format!("unknown {word} `{unknown}`; known here: {}", known.join(", ")),
    }
}
