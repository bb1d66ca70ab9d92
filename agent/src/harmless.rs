//! Text that hosts or scripts wrote, made harmless for a terminal.

/// Removes control characters from text that hosts or scripts wrote: it must not
/// be able to redraw the operator's terminal, or to add a line to our output.
pub(crate) fn clean(text: &str) -> String {
    let spaced = text.chars().map(|letter| if ['\n', '\r'].contains(&letter) { ' ' } else { letter });
    spaced.filter(|letter| !letter.is_control() || *letter == '\t').collect()
}

/// Does the same for text of several lines.
pub(crate) fn clean_lines(text: &str) -> String {
    text.split('\n').map(|line| clean(line.trim_end_matches('\r'))).collect::<Vec<_>>().join("\n")
}
