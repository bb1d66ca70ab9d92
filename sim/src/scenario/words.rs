//! Reads the words of one line from left to right.

use std::collections::BTreeSet;
use std::time::Duration;

use proto::suggest;

use crate::host::HostNo;

/// The error in a line, as text for people and without its location.
pub(super) type Wrong = String;

/// The words that are not yet read.
#[derive(Clone, Debug)]
pub(super) struct Words<'t> {
    words: Vec<&'t str>,
    at: usize,
}

impl<'t> Words<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        Words { words: text.split_whitespace().collect(), at: 0 }
    }

    pub(super) fn peek(&self) -> Option<&'t str> {
        self.words.get(self.at).copied()
    }

    pub(super) fn is_over(&self) -> bool {
        self.peek().is_none()
    }

    /// Takes all words that are left, joined by single spaces.
    pub(super) fn rest(&mut self) -> String {
        let rest = self.words[self.at..].join(" ");
        self.at = self.words.len();
        rest
    }

    pub(super) fn next(&mut self, what: &str) -> Result<&'t str, Wrong> {
        let word = self.peek().ok_or_else(|| format!("{what} is missing at the end"))?;
        self.at += 1;
        Ok(word)
    }

    /// Takes the words of `phrase` if they come next.
    pub(super) fn take(&mut self, phrase: &str) -> bool {
        let wanted: Vec<&str> = phrase.split(' ').collect();
        let is_next = self.words[self.at..].starts_with(&wanted);
        if is_next {
            self.at += wanted.len();
        }
        is_next
    }

    pub(super) fn expect(&mut self, phrase: &str) -> Result<(), Wrong> {
        if self.take(phrase) {
            return Ok(());
        }
        match self.peek() {
            Some(word) => Err(format!("`{phrase}` is expected where `{word}` stands")),
            None => Err(format!("`{phrase}` is missing at the end")),
        }
    }

    pub(super) fn end(&self) -> Result<(), Wrong> {
        match self.peek() {
            Some(word) => Err(format!("`{word}` and what follows it says nothing here")),
            None => Ok(()),
        }
    }

    pub(super) fn duration(&mut self) -> Result<Duration, Wrong> {
        let word = self.next("a duration like 10s")?;
        duration(word).ok_or_else(|| format!("invalid duration `{word}`: write 10s, 1m30s, 500ms or 2h"))
    }

    pub(super) fn number<T: std::str::FromStr>(&mut self, what: &str) -> Result<T, Wrong> {
        let word = self.next(what)?;
        word.parse().map_err(|_| format!("invalid number `{word}`: {what} is expected"))
    }

    pub(super) fn host(&mut self) -> Result<HostNo, Wrong> {
        self.next("a host like h3")?.parse()
    }

    /// Parses `h1,h2`, `h1-h4`, or both.
    pub(super) fn hosts(&mut self) -> Result<BTreeSet<HostNo>, Wrong> {
        let word = self.next("hosts like h1,h2 or h1-h4")?;
        let mut hosts = BTreeSet::new();
        for part in word.split(',').filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (HostNo, HostNo) = (first.parse()?, last.parse()?);
            if first > last || last.0 >= super::HOSTS_MAX {
                return Err(format!("invalid range of hosts `{part}`"));
            }
            hosts.extend((first.0..=last.0).map(HostNo));
        }
        Ok(hosts)
    }
}

/// Returns the error for a word that may not stand here.
pub(super) fn unknown<'w>(
    what: &str,
    word: Option<&str>,
    known: impl IntoIterator<Item = &'w str> + Clone,
) -> Wrong {
    let Some(word) = word else { return format!("{what} is missing at the end") };
    let near = suggest::did_you_mean(suggest::nearest(word, known.clone()));
    let known: Vec<&str> = known.into_iter().collect();
    format!("unknown {what} `{word}`{near} ({})", known.join(", "))
}

/// Parses `1h2m3s` or `500ms`: each unit at most once, the largest first.
fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
    let (mut rest, mut millis, mut least) = (text, 0_u64, 0);
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let letters = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        let unit = UNITS.iter().position(|(name, _)| *name == &rest[digits..letters])?;
        if unit < least {
            return None;
        }
        let number: u64 = rest[..digits].parse().ok()?;
        millis = millis.checked_add(number.checked_mul(UNITS[unit].1)?)?;
        (rest, least) = (&rest[letters..], unit + 1);
    }
    (!text.is_empty()).then(|| Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let check = |text, millis: Option<u64>| {
            assert_eq!(duration(text), millis.map(Duration::from_millis), "{text}");
        };
        check("10s", Some(10_000));
        check("1m30s", Some(90_000));
        check("2h", Some(7_200_000));
        check("500ms", Some(500));
        for wrong in ["", "10", "s", "1s1m", "1s1s", "-1s", "1.5s", "99999999999999999999s"] {
            check(wrong, None);
        }
    }

    #[test]
    fn hosts_are_read_one_by_one_and_as_ranges() {
        let hosts = |text| Words::of(text).hosts().map(|hosts| hosts.into_iter().map(|h| h.0).collect());
        assert_eq!(hosts("h1,h3-h5"), Ok(vec![0, 2, 3, 4]));
        assert!(hosts("h5-h3").is_err() && hosts("h0").is_err() && hosts("h1-h99999999").is_err());
        assert!(Words::of("").hosts().is_err());
    }
}
