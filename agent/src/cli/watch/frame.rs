//! The live view: one frame a look, redrawn in place.

use std::collections::VecDeque;
use std::time::Duration;

use console::{Style, Term};

use crate::cli::Screen;
use crate::cli::group::short_revision;
use crate::cli::screen::{clean, status_style};
use crate::cli::watch::changes::waits;
use crate::view::{DeploymentView, HistoryLine, TurnView};

/// Hosts that are shown; those in their turn and those that failed first.
const ROWS_MAX: usize = 20;
/// Lines beside the hosts: header, bar, history, gaps.
const OTHER_ROWS: usize = 11;
const NAME_MAX: usize = 24;
const BAR_MAX: usize = 30;

/// What is drawn.
pub(super) struct Frame<'a> {
    pub(super) deployment: &'a DeploymentView,
    pub(super) history: &'a VecDeque<HistoryLine>,
    pub(super) elapsed: Duration,
}

/// Words of one line, each with its style: cut to the terminal's width before
/// a colour can be cut in two.
type Line = Vec<(String, Style)>;

impl Frame<'_> {
    pub(super) fn lines(&self, height: usize) -> Vec<Line> {
        let mut lines = vec![self.header(), self.bar(), Vec::new()];
        lines.extend(self.rows(height));
        if let Some(why) = self.why() {
            lines.extend([Vec::new(), vec![(why, Style::new().yellow())]]);
        }
        if !self.history.is_empty() {
            lines.push(Vec::new());
            let dim = |line: &HistoryLine| vec![(format!("  {}", line.text), Style::new().dim())];
            lines.extend(self.history.iter().map(dim));
        }
        lines
    }

    fn header(&self) -> Line {
        let view = self.deployment;
        let rollback = view.rollback_of.as_deref().map(|undone| format!("  (rollback of {undone})"));
        let revision = short_revision(&view.revision);
        // What matters most stands first: a narrow terminal cuts the rest.
        vec![
            (view.id.clone(), Style::new().bold()),
            (format!("  {}", view.status), status_style(&view.status).bold()),
            (format!("  {:.1} s", self.elapsed.as_secs_f64()), Style::new().dim()),
            (format!("  {} → {revision}", view.group), Style::new()),
            (rollback.unwrap_or_default(), Style::new()),
        ]
    }

    /// Hosts in service as a bar, with a mark at the minimum.
    fn bar(&self) -> Line {
        let healthy = self.deployment.healthy;
        let total = healthy.total as usize;
        let cells = total.min(BAR_MAX);
        // Rounded down: the bar never shows more than there are.
        let scale = |hosts: u32| (hosts as usize * cells).checked_div(total).unwrap_or(0);
        let (now, minimum) = (scale(healthy.now), scale(healthy.minimum));
        let colour = if healthy.now < healthy.minimum { Style::new().red() } else { Style::new().green() };
        let cell = |at: usize| match (at < now, at < minimum) {
            (true, _) => '█',
            (false, true) => '▒',
            (false, false) => '░',
        };
        let config = &self.deployment.config;
        vec![
            ((0..cells).map(cell).collect(), colour),
            (
                format!(" {} of {total} in service, {} must be ({config})", healthy.now, healthy.minimum),
                Style::new(),
            ),
        ]
    }

    fn rows(&self, height: usize) -> Vec<Line> {
        let rows_max = height.saturating_sub(OTHER_ROWS).clamp(3, ROWS_MAX);
        let hosts = self.deployment.hosts();
        let mut shown: Vec<&TurnView> = hosts.iter().collect();
        if hosts.len() > rows_max {
            shown.sort_by_key(|host| urgency(&host.status));
            shown.truncate(rows_max);
        }
        let name_width =
            shown.iter().map(|host| host.who.label().chars().count()).max().unwrap_or(0).min(NAME_MAX);
        let mut rows: Vec<Line> = shown.iter().map(|host| row(host, name_width)).collect();
        if hosts.len() > shown.len() {
            rows.push(vec![(format!("  … and {} more", hosts.len() - shown.len()), Style::new().dim())]);
        }
        rows
    }

    fn why(&self) -> Option<String> {
        let view = self.deployment;
        if let Some(reason) = &view.reason {
            return Some(reason.message.clone());
        }
        waits(view).next()
    }
}

/// What a person must see first.
fn urgency(status: &str) -> u8 {
    match status {
        "Failed" => 0,
        "InProgress" | "Unknown" => 1,
        "Pending" => 2,
        "Succeeded" => 3,
        _ => 4,
    }
}

/// A name that is not too long, with both its ends: names of one fleet begin alike,
/// and what tells namesakes apart stands last.
fn cut(name: &str) -> String {
    const END: usize = 12;
    let length = name.chars().count();
    if length <= NAME_MAX {
        return name.into();
    }
    let begins = name.chars().take(NAME_MAX - END - 1);
    begins.chain(['…']).chain(name.chars().skip(length - END)).collect()
}

fn row(host: &TurnView, name_width: usize) -> Line {
    let name = cut(host.who.label());
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
        (format!("{name:<name_width$}  "), Style::new()),
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

    /// Draws over what was drawn before. Forgets the note: the agent answers.
    pub(super) fn draw(&mut self, frame: &Frame<'_>) {
        self.note = None;
        let (height, _) = self.term.size();
        self.replace(&frame.lines(usize::from(height)));
    }

    /// A line under the last frame, until the next one.
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

    /// What is drawn stays, and the next frame begins below it.
    pub(super) fn keep(&mut self) {
        if self.drawn > 0 {
            self.write("\n");
        }
        self.drawn = 0;
    }

    /// Nothing more will be drawn.
    pub(super) fn finish(&mut self) {
        self.drawn = 0;
    }

    fn replace(&mut self, lines: &[Line]) {
        // Each line is wiped as it is written, and the rest at the end:
        // clearing all first would flicker.
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
        // A terminal that is gone needs no picture.
        let _ = self.term.write_str(text).and_then(|()| self.term.flush());
    }
}

/// The line, at most `width` columns wide.
pub(super) fn painted(line: &Line, width: usize, has_colour: bool) -> String {
    let mut left = width.saturating_sub(1);
    let mut text = String::new();
    for (words, style) in line {
        let shown: String = clean(words).chars().take(left).collect();
        left -= shown.chars().count();
        text.push_str(&style.clone().force_styling(has_colour).apply_to(shown).to_string());
    }
    text
}
