//! A verdict as bytes, and strictly back: what these functions did not write they refuse.

use crate::{Author, Kind, PersistError, Prefix, Scope, Verdict};
use std::net::IpAddr;
use std::sync::Arc;

/// The version of snapshots and journals.
pub(crate) const VERSION: u16 = 1;

const ALLOW: u8 = 1;
const SITE: u8 = 1 << 1;
const RULE: u8 = 1 << 2;
const L7_ONLY: u8 = 1 << 3;
const UNTIL: u8 = 1 << 4;
const REQUEST: u8 = 1 << 5;
const V6: u8 = 1 << 6;

/// Flags, length, address, since, until, hits, then the texts, each with two bytes of length; numbers little-endian.
pub(crate) fn write_verdict(out: &mut Vec<u8>, verdict: &Verdict) {
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    out.push(
        flag(verdict.kind == Kind::Allow, ALLOW)
            | flag(verdict.scope != Scope::Node, SITE)
            | flag(!verdict.author.is_operator(), RULE)
            | flag(verdict.l7_only, L7_ONLY)
            | flag(verdict.until.is_some(), UNTIL)
            | flag(verdict.request.is_some(), REQUEST)
            | flag(verdict.prefix.is_v6(), V6),
    );
    write_prefix(out, &verdict.prefix);
    out.extend_from_slice(&verdict.since.to_le_bytes());
    if let Some(until) = verdict.until {
        out.extend_from_slice(&until.to_le_bytes());
    }
    out.extend_from_slice(&verdict.hits.to_le_bytes());
    if let Scope::Site(site) = &verdict.scope {
        write_text(out, site);
    }
    write_text(out, verdict.author.name());
    write_text(out, &verdict.reason);
    if let Some(request) = &verdict.request {
        write_text(out, request);
    }
}

pub(crate) fn write_removal(out: &mut Vec<u8>, prefix: &Prefix, scope: &Scope) {
    out.push(if prefix.is_v6() { V6 } else { 0 } | if *scope == Scope::Node { 0 } else { SITE });
    write_prefix(out, prefix);
    if let Scope::Site(site) = scope {
        write_text(out, site);
    }
}

fn write_prefix(out: &mut Vec<u8>, prefix: &Prefix) {
    out.push(prefix.length());
    match prefix.address() {
        IpAddr::V4(v4) => out.extend_from_slice(&v4.octets()),
        IpAddr::V6(v6) => out.extend_from_slice(&v6.octets()),
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    // Texts of a verdict are checked to be far shorter.
    let length = u16::try_from(text.len()).unwrap_or(0);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text.as_bytes().get(..length.into()).unwrap_or_default());
}

/// Bytes that are read from the front.
pub(crate) struct Reader<'a> {
    pub(crate) rest: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, at: 0 }
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], PersistError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(PersistError::Short(self.at + self.rest.len()))?;
        self.rest = rest;
        self.at += count;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], PersistError> {
        let at = self.at;
        self.take(N)?
            .try_into()
            .map_err(|_| PersistError::Short(at))
    }

    pub(crate) fn verdict(&mut self) -> Result<Verdict, PersistError> {
        let at = self.at;
        let flags = self.flags(ALLOW | SITE | RULE | L7_ONLY | UNTIL | REQUEST | V6)?;
        let prefix = self.prefix(flags)?;
        let since = u64::from_le_bytes(self.array()?);
        let until = match flags & UNTIL {
            0 => None,
            _ => Some(u64::from_le_bytes(self.array()?)),
        };
        let hits = u32::from_le_bytes(self.array()?);
        let scope = self.scope(flags)?;
        let author: Arc<str> = self.text(Verdict::AUTHOR_MAX)?.into();
        let verdict = Verdict {
            kind: if flags & ALLOW == 0 {
                Kind::Ban
            } else {
                Kind::Allow
            },
            prefix,
            scope,
            author: if flags & RULE == 0 {
                Author::Operator(author)
            } else {
                Author::Rule(author)
            },
            reason: self.text(Verdict::REASON_MAX)?.into(),
            request: match flags & REQUEST {
                0 => None,
                _ => Some(self.text(Verdict::REQUEST_MAX)?.into()),
            },
            since,
            until,
            l7_only: flags & L7_ONLY != 0,
            hits,
        };
        verdict.check().map_err(|error| PersistError::Field {
            at,
            what: error.to_string(),
        })?;
        Ok(verdict)
    }

    pub(crate) fn removal(&mut self) -> Result<(Prefix, Scope), PersistError> {
        let flags = self.flags(SITE | V6)?;
        let prefix = self.prefix(flags)?;
        Ok((prefix, self.scope(flags)?))
    }

    fn flags(&mut self, known: u8) -> Result<u8, PersistError> {
        let at = self.at;
        let [flags] = self.array()?;
        if flags & !known == 0 {
            Ok(flags)
        } else {
            Err(field(at, "an unknown flag"))
        }
    }

    fn prefix(&mut self, flags: u8) -> Result<Prefix, PersistError> {
        let at = self.at;
        let [length] = self.array()?;
        let address = match flags & V6 {
            0 => IpAddr::from(self.array::<4>()?),
            _ => IpAddr::from(self.array::<16>()?),
        };
        let prefix = Prefix::around(address, length).map_err(|error| PersistError::Field {
            at,
            what: error.to_string(),
        })?;
        // Also refuses IPv4 written as IPv6.
        if prefix.address() == address {
            Ok(prefix)
        } else {
            Err(field(at, "a prefix that is not in canonical form"))
        }
    }

    fn scope(&mut self, flags: u8) -> Result<Scope, PersistError> {
        match flags & SITE {
            0 => Ok(Scope::Node),
            _ => Ok(Scope::Site(self.text(Verdict::SITE_MAX)?.into())),
        }
    }

    fn text(&mut self, max: usize) -> Result<&'a str, PersistError> {
        let at = self.at;
        let length = usize::from(u16::from_le_bytes(self.array()?));
        if !(1..=max).contains(&length) {
            return Err(field(at, "a text that is empty or too long"));
        }
        std::str::from_utf8(self.take(length)?).map_err(|_| field(at, "a text that is not UTF-8"))
    }
}

fn field(at: usize, what: &str) -> PersistError {
    PersistError::Field {
        at,
        what: what.to_owned(),
    }
}
