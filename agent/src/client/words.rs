//! What others wrote, on its way to a terminal.
//!
//! Whoever writes a description, names a host or lets a script fail chooses the
//! words that an operator reads. They are made harmless here, where all answers
//! come in, so that no command can forget it; who reads JSON gets them as they are.

use serde_json::Value;

use crate::cli::{clean, clean_lines};

/// Of more than one line by their nature.
const OF_LINES: [&str; 1] = ["log"];
/// Written as TOML, which escapes what it holds.
const AS_FILES: [&str; 1] = ["definition"];

/// Whether texts may be of more than one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lines {
    /// A line end in them could pass for a line of ours.
    One,
    /// The whole answer is what a script wrote, or an error.
    Many,
}

/// The answer without control characters.
pub(super) fn harmless(answer: &mut Value, lines: Lines) {
    match answer {
        Value::String(text) if text.chars().any(char::is_control) => {
            *text = match lines {
                Lines::One => clean(text),
                Lines::Many => clean_lines(text),
            };
        }
        Value::Array(all) => all.iter_mut().for_each(|one| harmless(one, lines)),
        Value::Object(fields) => {
            for (key, value) in fields.iter_mut().filter(|(key, _)| !AS_FILES.contains(&key.as_str())) {
                harmless(value, if OF_LINES.contains(&key.as_str()) { Lines::Many } else { lines });
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_word_of_others_can_write_to_the_terminal() {
        let mut answer = json!({
            "description": "a\u{1b}[2Jb\u{7}\nerror: all is lost",
            "hosts": [{ "name": "web\r-1", "log": "one\u{1b}[31m\ntwo", "zone": "a\tb" }],
            "definition": { "exec": "one\ntwo" },
            "number": 3,
        });
        harmless(&mut answer, Lines::One);
        let expected = json!({
            "description": "a[2Jb error: all is lost",
            "hosts": [{ "name": "web -1", "log": "one[31m\ntwo", "zone": "a\tb" }],
            "definition": { "exec": "one\ntwo" },
            "number": 3,
        });
        assert_eq!(answer, expected);
        let mut log = json!({ "text": "one\u{1b}]0;x\u{7}\ntwo\n" });
        harmless(&mut log, Lines::Many);
        assert_eq!(log, json!({ "text": "one]0;x\ntwo\n" }));
    }
}
