//! One YAML document, from the parser's events to a value: anchors, aliases, merge keys and tags as go-yaml 2 has them
//! (`decode.go`).

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{ErrorKind, Event, Marker, Parser, ScalarStyle, Span, Tag, options};
use serde_json::{Map, Value};

use super::scalar;

/// The tag of the key that merges.
const MERGE: &str = "tag:yaml.org,2002:merge";

/// The problem of a line within a quoted scalar that is not behind the indentation of its block.
const UNDER_INDENTED: &str = "not valid YAML: a line of a quoted text is not indented";

/// The number of a line of the document, from 1, and the problem there.
pub(super) type Problem = (usize, String);

/// A node, with the line at which it begins. Children are named by their places in the list of nodes.
struct Node {
    line: usize,
    kind: Kind,
}

enum Kind {
    Scalar { text: String, plain: bool, tag: Option<String> },
    Sequence(Vec<usize>),
    Mapping(Vec<(usize, usize)>),
    Alias(usize),
}

/// Reads a document. As for kubectl, whatever follows its end (`...`) does not count.
pub(super) fn value(text: &str) -> Result<Value, Problem> {
    if let Some(at) = text.find('\0') {
        return Err((text[..at].lines().count().max(1), "a NUL character is not allowed".to_owned()));
    }
    let mut text = Cow::Borrowed(text);
    let (tree, root) = loop {
        let mut tree = Tree::default();
        match tree.read(&text) {
            Err((line, problem)) if problem == UNDER_INDENTED => match indented(&text, line) {
                Some(deeper) => text = Cow::Owned(deeper),
                None => return Err((line, problem)),
            },
            result => break (tree, result?),
        }
    };
    match root {
        Some(root) => Values { nodes: &tree.nodes, open: Vec::new(), count: 0, by_alias: 0 }.value(root),
        None => Ok(Value::Null),
    }
}

/// Indents a line within a quoted scalar. libyaml takes such lines at any indentation, and YAML 1.2 only behind that of
/// the block; the white space is no part of the scalar. Returns none if the line is indented already.
fn indented(text: &str, line: usize) -> Option<String> {
    const DEEP: usize = 1024;
    let begin: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let (before, after) = text.split_at(begin);
    let indent = after.bytes().take_while(|byte| *byte == b' ').count();
    (indent < DEEP).then(|| format!("{before}{:DEEP$}{after}", ""))
}

/// The nodes of a document, and the anchors of some.
#[derive(Default)]
struct Tree {
    nodes: Vec<Node>,
    anchors: HashMap<usize, usize>,
}

impl Tree {
    /// Reads the nodes of the first document. Returns its root, if it has one.
    fn read(&mut self, text: &str) -> Result<Option<usize>, Problem> {
        let options = options! { emit_comments: false };
        let mut events = Parser::new_from_str_with_options(text, options);
        loop {
            match next(&mut events)? {
                (Event::DocumentStart(..), _) => {
                    let root = self.node(next(&mut events)?, &mut events)?;
                    // The end may be an error: text that belongs to nothing.
                    next(&mut events)?;
                    return Ok(Some(root));
                }
                (Event::StreamEnd, _) => return Ok(None),
                _ => {}
            }
        }
    }

    /// Reads the node that begins with an event. The parser limits the depth.
    fn node<'a>(&mut self, (event, span): (Event<'a>, Span), events: &mut Events<'a>) -> Result<usize, Problem> {
        let place = self.nodes.len();
        let line = line(&span.start);
        let (kind, anchor) = match event {
            Event::Alias(anchor) => {
                let target = self.anchors.get(&anchor).copied();
                (Kind::Alias(target.ok_or((line, "an alias without an anchor".to_owned()))?), 0)
            }
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.map(|tag| full(&tag));
                (Kind::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain, tag }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => (Kind::Sequence(Vec::new()), anchor),
            Event::MappingStart(_, anchor, _) => (Kind::Mapping(Vec::new()), anchor),
            other => return Err((line, format!("not valid YAML: {other:?} is not expected here"))),
        };
        self.nodes.push(Node { line, kind });
        if anchor != 0 {
            self.anchors.insert(anchor, place);
        }
        match self.nodes[place].kind {
            Kind::Sequence(_) => {
                let mut items = Vec::new();
                loop {
                    match next(events)? {
                        (Event::SequenceEnd, _) => break,
                        event => items.push(self.node(event, events)?),
                    }
                }
                self.nodes[place].kind = Kind::Sequence(items);
            }
            Kind::Mapping(_) => {
                let mut pairs = Vec::new();
                loop {
                    match next(events)? {
                        (Event::MappingEnd, _) => break,
                        event => {
                            let key = self.node(event, events)?;
                            pairs.push((key, self.node(next(events)?, events)?));
                        }
                    }
                }
                self.nodes[place].kind = Kind::Mapping(pairs);
            }
            _ => {}
        }
        Ok(place)
    }
}

type Events<'a> = Parser<'a, granit_parser::StrInput<'a>>;

fn next<'a>(events: &mut Events<'a>) -> Result<(Event<'a>, Span), Problem> {
    match events.next() {
        Some(Ok(event)) => Ok(event),
        Some(Err(error)) if *error.kind() == ErrorKind::InvalidQuotedScalarIndent => {
            Err((line(error.marker()), UNDER_INDENTED.to_owned()))
        }
        Some(Err(error)) => Err((line(error.marker()), format!("not valid YAML: {}", error.info()))),
        None => Err((1, "not valid YAML: it ends too early".to_owned())),
    }
}

fn line(marker: &Marker) -> usize {
    marker.line().max(1)
}

fn full(tag: &Tag) -> String {
    format!("{}{}", tag.handle(), tag.suffix())
}

/// The reading of values from nodes.
struct Values<'a> {
    nodes: &'a [Node],
    /// The aliases that are being read.
    open: Vec<usize>,
    /// The number of nodes that were read.
    count: usize,
    /// The number of those that an alias stands for.
    by_alias: usize,
}

impl Values<'_> {
    fn value(&mut self, place: usize) -> Result<Value, Problem> {
        self.count(place)?;
        let node = &self.nodes[place];
        match &node.kind {
            Kind::Scalar { text, plain, tag } => {
                let scalar = scalar::resolve(text, *plain, tag.as_deref()).and_then(scalar::Scalar::into_value);
                scalar.map_err(|problem| (node.line, problem))
            }
            Kind::Sequence(items) => items.iter().map(|item| self.value(*item)).collect(),
            Kind::Mapping(_) => {
                let mut fields = Map::new();
                self.add(place, &mut fields)?;
                Ok(Value::Object(fields))
            }
            Kind::Alias(target) => self.through(place, *target, |values, target| values.value(target)),
        }
    }

    /// Adds the fields of a mapping, or of an alias of one. A key that is there already gets the later value.
    fn add(&mut self, place: usize, fields: &mut Map<String, Value>) -> Result<(), Problem> {
        match &self.nodes[place].kind {
            Kind::Mapping(pairs) => {
                for (key, value) in pairs {
                    if self.merges(*key) {
                        self.merge(*value, fields)?;
                    } else {
                        let key = self.key(*key)?;
                        let value = self.value(*value)?;
                        fields.insert(key, value);
                    }
                }
                Ok(())
            }
            Kind::Alias(target) => self.through(place, *target, |values, target| values.add(target, fields)),
            _ => Err((self.nodes[place].line, "<< merges a mapping, or a list of mappings".to_owned())),
        }
    }

    fn merges(&self, key: usize) -> bool {
        let Kind::Scalar { text, plain, tag } = &self.nodes[key].kind else { return false };
        text == "<<" && tag.as_deref().map_or(*plain, |tag| tag == MERGE)
    }

    /// Merges a mapping, or several, of which the earlier ones win.
    fn merge(&mut self, place: usize, fields: &mut Map<String, Value>) -> Result<(), Problem> {
        match &self.nodes[place].kind {
            Kind::Sequence(items) => items.iter().rev().try_for_each(|item| self.add(*item, fields)),
            _ => self.add(place, fields),
        }
    }

    fn key(&mut self, place: usize) -> Result<String, Problem> {
        let node = &self.nodes[place];
        match &node.kind {
            Kind::Scalar { text, plain, tag } => {
                let scalar = scalar::resolve(text, *plain, tag.as_deref()).and_then(scalar::Scalar::into_key);
                scalar.map_err(|problem| (node.line, problem))
            }
            Kind::Alias(target) => self.through(place, *target, |values, target| values.key(target)),
            _ => Err((node.line, "a key is a list or a mapping".to_owned())),
        }
    }

    /// Reads the target of an alias.
    fn through<T>(
        &mut self,
        place: usize,
        target: usize,
        read: impl FnOnce(&mut Self, usize) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        if self.open.contains(&target) {
            return Err((self.nodes[place].line, "an anchor's value contains itself".to_owned()));
        }
        self.open.push(target);
        let result = read(self, target);
        self.open.pop();
        result
    }

    /// Counts a node. Aliases of aliases can stand for more nodes than any computer has memory for, so their share is
    /// limited, as in go-yaml: nearly all of a small document, a tenth of a large one.
    fn count(&mut self, place: usize) -> Result<(), Problem> {
        const SMALL: f64 = 400_000.0;
        const LARGE: f64 = 4_000_000.0;
        self.count += 1;
        self.by_alias += usize::from(!self.open.is_empty());
        let allowed = 0.99 - 0.89 * ((self.count as f64 - SMALL) / (LARGE - SMALL)).clamp(0.0, 1.0);
        let too_many = self.by_alias as f64 > allowed * self.count as f64;
        match self.by_alias > 100 && self.count > 1000 && too_many {
            true => Err((self.nodes[place].line, "aliases stand for too many values".to_owned())),
            false => Ok(()),
        }
    }
}
