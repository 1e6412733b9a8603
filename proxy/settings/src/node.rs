//! The small tree a settings file is read into: text, lists and maps, each with its place.

/// A place: line and column in characters, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// A value and where it starts.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// Nothing, or `~`.
    Null,
    /// Refused already; whoever reads it says no more about it.
    Refused,
    /// Text; `plain` when it stood without quotes.
    Text { text: String, plain: bool },
    /// A list.
    List(Vec<Node>),
    /// A map in order of the file; keys are unique.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) node: Node,
}

/// The elements of a default `[a, b]`.
pub(crate) fn items(text: &str) -> impl Iterator<Item = &str> {
    let inner = text.trim_start_matches('[').trim_end_matches(']');
    inner.split(',').map(str::trim)
}

impl Node {
    /// The value that a default in the definition stands for.
    pub(crate) fn of_default(text: &str) -> Self {
        let value = match text {
            "[]" => Value::List(Vec::new()),
            "{}" => Value::Map(Vec::new()),
            text if text.starts_with('[') => {
                Value::List(items(text).map(Self::of_default).collect())
            }
            text => Value::Text {
                text: text.trim_matches('"').to_owned(),
                plain: !text.starts_with('"'),
            },
        };
        Self {
            place: Place::default(),
            value,
        }
    }

    /// What it is, for a sentence.
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Value::Null | Value::Refused => "nothing".to_owned(),
            Value::Text { text, plain: true } => crate::problem::quoted(text),
            Value::Text { text, plain: false } => {
                format!("the text {}", crate::problem::quoted(text))
            }
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map of keys".to_owned(),
        }
    }

    /// The value under a key, if this is a map that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The place of a key path such as `sites[0].waf.mode`; where a part is missing, the nearest one above it.
    pub(crate) fn place_of(&self, path: &str) -> Place {
        let mut node = self;
        let mut place = self.place;
        for part in path.split('.').filter(|part| !part.is_empty()) {
            let mut pieces = part.split('[');
            let Some(entry) = pieces.next().and_then(|key| node.get(key)) else {
                break;
            };
            (node, place) = (&entry.node, entry.place);
            if !matches!(node.value, Value::List(_) | Value::Map(_)) {
                place = node.place;
            }
            for piece in pieces {
                let index = piece.trim_end_matches(']').parse::<usize>().ok();
                let Value::List(items) = &node.value else {
                    return place;
                };
                let Some(item) = index.and_then(|index| items.get(index)) else {
                    return place;
                };
                (node, place) = (item, item.place);
            }
        }
        place
    }
}
