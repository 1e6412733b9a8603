//! JA4: the fingerprint of a TLS client, <https://github.com/FoxIO-LLC/ja4/blob/main/technical_details/JA4.md>.
//!
//! What a client offers in its first message says which program it is, whatever it says of itself later. Read off the
//! bytes of the `ClientHello` (RFC 8446 §4.1.2) as they came; GREASE (RFC 8701) is left out. Over TCP only, so the
//! first character is always `t`.
//!
//! Total: bytes that are no `ClientHello` give none, and nothing is trusted to be as long as it says.

use sha2::{Digest, Sha256};
use std::fmt;

const LEN: usize = 36;
const SERVER_NAME: u16 = 0x0000;
const SIGNATURE_ALGORITHMS: u16 = 0x000d;
const ALPN: u16 = 0x0010;
const SUPPORTED_VERSIONS: u16 = 0x002b;

/// A fingerprint: 36 characters, as in `t13d1516h2_8daaf6152771_e5627efa2ab1`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ja4([u8; LEN]);

impl Ja4 {
    /// Of the body of a `ClientHello`, which begins with its version; `None` if it is none.
    #[must_use]
    pub fn of_client_hello(body: &[u8]) -> Option<Self> {
        let hello = Hello::read(body)?;
        let mut text = Text {
            bytes: [b'0'; LEN],
            len: 0,
        };
        text.put(b"t");
        text.put(&version(hello.version));
        text.put(if hello.names_server { b"d" } else { b"i" });
        text.put(&two_digits(hello.ciphers.len()));
        text.put(&two_digits(hello.extensions_seen));
        text.put(&hello.alpn);
        text.put(b"_");
        text.put(&hash(&hello.ciphers, &[]));
        text.put(b"_");
        text.put(&hash(&hello.extensions, &hello.signatures));
        (text.len == LEN).then_some(Self(text.bytes))
    }

    /// The 36 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Ja4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Ja4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

struct Text {
    bytes: [u8; LEN],
    len: usize,
}

impl Text {
    fn put(&mut self, part: &[u8]) {
        let end = self.len + part.len();
        if let Some(room) = self.bytes.get_mut(self.len..end) {
            room.copy_from_slice(part);
            self.len = end;
        }
    }
}

/// What counts of a `ClientHello`, without GREASE.
#[derive(Debug)]
struct Hello {
    /// The highest that is supported.
    version: u16,
    /// Sorted.
    ciphers: Vec<u16>,
    /// With server name and ALPN.
    extensions_seen: usize,
    /// Sorted, without server name and ALPN.
    extensions: Vec<u16>,
    /// In the client's order.
    signatures: Vec<u16>,
    names_server: bool,
    alpn: [u8; 2],
}

impl Hello {
    fn read(body: &[u8]) -> Option<Self> {
        let mut body = Reader(body);
        let version = body.u16()?;
        let _random = body.take(32)?;
        let _session = body.short()?;
        let mut ciphers = body.long()?.numbers();
        ciphers.sort_unstable();
        let _compressions = body.short()?;
        let mut hello = Self {
            version,
            ciphers,
            extensions_seen: 0,
            extensions: Vec::with_capacity(24),
            signatures: Vec::new(),
            names_server: false,
            alpn: *b"00",
        };
        if body.0.is_empty() {
            return Some(hello);
        }
        let mut extensions = body.long()?;
        while !extensions.0.is_empty() {
            let (kind, content) = (extensions.u16()?, extensions.long()?);
            hello.put(kind, content);
        }
        hello.extensions.sort_unstable();
        Some(hello)
    }

    fn put(&mut self, kind: u16, mut content: Reader<'_>) {
        if is_grease(kind) {
            return;
        }
        self.extensions_seen += 1;
        match kind {
            SERVER_NAME => self.names_server = true,
            ALPN => {
                let first = content.long().and_then(|mut names| names.short());
                self.alpn = first.map_or(*b"00", |name| ends(name.0));
            }
            _ => self.extensions.push(kind),
        }
        match kind {
            SUPPORTED_VERSIONS => {
                let versions = content.short().map(Reader::numbers);
                if let Some(highest) = versions.and_then(|all| all.into_iter().max()) {
                    self.version = highest;
                }
            }
            SIGNATURE_ALGORITHMS => {
                self.signatures = content.long().map(Reader::numbers).unwrap_or_default();
            }
            _ => {}
        }
    }
}

/// RFC 8701: both bytes alike, and `a` in the low half of each.
const fn is_grease(number: u16) -> bool {
    let [high, low] = number.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

const fn version(number: u16) -> [u8; 2] {
    *match number {
        0x0304 => b"13",
        0x0303 => b"12",
        0x0302 => b"11",
        0x0301 => b"10",
        0x0300 => b"s3",
        0x0002 => b"s2",
        0xfeff => b"d1",
        0xfefd => b"d2",
        0xfefc => b"d3",
        _ => b"00",
    }
}

fn two_digits(count: usize) -> [u8; 2] {
    let count = u8::try_from(count.min(99)).unwrap_or(99);
    [b'0' + count / 10, b'0' + count % 10]
}

/// First and last character of a protocol's name; if either is no letter or digit, those of its bytes in hexadecimal.
fn ends(name: &[u8]) -> [u8; 2] {
    let (Some(&first), Some(&last)) = (name.first(), name.last()) else {
        return *b"00";
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        [first, last]
    } else {
        [hex(first >> 4), hex(last & 15)]
    }
}

const fn hex(digit: u8) -> u8 {
    match digit {
        0..=9 => b'0' + digit,
        _ => b'a' - 10 + (digit & 15),
    }
}

/// Twelve characters of the SHA-256 of the numbers, four digits each, with commas; `then` follows an underscore.
fn hash(numbers: &[u16], then: &[u16]) -> [u8; 12] {
    if numbers.is_empty() {
        return *b"000000000000";
    }
    let mut sha = Sha256::new();
    let mut write = |numbers: &[u16], mut before: &'static [u8]| {
        for number in numbers {
            let [high, low] = number.to_be_bytes();
            sha.update(before);
            sha.update([hex(high >> 4), hex(high & 15), hex(low >> 4), hex(low & 15)]);
            before = b",";
        }
    };
    write(numbers, b"");
    write(then, b"_");
    let mut text = [0; 12];
    for (pair, byte) in text.chunks_exact_mut(2).zip(sha.finalize()) {
        pair.copy_from_slice(&[hex(byte >> 4), hex(byte & 15)]);
    }
    text
}

/// Bytes that are left.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        let (taken, rest) = self.0.split_first_chunk::<2>()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*taken))
    }

    /// A vector whose length is one byte.
    fn short(&mut self) -> Option<Self> {
        let length = *self.take(1)?.first()?;
        self.take(length.into()).map(Reader)
    }

    /// A vector whose length is two bytes.
    fn long(&mut self) -> Option<Self> {
        let length = self.u16()?;
        self.take(length.into()).map(Reader)
    }

    /// All numbers of two bytes but GREASE.
    fn numbers(self) -> Vec<u16> {
        let pairs = self.0.chunks_exact(2);
        let numbers = pairs.filter_map(|pair| Some(u16::from_be_bytes(pair.try_into().ok()?)));
        numbers.filter(|number| !is_grease(*number)).collect()
    }
}

#[cfg(test)]
#[path = "ja4_tests.rs"]
mod tests;
