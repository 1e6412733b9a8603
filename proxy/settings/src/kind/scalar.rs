//! Text and numbers.

use super::{Kind, mismatch};
use crate::context::Context;
use crate::node::{Node, Value};
use crate::problem::{nearest, quoted};
use crate::scalar::{parse_duration, parse_size, show_duration, show_size};
use crate::shape::{self, Shape};
use std::time::Duration;

/// Why text is refused: what was found instead (with the expected said before it), and a remedy.
pub(crate) struct Wrong {
    pub(crate) found: Option<String>,
    pub(crate) help: Option<String>,
}

impl Wrong {
    /// The text as it stands is shown.
    pub(crate) fn plain() -> Self {
        Self {
            found: None,
            help: None,
        }
    }

    /// The text as it stands is shown, with a remedy.
    pub(crate) fn help(help: impl Into<String>) -> Self {
        Self {
            found: None,
            help: Some(help.into()),
        }
    }
}

/// A scalar: its bounds, and a function that reads it.
pub(crate) struct Scalar<T> {
    shape: shape::Scalar,
    blank: T,
    read: fn(&Text<'_>, &Context<'_>) -> Result<T, Wrong>,
}

/// What a scalar is read from.
pub(crate) struct Text<'a> {
    pub(crate) text: &'a str,
    pub(crate) plain: bool,
    shape: &'a shape::Scalar,
}

impl Text<'_> {
    /// The bounds it has to keep.
    pub(crate) fn shape(&self) -> &shape::Scalar {
        self.shape
    }
}

impl<T> Scalar<T> {
    /// A scalar with its own reader.
    pub(crate) const fn new(
        shape: shape::Scalar,
        blank: T,
        read: fn(&Text<'_>, &Context<'_>) -> Result<T, Wrong>,
    ) -> Self {
        Self { shape, blank, read }
    }
}

impl<T: Clone + PartialEq> Kind for Scalar<T> {
    type Out = T;
    fn parse(&self, node: &Node, context: &mut Context<'_>) -> T {
        let Value::Text { text, plain } = &node.value else {
            mismatch(node, &self.shape.expected(), context);
            return self.blank.clone();
        };
        if let shape::Scalar::Text { max, .. } = self.shape
            && text.len() > max
        {
            context.error(
                node.place,
                &format!("holds {} bytes; {max} is the most", text.len()),
                None,
            );
            return self.blank.clone();
        }
        let read = (self.read)(
            &Text {
                text,
                plain: *plain,
                shape: &self.shape,
            },
            context,
        );
        read.unwrap_or_else(|wrong| {
            let found = wrong.found.unwrap_or_else(|| node.describe());
            let what = format!("expected {}, found {found}", self.shape.expected());
            context.error(node.place, &what, wrong.help);
            self.blank.clone()
        })
    }
    fn blank(&self) -> T {
        self.blank.clone()
    }
    fn shape(&self) -> Shape {
        Shape::Scalar(self.shape)
    }
}

/// `true` or `false`.
pub(crate) fn flag() -> Scalar<bool> {
    Scalar::new(shape::Scalar::Flag, false, |text, _| {
        match (text.text, text.plain) {
            ("true", true) => Ok(true),
            ("false", true) => Ok(false),
            ("true" | "false", false) => Err(Wrong::help("remove the quotes")),
            ("yes" | "on" | "True" | "TRUE", _) => Err(Wrong::help("write true")),
            ("no" | "off" | "False" | "FALSE", _) => Err(Wrong::help("write false")),
            _ => Err(Wrong::plain()),
        }
    })
}

/// A whole number within bounds.
pub(crate) fn whole<T: TryFrom<u64> + Default>(min: u64, max: u64) -> Scalar<T> {
    Scalar::new(
        shape::Scalar::Whole { min, max },
        T::default(),
        |text, _| {
            let shape::Scalar::Whole { min, max } = *text.shape else {
                return Err(Wrong::plain());
            };
            let digits =
                !text.text.is_empty() && text.text.bytes().all(|byte| byte.is_ascii_digit());
            if digits && !text.plain {
                return Err(Wrong::help("remove the quotes"));
            }
            let number = text
                .text
                .parse::<u64>()
                .ok()
                .filter(|number| digits && (min..=max).contains(number));
            number
                .and_then(|number| T::try_from(number).ok())
                .ok_or_else(Wrong::plain)
        },
    )
}

/// A share of all, from 0 to 1.
pub(crate) fn share() -> Scalar<f64> {
    Scalar::new(shape::Scalar::Share, 0.0, |text, _| {
        let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let (whole, rest) = text.text.split_once('.').unwrap_or((text.text, "0"));
        let digits = matches!(whole, "0" | "1") && (1..=9).contains(&rest.len()) && plain(rest);
        if digits && !text.plain {
            return Err(Wrong::help("remove the quotes"));
        }
        if text.text.ends_with('%') {
            let help = "write it as a number, such as 0.01 for one in a hundred";
            return Err(Wrong::help(help));
        }
        let share = text.text.parse::<f64>().ok();
        share
            .filter(|share| digits && *share <= 1.0)
            .ok_or_else(Wrong::plain)
    })
}

/// Bytes within bounds.
pub(crate) fn size(min: u64, max: u64) -> Scalar<u64> {
    Scalar::new(shape::Scalar::Size { min, max }, 0, |text, _| {
        let shape::Scalar::Size { min, max } = *text.shape else {
            return Err(Wrong::plain());
        };
        let bytes = parse_size(text.text).map_err(|error| Wrong::help(error.to_string()))?;
        if (min..=max).contains(&bytes) {
            return Ok(bytes);
        }
        Err(Wrong {
            found: Some(quoted(&show_size(bytes))),
            help: None,
        })
    })
}

/// A time within bounds.
pub(crate) fn time(min: Duration, max: Duration) -> Scalar<Duration> {
    Scalar::new(
        shape::Scalar::Time { min, max },
        Duration::ZERO,
        |text, _| {
            let shape::Scalar::Time { min, max } = *text.shape else {
                return Err(Wrong::plain());
            };
            let time = parse_duration(text.text).map_err(|error| Wrong::help(error.to_string()))?;
            if (min..=max).contains(&time) {
                return Ok(time);
            }
            Err(Wrong {
                found: Some(quoted(&show_duration(time))),
                help: None,
            })
        },
    )
}

/// Milliseconds.
pub(crate) const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Seconds.
pub(crate) const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// An enum made by `choices!`.
pub(crate) trait Choice: Copy + PartialEq + 'static {
    /// Every value with its name; at least one.
    const ALL: &'static [(&'static str, Self)];
    /// Every name with what it means.
    const NAMES: &'static [(&'static str, &'static str)];
    /// Stands in for a wrong one.
    const FIRST: Self;
}

/// One of the names of an enum.
pub(crate) fn choice<T: Choice>() -> Scalar<T> {
    Scalar::new(shape::Scalar::Choice(T::NAMES), T::FIRST, |text, _| {
        if let Some((_, value)) = T::ALL.iter().find(|(name, _)| *name == text.text) {
            return Ok(*value);
        }
        // Numbers have no slips: 1.1 is not meant to be 1.2.
        let number = text.text.starts_with(|first: char| first.is_ascii_digit());
        let near = nearest(text.text, T::NAMES.iter().map(|(name, _)| *name)).filter(|_| !number);
        Err(near.map_or_else(Wrong::plain, |name| {
            Wrong::help(format!("did you mean `{name}`?"))
        }))
    })
}

/// Any text up to a length in bytes.
pub(crate) fn text(what: &'static str, max: usize) -> Scalar<String> {
    Scalar::new(
        shape::Scalar::Text {
            what,
            pattern: "",
            max,
        },
        String::new(),
        |text, _| Ok(text.text.to_owned()),
    )
}

/// The name of a pool, plugin or profile.
pub(crate) fn name(what: &'static str) -> Scalar<String> {
    let shape = shape::Scalar::Text {
        what,
        pattern: super::NAME_PATTERN,
        max: crate::limits::NAME_MAX,
    };
    Scalar::new(shape, String::new(), |text, _| {
        if super::is_name(text.text) {
            Ok(text.text.to_owned())
        } else {
            Err(Wrong::plain())
        }
    })
}
