//! The definition as data: what schema, example and the list of keys are printed from.

use crate::scalar::{show_duration, show_size};
use std::time::Duration;

/// What may stand in a place of the file.
#[derive(Debug, Clone)]
pub(crate) enum Shape {
    /// Text or a number.
    Scalar(Scalar),
    /// A list.
    List {
        item: Box<Shape>,
        min: usize,
        max: usize,
        /// Which keys the elements of the example show; empty = one with all.
        shown: &'static [&'static [&'static str]],
    },
    /// Names the operator chooses, each with the same shape below.
    Map {
        item: Box<Shape>,
        max: usize,
        shown: &'static str,
        /// `off` may stand under a name.
        off: bool,
    },
    /// A fixed set of keys.
    Section(Section),
    /// A fixed set of keys, or the name of a profile, or `off`.
    Overlay(Section),
}

/// A fixed set of keys.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    /// Name of the definition in the schema.
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) fields: Vec<Field>,
}

impl Section {
    fn first(&self) -> &'static str {
        self.fields.first().map_or("", |field| field.key)
    }
}

/// One key.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) key: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) shape: Shape,
    pub(crate) presence: Presence,
    /// Whether a change needs a restart; `None` = as the key above.
    pub(crate) restart: Option<bool>,
}

/// What it means when a key is not there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Presence {
    /// This YAML text stands for it.
    Default(&'static str),
    /// Worked out; `how` says from what.
    Computed {
        shown: &'static str,
        how: &'static str,
    },
    /// Nothing; the example shows these values, one for each element of the list around it, behind a `#` when they
    /// start with one.
    Optional(&'static [&'static str]),
    /// It is missed; the example shows these.
    Required(&'static [&'static str]),
}

/// Text or a number.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scalar {
    Flag,
    Whole {
        min: u64,
        max: u64,
    },
    Size {
        min: u64,
        max: u64,
    },
    Time {
        min: Duration,
        max: Duration,
    },
    /// A number, or bytes with a unit.
    Amount {
        min: u64,
        max: u64,
    },
    /// A status, a class of them (`4xx`) or a range.
    Statuses,
    /// A number from 0 to 1.
    Share,
    /// One of these numbers.
    Among(&'static [u64]),
    Choice(&'static [(&'static str, &'static str)]),
    /// What it is in a few words, a pattern it always matches (empty = any text) and its longest form in bytes.
    Text {
        what: &'static str,
        pattern: &'static str,
        max: usize,
    },
}

impl Scalar {
    /// What is expected, for a sentence.
    pub(crate) fn expected(&self) -> String {
        match *self {
            Self::Flag => "true or false".to_owned(),
            Self::Whole { min, max } if min == max => min.to_string(),
            Self::Whole { min, max } => format!("a whole number from {min} to {max}"),
            Self::Size { min, max } => {
                format!("a size from {} to {}", show_size(min), show_size(max))
            }
            Self::Time { min, max } => format!(
                "a time from {} to {}",
                show_duration(min),
                show_duration(max)
            ),
            Self::Amount { min, max } => {
                format!("a number from {min} to {max}, or bytes such as 10MiB")
            }
            Self::Statuses => "a status such as 404, 4xx or 500-599".to_owned(),
            Self::Share => "a number from 0 to 1, such as 0.01".to_owned(),
            Self::Among(numbers) => either(numbers.iter().map(u64::to_string).collect()),
            Self::Choice(names) => {
                either(names.iter().map(|(name, _)| format!("`{name}`")).collect())
            }
            Self::Text { what, .. } => what.to_owned(),
        }
    }
}

impl Shape {
    /// What is expected, for a sentence.
    pub(crate) fn expected(&self) -> String {
        match self {
            Self::Scalar(scalar) => scalar.expected(),
            Self::List { item, min, max, .. } => {
                let count = if *min > 0 {
                    format!("{min} to {max}")
                } else {
                    format!("at most {max}")
                };
                match &**item {
                    Self::Scalar(item) => format!("a list, {count}: {}", item.expected()),
                    _ => format!("a list, {count}"),
                }
            }
            Self::Map { max, .. } => format!("names with keys below, at most {max}"),
            Self::Section(section) => format!("keys such as `{}:`", section.first()),
            Self::Overlay(_) => "the name of a profile, `off`, or keys in place".to_owned(),
        }
    }
}

/// `a, b or c`.
fn either(mut names: Vec<String>) -> String {
    match names.pop() {
        Some(last) if !names.is_empty() => format!("{} or {last}", names.join(", ")),
        last => last.unwrap_or_default(),
    }
}
