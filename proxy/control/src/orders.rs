//! What a person may have changed on the admin socket, and what he may ask of verdicts.

use aegis_settings::parse_duration;
use serde::Deserialize;
use serde_json::Value;
use std::net::IpAddr;
use std::time::Duration;

/// How long a ban or an allow stands when nobody says.
const LENGTH: Duration = Duration::from_secs(24 * 3600);
/// The longest that ends.
const LENGTH_MAX: Duration = Duration::from_secs(3650 * 86_400);
const LENGTH_MIN: Duration = Duration::from_secs(1);
/// Addresses somebody may say he is connected from.
const FROM_MAX: usize = 16;

/// The part of a node that knows of verdicts. All of it may block for a moment; nothing here is asked by a request.
pub trait Orders: Send + Sync + 'static {
    /// Carries it out for `author`.
    ///
    /// # Errors
    /// Why it cannot be.
    fn carry_out(&self, order: Order, author: &str) -> Result<Value, Refused>;

    /// Every verdict that covers an address, and whether it may be banned.
    fn why(&self, address: IpAddr) -> Value;

    /// A page of verdicts.
    ///
    /// # Errors
    /// What of the question makes no sense.
    fn verdicts(&self, wanted: &Wanted) -> Result<Value, Refused>;
}

/// Why something is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// It makes no sense as it is asked.
    Wrong(String),
    /// There is no such thing.
    NotFound(String),
    /// It could be done, but is not without `force`.
    Unsafe(String),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// A ban or an allow.
    Put(Put),
    /// Bans and allows of one prefix are to go.
    Remove {
        /** Address or network. */
        prefix: String,
        /** On this site only; `None` = wherever they hold. */
        site: Option<String>,
    },
}

/// A ban or an allow that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// It keeps out; else it lets in.
    pub ban: bool,
    /// Address or network.
    pub prefix: String,
    /// The site; `None` = all.
    pub site: Option<String>,
    /// For how long; `None` = for ever.
    pub length: Option<Duration>,
    /// Why.
    pub reason: String,
    /// Also against what may not be banned.
    pub force: bool,
    /// Where the one who wants it is connected from.
    pub from: Vec<IpAddr>,
}

/// Which verdicts to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Where the page begins.
    pub from: u32,
    /// How many at most.
    pub limit: usize,
    /// Those of this site; `node` = those of every site.
    pub site: Option<String>,
    /// `ban` or `allow`.
    pub kind: Option<String>,
    /// Those of this author; `operator` and `rule` = of any such.
    pub by: Option<String>,
    /// Those in this network.
    pub within: Option<String>,
}

/// The body of `POST /ban` and `POST /allow`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PutBody {
    prefix: String,
    site: Option<String>,
    #[serde(rename = "for")]
    length: Option<String>,
    reason: Option<String>,
    #[serde(default)]
    force: bool,
    #[serde(default)]
    from: Vec<IpAddr>,
}

/// The body of `POST /unban`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RemoveBody {
    prefix: String,
    site: Option<String>,
}

impl Order {
    /// Reads a body of JSON for what a path says.
    pub(crate) fn read(what: &str, body: &[u8]) -> Result<Self, String> {
        let wrong =
            |error: serde_json::Error| format!("the body is not what is wanted here: {error}");
        if what == "unban" {
            let body: RemoveBody = serde_json::from_slice(body).map_err(wrong)?;
            return Ok(Self::Remove {
                prefix: body.prefix,
                site: body.site,
            });
        }
        let body: PutBody = serde_json::from_slice(body).map_err(wrong)?;
        if body.from.len() > FROM_MAX {
            return Err(format!("`from` holds more than {FROM_MAX} addresses"));
        }
        Ok(Self::Put(Put {
            ban: what == "ban",
            prefix: body.prefix,
            site: body.site,
            length: length(body.length.as_deref())?,
            reason: body.reason.unwrap_or_else(|| "by hand".to_owned()),
            force: body.force,
            from: body.from,
        }))
    }

    /// In a sentence, for the log of changes.
    pub(crate) fn told(&self) -> String {
        let place = |site: &Option<String>| {
            site.as_ref()
                .map_or(String::new(), |site| format!(" on {site}"))
        };
        match self {
            Self::Put(put) => format!(
                "{} {}{} {}{}: {}",
                if put.ban { "ban" } else { "allow" },
                put.prefix,
                place(&put.site),
                put.length.map_or("for ever".to_owned(), |length| format!(
                    "for {}",
                    aegis_settings::show_duration(length)
                )),
                if put.force { ", forced" } else { "" },
                put.reason
            ),
            Self::Remove { prefix, site } => format!("unban {prefix}{}", place(site)),
        }
    }
}

/// `10m`, `ever`; nothing = a day.
fn length(text: Option<&str>) -> Result<Option<Duration>, String> {
    let Some(text) = text else {
        return Ok(Some(LENGTH));
    };
    if text == "ever" {
        return Ok(None);
    }
    let length = parse_duration(text)
        .map_err(|error| format!("how long is `{text}`? {error}; or write `ever`"))?;
    if (LENGTH_MIN..=LENGTH_MAX).contains(&length) {
        Ok(Some(length))
    } else {
        Err(format!(
            "`{text}` is outside {} to {}; or write `ever`",
            aegis_settings::show_duration(LENGTH_MIN),
            aegis_settings::show_duration(LENGTH_MAX)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_becomes_an_order_that_can_be_told() {
        let body = br#"{"prefix":"203.0.113.0/24","site":"shop","for":"10m","reason":"scans","from":["192.0.2.1"]}"#;
        let order = Order::read("ban", body).expect("an order");
        assert_eq!(order.told(), "ban 203.0.113.0/24 on shop for 10m: scans");
        let order = Order::read(
            "allow",
            br#"{"prefix":"203.0.113.9","for":"ever","force":true}"#,
        );
        assert_eq!(
            order.expect("an order").told(),
            "allow 203.0.113.9 for ever, forced: by hand"
        );
        let order = Order::read("unban", br#"{"prefix":"203.0.113.9"}"#).expect("an order");
        assert_eq!(order.told(), "unban 203.0.113.9");
    }

    #[test]
    fn bodies_that_make_no_sense_are_refused_with_what_is_wrong() {
        for (body, part) in [
            (&b"{"[..], "EOF"),
            (b"[]", "invalid"),
            (br#"{"prefix":"a","until":"x"}"#, "unknown field `until`"),
            (br#"{"site":"a"}"#, "missing field `prefix`"),
            (br#"{"prefix":"a","for":"10"}"#, "a unit is missing"),
            (br#"{"prefix":"a","for":"0s"}"#, "outside 1s to 3650d"),
            (br#"{"prefix":"a","for":"4000d"}"#, "outside 1s to 3650d"),
            (br#"{"prefix":"a","from":["x"]}"#, "invalid IP address"),
        ] {
            let error = Order::read("ban", body).expect_err("wrong");
            assert!(error.contains(part), "{error}");
        }
    }
}
