//! The head of a request (RFC 9112 §2 to §5), byte by byte over a buffer that grows.
//!
//! [`Head`] remembers where it is, so a head that arrives in a thousand pieces is looked at once. All places are offsets
//! into the buffer, which must begin with the head's first byte at each call.

use super::bytes::{in_target, in_token, trimmed_range, value_end};
use super::field::{Facts, Framing};
use super::target;
use super::{FIELD_MAX, FIELDS_MAX, HEAD_MAX, METHOD_MAX, TARGET_MAX};
use aegis_identity::Reject;

/// What is being read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Start,
    Method,
    Target,
    Version,
    Line,
    Name,
    Value,
}

/// A head that is arriving.
#[derive(Debug, Clone, Default)]
pub(super) struct Head {
    part: Part,
    /// The next byte to look at.
    at: usize,
    /// Where the part began: a line for fields.
    start: usize,
    /// Length of an empty line before the request.
    lead: usize,
    method_end: usize,
    target_end: usize,
    name_end: usize,
    http11: bool,
    fields: usize,
    facts: Facts,
}

/// A head that is whole and good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Whole {
    /// Bytes before it that belong to nothing.
    pub(super) lead: usize,
    /// Where it ends.
    pub(super) end: usize,
    pub(super) framing: Framing,
    /// It asks for another protocol.
    pub(super) upgrade: bool,
}

/// `None`: more bytes are needed.
type Found<T> = Result<Option<T>, Reject>;

impl Head {
    /// Looks at what is new in `bytes`.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Found<Whole> {
        let seen = bytes.get(..HEAD_MAX).unwrap_or(bytes);
        let found = self.parts(seen)?;
        if found.is_none() && seen.len() == HEAD_MAX {
            return Err(Reject::HeadTooLarge);
        }
        Ok(found)
    }

    fn parts(&mut self, seen: &[u8]) -> Found<Whole> {
        loop {
            let done = match self.part {
                Part::Start => self.start(seen)?,
                Part::Method => self.method(seen)?,
                Part::Target => self.target(seen)?,
                Part::Version => self.version(seen)?,
                Part::Line => match seen.get(self.at) {
                    Some(b'\r') => {
                        let Some(()) = self.line_feed(seen, self.at)? else {
                            return Ok(None);
                        };
                        return self.whole(seen).map(Some);
                    }
                    Some(b'\n') => return Err(Reject::LineEnding),
                    Some(b' ' | b'\t') => return Err(Reject::Folding),
                    Some(_) => self.next(Part::Name, self.at)?,
                    None => None,
                },
                Part::Name => self.name(seen)?,
                Part::Value => self.value(seen)?,
            };
            if done.is_none() {
                return Ok(None);
            }
        }
    }

    fn next(&mut self, part: Part, at: usize) -> Found<()> {
        self.part = part;
        self.at = at;
        self.start = at;
        Ok(Some(()))
    }

    /// After the CR at `at` comes LF.
    fn line_feed(&mut self, seen: &[u8], at: usize) -> Found<()> {
        self.at = at;
        match seen.get(at + 1) {
            Some(b'\n') => Ok(Some(())),
            Some(_) => Err(Reject::LineEnding),
            None => Ok(None),
        }
    }

    fn start(&mut self, seen: &[u8]) -> Found<()> {
        match seen.get(self.at) {
            Some(b'\r') if self.lead == 0 => {
                let Some(()) = self.line_feed(seen, self.at)? else {
                    return Ok(None);
                };
                self.lead = 2;
                self.next(Part::Start, 2)
            }
            Some(b'\r') => Err(Reject::EmptyLines),
            Some(b'\n') => Err(Reject::LineEnding),
            Some(_) => self.next(Part::Method, self.at),
            None => Ok(None),
        }
    }

    fn method(&mut self, seen: &[u8]) -> Found<()> {
        while let Some(&byte) = seen.get(self.at) {
            let len = self.at - self.start;
            if byte == b' ' && len > 0 {
                self.method_end = self.at;
                return self.next(Part::Target, self.at + 1);
            }
            if !in_token(byte) || len >= METHOD_MAX {
                return Err(Reject::Method);
            }
            self.at += 1;
        }
        Ok(None)
    }

    fn target(&mut self, seen: &[u8]) -> Found<()> {
        let stop = seen.len().min(self.start + TARGET_MAX + 1);
        let rest = seen.get(self.at..stop).unwrap_or_default();
        let Some(found) = rest.iter().position(|&byte| !in_target(byte)) else {
            self.at = stop;
            return if stop > self.start + TARGET_MAX {
                Err(Reject::TargetTooLong)
            } else {
                Ok(None)
            };
        };
        self.at += found;
        match rest.get(found) {
            Some(b' ') if self.at > self.start => {
                self.target_end = self.at;
                self.next(Part::Version, self.at + 1)
            }
            Some(b' ') => Err(Reject::TargetForm),
            // HTTP/0.9 ends here.
            Some(b'\r' | b'\n') => Err(Reject::Version),
            _ => Err(Reject::TargetByte),
        }
    }

    fn version(&mut self, seen: &[u8]) -> Found<()> {
        while let Some(&byte) = seen.get(self.at) {
            let place = self.at - self.start;
            match place {
                0..=4 if b"HTTP/".get(place) == Some(&byte) => {}
                6 if byte == b'.' => {}
                5 | 7 if byte.is_ascii_digit() => {}
                8 if byte == b'\r' => {}
                9 if byte == b'\n' => return self.next(Part::Line, self.at + 1),
                8 if byte == b'\n' => return Err(Reject::LineEnding),
                9 => return Err(Reject::LineEnding),
                _ => return Err(Reject::Version),
            }
            if place == 7 {
                self.http11 = match seen.get(self.start + 5..=self.at) {
                    Some(b"1.1") => true,
                    Some(b"1.0") => false,
                    _ => return Err(Reject::VersionUnknown),
                };
            }
            self.at += 1;
        }
        Ok(None)
    }

    fn name(&mut self, seen: &[u8]) -> Found<()> {
        let stop = seen.len().min(self.start + FIELD_MAX);
        let rest = seen.get(self.at..stop).unwrap_or_default();
        let Some(found) = rest.iter().position(|&byte| !in_token(byte)) else {
            self.at = stop;
            return self.longer(stop);
        };
        self.at += found;
        match rest.get(found) {
            Some(b':') if self.at > self.start => {
                self.name_end = self.at;
                self.part = Part::Value;
                self.at += 1;
                Ok(Some(()))
            }
            Some(b' ' | b'\t') if self.at > self.start => Err(Reject::FieldSpace),
            Some(b'\n') => Err(Reject::LineEnding),
            _ => Err(Reject::FieldName),
        }
    }

    fn value(&mut self, seen: &[u8]) -> Found<()> {
        let stop = seen.len().min(self.start + FIELD_MAX);
        let window = seen.get(..stop).unwrap_or_default();
        let Some(end) = value_end(window, self.at) else {
            self.at = stop;
            return self.longer(stop);
        };
        match window.get(end) {
            Some(b'\r') => {}
            Some(b'\n') => return Err(Reject::LineEnding),
            _ => return Err(Reject::Control),
        }
        let Some(()) = self.line_feed(seen, end)? else {
            return Ok(None);
        };
        self.fields += 1;
        if self.fields > FIELDS_MAX {
            return Err(Reject::FieldsTooMany);
        }
        let name = seen.get(self.start..self.name_end).unwrap_or_default();
        // Only these few lengths are of interest; the others need no trimming.
        if matches!(name.len(), 4 | 7 | 10 | 14 | 17) {
            let value = trimmed_range(seen, self.name_end + 1..end);
            self.facts.take(seen, name, value)?;
        }
        self.next(Part::Line, end + 2)
    }

    fn longer(&self, stop: usize) -> Found<()> {
        if stop >= self.start + FIELD_MAX {
            Err(Reject::FieldTooLong)
        } else {
            Ok(None)
        }
    }

    fn whole(&self, seen: &[u8]) -> Result<Whole, Reject> {
        let method = seen.get(self.lead..self.method_end).unwrap_or_default();
        let target = seen.get(self.method_end + 1..self.target_end);
        let names = target::check(method, target.unwrap_or_default())?;
        let (framing, upgrade) = self.facts.end(seen, names, self.http11)?;
        Ok(Whole {
            lead: self.lead,
            end: self.at + 2,
            framing,
            upgrade,
        })
    }
}
