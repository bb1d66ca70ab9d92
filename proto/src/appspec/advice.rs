//! Finds the most likely mistake in a file that is not YAML. The parser says where
//! it gave up, which is rarely the place that the author has to change.

mod colons;
mod quotes;

pub(super) use colons::without_blank;

/// Returns what to say about `line` before the parser's message, if anything is
/// known.
pub(super) fn on_syntax(text: &str, line: usize, keys: &[&str]) -> Option<String> {
    missing_colon(text, line, keys)
        .or_else(|| tab(text, line))
        .or_else(|| quotes::open(text, line))
        .or_else(|| quotes::special_start(text, line))
        .or_else(|| quotes::text_after(text, line))
        .or_else(|| colons::on_syntax(text, line))
        .or_else(|| below_a_dash(text, line))
        .or_else(|| other_indentation(text, line))
}

/// Finds `version 0.0`, the most common way to write something that is not a YAML
/// mapping.
fn missing_colon(text: &str, line: usize, keys: &[&str]) -> Option<String> {
    let near = text.lines().take(line).skip(line.saturating_sub(2));
    let slip = near.map(str::trim).find(|line| {
        line.split_once(' ').is_some_and(|(key, _)| keys.contains(&key)) && !line.contains(": ")
    })?;
    let (key, value) = slip.split_once(' ')?;
    Some(format!("`{slip}` lacks a colon, write `{key}: {}`", value.trim()))
}

fn tab(text: &str, line: usize) -> Option<String> {
    let indentation = |text: &str| text.len() - text.trim_start().len();
    let has_tab = |line: &str| line[..indentation(line)].contains('\t');
    // The parser may have read one more line before it noticed.
    let mut near = text.lines().zip(1..).take(line).skip(line.saturating_sub(2));
    let (_, number) = near.find(|(line, _)| has_tab(line))?;
    Some(format!("line {number} is indented with a tab: YAML takes blanks only"))
}

/// A line with text: its indentation, and the text.
#[derive(Clone, Copy)]
struct Said<'t> {
    number: usize,
    indented: usize,
    text: &'t str,
}

impl Said<'_> {
    /// Returns the indentation of the text after the dashes of an item.
    fn first_key_at(&self) -> usize {
        self.indented + self.text.len() - self.text.trim_start_matches('-').trim_start().len()
    }
}

fn said(text: &str) -> impl DoubleEndedIterator<Item = Said<'_>> {
    let lines = text.lines().enumerate().map(|(at, line)| {
        let said = line.trim_start();
        Said { number: at + 1, indented: line.len() - said.len(), text: said }
    });
    let lines: Vec<_> = lines.filter(|line| !line.text.is_empty() && !line.text.starts_with('#')).collect();
    lines.into_iter()
}

/// Finds a key of a list item that is not aligned with the item's first key.
fn below_a_dash(text: &str, line: usize) -> Option<String> {
    let here = said(text).find(|said| said.number == line)?;
    let key = key_of(here.text).filter(|_| !here.text.starts_with('-'))?;
    let above = said(text).rev().find(|said| said.number < line && said.text.starts_with('-'))?;
    let first = above.text.trim_start_matches('-').trim_start();
    let wanted = above.first_key_at();
    // A key further to the left belongs to something above the list.
    let is_item = here.indented >= above.indented && here.indented != wanted;
    let first = key_of(first).filter(|_| is_item)?;
    Some(format!(
        "`{key}` is indented by {}: if it belongs to the item in line {}, indent it by {wanted}, to stand \
         below `{first}`",
        blanks(here.indented),
        above.number
    ))
}

/// Finds a key that is neither aligned with the keys above it nor inside one of
/// them.
fn other_indentation(text: &str, line: usize) -> Option<String> {
    let here = said(text).find(|said| said.number == line)?;
    let key = key_of(here.text)?;
    // A key that is aligned with the first key of its item is where it should be.
    let item = said(text).rev().find(|said| said.number < line && said.text.starts_with('-'));
    if item.is_some_and(|item| item.first_key_at() == here.indented) {
        return None;
    }
    let mut further = None;
    for above in said(text).rev().filter(|said| said.number < line && !said.text.starts_with('-')) {
        let Some(name) = key_of(above.text) else { continue };
        if above.indented == here.indented {
            return None;
        }
        if above.indented < here.indented {
            let (name, above) = further.unwrap_or((name, above));
            return Some(format!(
                "`{key}` is indented by {}, `{name}` in line {} by {}: keys of one map stand below each other",
                blanks(here.indented),
                above.number,
                blanks(above.indented)
            ));
        }
        // A key with a value beside it has no map below it that could end here.
        if above.text.trim_end().ends_with(':') {
            further = Some((name, above));
        }
    }
    None
}

fn key_of(text: &str) -> Option<&str> {
    let (key, value) = text.split_once(':')?;
    let is_key = !key.is_empty() && key.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
    (is_key && (value.is_empty() || value.starts_with(char::is_whitespace))).then_some(key)
}

fn blanks(count: usize) -> String {
    match count {
        0 => "nothing".to_owned(),
        1 => "1 blank".to_owned(),
        more => format!("{more} blanks"),
    }
}

#[cfg(test)]
mod tests;
