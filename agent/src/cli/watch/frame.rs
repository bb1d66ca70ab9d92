//! The live view: one frame per look, redrawn in place.
//!
//! A frame always fits the terminal: lines to be overwritten must not have scrolled away.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use console::{Style, Term};

use crate::cli::Screen;
use crate::cli::group::short_revision;
use crate::cli::screen::status_style;
use crate::cli::watch::changes::{needs_a_person, waits};
use crate::cli::width::{columns, fitting, padded, shortened, wrapped};
use crate::harmless::clean;
use crate::view::{DeploymentView, HistoryLine, TurnView};

/// The most hosts to show; those in their turn and those that failed come first.
const ROWS_MAX: usize = 20;
/// The number of hosts to show on the smallest terminal.
const ROWS_MIN: usize = 3;
/// The most columns of a name, and `NAME_END`, the columns for its end.
const NAME_MAX: usize = 24;
const NAME_END: usize = 12;
const BAR_MAX: usize = 30;
/// The most lines of the sentence that says what it waits for.
const WHY_LINES_MAX: usize = 3;
/// The lines below the frame: the cursor's, and a note if the agent is unreachable.
const LINES_BELOW: usize = 2;

/// The content of a frame.
pub(super) struct Frame<'a> {
    pub(super) deployment: &'a DeploymentView,
    pub(super) history: &'a VecDeque<HistoryLine>,
    pub(super) elapsed: Duration,
    /// The reason why all this is not current.
    pub(super) banner: Option<String>,
}

/// The words of one line, each with its style. They are cut to the terminal's
/// width before colours are added, so that no colour code is cut in two.
type Line = Vec<(String, Style)>;

impl Frame<'_> {
    /// Returns at most `height` lines, with room for those below the frame.
    pub(super) fn lines(&self, width: usize, height: usize) -> Vec<Line> {
        let mut lines = self.banner(width);
        lines.extend([self.header(), self.progress(), self.in_service(), Vec::new()]);
        let why = self.why(width);
        let room = height.saturating_sub(LINES_BELOW + lines.len() + why.len());
        // On a low terminal, the hosts get the room there is.
        let history =
            self.history.len().min(room.saturating_sub(ROWS_MAX.min(self.deployment.hosts().len()) + 2));
        let below = if history > 0 { history + 1 } else { 0 };
        lines.extend(self.rows(room.saturating_sub(below)));
        lines.extend(why);
        if history > 0 {
            lines.push(Vec::new());
            let dim = |line: &HistoryLine| vec![(format!("  {}", line.text), Style::new().dim())];
            lines.extend(self.history.iter().skip(self.history.len() - history).map(dim));
        }
        lines
    }

    fn banner(&self, width: usize) -> Vec<Line> {
        let banner = self.banner.as_deref().unwrap_or_default();
        let lines = wrapped(&clean(banner), width.saturating_sub(1), WHY_LINES_MAX);
        lines.into_iter().map(|line| vec![(line, Style::new().yellow())]).collect()
    }

    fn header(&self) -> Line {
        let view = self.deployment;
        let rollback = view.rollback_of.as_deref().map(|undone| format!("  (rollback of {undone})"));
        let revision = short_revision(&view.revision);
        // The most important part comes first: a narrow terminal cuts the rest.
        vec![
            (view.id.clone(), Style::new().bold()),
            (format!("  {}", view.status), status_style(&view.status).bold()),
            (format!("  {:.1} s", self.elapsed.as_secs_f64()), Style::new().dim()),
            (format!("  {} → {revision}", view.group), Style::new()),
            (rollback.unwrap_or_default(), Style::new()),
        ]
    }

    /// Formats the progress bar: turns that succeeded, turns that ended
    /// otherwise, and turns in progress.
    fn progress(&self) -> Line {
        let counts = self.deployment.counts;
        let total = counts.pending + counts.in_progress + counts.succeeded + counts.failed + counts.skipped;
        let cells = (total as usize).min(BAR_MAX);
        // Round down, so that the bar is full only when all is over.
        let scale = |hosts: u32| (hosts as usize * cells).checked_div(total as usize).unwrap_or(0);
        let good = scale(counts.succeeded);
        let over = scale(counts.succeeded + counts.failed + counts.skipped);
        let begun = scale(total - counts.pending);
        let done = counts.succeeded + counts.failed + counts.skipped;
        let mut words = format!(" {done} of {total} done");
        for (count, what) in [(counts.failed, "failed"), (counts.skipped, "skipped")] {
            if count > 0 {
                words.push_str(&format!(", {count} {what}"));
            }
        }
        vec![
            ("█".repeat(good), Style::new().green()),
            ("█".repeat(over - good), Style::new().red()),
            ("▒".repeat(begun - over), Style::new()),
            ("░".repeat(cells - begun), Style::new().dim()),
            (words, Style::new()),
        ]
    }

    fn in_service(&self) -> Line {
        let (healthy, config) = (self.deployment.healthy, &self.deployment.config);
        let style = if healthy.now < healthy.minimum { Style::new().red() } else { Style::new() };
        let words = format!("{} of {} in service, {} must be", healthy.now, healthy.total, healthy.minimum);
        vec![(words, style), (format!(" ({config})"), Style::new())]
    }

    /// Formats the hosts in up to `room` lines; the last one counts the hosts that are not shown.
    fn rows(&self, room: usize) -> Vec<Line> {
        let hosts = self.deployment.hosts();
        let mut shown: Vec<&TurnView> = hosts.iter().collect();
        let mut left_out = Vec::new();
        if hosts.len() > room.min(ROWS_MAX) {
            shown.sort_by_key(|host| urgency(&host.status));
            left_out = shown.split_off(room.saturating_sub(1).clamp(ROWS_MIN, ROWS_MAX).min(shown.len()));
        }
        let widths = shown.iter().map(|host| columns(&clean(host.who.label())));
        let name_width = widths.max().unwrap_or(0).min(NAME_MAX);
        let mut rows: Vec<Line> = shown.iter().map(|host| row(host, name_width)).collect();
        if !left_out.is_empty() {
            rows.push(vec![(more(&left_out), Style::new().dim())]);
        }
        rows
    }

    fn why(&self, width: usize) -> Vec<Line> {
        let view = self.deployment;
        let (words, style) = if let Some(reason) = &view.reason {
            (reason.message.clone(), Style::new().yellow())
        } else if let Some(words) = waits(view).next() {
            let style = if needs_a_person(view) { Style::new().yellow() } else { Style::new().dim() };
            (words, style)
        } else {
            return Vec::new();
        };
        let lines = wrapped(&clean(&words), width.saturating_sub(1), WHY_LINES_MAX);
        let lines = lines.into_iter().map(|line| vec![(line, style.clone())]);
        std::iter::once(Vec::new()).chain(lines).collect()
    }
}

/// Formats `… and 87 more: 80 Succeeded, 7 Pending`.
fn more(left_out: &[&TurnView]) -> String {
    let mut counts: BTreeMap<(u8, &str), usize> = BTreeMap::new();
    for host in left_out {
        *counts.entry((urgency(&host.status), &host.status)).or_default() += 1;
    }
    let counts: Vec<String> =
        counts.into_iter().map(|((_, status), count)| format!("{count} {status}")).collect();
    format!("  … and {} more: {}", left_out.len(), counts.join(", "))
}

/// Returns the rank of a status; people must see the lowest first.
fn urgency(status: &str) -> u8 {
    match status {
        "Failed" => 0,
        "InProgress" | "Unknown" => 1,
        "Pending" => 2,
        "Succeeded" => 3,
        _ => 4,
    }
}

fn row(host: &TurnView, name_width: usize) -> Line {
    let name = shortened(&clean(host.who.label()), NAME_MAX, NAME_END);
    let event = host.event.as_deref().unwrap_or("");
    let message = host.message.as_deref().filter(|_| host.status != "Skipped").unwrap_or("");
    let mark = match host.status.as_str() {
        "Succeeded" => "✓",
        "Failed" => "✗",
        "InProgress" => "▶",
        "Unknown" => "?",
        _ => "·",
    };
    vec![
        (format!(" {mark} "), status_style(&host.status)),
        (format!("{}  ", padded(&name, name_width)), Style::new()),
        (format!("{:<10}  ", host.status), status_style(&host.status)),
        (format!("{event:<16}  "), Style::new()),
        (message.to_string(), Style::new()),
    ]
}

/// The part of the terminal that is redrawn.
pub(super) struct Live {
    term: Term,
    has_colour: bool,
    drawn: usize,
    note: Option<String>,
}

impl Live {
    pub(super) fn new(screen: &Screen) -> Self {
        Live { term: Term::stdout(), has_colour: screen.has_colour(), drawn: 0, note: None }
    }

    /// Draws a frame over the previous one. Forgets the note, because the agent answers.
    pub(super) fn draw(&mut self, frame: &Frame<'_>) {
        self.note = None;
        let (height, width) = self.term.size();
        self.replace(&frame.lines(usize::from(width), usize::from(height)));
    }

    /// Prints a line below the last frame, until the next one.
    pub(super) fn note(&mut self, line: &str) {
        if self.note.as_deref() != Some(line) {
            self.note = Some(line.to_string());
            self.write(&format!(
                "{}\x1b[K\n",
                self.painted(&vec![(line.to_string(), Style::new().yellow())])
            ));
            self.drawn += 1;
        }
    }

    /// Keeps what is drawn; the next frame begins below it.
    pub(super) fn keep(&mut self) {
        if self.drawn > 0 {
            self.write("\n");
        }
        self.drawn = 0;
    }

    /// Keeps what is drawn as the last frame.
    pub(super) fn finish(&mut self) {
        self.drawn = 0;
    }

    fn replace(&mut self, lines: &[Line]) {
        // Clear each line as it is written, and the rest at the end: clearing
        // everything first would flicker.
        let mut text = match self.drawn {
            0 => String::new(),
            drawn => format!("\x1b[{drawn}A\r"),
        };
        lines.iter().for_each(|line| text.push_str(&format!("{}\x1b[K\n", self.painted(line))));
        text.push_str("\x1b[J");
        self.write(&text);
        self.drawn = lines.len();
    }

    fn painted(&self, line: &Line) -> String {
        let (_, width) = self.term.size();
        painted(line, usize::from(width), self.has_colour)
    }

    fn write(&self, text: &str) {
        // If the terminal is gone, nothing needs to be drawn.
        let _ = self.term.write_str(text).and_then(|()| self.term.flush());
    }
}

/// Formats the line, at most `width` columns wide.
pub(super) fn painted(line: &Line, width: usize, has_colour: bool) -> String {
    let mut left = width.saturating_sub(1);
    let mut text = String::new();
    for (words, style) in line {
        let words = clean(words);
        let shown = fitting(&words, left);
        left -= columns(shown);
        text.push_str(&style.clone().force_styling(has_colour).apply_to(shown).to_string());
    }
    text
}
