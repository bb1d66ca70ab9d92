//! Finds values that need quotes, and quotes that are not closed.

use super::said;

/// Finds a quote that is never closed. The parser notices it at the end of the
/// file, or at the next quote.
pub(super) fn open(text: &str, line: usize) -> Option<String> {
    let upto = said(text).filter(|said| said.number <= line);
    let (number, key, quote, value) = upto.rev().find_map(|said| {
        let (key, value) = said.text.split_once(": ").or_else(|| said.text.split_once("- "))?;
        let value = value.trim_start();
        let quote = value.chars().next().filter(|first| ['"', '\''].contains(first))?;
        let value = &value[1..];
        (!value.contains(quote)).then_some((said.number, key, quote, value.trim()))
    })?;
    let wanted = match key.trim() {
        "" => format!("- {quote}{value}{quote}"),
        key => format!("{key}: {quote}{value}{quote}"),
    };
    let wanted = wanted.trim_start_matches("- ");
    Some(format!("the quote that opens in line {number} is not closed: write `{wanted}`"))
}

/// Finds a value whose first character means something else in YAML.
pub(super) fn special_start(text: &str, line: usize) -> Option<String> {
    let here = said(text).find(|said| said.number == line)?;
    let (key, value) = match here.text.split_once(": ") {
        Some((key, value)) => (key.trim_start_matches("- "), value.trim()),
        None => ("", here.text.strip_prefix("- ")?.trim()),
    };
    if value.starts_with("{{") || value.starts_with("{%") {
        return Some(format!(
            "`{value}` is a template's placeholder that was not filled in: an AppSpec file has no variables"
        ));
    }
    let items = value.strip_prefix('[').map_or(value, |items| items.trim_end_matches(']'));
    let is_list = items.len() < value.len();
    let parts: Vec<&str> = if is_list { items.split(',').map(str::trim).collect() } else { vec![value] };
    let special = parts.iter().find(|part| is_special(part, text))?;
    let start = special.chars().next()?;
    let quoted = match (key, is_list) {
        ("", false) => format!("- \"{value}\""),
        (key, false) => format!("{key}: \"{value}\""),
        (_, true) => format!("\"{special}\""),
    };
    Some(format!(
        "`{special}` needs quotes, because `{start}` at the start of a value means something else in YAML: write \
         `{quoted}`"
    ))
}

fn is_special(value: &str, text: &str) -> bool {
    match value.chars().next() {
        Some('%' | '@' | '`') => true,
        // It is an alias, unless no anchor has that name.
        Some('*') => !text.contains(&format!("&{}", &value[1..])) || value.len() == 1,
        Some(_) | None => false,
    }
}

/// Finds text between a closing quote and the end of the line.
pub(super) fn text_after(text: &str, line: usize) -> Option<String> {
    let here = said(text).find(|said| said.number == line)?;
    let (_, value) = here.text.split_once(": ")?;
    let quote = value.chars().next().filter(|first| ['"', '\''].contains(first))?;
    let (_, rest) = value[1..].rsplit_once(quote)?;
    let rest = rest.trim();
    (!rest.is_empty() && !rest.starts_with('#'))
        .then(|| format!("nothing may stand after the closing quote: take `{rest}` away"))
}
