//! Shows download progress to people who wait: a bar on a terminal, and otherwise a line now and then.

use std::io::{self, IsTerminal};
use std::pin::pin;
use std::time::{Duration, Instant};

use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};
use tokio::sync::watch;

use super::Screen;
use crate::bundle::transfer_progress::{Far, Progress};
use crate::harmless::clean;

/// The interval between updates of the bar.
const SHOWN_EVERY: Duration = Duration::from_millis(100);
/// The interval between lines if no bar is shown.
const LINE_EVERY: Duration = Duration::from_secs(10);
const BAR: &str = "{prefix} {bar:30} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {msg}";
const NO_TOTAL: &str = "{prefix} {spinner} {decimal_bytes} {decimal_bytes_per_sec} {msg}";

/// Shows progress on standard error, where it is not part of the result.
pub(crate) struct Meter {
    way: Way,
    last: Far,
}

enum Way {
    Nothing,
    Bar(ProgressBar),
    Lines { told: Option<Instant>, began: Instant },
}

impl Meter {
    pub(crate) fn new(screen: &Screen) -> Meter {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let way = if screen.is_quiet() || screen.is_json() {
            Way::Nothing
        } else if io::stderr().is_terminal() && !is_dumb {
            Way::Bar(ProgressBar::hidden())
        } else {
            Way::Lines { told: None, began: Instant::now() }
        };
        Meter { way, last: Far::default() }
    }

    /// Shows the new progress.
    pub(crate) fn show(&mut self, far: Far) {
        match &mut self.way {
            Way::Nothing => {}
            Way::Bar(bar) => {
                if bar.is_hidden() {
                    *bar = ProgressBar::new(0);
                    bar.set_prefix(clean(&far.source));
                }
                if far.total != self.last.total || self.last == Far::default() {
                    let template = if far.total.is_some() { BAR } else { NO_TOTAL };
                    if let Ok(style) = ProgressStyle::with_template(template) {
                        bar.set_style(style);
                    }
                    bar.set_length(far.total.unwrap_or(0));
                }
                bar.set_position(far.bytes);
                if far.is_over {
                    bar.finish_and_clear();
                }
                bar.set_message(far.trouble.as_deref().map(clean).unwrap_or_default());
            }
            Way::Lines { told, began } => {
                let is_new = far.trouble.is_some() && far.trouble != self.last.trouble;
                if is_new || told.get_or_insert(*began).elapsed() >= LINE_EVERY {
                    *told = Some(Instant::now());
                    eprintln!("{}", line(&far, began.elapsed()));
                }
            }
        }
        self.last = far;
    }
}

/// Runs `work` and shows its progress.
pub(crate) async fn shown<T>(screen: &Screen, work: impl AsyncFnOnce(&Progress) -> T) -> T {
    let (progress, far) = Progress::heard();
    let mut work = pin!(work(&progress));
    tokio::select! {
        done = &mut work => return done,
        () = follow(Meter::new(screen), far) => {}
    }
    work.await
}

/// Shows what the receiver gets until the download is over.
async fn follow(mut meter: Meter, mut far: watch::Receiver<Far>) {
    while far.changed().await.is_ok() {
        let now = far.borrow_and_update().clone();
        let is_over = now.is_over;
        meter.show(now);
        if is_over {
            return;
        }
        tokio::time::sleep(SHOWN_EVERY).await;
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Way::Bar(bar) = &self.way {
            bar.finish_and_clear();
        }
    }
}

fn line(far: &Far, since: Duration) -> String {
    let source = clean(&far.source);
    if let Some(trouble) = &far.trouble {
        return format!("{source}: {}", clean(trouble));
    }
    let rate = far.bytes as f64 / since.as_secs_f64().max(0.001);
    let of = far.total.map(|total| format!(" of {}", DecimalBytes(total))).unwrap_or_default();
    format!("{source}: {}{of}, {}/s", DecimalBytes(far.bytes), DecimalBytes(rate as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_much_and_how_fast() {
        let source = "s3://b/app.tgz".to_owned();
        let far = Far { source, bytes: 30_000_000, total: Some(120_000_000), ..Far::default() };
        assert_eq!(line(&far, Duration::from_secs(10)), "s3://b/app.tgz: 30.00 MB of 120.00 MB, 3.00 MB/s");
        let far = Far { trouble: Some("cut; trying\u{1b}[2J again".into()), total: None, ..far };
        assert_eq!(line(&far, Duration::from_secs(10)), "s3://b/app.tgz: cut; trying[2J again");
    }
}
