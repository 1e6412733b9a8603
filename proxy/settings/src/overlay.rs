//! Overlays: sets of keys that a profile, a site and a route each may set in part; nearer wins key by key.

use crate::context::Context;
use crate::define::nothing;
use crate::kind::scalar::name;
use crate::kind::{Kind, is_name, mismatch};
use crate::node::{Node, Value};
use crate::shape::{self, Shape};
use std::collections::BTreeMap;
use std::marker::PhantomData;

/// A value that one place sets, and the line it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set<T> {
    /// The value.
    pub value: T,
    /// The line.
    pub line: u32,
}

/// Where each value in force came from: `waf.mode` → `profiles.waf.strict (aegis.yaml:14)`.
pub(crate) type Sources = BTreeMap<String, String>;

/// What one place sets; made by `overlay!`.
pub(crate) trait Layer: Default + Clone + PartialEq {
    /// The values in force.
    type Resolved: Clone;
    /// `waf`, `cache` or `limits`.
    const NAME: &'static str;
    /// Reads the keys of a map; `profile` says whether one may be named.
    fn parse(node: &Node, profile: bool, context: &mut Context<'_>) -> Self;
    /// What `off` stands for.
    fn off(line: u32) -> Self;
    /// The profile it names.
    fn profile(&self) -> Option<&Set<String>>;
    /// Names a profile.
    fn of_profile(profile: Set<String>) -> Self;
    /// Its keys.
    fn shape(profile: bool) -> shape::Section;
    /// Values and sources when nothing is set.
    fn defaults(sources: &mut Sources) -> Self::Resolved;
    /// Lays what is set over what is in force; `from` names the source of a line.
    fn apply(&self, over: &mut Self::Resolved, from: &dyn Fn(u32) -> String, sources: &mut Sources);
}

/// The keys of an overlay at a site or a route, the name of a profile, or `off`.
pub(crate) struct Laid<L>(PhantomData<L>);

/// The keys of an overlay at a site or a route, the name of a profile, or `off`.
pub(crate) fn laid<L: Layer>() -> Laid<L> {
    Laid(PhantomData)
}

impl<L: Layer> Kind for Laid<L> {
    type Out = L;
    fn parse(&self, node: &Node, context: &mut Context<'_>) -> L {
        match &node.value {
            Value::Text { text, .. } if text == "off" => L::off(node.place.line),
            Value::Text { text, .. } if is_name(text) => L::of_profile(Set {
                value: text.clone(),
                line: node.place.line,
            }),
            Value::Map(_) => L::parse(node, true, context),
            _ => {
                mismatch(node, &self.shape().expected(), context);
                L::default()
            }
        }
    }
    fn blank(&self) -> L {
        L::default()
    }
    fn shape(&self) -> Shape {
        Shape::Overlay(L::shape(true))
    }
}

/// Reads a key of a layer.
pub(crate) fn set<K: Kind>(
    node: &Node,
    key: &str,
    kind: &K,
    context: &mut Context<'_>,
) -> Option<Set<K::Out>> {
    let entry = node.get(key)?;
    let value = context.under(key, |context| {
        if matches!(entry.node.value, Value::Null) {
            nothing(entry.place, &kind.shape(), context);
            return kind.blank();
        }
        kind.parse(&entry.node, context)
    });
    Some(Set {
        value,
        line: entry.place.line,
    })
}

/// The kind of the key `profile`.
pub(crate) fn profile() -> impl Kind<Out = String> {
    name("the name of a profile")
}

/// The key `profile` as data.
pub(crate) fn profile_field() -> shape::Field {
    crate::define::describe(
        "profile",
        "The profile whose values are used where this place sets none.",
        &profile(),
        crate::define::optional(&[]),
    )
}

/// A struct with the values in force, and one with what a single place sets of them.
macro_rules! overlay {
    (
        $(#[doc = $about:literal])+
        pub struct $Name:ident as $layer_name:literal, off by $off:ident = $off_value:expr;
        $(#[doc = $layer_about:literal])+
        pub struct $Layer:ident {
            $(
                $(#[doc = $doc:literal])+
                $field:ident : $type:ty = $kind:expr => $when:expr;
            )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq)]
        pub struct $Name {
            $(
                $(#[doc = $doc])+
                #[doc = concat!("\n\n`", stringify!($field), "`: `", stringify!($kind), " => ", stringify!($when), "`")]
                pub $field: $type,
            )+
        }

        /// Where nothing is said.
        impl Default for $Name {
            fn default() -> Self {
                <$Layer as $crate::overlay::Layer>::defaults(&mut $crate::overlay::Sources::default())
            }
        }

        $(#[doc = $layer_about])+
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct $Layer {
            /// The profile under the values set here.
            pub profile: Option<$crate::overlay::Set<String>>,
            $(
                $(#[doc = $doc])+
                pub $field: Option<$crate::overlay::Set<$type>>,
            )+
        }

        impl $crate::overlay::Layer for $Layer {
            type Resolved = $Name;
            const NAME: &'static str = $layer_name;

            fn parse(node: &$crate::node::Node, profile: bool, context: &mut $crate::context::Context<'_>) -> Self {
                let known = ["profile", $(stringify!($field)),+];
                $crate::define::check_keys(node, known.get(usize::from(!profile)..).unwrap_or_default(), context);
                let named = profile
                    .then(|| $crate::overlay::set(node, "profile", &$crate::overlay::profile(), context))
                    .flatten();
                Self {
                    profile: named,
                    $($field: $crate::overlay::set(node, stringify!($field), &$crate::define::typed::<$type, _>($kind), context),)+
                }
            }

            fn off(line: u32) -> Self {
                Self { $off: Some($crate::overlay::Set { value: $off_value, line }), ..Self::default() }
            }

            fn profile(&self) -> Option<&$crate::overlay::Set<String>> {
                self.profile.as_ref()
            }

            fn of_profile(profile: $crate::overlay::Set<String>) -> Self {
                Self { profile: Some(profile), ..Self::default() }
            }

            fn shape(profile: bool) -> $crate::shape::Section {
                let mut fields = Vec::new();
                if profile {
                    fields.push($crate::overlay::profile_field());
                }
                $(fields.push($crate::define::describe(stringify!($field), concat!($($doc),+), &$crate::define::typed::<$type, _>($kind), $when));)+
                $crate::shape::Section {
                    name: if profile { stringify!($Layer) } else { concat!(stringify!($Name), "Profile") },
                    doc: concat!($($layer_about),+).trim_ascii(),
                    fields,
                }
            }

            fn defaults(sources: &mut $crate::overlay::Sources) -> $Name {
                $(sources.insert(concat!($layer_name, ".", stringify!($field)).to_owned(), "default".to_owned());)+
                $Name { $($field: $crate::define::absent(&$crate::define::typed::<$type, _>($kind), $when),)+ }
            }

            fn apply(&self, over: &mut $Name, from: &dyn Fn(u32) -> String, sources: &mut $crate::overlay::Sources) {
                $(if let Some(set) = &self.$field {
                    over.$field.clone_from(&set.value);
                    sources.insert(concat!($layer_name, ".", stringify!($field)).to_owned(), from(set.line));
                })+
            }
        }
    };
}
pub(crate) use overlay;
