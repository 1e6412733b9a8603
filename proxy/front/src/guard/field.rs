//! The fields that say where a message goes and where it ends.

use super::bytes::{in_token, trimmed};
use super::target::{self, Names};
use aegis_identity::Reject;
use std::ops::Range;

/// How a body is framed (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// That many bytes, which may be none.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// What the fields of a head have said so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    host: Option<Range<usize>>,
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
}

impl Facts {
    /// Takes a field of `head`; `value` is its place, without white space around it.
    pub(super) fn take(
        &mut self,
        head: &[u8],
        name: &[u8],
        value: Range<usize>,
    ) -> Result<(), Reject> {
        let bytes = head.get(value.clone()).unwrap_or_default();
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host(bytes, value),
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrade = true;
                Ok(())
            }
            10 if name.eq_ignore_ascii_case(b"connection") => connection(bytes),
            14 | 17 => self.framing(name, bytes),
            _ => Ok(()),
        }
    }

    fn host(&mut self, bytes: &[u8], value: Range<usize>) -> Result<(), Reject> {
        if self.host.replace(value).is_some() {
            return Err(Reject::HostSeveral);
        }
        target::authority(bytes).map(|_port| ())
    }

    fn framing(&mut self, name: &[u8], value: &[u8]) -> Result<(), Reject> {
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = length(value)?;
            if self.chunked {
                return Err(Reject::LengthAndCoding);
            }
            match self.length.replace(length) {
                None => Ok(()),
                Some(_) => Err(Reject::LengthSeveral),
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            coding(value)?;
            if self.length.is_some() {
                return Err(Reject::LengthAndCoding);
            }
            if std::mem::replace(&mut self.chunked, true) {
                return Err(Reject::CodingInvalid);
            }
            Ok(())
        } else if is_framing_to_some(name) {
            Err(Reject::FramingName)
        } else {
            Ok(())
        }
    }

    /// What the whole head says: the framing, and whether it asks for another protocol.
    pub(super) fn end(
        &self,
        head: &[u8],
        names: Names<'_>,
        http11: bool,
    ) -> Result<(Framing, bool), Reject> {
        match &self.host {
            Some(host) => {
                let host = head.get(host.clone()).unwrap_or_default();
                if !target::agree(names, host) {
                    return Err(Reject::HostDisagrees);
                }
            }
            None if http11 => return Err(Reject::HostMissing),
            None => {}
        }
        match (self.chunked, self.length) {
            (true, _) if !http11 => Err(Reject::CodingIn10),
            (true, _) => Ok((Framing::Chunked, self.upgrade)),
            // HTTP/1.0 has no Upgrade (RFC 9110 §7.8).
            (false, length) => Ok((Framing::Length(length.unwrap_or(0)), self.upgrade && http11)),
        }
    }
}

/// `1*DIGIT`, once. A list of equal numbers could be forgiven (RFC 9110 §8.6); who sends one has been tampered with.
fn length(value: &[u8]) -> Result<u64, Reject> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Reject::LengthInvalid);
    }
    value
        .iter()
        .try_fold(0_i64, |sum, digit| {
            sum.checked_mul(10)?.checked_add(i64::from(digit - b'0'))
        })
        .and_then(|length| u64::try_from(length).ok())
        .ok_or(Reject::LengthTooLarge)
}

/// Exactly `chunked`. Other codings are honest but not understood here, if `chunked` follows them once.
fn coding(value: &[u8]) -> Result<(), Reject> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let codings = || value.split(|&b| b == b',').map(trimmed);
    let proper = codings().all(|coding| !coding.is_empty() && coding.iter().all(|&b| in_token(b)));
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let times = codings().filter(|coding| is_chunked(coding)).count();
    let last = codings().next_back().is_some_and(is_chunked);
    if proper && (times == 0 || (times == 1 && last)) {
        Err(Reject::CodingUnknown)
    } else {
        Err(Reject::CodingInvalid)
    }
}

/// Connection options name fields that end here (RFC 9110 §7.6.1): these three cannot.
fn connection(value: &[u8]) -> Result<(), Reject> {
    if [&b"keep-alive"[..], b"close", b"Upgrade"].contains(&value) {
        return Ok(());
    }
    let without = [&b"content-length"[..], b"transfer-encoding", b"host"];
    let mut options = value.split(|&b| b == b',').map(trimmed);
    if options.any(|option| without.iter().any(|name| option.eq_ignore_ascii_case(name))) {
        Err(Reject::ConnectionOption)
    } else {
        Ok(())
    }
}

/// CGI and its heirs turn `-` and `_` into the same character, so that `Content_Length` becomes a second length.
fn is_framing_to_some(name: &[u8]) -> bool {
    name.contains(&b'_')
        && [&b"content-length"[..], b"transfer-encoding"]
            .into_iter()
            .any(|framing| {
                name.len() == framing.len()
                    && name
                        .iter()
                        .zip(framing)
                        .all(|(&a, &b)| a.to_ascii_lowercase() == b || (a == b'_' && b == b'-'))
            })
}

/// Trailers that would be taken for a field of the head (RFC 9110 §6.5.1).
pub(super) fn forbidden_in_trailers(name: &[u8]) -> bool {
    [&b"content-length"[..], b"transfer-encoding", b"host"]
        .iter()
        .any(|one| name.eq_ignore_ascii_case(one))
        || is_framing_to_some(name)
}
