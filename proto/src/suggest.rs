//! Suggestions of the form "did you mean": finds the nearest valid word.

/// Returns the nearest of `words`, if it is near enough to be meant: a third of its
/// letters may be wrong, missing, added or swapped.
pub fn nearest<'w>(text: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    // A longer text is not a misspelling of a short word, and computing the
    // distance costs n·m.
    if text.len() > 64 {
        return None;
    }
    let distance_to = |word: &'w str| (distance(&text.to_lowercase(), &word.to_lowercase()), word);
    let (distance, word) = words.into_iter().map(distance_to).min_by_key(|(distance, _)| *distance)?;
    (distance <= (word.len() / 3).max(1)).then_some(word)
}

/// Formats a suggestion to append to an error message.
pub fn did_you_mean(word: Option<&str>) -> String {
    word.map(|word| format!("; did you mean {word}?")).unwrap_or_default()
}

/// Counts the letters to change, add, drop or swap to turn one word into the other
/// (the optimal string alignment distance).
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let changed = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut best = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested_and_a_far_one_is_not() {
        assert_eq!(nearest("minimum_helthy", ["config", "minimum_healthy"]), Some("minimum_healthy"));
        assert_eq!(nearest("oneatatime", ["OneAtATime", "AllAtOnce"]), Some("OneAtATime"));
        assert_eq!(nearest("nope", ["mode", "tags"]), None);
    }

    #[test]
    fn a_swap_is_one_slip_and_so_is_each_other_letter() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("data_dri", "data_dir"), 1);
    }
}
