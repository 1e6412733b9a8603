//! Kinds: how a value is read from the file, and what is known about it without reading one.

pub(crate) mod file;
pub(crate) mod http;
pub(crate) mod limit;
pub(crate) mod net;
pub(crate) mod scalar;

use crate::context::Context;
use crate::limits::NAME_MAX;
use crate::node::{Node, Value};
use crate::shape::{self, Shape};
use std::collections::BTreeMap;
use std::marker::PhantomData;

/// A kind of value.
///
/// Reading never gives up: what is wrong becomes a problem, and [`Kind::blank`] stands in, so that everything else is
/// still looked at. A blank is never used: a reading with an error has no result.
pub(crate) trait Kind {
    /// The Rust value.
    type Out: Clone + PartialEq;
    /// Reads it.
    fn parse(&self, node: &Node, context: &mut Context<'_>) -> Self::Out;
    /// Stands in for a value that is missing or wrong.
    fn blank(&self) -> Self::Out;
    /// What is known about it.
    fn shape(&self) -> Shape;
    /// Names what differs and needs a restart.
    fn restarts(
        &self,
        old: &Self::Out,
        new: &Self::Out,
        path: &str,
        restart: bool,
        out: &mut Vec<String>,
    ) {
        if restart && old != new {
            out.push(path.to_owned());
        }
    }
}

/// A struct made by `settings!`.
pub(crate) trait Section: Sized + Clone + PartialEq {
    /// Reads the keys of a map; `name` is what it stands under in a map of names.
    fn parse(node: &Node, name: &str, context: &mut Context<'_>) -> Self;
    /// With defaults, and blanks where there are none.
    fn blank(name: &str) -> Self;
    /// Its keys.
    fn shape() -> shape::Section;
    /// Names what differs and needs a restart.
    fn restarts(&self, new: &Self, path: &str, restart: bool, out: &mut Vec<String>);
}

/// Says that a value is of the wrong sort, unless that was said already.
pub(crate) fn mismatch(node: &Node, expected: &str, context: &mut Context<'_>) {
    match &node.value {
        Value::Refused => context.mark_bad(),
        Value::Null => {
            let help = "give it a value, or remove the key";
            context.error(
                node.place,
                &format!("expected {expected}, found nothing"),
                Some(help.to_owned()),
            );
        }
        _ => context.error(
            node.place,
            &format!("expected {expected}, found {}", node.describe()),
            None,
        ),
    }
}

/// A fixed set of keys.
pub(crate) struct SectionKind<S>(PhantomData<S>);

/// A fixed set of keys.
pub(crate) fn section<S: Section>() -> SectionKind<S> {
    SectionKind(PhantomData)
}

impl<S: Section> Kind for SectionKind<S> {
    type Out = S;
    fn parse(&self, node: &Node, context: &mut Context<'_>) -> S {
        S::parse(node, "", context)
    }
    fn blank(&self) -> S {
        S::blank("")
    }
    fn shape(&self) -> Shape {
        Shape::Section(S::shape())
    }
    fn restarts(&self, old: &S, new: &S, path: &str, restart: bool, out: &mut Vec<String>) {
        old.restarts(new, path, restart, out);
    }
}

/// Something that may be left out.
pub(crate) struct Maybe<K>(K);

/// Something that may be left out.
pub(crate) fn maybe<K: Kind>(kind: K) -> Maybe<K> {
    Maybe(kind)
}

impl<K: Kind> Kind for Maybe<K> {
    type Out = Option<K::Out>;
    fn parse(&self, node: &Node, context: &mut Context<'_>) -> Self::Out {
        Some(self.0.parse(node, context))
    }
    fn blank(&self) -> Self::Out {
        None
    }
    fn shape(&self) -> Shape {
        self.0.shape()
    }
    fn restarts(
        &self,
        old: &Self::Out,
        new: &Self::Out,
        path: &str,
        restart: bool,
        out: &mut Vec<String>,
    ) {
        match (old, new) {
            (Some(old), Some(new)) => self.0.restarts(old, new, path, restart, out),
            (None, None) => {}
            _ if restart => out.push(path.to_owned()),
            _ => {}
        }
    }
}

/// A list.
pub(crate) struct List<K> {
    item: K,
    min: usize,
    max: usize,
    shown: &'static [&'static [&'static str]],
}

/// A list of `min` to `max` elements.
pub(crate) fn list<K: Kind>(item: K, min: usize, max: usize) -> List<K> {
    List {
        item,
        min,
        max,
        shown: &[],
    }
}

impl<K> List<K> {
    /// Which keys the elements of the example show.
    pub(crate) fn shown(self, shown: &'static [&'static [&'static str]]) -> Self {
        Self { shown, ..self }
    }
}

impl<K: Kind> Kind for List<K> {
    type Out = Vec<K::Out>;
    fn parse(&self, node: &Node, context: &mut Context<'_>) -> Self::Out {
        let Value::List(items) = &node.value else {
            mismatch(node, &self.shape().expected(), context);
            return Vec::new();
        };
        if items.len() < self.min {
            context.error(
                node.place,
                &format!("expected at least {}, found {}", self.min, items.len()),
                None,
            );
        }
        if items.len() > self.max {
            let what = format!("holds {} elements; {} is the most", items.len(), self.max);
            context.error(node.place, &what, None);
        }
        let read = |(index, item)| context.element(index, |context| self.item.parse(item, context));
        items.iter().take(self.max).enumerate().map(read).collect()
    }
    fn blank(&self) -> Self::Out {
        Vec::new()
    }
    fn shape(&self) -> Shape {
        Shape::List {
            item: Box::new(self.item.shape()),
            min: self.min,
            max: self.max,
            shown: self.shown,
        }
    }
}

/// What stands under names that the operator chooses.
pub(crate) struct Named<T> {
    item: Shape,
    read: fn(&Node, &str, &mut Context<'_>) -> T,
    max: usize,
    shown: &'static str,
    off: bool,
}

/// Sections under at most `max` names; the example shows one called `shown`.
pub(crate) fn named<S: Section>(max: usize, shown: &'static str) -> Named<S> {
    Named {
        item: Shape::Section(S::shape()),
        read: S::parse,
        max,
        shown,
        off: false,
    }
}

impl<T> Named<T> {
    /// As [`named`], for what is not a section.
    pub(crate) fn of(
        item: Shape,
        read: fn(&Node, &str, &mut Context<'_>) -> T,
        max: usize,
        shown: &'static str,
    ) -> Self {
        Self {
            item,
            read,
            max,
            shown,
            off: false,
        }
    }

    /// `off` may stand under a name too.
    pub(crate) fn or_off(self) -> Self {
        Self { off: true, ..self }
    }
}

impl<T: Clone + PartialEq> Kind for Named<T> {
    type Out = BTreeMap<String, T>;
    fn parse(&self, node: &Node, context: &mut Context<'_>) -> Self::Out {
        let Value::Map(entries) = &node.value else {
            mismatch(node, &self.shape().expected(), context);
            return BTreeMap::new();
        };
        if entries.len() > self.max {
            let what = format!("holds {} names; {} is the most", entries.len(), self.max);
            context.error(node.place, &what, None);
        }
        let mut out = BTreeMap::new();
        for entry in entries.iter().take(self.max) {
            let value = context.under(&entry.key, |context| {
                if !is_name(&entry.key) {
                    let what = format!("is not a name: use letters, digits, `-` and `_`, at most {NAME_MAX}, not `off`");
                    context.error(entry.place, &what, None);
                }
                (self.read)(&entry.node, &entry.key, context)
            });
            out.insert(entry.key.clone(), value);
        }
        out
    }
    fn blank(&self) -> Self::Out {
        BTreeMap::new()
    }
    fn shape(&self) -> Shape {
        Shape::Map {
            item: Box::new(self.item.clone()),
            max: self.max,
            shown: self.shown,
            off: self.off,
        }
    }
}

/// Pattern of a name in the schema.
pub(crate) const NAME_PATTERN: &str = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$";

/// Whether text can name a pool, a plugin or a profile. `off` cannot: it switches things off.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= NAME_MAX
        && text != "off"
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}
