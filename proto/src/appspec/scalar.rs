//! The meaning of a scalar without quotes in YAML 1.1, as the official agent's
//! parser (Psych) reads it.

/// Returns true if the text means that there is no value.
pub(super) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// Returns the truth value, if the text is one.
pub(super) fn boolean(text: &str) -> Option<bool> {
    let is = |words: [&str; 3]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    match (is(["true", "yes", "on"]), is(["false", "no", "off"])) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        (false, false) => None,
    }
}

/// Returns the number, if the text is one. `0x1f`, `0755` (octal), `1_000`, `1:30`
/// (base 60) and `1.5e+3` all are.
pub(super) fn number(text: &str) -> Option<f64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return None;
    }
    let digits: String = digits.chars().filter(|digit| !matches!(digit, '_' | ',')).collect();
    let value = whole(&digits).or_else(|| decimal(&digits))?;
    Some(if negative { -value } else { value })
}

#[expect(clippy::cast_precision_loss, reason = "no number in an AppSpec file is near 2^53")]
fn whole(digits: &str) -> Option<f64> {
    let value = if let Some(hex) = digits.strip_prefix("0x") {
        u64::from_str_radix(hex, 16).ok()?
    } else if let Some(bits) = digits.strip_prefix("0b") {
        u64::from_str_radix(bits, 2).ok()?
    } else if digits.len() > 1 && digits.starts_with('0') {
        u64::from_str_radix(digits, 8).ok()?
    } else if digits.contains(':') {
        digits.split(':').try_fold(0_u64, |sum, part| {
            let part: u64 = part.parse().ok().filter(|_| part.len() <= 2)?;
            sum.checked_mul(60)?.checked_add(part)
        })?
    } else {
        digits.parse().ok()?
    };
    Some(value as f64)
}

fn decimal(digits: &str) -> Option<f64> {
    let is_decimal = digits.contains('.')
        && digits.bytes().any(|byte| byte.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    is_decimal.then(|| digits.parse().ok()).flatten()
}
