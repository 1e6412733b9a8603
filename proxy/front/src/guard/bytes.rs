//! Which bytes may stand where.

use std::ops::Range;

/// `tchar` (RFC 9110 §5.6.2).
const TOKEN: u8 = 1;
/// Part of a request target, see [`in_target`].
const TARGET: u8 = 2;
/// Part of a host name, see [`in_host`].
const HOST: u8 = 4;

/// One look-up a byte.
static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        let alphanumeric = b.is_ascii_alphanumeric();
        if alphanumeric || contains(b"!#$%&'*+-.^_`|~", b) {
            table[byte] |= TOKEN;
        }
        if b > b' ' && b != 0x7f && !contains(b"#\"<>", b) {
            table[byte] |= TARGET;
        }
        if alphanumeric || contains(b"-._", b) {
            table[byte] |= HOST;
        }
        byte += 1;
    }
    table
}

const fn contains(set: &[u8], byte: u8) -> bool {
    let mut at = 0;
    while at < set.len() {
        if set[at] == byte {
            return true;
        }
        at += 1;
    }
    false
}

pub(super) fn in_token(byte: u8) -> bool {
    CLASS[usize::from(byte)] & TOKEN != 0
}

/// What RFC 3986 allows, and beyond it what honest clients really send:
///
/// - `[ ] | ^ { } \` and the backtick: browsers leave them in queries as they were typed (WHATWG URL, query percent-encode
///   set), some of them in paths too. In a path the backslash, which some servers take for a slash, and the backtick are
///   refused later;
/// - bytes from 0x80 that are UTF-8: tools send it as it was typed; nginx and Apache take it. Other encodings cannot pass
///   Pingora, and no browser has sent them for long.
///
/// Not allowed: white space and control bytes, which end or split lines; `#`, after which some servers stop reading;
/// `" < >`, which browsers encode everywhere and Pingora refuses in queries, and elsewhere would encode without a word.
pub(super) fn in_target(byte: u8) -> bool {
    CLASS[usize::from(byte)] & TARGET != 0
}

/// What names in DNS are made of. RFC 3986 §3.2.2 would allow more (`reg-name`); a comma or a percent sign there is an
/// attempt at somebody else's parser.
pub(super) fn in_host(byte: u8) -> bool {
    CLASS[usize::from(byte)] & HOST != 0
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Where the first byte at or after `from` is that no field value has: a control byte but the tab, or DEL. Eight bytes at
/// a time.
pub(super) fn value_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(eight) = bytes.get(at..at + 8) {
        let mut word = [0; 8];
        word.copy_from_slice(eight);
        let word = u64::from_le_bytes(word);
        // The lowest hit of each test is exact; what a borrow makes up lies above it.
        let low = word.wrapping_sub(ONES * 0x20) & !word;
        let del = word ^ (ONES * 0x7f);
        let del = del.wrapping_sub(ONES) & !del;
        let hits = (low | del) & HIGHS;
        if hits == 0 {
            at += 8;
            continue;
        }
        at += hits.trailing_zeros() as usize / 8;
        if bytes.get(at) != Some(&b'\t') {
            return Some(at);
        }
        at += 1;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    rest.iter()
        .position(|&b| (b < b' ' && b != b'\t') || b == 0x7f)
        .map(|found| at + found)
}

/// Without the white space around it (RFC 9110 §5.6.3); unlike Rust's, which takes more for white space.
pub(super) fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The place of [`trimmed`] in `bytes`.
pub(super) fn trimmed_range(bytes: &[u8], range: Range<usize>) -> Range<usize> {
    let blank = |at: usize| matches!(bytes.get(at), Some(b' ' | b'\t'));
    let Range { mut start, mut end } = range;
    while start < end && blank(start) {
        start += 1;
    }
    while start < end && blank(end - 1) {
        end -= 1;
    }
    start..end
}

#[cfg(test)]
mod tests {
    use super::value_end;

    #[test]
    fn the_first_byte_that_ends_a_value_is_found_at_every_place() {
        for byte in 0..=255_u8 {
            let ends = (byte < b' ' && byte != b'\t') || byte == 0x7f;
            for place in 0..40 {
                for around in [b'a', b'\t', 0x80, 0xff, b' ', b'!'] {
                    let mut bytes = [around; 40];
                    bytes[place] = byte;
                    for from in [0, 3, place] {
                        let found = value_end(&bytes, from);
                        assert_eq!(
                            found,
                            (ends && from <= place).then_some(place),
                            "{byte} at {place}"
                        );
                    }
                }
            }
        }
        assert_eq!(value_end(b"\t\t\t\t\t\t\t\t\t\r", 0), Some(9));
        assert_eq!(value_end(b"", 0), None);
        assert_eq!(value_end(b"a", 5), None);
    }
}
