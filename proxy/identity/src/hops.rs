//! The client behind proxies that are trusted: `X-Forwarded-For`, and `Forwarded` (RFC 7239).
//!
//! Each proxy writes down whom it got a request from, to the right of what was there. So the fields are read from the
//! right, and each word is believed only because the one who wrote it is trusted: the walk begins at the other end of
//! the connection and ends at the first address that is not trusted. That one is the client. What stands further left
//! is his own word, and nobody looks at it.
//!
//! The walk also ends, at the last address it came to, where a proxy names nobody (`unknown`, `_hidden`), where what it
//! wrote cannot be read, and after [`HOPS_MAX`] proxies. If both fields came and differ, they are believed as far as
//! they agree: who forges the one that his proxy does not write is then known as that proxy, never as somebody else; but
//! he can be, whenever he likes. So the default is to read one of them alone.

mod forwarded;
mod x_forwarded;

use crate::canonical;
use aegis_settings::Networks;
use aegis_settings::model::{Client, ForwardedField};
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

/// Proxies one behind the other that are followed.
pub const HOPS_MAX: usize = 16;

/// Who is trusted to name a client, and in which field.
#[derive(Debug, Clone)]
pub struct Hops {
    trusted: Networks,
    field: ForwardedField,
}

impl Default for Hops {
    fn default() -> Self {
        Self {
            trusted: Networks::default(),
            field: ForwardedField::XForwardedFor,
        }
    }
}

/// What came in the fields by which a proxy speaks of the client; each field's lines in order.
#[derive(Debug, Clone, Default)]
pub struct Claims<'a> {
    /// `Forwarded`
    pub forwarded: Vec<&'a [u8]>,
    /// `X-Forwarded-For`
    pub x_for: Vec<&'a [u8]>,
    /// `X-Forwarded-Proto`
    pub x_proto: Vec<&'a [u8]>,
    /// `X-Forwarded-Host`
    pub x_host: Vec<&'a [u8]>,
}

/// Why less was believed than was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Doubt {
    /// The two fields name different clients.
    Disagree,
    /// A trusted proxy wrote what cannot be read.
    Unreadable,
    /// More proxies than [`HOPS_MAX`].
    TooMany,
}

impl Doubt {
    /// The word in the metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disagree => "disagree",
            Self::Unreadable => "unreadable",
            Self::TooMany => "too_many_hops",
        }
    }
}

/// What trusted proxies told of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The client; port 0 where none was told.
    pub client: SocketAddr,
    /// Whether a field named it; else it is the other end of the connection.
    pub named: bool,
    /// The client and every proxy after it, as `X-Forwarded-For` has them: what may be passed on.
    pub chain: String,
    /// `https` or `http`, as the client spoke to the first of them.
    pub scheme: Option<&'static str>,
    /// The host the client asked the first of them for.
    pub host: Option<Box<str>>,
    /// Why less was believed than was said.
    pub doubt: Option<Doubt>,
}

/// One element of a list, right to left.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Address(SocketAddr),
    /// `unknown`, an obfuscated identifier, or no word of it.
    Nobody,
}

/// What was read of one field.
#[derive(Debug, Default)]
struct Walk {
    /// Addresses from the right; the last is the client.
    steps: Vec<SocketAddr>,
    doubt: Option<Doubt>,
    scheme: Option<&'static str>,
    host: Option<Box<str>>,
}

impl Hops {
    /// `node.client`
    #[must_use]
    pub fn of(client: &Client) -> Self {
        Self {
            trusted: Networks::new(&client.trusted_proxies),
            field: client.forwarded_field,
        }
    }

    /// Whether what comes from this address is believed.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.contains(address)
    }

    /// What the fields say, by the word of `from`: the other end of the connection, which must be trusted.
    #[must_use]
    pub fn told(&self, from: SocketAddr, claims: &Claims<'_>) -> Told {
        let by_forwarded = (self.field != ForwardedField::XForwardedFor
            && !claims.forwarded.is_empty())
        .then(|| forwarded::walk(self, &claims.forwarded));
        let x_said =
            !(claims.x_for.is_empty() && claims.x_proto.is_empty() && claims.x_host.is_empty());
        let by_x = (self.field != ForwardedField::Forwarded && x_said)
            .then(|| x_forwarded::walk(self, claims));
        let walk = match (by_forwarded, by_x) {
            (Some(one), Some(other)) if claims.x_for.is_empty() => one.with_rest_of(other),
            (Some(one), Some(other)) => one.agreed(other),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => Walk::default(),
        };
        let client = walk.steps.last().copied();
        Told {
            client: client.unwrap_or(from),
            named: client.is_some(),
            chain: chain(&walk.steps, from.ip()),
            scheme: walk.scheme,
            host: walk.host,
            doubt: walk.doubt,
        }
    }

    /// Follows elements from the right; gives how many were taken, for values that stand beside them.
    fn follow(
        &self,
        elements: impl Iterator<Item = Result<Node, Doubt>>,
        walk: &mut Walk,
    ) -> usize {
        let mut taken = 0;
        for element in elements {
            if taken == HOPS_MAX {
                walk.doubt = Some(Doubt::TooMany);
                break;
            }
            taken += 1;
            match element {
                Ok(Node::Address(address)) => {
                    walk.steps.push(address);
                    if !self.trusts(address.ip()) {
                        break;
                    }
                }
                Ok(Node::Nobody) => break,
                Err(doubt) => {
                    walk.doubt = Some(doubt);
                    break;
                }
            }
        }
        taken
    }
}

impl Walk {
    /// As far as both say the same.
    fn agreed(mut self, other: Self) -> Self {
        let same = |(a, b): &(&SocketAddr, &SocketAddr)| a.ip() == b.ip();
        let common = self.steps.iter().zip(&other.steps).take_while(same).count();
        let whole = common == self.steps.len() && common == other.steps.len();
        if !whole {
            self.steps.truncate(common);
            return Self {
                steps: self.steps,
                doubt: Some(Doubt::Disagree),
                scheme: None,
                host: None,
            };
        }
        self.with_rest_of(other)
    }

    /// Scheme and host of either; of neither where they differ.
    fn with_rest_of(self, other: Self) -> Self {
        fn either<T: PartialEq>(a: Option<T>, b: Option<T>) -> Option<T> {
            match (a, b) {
                (Some(a), Some(b)) => (a == b).then_some(a),
                (a, b) => a.or(b),
            }
        }
        Self {
            steps: self.steps,
            doubt: self.doubt.or(other.doubt),
            scheme: either(self.scheme, other.scheme),
            host: either(self.host, other.host),
        }
    }
}

fn chain(steps: &[SocketAddr], from: IpAddr) -> String {
    let mut text = String::with_capacity(16 * (steps.len() + 1));
    for address in steps.iter().rev() {
        // Writing into a String cannot fail.
        let _written = write!(text, "{}, ", address.ip());
    }
    let _written = write!(text, "{}", from.to_canonical());
    text
}

/// An IPv4 address with or without a port, or an IPv6 address; brackets are needed for a port.
fn address(text: &str, bare_v6: bool) -> Option<SocketAddr> {
    let (ip, port) = if let Some(inner) = text.strip_prefix('[') {
        let (ip, rest) = inner.split_once(']')?;
        (IpAddr::V6(ip.parse().ok()?), rest)
    } else if let Ok(ip) = text.parse() {
        return (bare_v6 || matches!(ip, IpAddr::V4(_))).then(|| canonical(SocketAddr::new(ip, 0)));
    } else {
        let colon = text.find(':')?;
        let (ip, rest) = text.split_at(colon);
        (IpAddr::V4(ip.parse().ok()?), rest)
    };
    let port = match rest_of(port)? {
        "" => 0,
        digits => port_number(digits)?,
    };
    Some(canonical(SocketAddr::new(ip, port)))
}

/// What follows the colon; empty if nothing follows the address.
fn rest_of(text: &str) -> Option<&str> {
    match text {
        "" => Some(""),
        text => text.strip_prefix(':').filter(|port| !port.is_empty()),
    }
}

fn port_number(digits: &str) -> Option<u16> {
    let plain = digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

fn scheme(name: &str) -> Option<&'static str> {
    if name.eq_ignore_ascii_case("https") {
        Some("https")
    } else if name.eq_ignore_ascii_case("http") {
        Some("http")
    } else {
        None
    }
}

/// A name or an address and perhaps a port, as `Host` has it; nothing that could be taken for more.
fn host(text: &str) -> Option<&str> {
    const HOST_MAX: usize = 261;
    let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if text.is_empty() || text.len() > HOST_MAX {
        return None;
    }
    if text.starts_with('[') {
        return address(text, true).map(|_| text);
    }
    let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
    let good = !name.is_empty() && name.bytes().all(named);
    let port = rest_of(port)?;
    (good && (port.is_empty() || port_number(port).is_some())).then_some(text)
}

#[cfg(test)]
#[path = "hops_tests.rs"]
mod tests;
