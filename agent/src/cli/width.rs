//! The columns that a text takes on a terminal: wide letters take two, and combining marks none.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Returns the number of columns of the text.
pub(super) fn columns(text: &str) -> usize {
    text.width()
}

/// Returns the beginning of the text that fits into this many columns.
pub(super) fn fitting(text: &str, columns_max: usize) -> &str {
    let mut taken = 0;
    for (at, letter) in text.char_indices() {
        taken += letter.width().unwrap_or(0);
        if taken > columns_max {
            return &text[..at];
        }
    }
    text
}

/// Returns the end of the text that fits into this many columns.
fn fitting_end(text: &str, columns_max: usize) -> &str {
    let mut taken = 0;
    for (at, letter) in text.char_indices().rev() {
        taken += letter.width().unwrap_or(0);
        if taken > columns_max {
            return &text[at + letter.len_utf8()..];
        }
    }
    text
}

/// Pads the text with spaces to this many columns.
pub(super) fn padded(text: &str, to: usize) -> String {
    format!("{text}{}", " ".repeat(to.saturating_sub(columns(text))))
}

/// Shortens a long name but keeps both ends: the names of a fleet begin alike,
/// and what distinguishes hosts of the same name comes last.
pub(super) fn shortened(name: &str, columns_max: usize, end: usize) -> String {
    if columns(name) <= columns_max {
        return name.into();
    }
    let start = fitting(name, columns_max.saturating_sub(end + 1));
    format!("{start}…{}", fitting_end(name, end))
}

/// Breaks the text between words into at most `lines_max` lines of this many
/// columns; if it is longer, the last line ends with `…`.
pub(super) fn wrapped(text: &str, columns_max: usize, lines_max: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if columns(line) + 1 + columns(word) <= columns_max => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(fitting(word, columns_max).to_owned()),
        }
    }
    if lines.len() > lines_max {
        lines.truncate(lines_max);
        if let Some(last) = lines.last_mut() {
            *last = format!("{} …", fitting(last, columns_max.saturating_sub(2)));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_letters_take_two_columns_and_combined_marks_none() {
        assert_eq!([columns("web-1"), columns("東京-1"), columns("e\u{301}")], [5, 6, 1]);
        assert_eq!(fitting("東京-1", 3), "東");
        assert_eq!(fitting("e\u{301}a", 1), "e\u{301}");
        assert_eq!(padded("東京", 6), "東京  ");
    }

    #[test]
    fn a_long_name_keeps_both_its_ends() {
        assert_eq!(shortened("web-1", 24, 12), "web-1");
        let long = "payments-production-eu-west-1a-0017";
        assert_eq!(shortened(long, 24, 12), "payments-pr…west-1a-0017");
        assert_eq!(columns(&shortened(&"東".repeat(40), 24, 12)), 23, "ten columns, a dot, and twelve");
    }

    #[test]
    fn a_sentence_is_broken_between_words_and_its_end_is_left_out() {
        assert_eq!(wrapped("one two three", 8, 3), ["one two", "three"]);
        assert_eq!(wrapped("one two three four", 8, 2), ["one two", "three …"]);
        assert_eq!(wrapped("東京東京", 3, 1), ["東"]);
        assert!(wrapped("", 8, 2).is_empty());
    }
}
