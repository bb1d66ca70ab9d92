//! The output: results go to stdout, everything else to stderr. Colours are used only on a terminal.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use console::Style;
use serde::Serialize;

use super::Global;
use super::width::columns;

/// The most bytes to read of a person's answer to a question.
const ANSWER_BYTES_MAX: u64 = 64;

/// The two streams, and the rules for each.
#[derive(Clone, Debug)]
pub(crate) struct Screen {
    is_json: bool,
    is_quiet: bool,
    is_terminal: bool,
    has_colour: bool,
}

impl Screen {
    pub(crate) fn new(global: &Global) -> Self {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let is_terminal = io::stdout().is_terminal() && !is_dumb;
        // https://no-color.org: set and not empty.
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Screen {
            is_json: global.json,
            is_quiet: global.quiet,
            is_terminal,
            has_colour: is_terminal && !no_colour && !global.json,
        }
    }

    /// Returns true if a person watches, so that lines may be redrawn.
    pub(crate) fn is_live(&self) -> bool {
        self.is_terminal && !self.is_json && !self.is_quiet
    }

    pub(crate) fn is_json(&self) -> bool {
        self.is_json
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.is_quiet
    }

    pub(crate) fn has_colour(&self) -> bool {
        self.has_colour
    }

    /// Prints the command's result: as JSON, or in words.
    pub(crate) fn result<T: Serialize>(
        &self,
        value: &T,
        words: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        if self.is_json {
            self.text(&format!("{}\n", serde_json::to_string_pretty(value)?));
        } else {
            let words = words();
            self.text(if words.is_empty() || words.ends_with('\n') { words } else { words + "\n" }.as_str());
        }
        Ok(())
    }

    /// Writes text to stdout unchanged. If the reader has closed the pipe (`| head`), that is
    /// not an error.
    pub(crate) fn text(&self, text: &str) {
        let mut stdout = io::stdout().lock();
        let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    }

    /// Prints a line before the result; nothing if only results are wanted.
    pub(crate) fn progress(&self, line: &str) {
        if !self.is_json && !self.is_quiet {
            self.text(&format!("{line}\n"));
        }
    }

    /// Asks a question and returns true if a person says yes. Returns false if there is no terminal to
    /// ask on.
    pub(crate) fn asks(&self, question: &str) -> bool {
        if !self.is_live() || !io::stdin().is_terminal() {
            return false;
        }
        self.text(&format!("{question} [y/N] "));
        let mut answer = String::new();
        let read = io::stdin().lock().take(ANSWER_BYTES_MAX).read_line(&mut answer);
        read.is_ok() && ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str())
    }

    /// Prints a line for people on stderr, beside the result.
    pub(crate) fn note(&self, line: &str) {
        if !self.is_quiet {
            eprintln!("{line}");
        }
    }

    /// Returns a status word in its colour.
    pub(crate) fn status(&self, word: &str) -> String {
        self.styled(word, status_style(word))
    }

    pub(crate) fn bold(&self, text: &str) -> String {
        self.styled(text, Style::new().bold())
    }

    pub(crate) fn styled(&self, text: &str, style: Style) -> String {
        style.force_styling(self.has_colour).apply_to(text).to_string()
    }
}

/// Returns the style of a status word: green is good, red is bad, yellow is in progress, and
/// everything else is plain.
pub(crate) fn status_style(word: &str) -> Style {
    let style = Style::new();
    match word {
        "Succeeded" | "Healthy" | "Up" => style.green(),
        "Failed" | "Unhealthy" | "Down" => style.red(),
        "InProgress" | "Stopped" | "Suspect" | "Unknown" => style.yellow(),
        _ => style,
    }
}

/// Formats columns under headings, each as wide as its widest cell. Status words get their colour.
pub(crate) fn table(screen: &Screen, headings: &[&str], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = headings
        .iter()
        .enumerate()
        .map(|(column, heading)| {
            let cells = rows.iter().map(|row| columns(&row[column]));
            cells.max().unwrap_or(0).max(columns(heading))
        })
        .collect();
    let line = |cells: &[String], paint: &dyn Fn(&str) -> String| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| {
            let gap = " ".repeat(width.saturating_sub(columns(cell)));
            format!("{}{gap}", paint(cell))
        });
        format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    let headings: Vec<String> = headings.iter().map(ToString::to_string).collect();
    let mut text = line(&headings, &|heading| screen.bold(heading));
    rows.iter().for_each(|row| text.push_str(&line(row, &|cell| screen.status(cell))));
    text
}
