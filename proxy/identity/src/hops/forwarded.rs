//! `Forwarded`, RFC 7239.

use super::{Doubt, Hops, Node, Walk, address, host, port_number, scheme};
use std::borrow::Cow;

pub(super) fn walk(hops: &Hops, lines: &[&[u8]]) -> Walk {
    let mut walk = Walk::default();
    // Scheme and host are those of the last element that was read: who named the client has also seen what it asked.
    let mut last = (None, None);
    let elements = lines
        .iter()
        .rev()
        .flat_map(|line| Elements { left: Some(line) });
    let nodes = elements
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
        .map(|element| {
            last = (None, None);
            let element = Element::read(element).ok_or(Doubt::Unreadable)?;
            last = (
                element.proto.as_deref().and_then(scheme),
                element.host.as_deref().and_then(host).map(Box::from),
            );
            element.node().ok_or(Doubt::Unreadable)
        });
    hops.follow(nodes, &mut walk);
    if walk.doubt.is_none() {
        (walk.scheme, walk.host) = last;
    }
    walk
}

/// Elements of one line from the right, cut at commas outside of quoted text.
///
/// Reading from the right, text in quotes ends where an unescaped quote stands. So what a trusted proxy added is found
/// whatever stands to the left of it, an open quote of the client's too.
struct Elements<'a> {
    left: Option<&'a [u8]>,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let line = self.left?;
        let mut quoted = false;
        for (place, &byte) in line.iter().enumerate().rev() {
            match byte {
                b'"' if quoted => {
                    let before = line.get(..place).unwrap_or_default();
                    let slashes = before.iter().rev().take_while(|&&b| b == b'\\').count();
                    quoted = slashes % 2 == 1;
                }
                b'"' => quoted = true,
                b',' if !quoted => {
                    self.left = line.get(..place);
                    return line.get(place + 1..);
                }
                _ => {}
            }
        }
        self.left = None;
        Some(line)
    }
}

/// `forwarded-element`: each parameter at most once.
#[derive(Debug, Default)]
struct Element<'a> {
    by: Option<Cow<'a, str>>,
    r#for: Option<Cow<'a, str>>,
    host: Option<Cow<'a, str>>,
    proto: Option<Cow<'a, str>>,
    others: Vec<&'a str>,
}

/// Parameters of an element that are not RFC 7239's.
const OTHERS_MAX: usize = 8;

impl<'a> Element<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut text = std::str::from_utf8(bytes).ok()?;
        let mut element = Self::default();
        while !text.is_empty() {
            if let Some(rest) = text.strip_prefix(';') {
                text = rest;
                continue;
            }
            let (name, rest) = text.split_once('=')?;
            if !is_token(name) {
                return None;
            }
            let (value, rest) = value(rest)?;
            if !(rest.is_empty() || rest.starts_with(';')) {
                return None;
            }
            text = rest;
            element.put(name, value)?;
        }
        Some(element)
    }

    fn put(&mut self, name: &'a str, value: Cow<'a, str>) -> Option<()> {
        let slot = if name.eq_ignore_ascii_case("for") {
            &mut self.r#for
        } else if name.eq_ignore_ascii_case("by") {
            &mut self.by
        } else if name.eq_ignore_ascii_case("host") {
            &mut self.host
        } else if name.eq_ignore_ascii_case("proto") {
            &mut self.proto
        } else {
            let twice = self
                .others
                .iter()
                .any(|other| other.eq_ignore_ascii_case(name));
            if twice || self.others.len() == OTHERS_MAX {
                return None;
            }
            self.others.push(name);
            return Some(());
        };
        slot.is_none().then(|| *slot = Some(value))
    }

    /// `for`, RFC 7239 §6.
    fn node(&self) -> Option<Node> {
        let Some(text) = self.r#for.as_deref() else {
            return Some(Node::Nobody);
        };
        if let Some(address) = address(text, false) {
            return Some(Node::Address(address));
        }
        let at = text.rfind(':').unwrap_or(text.len());
        let (name, port) = text.split_at(at);
        let port = port.strip_prefix(':');
        if port.is_some_and(|port| port_number(port).is_none() && !is_obfuscated(port)) {
            return None;
        }
        if name.eq_ignore_ascii_case("unknown") || is_obfuscated(name) {
            return Some(Node::Nobody);
        }
        // An address with an obfuscated port.
        port.filter(|port| is_obfuscated(port))?;
        address(name, false).map(Node::Address)
    }
}

/// `token / quoted-string`, and what follows it.
fn value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let Some(inner) = text.strip_prefix('"') else {
        let (token, rest) = text.split_at(text.find(';').unwrap_or(text.len()));
        return is_token(token).then_some((Cow::Borrowed(token), rest));
    };
    let mut unescaped = String::new();
    let mut escaped = false;
    let mut from = 0;
    for (place, byte) in inner.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => {
                unescaped.push_str(inner.get(from..place)?);
                (escaped, from) = (true, place + 1);
            }
            b'"' => {
                let rest = inner.get(place + 1..)?;
                let last = inner.get(from..place)?;
                if unescaped.is_empty() && from == 0 {
                    return Some((Cow::Borrowed(last), rest));
                }
                unescaped.push_str(last);
                return Some((Cow::Owned(unescaped), rest));
            }
            b'\t' | b' '..=b'~' | 0x80.. => {}
            _ => return None,
        }
    }
    None
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    let tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(tchar)
}

/// `obfnode`, `obfport`: RFC 7239 §6.3.
fn is_obfuscated(text: &str) -> bool {
    let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    text.strip_prefix('_')
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(named))
}
