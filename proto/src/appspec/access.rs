//! Reads `acls` and `context`: access rights beyond mode, owner and group.

use super::reader::{Cursor, Reader};

/// One entry of an access control list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ace {
    /// True if it is for what is later created below a directory.
    pub default: bool,
    /// The user or group that it is for.
    pub kind: AceKind,
    /// The permissions: read 4, write 2, execute 1.
    pub bits: u8,
}

/// The user or group that an entry is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AceKind {
    /// A user by name; the owner if the name is empty.
    User(String),
    /// A group by name; the owning group if the name is empty.
    Group(String),
    /// The most that named entries and the owning group can have.
    Mask,
    /// All other users.
    Other,
}

/// An SELinux context. The role is never set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeContext {
    /// The SELinux user.
    pub name: Option<String>,
    /// The SELinux type.
    pub type_: String,
    /// The SELinux range, in its canonical form.
    pub range: String,
}

impl Ace {
    /// Returns true if it is one of the three entries that every object has and
    /// that `mode` sets.
    pub fn is_base(&self) -> bool {
        match &self.kind {
            AceKind::User(name) | AceKind::Group(name) => name.is_empty(),
            AceKind::Mask => false,
            AceKind::Other => true,
        }
    }
}

/// Parses `[d:]u:NAME:rw` and its short forms.
pub(super) fn ace(reader: &mut Reader, item: &Cursor<'_>, text: &str) -> Option<Ace> {
    let parsed = parse_ace(text);
    if let Err(problem) = &parsed {
        item.mistake(reader, format!("invalid ACL entry `{text}`: {problem}"));
    }
    parsed.ok()
}

const FORM: &str = "write [default:]{user|group|mask|other}:NAME:PERMISSIONS, for example u:deploy:rw";

fn parse_ace(text: &str) -> Result<Ace, &'static str> {
    let mut parts: Vec<&str> = text.split(':').map(str::trim).collect();
    let bits =
        parts.pop().and_then(permission_bits).ok_or("PERMISSIONS are one digit 0-7 or letters of rwx-")?;
    let default = parts.len() > 1 && matches!(parts[0], "d" | "default");
    if default {
        parts.remove(0);
    }
    let kind = match parts.as_slice() {
        ["m" | "mask"] | ["m" | "mask", ""] => AceKind::Mask,
        ["o" | "other"] | ["o" | "other", ""] => AceKind::Other,
        ["m" | "mask" | "o" | "other", _] => return Err("mask and other have no name"),
        ["d" | "default", _] => return Err("`default` stands there twice"),
        [name] => AceKind::User((*name).to_owned()),
        ["u" | "user", name] => AceKind::User((*name).to_owned()),
        ["g" | "group", name] => AceKind::Group((*name).to_owned()),
        _ => return Err(FORM),
    };
    Ok(Ace { default, kind, bits })
}

fn permission_bits(text: &str) -> Option<u8> {
    if let Ok(digit @ 0..=7) = text.parse::<u8>()
        && text.len() == 1
    {
        return Some(digit);
    }
    let bit = |letter| match letter {
        'r' => Some(4),
        'w' => Some(2),
        'x' => Some(1),
        '-' => Some(0),
        _ => None,
    };
    (!text.is_empty()).then_some(())?;
    text.chars().try_fold(0, |bits, letter| Some(bits | bit(letter)?))
}

/// Reads a `context` map.
pub(super) fn context(reader: &mut Reader, context: &Cursor<'_>) -> Option<SeContext> {
    const KEYS: [&str; 3] = ["name", "type", "range"];
    let map = context.map(reader, "`type`, `name` and `range`")?;
    map.warn_unknown(reader, &KEYS, |key| {
        (key == "user").then(|| "unknown key, ignored: the SELinux user is `name`".to_owned())
    });
    let type_ = map.require(reader, "type", &KEYS, "an SELinux type, for example httpd_sys_content_t");
    let type_ = type_.and_then(|given| given.text(reader)).map(str::to_owned);
    let name = map.given("name").and_then(|given| given.text(reader)).map(str::to_owned);
    // Without a range the official agent fails in the middle of its installation.
    let given = map.require(reader, "range", &KEYS, "an SELinux range, for example s0")?;
    let text = given.text(reader)?;
    let range = canonical_range(text);
    if range.is_none() {
        let form = "sN[-sN][:cN[.cN][,...]], categories 0-1023 and each but once";
        given.mistake(reader, format!("invalid SELinux range `{text}`: write {form}"));
    }
    Some(SeContext { name, type_: type_?, range: range? })
}

/// Normalises a range: `s0-s2:c1,c2,c3,c7` becomes `s0-s2:c1.c3,c7`. Returns `None`
/// if the text is not a range.
fn canonical_range(text: &str) -> Option<String> {
    let (levels, categories) = match text.split_once(':') {
        Some((levels, categories)) => (levels, Some(categories)),
        None => (text, None),
    };
    let (low, high) = levels.split_once('-').map_or((levels, None), |(low, high)| (low, Some(high)));
    let (low, high) =
        (numbered('s', low)?, high.map(|high| numbered('s', high)).map_or(Some(None), |h| h.map(Some))?);
    if high.is_some_and(|high| high < low) {
        return None;
    }
    let mut range = format!("s{low}");
    if let Some(high) = high.filter(|high| *high != low) {
        range += &format!("-s{high}");
    }
    if let Some(categories) = categories {
        range += ":";
        range += &canonical_categories(categories)?;
    }
    Some(range)
}

const CATEGORY_MAX: usize = 1_023;

fn canonical_categories(text: &str) -> Option<String> {
    let mut has = [false; CATEGORY_MAX + 1];
    for part in text.split(',') {
        let (first, last) = part.split_once('.').unwrap_or((part, part));
        let (first, last) = (numbered('c', first)?, numbered('c', last)?);
        if last > CATEGORY_MAX || last < first || has[first..=last].contains(&true) {
            return None;
        }
        has[first..=last].fill(true);
    }
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for category in (0..has.len()).filter(|category| has[*category]) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == category => *last = category,
            Some(_) | None => runs.push((category, category)),
        }
    }
    let words = runs.into_iter().map(|(first, last)| match last - first {
        0 => format!("c{first}"),
        1 => format!("c{first},c{last}"),
        _ => format!("c{first}.c{last}"),
    });
    Some(words.collect::<Vec<_>>().join(","))
}

fn numbered(letter: char, text: &str) -> Option<usize> {
    let digits = text.trim().strip_prefix(letter)?;
    digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}
