//! YAML as a tree in which every node knows its place.

use std::collections::BTreeMap;

use granit_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag};

/// The most that a tree may weigh: the bytes of its text, and [`NODE_WEIGHT`] for
/// each node. An alias counts each time that it is used, so that ten lines cannot
/// become a gigabyte.
const TREE_WEIGHT_MAX: usize = 4 * 1024 * 1024;
const NODE_WEIGHT: usize = 64;

/// A place in the file: line and column, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A single value. It is `plain` if it has no quotes: only then can it mean a
    /// number or no value.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    /// The entries in the file's order, including duplicate keys.
    Map(Vec<(Node, Node)>),
}

pub(super) struct Document {
    /// `None` if the file holds no node at all.
    pub(super) root: Option<Node>,
    /// The place where a second document starts.
    pub(super) more: Option<Position>,
}

pub(super) struct SyntaxError {
    pub(super) at: Position,
    pub(super) problem: String,
}

/// Parses the first document of `text`. As in the official agent, what follows is
/// ignored.
#[expect(clippy::wildcard_enum_match_arm, reason = "of the parser's events only these matter")]
pub(super) fn parse(text: &str) -> Result<Document, SyntaxError> {
    let mut builder = Builder::default();
    let mut root = None;
    let mut ended = false;
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok(event) => event,
            // A second document is ignored, and so is an error in it.
            Err(_) if ended => break,
            Err(error) => {
                return Err(SyntaxError { at: position(error.marker()), problem: error.kind().to_string() });
            }
        };
        match event {
            Event::DocumentStart(..) if ended => {
                return Ok(Document { root, more: Some(position(&span.start)) });
            }
            Event::DocumentEnd => ended = true,
            event if root.is_none() => root = builder.take(event, span)?,
            // Comments, and everything after the first document.
            _ => {}
        }
    }
    Ok(Document { root, more: None })
}

fn position(marker: &Marker) -> Position {
    Position { line: marker.line().max(1), column: marker.col() + 1 }
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    weight: usize,
}

struct Open {
    anchor: usize,
    node: Node,
    /// The key that waits for its value, if this is a map.
    key: Option<Node>,
}

impl Builder {
    /// Takes one event. Returns the root once it is complete.
    #[expect(clippy::wildcard_enum_match_arm, reason = "of the parser's events only these matter")]
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<Option<Node>, SyntaxError> {
        let at = position(&span.start);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && !is_text(tag.as_deref());
                self.weigh(at, NODE_WEIGHT + text.len())?;
                self.close(Node { at, value: Value::Scalar { text: text.into_owned(), plain } }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => self.begin(at, Value::List(Vec::new()), anchor),
            Event::MappingStart(_, anchor, _) => self.begin(at, Value::Map(Vec::new()), anchor),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.close(open.node, open.anchor),
                None => Ok(None),
            },
            Event::Alias(anchor) => {
                let Some(mut node) = self.anchors.get(&anchor).cloned() else {
                    let problem = "an alias inside the node that it stands for".to_owned();
                    return Err(SyntaxError { at, problem });
                };
                self.weigh(at, weight(&node))?;
                // A mistake in the copy is best shown where the alias is used.
                node.at = at;
                self.close(node, 0)
            }
            // The other events are presentation: comments, starts and ends.
            _ => Ok(None),
        }
    }

    fn begin(&mut self, at: Position, value: Value, anchor: usize) -> Result<Option<Node>, SyntaxError> {
        self.weigh(at, NODE_WEIGHT)?;
        self.open.push(Open { anchor, node: Node { at, value }, key: None });
        Ok(None)
    }

    fn close(&mut self, node: Node, anchor: usize) -> Result<Option<Node>, SyntaxError> {
        if anchor != 0 {
            self.weigh(node.at, weight(&node))?;
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else { return Ok(Some(node)) };
        match &mut open.node.value {
            Value::List(items) => items.push(node),
            Value::Map(pairs) => match open.key.take() {
                Some(key) => pairs.push((key, node)),
                None => open.key = Some(node),
            },
            Value::Scalar { .. } => unreachable!("a scalar is never open"),
        }
        Ok(None)
    }

    fn weigh(&mut self, at: Position, more: usize) -> Result<(), SyntaxError> {
        self.weight += more;
        if self.weight <= TREE_WEIGHT_MAX {
            return Ok(());
        }
        let problem = format!("aliases make this file larger than {TREE_WEIGHT_MAX} bytes from here on");
        Err(SyntaxError { at, problem })
    }
}

fn weight(node: &Node) -> usize {
    let below = match &node.value {
        Value::Scalar { text, .. } => text.len(),
        Value::List(items) => items.iter().map(weight).sum(),
        Value::Map(pairs) => pairs.iter().map(|(key, value)| weight(key) + weight(value)).sum(),
    };
    NODE_WEIGHT + below
}

fn is_text(tag: Option<&Tag>) -> bool {
    tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"))
}
