//! YAML out of granit's events: anchors, aliases within limits, merge keys, the tags of the safe loader.

use super::{Builder, Failure, Node, height, typing};
use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The value of a YAML text of one document, with its marks. An empty text is null.
pub(super) fn parse(text: &str) -> Result<Node, Failure> {
    let options = granit_parser::options! { emit_comments: false, block_scalar_eof_without_line_feed: true };
    let parser = Parser::new_from_str_with_options(text, options);
    let mut compose = Compose { parser, anchors: BTreeMap::new(), builder: Builder::default() };
    let mut root = None;
    loop {
        let (event, span) = compose.next()?;
        let (line, column) = mark(&span);
        match event {
            Event::StreamEnd => return Ok(root.unwrap_or_else(|| Node::leaf(1, 1, Value::Null))),
            Event::DocumentStart(..) if root.is_some() => {
                return Err(Failure::at(line, column, "a second document begins here: write one document in a file"));
            }
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
            event => root = Some(compose.node(event, &span, 0)?.node),
        }
    }
}

struct Compose<'a> {
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    /// What is anchored so far; none while it is still open.
    anchors: BTreeMap<usize, Option<Node>>,
    builder: Builder,
}

/// A node, and whether it is a merge key (`<<`, plain).
struct Read {
    node: Node,
    merge: bool,
}

impl<'a> Compose<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Failure> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                let (line, column) = (error.marker().line(), error.marker().col() + 1);
                Err(Failure::at(line, column, &format!("Failed parsing YAML experiment: {}", error.info())))
            }
            None => Err(Failure::at(0, 0, "Failed parsing YAML experiment: it ends too soon")),
        }
    }

    fn node(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Result<Read, Failure> {
        let (line, column) = mark(span);
        self.builder.count(line, column, depth)?;
        let (node, anchor) = match event {
            Event::Alias(anchor) => {
                return match self.anchors.get(&anchor) {
                    Some(Some(node)) => {
                        self.builder.deep(line, column, depth + height(&node.value))?;
                        self.builder.copy(line, column, &node.value)?;
                        Ok(Read { node: node.clone(), merge: false })
                    }
                    _ => Err(Failure::at(line, column, "an alias stands inside of what it means: that has no end")),
                };
            }
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.map(|tag| tag.into_owned());
                if tag.is_none() && style == ScalarStyle::Plain && text == "<<" {
                    return Ok(Read { node: Node::leaf(line, column, Value::String("<<".into())), merge: true });
                }
                let value = scalar(&text, style, tag.as_ref()).map_err(|why| Failure::at(line, column, &why))?;
                (Node::leaf(line, column, value), anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.open(anchor);
                tagged(tag.as_deref(), &["seq"]).map_err(|why| Failure::at(line, column, &why))?;
                let mut items = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if event == Event::SequenceEnd {
                        break;
                    }
                    items.push(self.node(event, &span, depth + 1)?.node);
                }
                (Node::list(line, column, items), anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.open(anchor);
                tagged(tag.as_deref(), &["map"]).map_err(|why| Failure::at(line, column, &why))?;
                (self.mapping(line, column, depth)?, anchor)
            }
            _ => return Err(Failure::at(line, column, "Failed parsing YAML experiment: a value is missing")),
        };
        if anchor != 0 {
            self.builder.copy(line, column, &node.value)?;
            self.anchors.insert(anchor, Some(node.clone()));
        }
        Ok(Read { node, merge: false })
    }

    fn open(&mut self, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, None);
        }
    }

    fn mapping(&mut self, line: usize, column: usize, depth: usize) -> Result<Node, Failure> {
        let (mut merged, mut own) = (Vec::new(), Vec::new());
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let at = mark(&span);
            let key = self.node(event, &span, depth + 1)?;
            let (event, span) = self.next()?;
            let value = self.node(event, &span, depth + 1)?.node;
            if key.merge {
                merge(value, &mut merged).map_err(|why| Failure::at(at.0, at.1, why))?;
            } else {
                let name = name(&key.node.value).map_err(|why| Failure::at(at.0, at.1, why))?;
                own.push((name, at, value));
            }
        }
        // What is merged stands first, so that a mapping's own keys win.
        merged.append(&mut own);
        Ok(Node::map(line, column, merged))
    }
}

type Entries = Vec<(String, (usize, usize), Node)>;

/// The entries of a mapping, or of a list of mappings of which the first wins.
fn merge(node: Node, into: &mut Entries) -> Result<(), &'static str> {
    use super::super::marks::Below;
    match (node.value, node.marks.below) {
        (Value::Object(mut values), Below::Map(order)) => {
            for entry in order {
                let value = values.remove(&entry.key).unwrap_or_default();
                into.push((entry.key, (entry.mark.line, entry.mark.column), Node { value, marks: entry.value }));
            }
            Ok(())
        }
        (Value::Array(values), Below::List(marks)) => {
            let items: Vec<Node> = values.into_iter().zip(marks).map(|(value, marks)| Node { value, marks }).collect();
            for item in items.into_iter().rev() {
                if !item.value.is_object() {
                    return Err("a merge key (<<) takes a mapping or a list of mappings");
                }
                merge(item, into)?;
            }
            Ok(())
        }
        _ => Err("a merge key (<<) takes a mapping or a list of mappings"),
    }
}

/// The name that a key has in JSON.
fn name(key: &Value) -> Result<String, &'static str> {
    match key {
        Value::String(text) => Ok(text.clone()),
        Value::Null | Value::Bool(_) => Ok(key.to_string()),
        Value::Number(number) => Ok(number
            .as_f64()
            .filter(|_| number.is_f64())
            .map_or_else(|| number.to_string(), crate::document::py::text::repr_float)),
        _ => Err("a key is a text or a number, never a list or a mapping: quote it"),
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let Some(tag) = tag else {
        return if style == ScalarStyle::Plain { typing::plain(text) } else { Ok(Value::String(text.into())) };
    };
    let wrong = || format!("`{text}` is no {}", tag.original());
    match core(tag).as_deref() {
        Some("str") => Ok(Value::String(text.into())),
        Some("null") => Ok(Value::Null),
        Some("bool") => typing::truth(&text.to_lowercase()).map(Value::Bool).ok_or_else(wrong),
        Some("int") => typing::whole(text),
        Some("float") => typing::float(text),
        Some("timestamp") => typing::time(text)?.ok_or_else(wrong),
        _ if tag.original() == "!" => Ok(Value::String(text.into())),
        _ => Err(unknown(tag)),
    }
}

fn tagged(tag: Option<&Tag>, expected: &[&str]) -> Result<(), String> {
    match tag {
        Some(tag) if core(tag).is_none_or(|suffix| !expected.contains(&&*suffix)) => Err(unknown(tag)),
        _ => Ok(()),
    }
}

/// What stands behind `!!`.
fn core(tag: &Tag) -> Option<Cow<'_, str>> {
    tag.suffix_in_namespace("tag:yaml.org,2002:")
}

fn unknown(tag: &Tag) -> String {
    format!(
        "could not determine a constructor for the tag `{}`: only the types of JSON and dates are read",
        tag.original()
    )
}

/// A span's begin, from 1.
fn mark(span: &Span) -> (usize, usize) {
    (span.start.line(), span.start.col() + 1)
}
