//! What limits are counted by, how much they let, and which statuses are errors.

use super::scalar::{Scalar, Wrong};
use crate::problem::{nearest, quoted};
use crate::scalar::{parse_size, show_size};
use crate::shape;
use std::fmt;
use std::ops::RangeInclusive;

/// Longest name of a header or cookie in a key.
const NAME_MAX: usize = 64;
const PARTS: [&str; 6] = ["address", "path", "site", "ja4", "header:", "cookie:"];

/// Whose count a request is: one part of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LimitKey {
    /// The client's address, or the network it is in.
    Address,
    /// The path, without query.
    Path,
    /// The site.
    Site,
    /// The fingerprint of the TLS hello.
    Ja4,
    /// The value of a header; its name in lower case.
    Header(String),
    /// The value of a cookie.
    Cookie(String),
}

impl fmt::Display for LimitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("address"),
            Self::Path => f.write_str("path"),
            Self::Site => f.write_str("site"),
            Self::Ja4 => f.write_str("ja4"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
        }
    }
}

/// A part of a key.
pub(crate) fn limit_key() -> Scalar<LimitKey> {
    let shape = shape::Scalar::Text {
        what: "`address`, `path`, `site`, `ja4`, `header:NAME` or `cookie:NAME`",
        pattern: "^(address|path|site|ja4|(header|cookie):[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64})$",
        max: 128,
    };
    Scalar::new(shape, LimitKey::Address, |text, _| {
        let named = |name: &str| {
            let token = |byte: u8| super::http::is_token_byte(byte);
            let good = (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(token);
            good.then(|| name.to_owned())
                .ok_or_else(|| Wrong::help("a name has 1 to 64 letters, digits and `-`"))
        };
        match text.text {
            "address" => Ok(LimitKey::Address),
            "path" => Ok(LimitKey::Path),
            "site" => Ok(LimitKey::Site),
            "ja4" => Ok(LimitKey::Ja4),
            other => match other.split_once(':') {
                Some(("header", name)) => {
                    named(name).map(|name| LimitKey::Header(name.to_ascii_lowercase()))
                }
                Some(("cookie", name)) => named(name).map(LimitKey::Cookie),
                _ => Err(match other {
                    "ip" | "client" | "source" => Wrong::help("did you mean `address`?"),
                    "host" => Wrong::help("did you mean `site`?"),
                    other => nearest(other, PARTS).map_or_else(Wrong::plain, |near| {
                        let name = if near.ends_with(':') { "NAME" } else { "" };
                        Wrong::help(format!("did you mean `{near}{name}`?"))
                    }),
                }),
            },
        }
    })
}

/// Statuses: `404`, `4xx` or `400-499`.
pub(crate) fn statuses() -> Scalar<RangeInclusive<u16>> {
    Scalar::new(shape::Scalar::Statuses, 400..=499, |text, _| {
        let status = |text: &str| {
            let number = text.parse::<u16>().ok().filter(|_| text.len() == 3);
            number.filter(|number| (100..=599).contains(number))
        };
        let text = text.text;
        if let Some(class) = text.strip_suffix("xx") {
            let class = class.parse::<u16>().ok().filter(|_| class.len() == 1);
            let class = class.filter(|class| (1..=5).contains(class));
            return class
                .map(|class| class * 100..=class * 100 + 99)
                .ok_or_else(Wrong::plain);
        }
        if let Some((first, last)) = text.split_once('-') {
            let (Some(first), Some(last)) = (status(first.trim()), status(last.trim())) else {
                return Err(Wrong::plain());
            };
            if first > last {
                return Err(Wrong::help(format!("write {last}-{first}")));
            }
            return Ok(first..=last);
        }
        let one = status(text).ok_or_else(Wrong::plain)?;
        Ok(one..=one)
    })
}

/// A number, or bytes with a unit.
pub(crate) fn amount(min: u64, max: u64) -> Scalar<u64> {
    Scalar::new(shape::Scalar::Amount { min, max }, min, |text, _| {
        let shape::Scalar::Amount { min, max } = *text.shape() else {
            return Err(Wrong::plain());
        };
        if !text.plain && text.text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Wrong::help("remove the quotes"));
        }
        let amount = parse_size(text.text).map_err(|error| Wrong::help(error.to_string()))?;
        if (min..=max).contains(&amount) {
            return Ok(amount);
        }
        let with_unit = text.text.bytes().any(|byte| byte.is_ascii_alphabetic());
        Err(Wrong {
            found: with_unit.then(|| quoted(&show_size(amount))),
            help: None,
        })
    })
}
