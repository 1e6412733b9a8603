//! Whose count it is: parts of a request, hashed to 128 bits.
//!
//! The hash is SipHash-1-3 with 128 bits of output, under a key derived for each policy from the table's secret. It has
//! to be a keyed pseudo-random function: a client chooses most of what is hashed (headers, a path, 2^64 addresses), and
//! one who could foresee hashes could fill a victim's bucket or share a victim's count. SipHash is made for that at
//! short inputs; a non-cryptographic hash with a seed (`ahash`, `foldhash`) makes no such promise and gives 64 bits, and
//! keyed BLAKE3 costs several times as much for the 8 or 24 bytes of an address. Two clients sharing one of 2^128 values by
//! chance is not a risk anybody can measure.

use siphasher::sip128::{Hash128, Hasher128, SipHasher13};
use std::hash::Hasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a policy's key is made of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Part {
    /// The client's address, cut to the policy's prefix lengths.
    Address,
    /// The value of this header (lower case).
    Header(String),
    /// The value of this cookie.
    Cookie(String),
    /// The fingerprint of the TLS client hello.
    Ja4,
    /// The path, without query, as routed.
    Path,
    /// The site's name.
    Site,
}

/// What a request must tell to be limited.
///
/// A part that a request lacks (no such header, no TLS) is replaced by the client's address, so that leaving a header
/// out neither escapes a limit nor spends what others share.
pub trait Facts {
    /// The client, behind trusted hops.
    fn address(&self) -> IpAddr;
    /// The site's name.
    fn site(&self) -> &str;
    /// The path, without query, as routed.
    fn path(&self) -> &[u8];
    /// JA4.
    fn ja4(&self) -> Option<&str>;
    /// The first value of this header (asked for in lower case).
    fn header(&self, name: &str) -> Option<&[u8]>;
    /// The first value of this cookie.
    fn cookie(&self, name: &str) -> Option<&[u8]>;
}

/// A hashed key: which count of which policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Key {
    pub(crate) high: u64,
    pub(crate) low: u64,
}

/// How a policy turns a request into a key.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    pub(crate) parts: Box<[Part]>,
    pub(crate) v4_mask: u32,
    pub(crate) v6_mask: u128,
    pub(crate) secret: (u64, u64),
}

impl Recipe {
    pub(crate) fn key(&self, facts: &(impl Facts + ?Sized)) -> Key {
        if let [Part::Address] = &*self.parts {
            // What most limits go by: hashed where it is.
            return match self.masked(facts) {
                IpAddr::V4(v4) => self.hashed(&[word(b'a', b'4', v4.to_bits().into())]),
                IpAddr::V6(v6) => {
                    let [high, low] = halves(v6);
                    self.hashed(&[word(b'a', b'6', 0), high, low])
                }
            };
        }
        let mut feed = Feed::new(self.secret);
        for part in &self.parts {
            match part {
                Part::Address => self.address(&mut feed, b'a', facts),
                Part::Header(name) => self.or_address(&mut feed, b'h', facts.header(name), facts),
                Part::Cookie(name) => self.or_address(&mut feed, b'c', facts.cookie(name), facts),
                Part::Ja4 => {
                    self.or_address(&mut feed, b'j', facts.ja4().map(str::as_bytes), facts);
                }
                Part::Path => feed.text(b'p', facts.path()),
                Part::Site => feed.text(b's', facts.site().as_bytes()),
            }
        }
        feed.key()
    }

    fn hashed(&self, words: &[[u8; 8]]) -> Key {
        let (k0, k1) = self.secret;
        SipHasher13::new_with_keys(k0, k1)
            .hash(words.as_flattened())
            .into()
    }

    fn masked(&self, facts: &(impl Facts + ?Sized)) -> IpAddr {
        match facts.address().to_canonical() {
            IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & self.v4_mask).into(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & self.v6_mask).into(),
        }
    }

    fn or_address(
        &self,
        feed: &mut Feed,
        tag: u8,
        value: Option<&[u8]>,
        facts: &(impl Facts + ?Sized),
    ) {
        match value {
            Some(value) => feed.text(tag, value),
            None => self.address(feed, tag.to_ascii_uppercase(), facts),
        }
    }

    fn address(&self, feed: &mut Feed, tag: u8, facts: &(impl Facts + ?Sized)) {
        match self.masked(facts) {
            IpAddr::V4(v4) => feed.word(word(tag, b'4', v4.to_bits().into())),
            IpAddr::V6(v6) => {
                feed.word(word(tag, b'6', 0));
                for half in halves(v6) {
                    feed.word(half);
                }
            }
        }
    }
}

/// What a part begins with: which it is, of what kind, and a number of up to 48 bits.
fn word(tag: u8, kind: u8, number: u64) -> [u8; 8] {
    (number << 16 | u64::from(kind) << 8 | u64::from(tag)).to_le_bytes()
}

fn halves(v6: Ipv6Addr) -> [[u8; 8]; 2] {
    let bits = v6.to_bits();
    [(bits >> 64) as u64, bits as u64].map(u64::to_le_bytes)
}

impl From<Hash128> for Key {
    fn from(hash: Hash128) -> Self {
        Self {
            high: hash.h1,
            low: hash.h2,
        }
    }
}

/// Every part is a word that says what follows and how long it is, and that: no two lists of parts read the same.
/// Collected on the stack, because the hasher's own buffering costs more than the hash at this size.
struct Feed {
    buffer: [u8; Self::SIZE],
    used: usize,
    hasher: SipHasher13,
}

impl Feed {
    const SIZE: usize = 96;

    fn new((k0, k1): (u64, u64)) -> Self {
        Self {
            buffer: [0; Self::SIZE],
            used: 0,
            hasher: SipHasher13::new_with_keys(k0, k1),
        }
    }

    fn word(&mut self, word: [u8; 8]) {
        self.bytes(&word);
    }

    fn text(&mut self, tag: u8, text: &[u8]) {
        // A head has a bound far below 48 bits of length.
        self.word(word(tag, b'n', text.len() as u64));
        self.bytes(text);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        if let Some(room) = self.buffer.get_mut(self.used..self.used + bytes.len()) {
            room.copy_from_slice(bytes);
            self.used += bytes.len();
            return;
        }
        self.flush();
        self.hasher.write(bytes);
    }

    fn flush(&mut self) {
        self.hasher
            .write(self.buffer.get(..self.used).unwrap_or_default());
        self.used = 0;
    }

    fn key(mut self) -> Key {
        self.flush();
        self.hasher.finish128().into()
    }
}
