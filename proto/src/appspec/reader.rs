//! Walks the tree, and knows the current place and what was wrong so far.
//!
//! Nothing here stops at the first mistake: a wrong value is noted, and then
//! treated as absent.

use std::collections::BTreeMap;

use super::tree::{Node, Position, Value};
use super::{Mistake, advice, scalar};
use crate::suggest;

/// Collects mistakes and warnings.
pub(super) struct Reader {
    file: String,
    mistakes: Vec<Mistake>,
    warnings: Vec<Mistake>,
}

/// A node, and the keys that lead to it.
#[derive(Clone)]
pub(super) struct Cursor<'t> {
    node: &'t Node,
    key_at: Position,
    path: String,
}

/// The entries of a map by key. Of duplicate keys the last one counts, as in the
/// official agent.
pub(super) struct Map<'t> {
    at: Position,
    path: String,
    entries: BTreeMap<&'t str, Cursor<'t>>,
}

impl Reader {
    pub(super) fn new(file: &str) -> Reader {
        Reader { file: file.to_owned(), mistakes: Vec::new(), warnings: Vec::new() }
    }

    pub(super) fn mistake(&mut self, at: Position, key: &str, problem: String) {
        self.mistakes.push(self.note(at, key, problem));
    }

    pub(super) fn warning(&mut self, at: Position, key: &str, problem: String) {
        self.warnings.push(self.note(at, key, problem));
    }

    fn note(&self, at: Position, key: &str, problem: String) -> Mistake {
        let Position { line, column } = at;
        Mistake { file: self.file.clone(), line, column, key: key.to_owned(), problem }
    }

    /// Returns the mistakes and the warnings, in the order of their places.
    pub(super) fn finish(mut self) -> (Vec<Mistake>, Vec<Mistake>) {
        let place = |mistake: &Mistake| (mistake.line, mistake.column);
        self.mistakes.sort_by_key(place);
        self.warnings.sort_by_key(place);
        (self.mistakes, self.warnings)
    }
}

impl<'t> Cursor<'t> {
    pub(super) fn new(node: &'t Node, path: String) -> Cursor<'t> {
        Cursor { node, key_at: node.at, path }
    }

    pub(super) fn at(&self) -> Position {
        self.node.at
    }

    pub(super) fn line(&self) -> usize {
        self.node.at.line
    }

    /// Returns the place of its key; its own place if it has none.
    pub(super) fn key_at(&self) -> Position {
        self.key_at
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn mistake(&self, reader: &mut Reader, problem: String) {
        reader.mistake(self.at(), &self.path, problem);
    }

    pub(super) fn warning(&self, reader: &mut Reader, problem: String) {
        reader.warning(self.at(), &self.path, problem);
    }

    /// Returns true if there is no value: `key:` alone, `~` or `null`.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.node.value, Value::Scalar { text, plain: true } if scalar::is_null(text))
    }

    /// Returns its text as written, without interpreting it.
    pub(super) fn scalar(&self) -> Option<&'t str> {
        match &self.node.value {
            Value::Scalar { text, .. } => Some(text),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Returns its value as a number. Quoted text is not a number.
    pub(super) fn number(&self) -> Option<f64> {
        match &self.node.value {
            Value::Scalar { text, plain: true } => scalar::number(text),
            Value::Scalar { .. } | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Returns true if it holds nothing: no value, or a list without items.
    pub(super) fn is_empty(&self) -> bool {
        self.is_null() || matches!(&self.node.value, Value::List(items) if items.is_empty())
    }

    /// Returns true for everything that is true in Ruby: all but `false` and no
    /// value.
    pub(super) fn is_truthy(&self) -> bool {
        match &self.node.value {
            Value::Scalar { text, plain: true } => {
                !scalar::is_null(text) && scalar::boolean(text) != Some(false)
            }
            Value::Scalar { .. } | Value::List(_) | Value::Map(_) => true,
        }
    }

    /// Returns its text. Anything but a scalar is a mistake.
    pub(super) fn text(&self, reader: &mut Reader) -> Option<&'t str> {
        let text = self.scalar();
        if text.is_none() {
            self.mistake(reader, format!("must be text, not {}", self.kind()));
        }
        text
    }

    /// Returns its text. A number, a truth value, and anything but a scalar are
    /// mistakes.
    pub(super) fn strict_text(&self, reader: &mut Reader) -> Option<&'t str> {
        let text = self.text(reader)?;
        let is_plain = matches!(&self.node.value, Value::Scalar { plain: true, .. });
        if is_plain && (scalar::number(text).is_some() || scalar::boolean(text).is_some()) {
            self.mistake(reader, format!("must be text: write \"{text}\" in quotes if that is its name"));
            return None;
        }
        Some(text)
    }

    /// Returns `text`, which is this node's, if it can be a path. A path with a
    /// line break would become another path in the records of an installation.
    pub(super) fn path_text(&self, reader: &mut Reader, text: &'t str) -> Option<&'t str> {
        if text.chars().any(char::is_control) {
            self.mistake(reader, "a path has no line breaks, tabs or other control characters".to_owned());
            return None;
        }
        Some(text)
    }

    /// Returns its items. No value means an empty list. `example` shows how to
    /// write an item.
    pub(super) fn list(&self, reader: &mut Reader, example: &str) -> Vec<Cursor<'t>> {
        match &self.node.value {
            Value::List(items) => {
                let item = |(at, node)| Cursor::new(node, format!("{}[{at}]", self.path));
                items.iter().enumerate().map(item).collect()
            }
            Value::Scalar { .. } | Value::Map(_) => {
                if !self.is_null() {
                    let kind = self.kind();
                    self.mistake(reader, format!("must be a list, not {kind}: write `{example}`"));
                }
                Vec::new()
            }
        }
    }

    /// Returns its entries. `example` says what they look like.
    pub(super) fn map(&self, reader: &mut Reader, example: &str) -> Option<Map<'t>> {
        let Value::Map(pairs) = &self.node.value else {
            let problem = match self.scalar().and_then(advice::without_blank) {
                Some(problem) => problem,
                None => format!("must be a map, not {}: it has {example}", self.kind()),
            };
            self.mistake(reader, problem);
            return None;
        };
        let mut map = Map { at: self.at(), path: self.path.clone(), entries: BTreeMap::new() };
        for (key, value) in pairs {
            map.insert(reader, key, value);
        }
        Some(map)
    }

    fn kind(&self) -> &'static str {
        match &self.node.value {
            Value::Scalar { text, plain: true } if scalar::is_null(text) => "nothing",
            Value::Scalar { .. } => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

impl<'t> Map<'t> {
    fn insert(&mut self, reader: &mut Reader, key: &'t Node, value: &'t Node) {
        let Value::Scalar { text, .. } = &key.value else {
            reader.mistake(key.at, &self.path, "a key must be text".to_owned());
            return;
        };
        if text == "<<" {
            return self.merge(value);
        }
        let path = if self.path.is_empty() { text.clone() } else { format!("{}.{text}", self.path) };
        let cursor = Cursor { node: value, key_at: key.at, path };
        if let Some(before) = self.entries.insert(text, cursor) {
            let problem = format!("written twice: the one in line {} is ignored", before.key_at.line);
            reader.warning(key.at, before.path(), problem);
        }
    }

    /// Applies YAML's merge key: entries that are there already stay.
    fn merge(&mut self, value: &'t Node) {
        match &value.value {
            Value::Map(pairs) => {
                for (key, value) in pairs {
                    if let Value::Scalar { text, .. } = &key.value {
                        let path = format!("{}.{text}", self.path);
                        let cursor = Cursor { node: value, key_at: key.at, path };
                        self.entries.entry(text).or_insert(cursor);
                    }
                }
            }
            Value::List(items) => items.iter().for_each(|item| self.merge(item)),
            Value::Scalar { .. } => {}
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Cursor<'t>> {
        self.entries.get(key)
    }

    /// Returns the value of `key`, unless it is absent or has no value.
    pub(super) fn given(&self, key: &str) -> Option<&Cursor<'t>> {
        self.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'t str, &Cursor<'t>)> {
        self.entries.iter().map(|(key, value)| (*key, value))
    }

    /// Returns the value of `key`; if there is none, that is a mistake. If a key
    /// that is not `known` is similar, the message names it as the likely
    /// misspelling.
    pub(super) fn require(
        &self,
        reader: &mut Reader,
        key: &str,
        known: &[&str],
        advice: &str,
    ) -> Option<&Cursor<'t>> {
        if let Some(value) = self.given(key) {
            return Some(value);
        }
        let others = self.entries.keys().copied().filter(|other| !known.contains(other));
        let slip = others.filter(|other| suggest::nearest(other, [key]).is_some()).min();
        let (at, problem) = match (self.get(key), slip.and_then(|slip| self.get(slip).zip(Some(slip)))) {
            (Some(empty), _) => (empty.key_at, format!("has no value: {advice}")),
            (None, Some((cursor, slip))) => {
                (cursor.key_at, format!("missing: {advice}; `{slip}` is not a key, did you mean {key}?"))
            }
            (None, None) => (self.at, format!("missing: {advice}")),
        };
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        reader.mistake(at, &path, problem);
        None
    }

    /// Warns of keys that are not `known` and so ignored. `explain` may return a
    /// better text for a key; an empty text means that no warning is needed.
    pub(super) fn warn_unknown(
        &self,
        reader: &mut Reader,
        known: &[&str],
        explain: impl Fn(&str) -> Option<String>,
    ) {
        for (key, cursor) in self.iter().filter(|(key, _)| !known.contains(key)) {
            let advice = || suggest::did_you_mean(suggest::nearest(key, known.iter().copied()));
            let problem = explain(key).unwrap_or_else(|| format!("unknown key, ignored{}", advice()));
            if !problem.is_empty() {
                reader.warning(cursor.key_at, cursor.path(), problem);
            }
        }
    }
}
