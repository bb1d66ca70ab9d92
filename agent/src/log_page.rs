//! Reads a script log in CodeDeploy's format, page by page.

use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;

use proto::lifecycle::LifecycleEvent;

use crate::backend::LogPage;

/// The size of a page, in bytes: what a terminal can show at once, and far below
/// what one host sends another.
const PAGE_BYTES_MAX: usize = 1024 * 1024;

/// Reads whole lines from byte `from` on; if `event` is given, only the lines of that event.
/// # Errors
/// If the log cannot be read.
pub(crate) fn read(path: &Path, event: Option<LifecycleEvent>, from: u64) -> io::Result<LogPage> {
    let mut file = std::fs::File::open(path)?;
    // The event of a line is named in a line before it. So to find an event's
    // lines, the part before `from` is read, too, but not returned.
    let mut at = if event.is_some() { 0 } else { from };
    file.seek(SeekFrom::Start(at))?;
    let mut reader = BufReader::new(file);
    let mut page = LogPage { text: String::new(), next: from };
    let mut is_wanted = event.is_none();
    let mut line = Vec::new();
    while page.text.len() < PAGE_BYTES_MAX {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)?;
        // A line without a newline is still being written.
        if read == 0 || line.last() != Some(&b'\n') {
            break;
        }
        at += read as u64;
        let text = String::from_utf8_lossy(&line);
        if let (Some(event), Some(begun)) = (event, event_begun(&text)) {
            is_wanted = begun == event.name();
        }
        if at > from {
            page.next = at;
            if is_wanted {
                page.text.push_str(&text);
            }
        }
    }
    Ok(page)
}

/// Returns the event that begins with this line: "DATE TIME LifecycleEvent - NAME".
fn event_begun(line: &str) -> Option<&str> {
    let (_, name) = line.split_once("LifecycleEvent - ")?;
    Some(name.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "2026-01-01 00:00:00 LifecycleEvent - BeforeInstall\n\
                       2026-01-01 00:00:00 [stdout]one\n\
                       2026-01-01 00:00:01 LifecycleEvent - AfterInstall\n\
                       2026-01-01 00:00:01 [stdout]two\n";

    fn check(log: &str, event: Option<LifecycleEvent>, from: u64, text: &str, next: usize) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("scripts.log");
        std::fs::write(&path, log).expect("written");
        let page = read(&path, event, from).expect("it reads");
        assert_eq!((page.text.as_str(), page.next), (text, next as u64));
    }

    #[test]
    fn a_log_is_read_on_from_where_it_was() {
        let first = LOG.find("2026-01-01 00:00:01").expect("a second");
        check(LOG, None, 0, LOG, LOG.len());
        check(LOG, None, first as u64, &LOG[first..], LOG.len());
        check(LOG, None, LOG.len() as u64, "", LOG.len());
    }

    #[test]
    fn one_events_lines_are_told_from_the_others() {
        let first = LOG.find("2026-01-01 00:00:01").expect("a second");
        check(LOG, Some(LifecycleEvent::BeforeInstall), 0, &LOG[..first], LOG.len());
        check(LOG, Some(LifecycleEvent::AfterInstall), 0, &LOG[first..], LOG.len());
        check(LOG, Some(LifecycleEvent::Install), 0, "", LOG.len());
    }

    #[test]
    fn half_a_line_waits_for_its_end() {
        check("a\nb", None, 0, "a\n", 2);
    }
}
