//! A chunked body (RFC 9112 §7.1).
//!
//! Bytes of chunks go on as they come. A size line goes on when it is whole, and the last chunk with its trailers when
//! all of them are: until then nobody can take the body for finished.

use super::bytes::{in_token, value_end};
use super::field::forbidden_in_trailers;
use super::{EXTENSION_MAX, EXTENSIONS_MAX, FIELDS_MAX, TRAILERS_MAX};
use aegis_identity::Reject;

/// Digits of a size: all that 64 bits have.
const DIGITS_MAX: usize = 16;

/// Where a chunked body is.
#[derive(Debug, Clone, Default)]
pub(super) struct Chunked {
    part: Part,
    /// Bytes of extensions so far.
    extensions: usize,
    /// Bytes of chunks so far.
    total: u64,
}

#[derive(Debug, Clone, Copy, Default)]
enum Part {
    #[default]
    Size,
    Data(u64),
    /// The CRLF after a chunk.
    End,
    /// Trailers of the last chunk: the offset of the next line from its begin, and their number.
    Trailers {
        at: usize,
        fields: usize,
    },
}

/// A size line: its length and what it says.
struct SizeLine {
    len: usize,
    size: u64,
    extensions: usize,
}

impl Chunked {
    /// How many of `bytes` may go on, and whether the body ends with them. `bytes` begins with the first one that did not
    /// go on yet.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<(usize, bool), Reject> {
        let mut passed = 0;
        loop {
            let rest = bytes.get(passed..).unwrap_or_default();
            match self.part {
                Part::Size => {
                    let Some(line) = size_line(rest)? else {
                        break;
                    };
                    self.extensions += line.extensions;
                    if self.extensions > EXTENSIONS_MAX {
                        return Err(Reject::ChunkExtension);
                    }
                    if line.size == 0 {
                        let (at, fields) = (line.len, 0);
                        self.part = Part::Trailers { at, fields };
                        continue;
                    }
                    self.total = self
                        .total
                        .checked_add(line.size)
                        .filter(|&total| i64::try_from(total).is_ok())
                        .ok_or(Reject::LengthTooLarge)?;
                    self.part = Part::Data(line.size);
                    passed += line.len;
                }
                Part::Data(left) => {
                    let here =
                        usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                    passed += here;
                    let left = left - here as u64;
                    if left > 0 {
                        self.part = Part::Data(left);
                        break;
                    }
                    self.part = Part::End;
                }
                Part::End => {
                    if !line_end(rest)? {
                        break;
                    }
                    passed += 2;
                    self.part = Part::Size;
                }
                Part::Trailers { at, fields } => {
                    let Some(len) = self.trailers(rest, at, fields)? else {
                        break;
                    };
                    return Ok((passed + len, true));
                }
            }
        }
        Ok((passed, false))
    }

    /// The length of the last chunk with all its trailers.
    fn trailers(
        &mut self,
        bytes: &[u8],
        mut at: usize,
        mut fields: usize,
    ) -> Result<Option<usize>, Reject> {
        let seen = bytes.get(..TRAILERS_MAX).unwrap_or(bytes);
        loop {
            let rest = seen.get(at..).unwrap_or_default();
            if rest.first() == Some(&b'\r') {
                if line_end(rest).map_err(|_| Reject::Trailer)? {
                    return Ok(Some(at + 2));
                }
                break;
            }
            let Some(len) = trailer(rest)? else {
                break;
            };
            at += len;
            fields += 1;
            if fields > FIELDS_MAX {
                return Err(Reject::TrailersTooLarge);
            }
        }
        if seen.len() == TRAILERS_MAX {
            return Err(Reject::TrailersTooLarge);
        }
        self.part = Part::Trailers { at, fields };
        Ok(None)
    }
}

/// CRLF, or not enough bytes for it.
fn line_end(bytes: &[u8]) -> Result<bool, Reject> {
    match bytes {
        [b'\r', b'\n', ..] => Ok(true),
        [] | [b'\r'] => Ok(false),
        _ => Err(Reject::ChunkEnd),
    }
}

/// `1*HEXDIG [ chunk-ext ] CRLF`. White space is allowed nowhere: nobody sends it, and some take it for the line's end.
fn size_line(bytes: &[u8]) -> Result<Option<SizeLine>, Reject> {
    let mut size = 0;
    let mut digits = 0;
    loop {
        let Some(&byte) = bytes.get(digits) else {
            return Ok(None);
        };
        let Some(digit) = char::from(byte).to_digit(16) else {
            break;
        };
        digits += 1;
        if digits > DIGITS_MAX {
            return Err(Reject::ChunkSize);
        }
        size = (size << 4) | u64::from(digit);
    }
    let after = bytes.get(digits..).unwrap_or_default();
    if digits == 0 {
        return Err(Reject::ChunkSize);
    }
    let extensions = match after.first() {
        Some(b';') => match extensions(after)? {
            Some(len) => len,
            None => return Ok(None),
        },
        Some(b'\r' | b'\n') => 0,
        _ => return Err(Reject::ChunkSize),
    };
    let end = after.get(extensions..).unwrap_or_default();
    Ok(line_end(end)?.then_some(SizeLine {
        len: digits + extensions + 2,
        size,
        extensions,
    }))
}

/// The length of `*( ";" name [ "=" ( token / quoted-string ) ] )` up to the CR that ends it.
fn extensions(bytes: &[u8]) -> Result<Option<usize>, Reject> {
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum In {
        Begin,
        Name,
        Equals,
        Value,
        Quoted,
        Escaped,
        Closed,
    }
    let mut part = In::Closed;
    for (at, &byte) in bytes.iter().enumerate() {
        if at >= EXTENSION_MAX {
            return Err(Reject::ChunkExtension);
        }
        part = match (part, byte) {
            (In::Name | In::Value | In::Closed, b'\r') => return Ok(Some(at)),
            (In::Name | In::Value | In::Closed, b';') => In::Begin,
            (In::Begin | In::Name, _) if in_token(byte) => In::Name,
            (In::Name, b'=') => In::Equals,
            (In::Equals | In::Value, _) if in_token(byte) => In::Value,
            (In::Quoted, b'"') => In::Closed,
            (In::Quoted, b'\\') => In::Escaped,
            (In::Equals, b'"') | (In::Quoted | In::Escaped, b'\t' | b' '..=b'~' | 0x80..) => {
                In::Quoted
            }
            _ => return Err(Reject::ChunkExtension),
        };
    }
    Ok(None)
}

/// The length of a field line, CRLF included.
fn trailer(bytes: &[u8]) -> Result<Option<usize>, Reject> {
    let Some(colon) = bytes.iter().position(|&byte| !in_token(byte)) else {
        return Ok(None);
    };
    let (name, value) = bytes.split_at(colon);
    if name.is_empty() || value.first() != Some(&b':') || forbidden_in_trailers(name) {
        return Err(Reject::Trailer);
    }
    let Some(end) = value_end(bytes, colon + 1) else {
        return Ok(None);
    };
    let ended = line_end(bytes.get(end..).unwrap_or_default()).map_err(|_| Reject::Trailer)?;
    Ok(ended.then_some(end + 2))
}
