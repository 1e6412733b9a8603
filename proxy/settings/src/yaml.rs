//! YAML text into [`Node`]s: one document, no tags, no anchors, no duplicate keys, a bounded depth.
//!
//! Events come from `saphyr-parser`; nothing here recurses, and the first syntax error ends the reading, because what
//! stands after it cannot be trusted to mean what it seems to.

use crate::context::Context;
use crate::limits::DEPTH_MAX;
use crate::node::{Entry, Node, Place, Value};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span};
use std::collections::{HashMap, hash_map};

/// A list or map that is still open.
struct Open {
    place: Place,
    /// What its values get added to.
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        /// Line of each key, so that a large map costs no more than its size.
        seen: HashMap<String, u32>,
        key: Option<Key>,
    },
}

/// A key that waits for its value.
struct Key {
    text: String,
    place: Place,
    /// Seen before, or no text: its value is dropped.
    refused: bool,
}

/// Reads one document; `None` when it could not be read to its end. Problems go to the context.
pub(crate) fn read(text: &str, context: &mut Context<'_>) -> Option<Node> {
    let mut reader = Reader {
        context,
        open: Vec::new(),
        root: None,
        documents: 0,
    };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        match event {
            Ok((event, span)) => reader.event(event, span).ok()?,
            Err(error) => {
                reader.syntax(&error, text);
                return None;
            }
        }
    }
    Some(reader.root.unwrap_or(Node {
        place: Place { line: 1, column: 1 },
        value: Value::Null,
    }))
}

struct Reader<'a, 'c> {
    context: &'a mut Context<'c>,
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
}

/// Reading cannot go on; the problem is recorded.
struct Stop;

impl Reader<'_, '_> {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        let place = place(span.start);
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    let message = "a second document starts here (`---`)";
                    self.refuse(
                        place,
                        message,
                        "a settings file is one document; remove the line `---`",
                    );
                    return Err(Stop);
                }
            }
            Event::SequenceStart(anchor, tag) => {
                self.marks(place, anchor, tag.is_some());
                self.push(place, Content::List(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                self.marks(place, anchor, tag.is_some());
                self.push(
                    place,
                    Content::Map {
                        entries: Vec::new(),
                        seen: HashMap::new(),
                        key: None,
                    },
                )?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    let value = match open.content {
                        Content::List(items) => Value::List(items),
                        Content::Map { entries, .. } => Value::Map(entries),
                    };
                    self.add(Node {
                        place: open.place,
                        value,
                    });
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.marks(place, anchor, tag.is_some());
                let plain = style == ScalarStyle::Plain;
                let value = if plain && matches!(&*text, "" | "~" | "null") {
                    Value::Null
                } else {
                    Value::Text {
                        text: text.into_owned(),
                        plain,
                    }
                };
                self.add(Node { place, value });
            }
            Event::Alias(_) => {
                self.refuse(
                    place,
                    "an alias (`*name`) is not allowed",
                    "write the value out, or share it by a profile",
                );
                self.add(Node {
                    place,
                    value: Value::Refused,
                });
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn marks(&mut self, place: Place, anchor: usize, tag: bool) {
        if anchor != 0 {
            self.refuse(
                place,
                "an anchor (`&name`) is not allowed",
                "remove it; to share values use a profile",
            );
        }
        if tag {
            self.refuse(
                place,
                "a tag (`!name`) is not allowed",
                "remove it; the key alone decides the type",
            );
        }
    }

    fn push(&mut self, place: Place, content: Content) -> Result<(), Stop> {
        if self.open.len() >= DEPTH_MAX {
            let message = format!("lists and maps are nested deeper than {DEPTH_MAX}");
            self.refuse(
                place,
                &message,
                "no setting is that deep; look for a bracket too many",
            );
            return Err(Stop);
        }
        self.open.push(Open { place, content });
        Ok(())
    }

    fn add(&mut self, node: Node) {
        let Some(open) = self.open.last_mut() else {
            self.root.get_or_insert(node);
            return;
        };
        match &mut open.content {
            Content::List(items) => {
                items.push(node);
                return;
            }
            Content::Map { entries, key, .. } => {
                if let Some(key) = key.take() {
                    if !key.refused {
                        entries.push(Entry {
                            key: key.text,
                            place: key.place,
                            node,
                        });
                    }
                    return;
                }
            }
        }
        let read = self.key(node);
        if let Some(Open {
            content: Content::Map { key, .. },
            ..
        }) = self.open.last_mut()
        {
            *key = Some(read);
        }
    }

    fn key(&mut self, node: Node) -> Key {
        let place = node.place;
        let Value::Text { text, .. } = node.value else {
            self.refuse(place, "a key must be text", "write `key: value`");
            return Key {
                text: String::new(),
                place,
                refused: true,
            };
        };
        let first = match self.open.last_mut() {
            Some(Open {
                content: Content::Map { seen, .. },
                ..
            }) => match seen.entry(text.clone()) {
                hash_map::Entry::Occupied(first) => Some(*first.get()),
                hash_map::Entry::Vacant(vacant) => {
                    vacant.insert(place.line);
                    None
                }
            },
            _ => None,
        };
        if let Some(line) = first {
            let path = self.path(&text);
            let message = format!("{path} stands here a second time");
            self.context.error_at(
                place,
                &path,
                message,
                Some(format!("the first is in line {line}; remove one")),
            );
        }
        Key {
            text,
            place,
            refused: first.is_some(),
        }
    }

    /// The path of a key in what is open.
    fn path(&self, last: &str) -> String {
        let mut path = String::new();
        for open in &self.open {
            match &open.content {
                Content::List(items) => path.push_str(&format!("[{}]", items.len())),
                Content::Map { key: Some(key), .. } => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(&key.text);
                }
                Content::Map { key: None, .. } => {}
            }
        }
        if path.is_empty() {
            last.to_owned()
        } else {
            format!("{path}.{last}")
        }
    }

    fn refuse(&mut self, place: Place, message: &str, help: &str) {
        self.context
            .error_at(place, "", message.to_owned(), Some(help.to_owned()));
    }

    fn syntax(&mut self, error: &ScanError, text: &str) {
        let mut place = place(*error.marker());
        let lines = u32::try_from(text.lines().count()).unwrap_or(u32::MAX);
        // The parser may stand behind the last line; a person cannot.
        let at_end = place.line >= lines;
        if place.line > lines {
            place = Place {
                line: lines.max(1),
                column: 1,
            };
        }
        // A tab is noticed at the end of the line before it.
        let tab = text
            .lines()
            .zip(1_u32..)
            .skip(place.line.saturating_sub(1) as usize)
            .take(2);
        let tab = tab
            .filter(|(line, _)| line.trim_start_matches(' ').starts_with('\t'))
            .map(|(_, line)| line)
            .next();
        let help = if let Some(line) = tab {
            place = Place { line, column: 1 };
            "indent with spaces; YAML does not allow tabs there"
        } else if at_end {
            "the file seems to end in the middle; was it written completely?"
        } else {
            "look at this line and the one above it: a missing quote, bracket, colon or space?"
        };
        self.refuse(place, &format!("this is not YAML: {}", error.info()), help);
    }
}

fn place(marker: Marker) -> Place {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    Place {
        line: number(marker.line()).max(1),
        column: number(marker.col()).saturating_add(1),
    }
}
