//! The one definition: `settings!`, `overlay!` and `choices!` make struct, reader, default, bounds, schema, example
//! and list of keys out of the same lines, so that they cannot drift apart.
//!
//! ```text
//! /// What the key does.
//! field as "key": Type = kind(bounds) => presence;
//! ```
//! `as "key"` only where the YAML key is no Rust name. Presence is one of [`default`], [`computed`], [`optional`] and
//! [`required`]; `.restart()` and `.live()` say whether a change needs a restart (else as the key above it).

use crate::context::Context;
use crate::kind::{Kind, mismatch};
use crate::node::{Node, Place, Value};
use crate::problem::remedy;
use crate::shape::{Field, Presence, Shape};

/// What it means when a key is not there.
#[derive(Clone, Copy)]
pub(crate) struct When {
    pub(crate) presence: Presence,
    pub(crate) restart: Option<bool>,
}

/// This YAML text stands for it.
pub(crate) const fn default(text: &'static str) -> When {
    When {
        presence: Presence::Default(text),
        restart: None,
    }
}

/// Worked out after reading, from a blank; the example shows the one, the other says how.
pub(crate) const fn computed(shown: &'static str, how: &'static str) -> When {
    When {
        presence: Presence::Computed { shown, how },
        restart: None,
    }
}

/// Nothing then; the example shows these.
pub(crate) const fn optional(shown: &'static [&'static str]) -> When {
    When {
        presence: Presence::Optional(shown),
        restart: None,
    }
}

/// It must be there; the example shows these.
pub(crate) const fn required(shown: &'static [&'static str]) -> When {
    When {
        presence: Presence::Required(shown),
        restart: None,
    }
}

impl When {
    /// A change needs a restart.
    pub(crate) const fn restart(self) -> Self {
        Self {
            restart: Some(true),
            ..self
        }
    }

    /// A change is live.
    pub(crate) const fn live(self) -> Self {
        Self {
            restart: Some(false),
            ..self
        }
    }
}

/// Reads one key of a map.
pub(crate) fn field<K: Kind>(
    node: &Node,
    key: &str,
    kind: &K,
    when: When,
    context: &mut Context<'_>,
) -> K::Out {
    if let Some(entry) = node.get(key) {
        return context.under(key, |context| {
            if matches!(entry.node.value, Value::Null) {
                nothing(entry.place, &kind.shape(), context);
                return kind.blank();
            }
            kind.parse(&entry.node, context)
        });
    }
    if matches!(when.presence, Presence::Required(_)) && matches!(node.value, Value::Map(_)) {
        let path = context.path();
        let above = if path.is_empty() {
            String::new()
        } else {
            format!("{path}: ")
        };
        let full = if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        };
        let message = format!("{above}`{key}` is missing");
        let help = Some(format!("add `{key}:` with {}", kind.shape().expected()));
        context.error_at(node.place, &full, message, help);
    }
    absent(kind, when)
}

/// The value of a key that is not there.
pub(crate) fn absent<K: Kind>(kind: &K, when: When) -> K::Out {
    match when.presence {
        Presence::Default(text) => {
            // The definition is right by test; a place of its own keeps its problems out of the reading.
            let moved = std::collections::BTreeMap::new();
            let mut context = Context::new("default", std::path::Path::new(""), &moved);
            kind.parse(&Node::of_default(text), &mut context)
        }
        _ => kind.blank(),
    }
}

/// Says that a key has no value: neither on nor off, neither default nor none.
pub(crate) fn nothing(place: Place, shape: &Shape, context: &mut Context<'_>) {
    let help = match shape {
        Shape::Section(_) => "write `{}` for all defaults, or remove the key",
        _ => "give it a value, or remove the key",
    };
    context.error(
        place,
        &format!("expected {}, found nothing", shape.expected()),
        Some(help.to_owned()),
    );
}

/// Refuses what is no map, and keys that are not known.
pub(crate) fn check_keys(node: &Node, known: &[&str], context: &mut Context<'_>) {
    let Value::Map(entries) = &node.value else {
        let first = known.first().copied().unwrap_or_default();
        mismatch(node, &format!("keys such as `{first}:`"), context);
        return;
    };
    for entry in entries
        .iter()
        .filter(|entry| !known.contains(&entry.key.as_str()))
    {
        if context.is_full() {
            // Only counted: no need to look for a remedy.
            context.error_at(entry.place, "", String::new(), None);
            continue;
        }
        let path = context.path();
        let shown: String = entry
            .key
            .chars()
            .take(crate::limits::NAME_MAX)
            .filter(|c| !c.is_control())
            .collect();
        let path = if path.is_empty() {
            shown
        } else {
            format!("{path}.{shown}")
        };
        let help = remedy(&entry.key, known.iter().copied(), "keys");
        context.error_at(
            entry.place,
            &path,
            format!("{path} is not a key"),
            Some(help),
        );
    }
}

/// The kind, which now knows what it reads.
pub(crate) fn typed<T, K: Kind<Out = T>>(kind: K) -> K {
    kind
}

/// A field as data.
pub(crate) fn describe<K: Kind>(
    key: &'static str,
    doc: &'static str,
    kind: &K,
    when: When,
) -> Field {
    Field {
        key,
        doc: doc.trim(),
        shape: kind.shape(),
        presence: when.presence,
        restart: when.restart,
    }
}

/// The YAML key of a field.
macro_rules! key_of {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}
pub(crate) use key_of;

/// A struct with its keys.
macro_rules! settings {
    (
        $(#[doc = $about:literal])+
        pub struct $Name:ident {
            $(@name $named:ident;)?
            $(
                $(#[doc = $doc:literal])+
                $field:ident $(as $key:literal)? : $type:ty = $kind:expr => $when:expr;
            )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq)]
        pub struct $Name {
            $(/// The name it stands under.
            pub $named: String,)?
            $(
                $(#[doc = $doc])+
                #[doc = concat!("\n\n`", $crate::define::key_of!($field $($key)?), "`: `", stringify!($kind), " => ", stringify!($when), "`")]
                pub $field: $type,
            )+
        }

        impl $crate::kind::Section for $Name {
            fn parse(node: &$crate::node::Node, _name: &str, context: &mut $crate::context::Context<'_>) -> Self {
                $crate::define::check_keys(node, &[$($crate::define::key_of!($field $($key)?)),+], context);
                Self {
                    $($named: _name.to_owned(),)?
                    $($field: $crate::define::field(
                        node, $crate::define::key_of!($field $($key)?), &$crate::define::typed::<$type, _>($kind), $when, context,
                    ),)+
                }
            }

            fn blank(_name: &str) -> Self {
                Self {
                    $($named: _name.to_owned(),)?
                    $($field: $crate::define::absent(&$crate::define::typed::<$type, _>($kind), $when),)+
                }
            }

            fn shape() -> $crate::shape::Section {
                $crate::shape::Section {
                    name: stringify!($Name),
                    doc: concat!($($about),+).trim_ascii(),
                    fields: vec![$($crate::define::describe(
                        $crate::define::key_of!($field $($key)?), concat!($($doc),+), &$crate::define::typed::<$type, _>($kind), $when,
                    )),+],
                }
            }

            fn restarts(&self, new: &Self, path: &str, restart: bool, out: &mut Vec<String>) {
                $({
                    let key = $crate::define::key_of!($field $($key)?);
                    let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
                    let restart = $when.restart.unwrap_or(restart);
                    $crate::kind::Kind::restarts(&$crate::define::typed::<$type, _>($kind), &self.$field, &new.$field, &path, restart, out);
                })+
            }
        }
    };
}
pub(crate) use settings;

/// An enum whose values are names in the file.
macro_rules! choices {
    (
        $(#[doc = $about:literal])+
        pub enum $Name:ident {
            $(#[doc = $doc0:literal])+
            $First:ident = $first:literal,
            $(
                $(#[doc = $doc:literal])+
                $Value:ident = $name:literal,
            )*
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $Name {
            $(#[doc = $doc0])+
            $First,
            $(
                $(#[doc = $doc])+
                $Value,
            )*
        }

        impl $Name {
            /// As it is written in the file.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    Self::$First => $first,
                    $(Self::$Value => $name,)*
                }
            }
        }

        impl std::fmt::Display for $Name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::kind::scalar::Choice for $Name {
            const ALL: &'static [(&'static str, Self)] = &[($first, Self::$First), $(($name, Self::$Value),)*];
            const NAMES: &'static [(&'static str, &'static str)] =
                &[($first, concat!($($doc0),+).trim_ascii()), $(($name, concat!($($doc),+).trim_ascii()),)*];
            const FIRST: Self = Self::$First;
        }
    };
}
pub(crate) use choices;
