//! A YAML document as a tree with the place of each value; aliases are not followed, so that no document can grow.

use std::borrow::Cow;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use crate::facts::Evidence;

/// Values deeper than this are passed over.
const DEPTH: u32 = 40;
/// Documents with more values than this are not read.
const MOST: usize = 200_000;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) value: Value,
    line: u32,
    column: u32,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A plain or quoted text, a number, a truth value.
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    /// Nothing, or something that is not followed.
    Other,
}

impl Node {
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn list(&self) -> &[Node] {
        match &self.value {
            Value::List(list) => list,
            _ => &[],
        }
    }

    pub(super) fn entries(&self) -> &[(Node, Node)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }

    pub(super) fn evidence(&self, path: &str, says: &str) -> Evidence {
        Evidence::file(path, says).line(self.line).column(self.column)
    }
}

/// The first document of a text.
pub(super) fn parse(text: &str) -> Result<Node, String> {
    let mut reader = Reader { parser: Parser::new_from_str(text), left: MOST };
    loop {
        match reader.next()? {
            Some((Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _)) => {}
            Some((Event::StreamEnd | Event::DocumentEnd, span)) => return Ok(node(Value::Other, span)),
            Some((event, span)) => return reader.value(event, span, DEPTH),
            None => return Err("it ends too early".to_owned()),
        }
    }
}

fn node(value: Value, span: Span) -> Node {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    Node { value, line: number(span.start.line()), column: number(span.start.col() + 1) }
}

struct Reader<'t> {
    parser: Parser<'t, saphyr_parser::StrInput<'t>>,
    left: usize,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, String> {
        self.left = self.left.checked_sub(1).ok_or("it has too many values")?;
        self.parser.next_event().transpose().map_err(|error| error.to_string())
    }

    fn value(&mut self, event: Event<'t>, span: Span, depth: u32) -> Result<Node, String> {
        let depth = depth.checked_sub(1).ok_or("its values lie too deep")?;
        let value = match event {
            Event::Scalar(text, style, ..) => scalar(text, style),
            Event::SequenceStart(..) => {
                let mut list = Vec::new();
                loop {
                    match self.next()?.ok_or("it ends too early")? {
                        (Event::SequenceEnd, _) => break Value::List(list),
                        (event, span) => list.push(self.value(event, span, depth)?),
                    }
                }
            }
            Event::MappingStart(..) => {
                let mut entries = Vec::new();
                loop {
                    let (event, span) = self.next()?.ok_or("it ends too early")?;
                    if event == Event::MappingEnd {
                        break Value::Map(entries);
                    }
                    let key = self.value(event, span, depth)?;
                    let (event, span) = self.next()?.ok_or("it ends too early")?;
                    entries.push((key, self.value(event, span, depth)?));
                }
            }
            _ => Value::Other,
        };
        Ok(node(value, span))
    }
}

fn scalar(text: Cow<'_, str>, style: ScalarStyle) -> Value {
    let empty = style == ScalarStyle::Plain && matches!(text.as_ref(), "" | "~" | "null");
    if empty { Value::Other } else { Value::Text(text.into_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_have_their_places() {
        let root = parse("a: &x\n  - 1\n  - 'b: c'\nd: {e: *x, f: null}\n").unwrap();
        let second = &root.get("a").unwrap().list()[1];
        assert_eq!((second.text(), second.line, second.column), (Some("b: c"), 3, 5));
        let map = root.get("d").unwrap();
        assert_eq!(map.get("e").unwrap().value, Value::Other);
        assert_eq!(map.get("f").unwrap().value, Value::Other);
        assert_eq!(parse("").unwrap().value, Value::Other);
        assert!(parse("a: [").is_err() && parse("a: b: c").is_err());
        assert!(parse(&"[".repeat(5_000)).is_err());
    }

    #[test]
    fn aliases_do_not_multiply() {
        let text = (0..30).fold("a0: &a0 [x]\n".to_owned(), |text, level| {
            format!("{text}a{next}: &a{next} [*a{level}, *a{level}]\n", next = level + 1)
        });
        assert_eq!(parse(&text).unwrap().entries().len(), 31);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([-a-z:&*!|>'\"#%@ \\[\\]{},?é0-9]|\n|\t){0,80}") {
            let _ = parse(&text);
        }
    }
}
