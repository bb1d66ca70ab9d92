//! Makes text from others safe for a terminal.
//!
//! A person who writes a description, names a host or lets a script fail chooses the words that
//! an operator reads. They are made harmless here, where all answers arrive, so that no command
//! can forget it. Users of JSON get them unchanged.

use serde_json::Value;

use crate::harmless::{clean, clean_lines};

/// The keys whose texts have several lines.
const OF_LINES: [&str; 1] = ["log"];
/// The keys whose values are printed as TOML, which escapes them.
const AS_FILES: [&str; 1] = ["definition"];

/// Says if texts may have several lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lines {
    /// A line after a line break could look like one of Skein's own.
    One,
    /// The whole answer is the output of a script, or an error.
    Many,
}

/// Removes control characters from the answer.
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
