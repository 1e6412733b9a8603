//! The id a request is known by: a ULID, <https://github.com/ulid/spec>.
//!
//! 48 bits of time, so that ids sort by it, and 80 bits of the system's randomness, so that nobody can name a request he
//! has not seen. Ids of the same millisecond are in no order.

use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

/// Crockford's base 32: no I, L, O, U.
const ALPHABET: [u8; 32] = *b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const LEN: usize = 26;
/// Bytes of randomness in an id.
const RANDOM: usize = 10;

/// A request's id: 26 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId([u8; LEN]);

/// A text is not a request id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestIdError;

impl fmt::Display for RequestIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a request id; one has 26 characters, as in 01JD8Z3V6QK5T2M9B4XW7RCNHE")
    }
}

impl std::error::Error for RequestIdError {}

impl RequestId {
    /// An id of `now_ms` (milliseconds since 1970, 48 bits count) and the low 80 bits of `random`.
    #[must_use]
    pub fn new(now_ms: u64, random: u128) -> Self {
        let mut rest = (u128::from(now_ms) << 80) | (random & ((1 << 80) - 1));
        let mut text = [0; LEN];
        for place in text.iter_mut().rev() {
            let digit = (rest & 31) as usize;
            *place = ALPHABET.get(digit).copied().unwrap_or(b'0');
            rest >>= 5;
        }
        Self(text)
    }

    /// An id of now and the system's randomness, which each thread fetches for some hundred ids at once.
    #[must_use]
    pub fn generate() -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        Self::new(now_ms, random())
    }

    /// The 26 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The 26 characters.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; LEN] {
        &self.0
    }

    /// Its 128 bits: an id for a trace, of which W3C wants the last seven bytes random.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 16] {
        let bits = self.0.iter().fold(0_u128, |bits, &character| {
            (bits << 5) | u128::from(digit(character).unwrap_or(0))
        });
        bits.to_be_bytes()
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn time_ms(&self) -> u64 {
        self.0.iter().take(10).fold(0, |time, &character| {
            (time << 5) | u64::from(digit(character).unwrap_or(0))
        })
    }
}

/// Longest id that somebody else gave a request.
const GIVEN_MAX: usize = 128;

/// An id that a trusted proxy gave a request, if it can stand in a log, a page and a field as it is: 1 to 128 letters,
/// digits and `- . _ ~ + / = : @`.
#[must_use]
pub fn given_id(value: &[u8]) -> Option<&str> {
    let good = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=:@".contains(byte);
    let fits = (1..=GIVEN_MAX).contains(&value.len()) && value.iter().all(good);
    fits.then(|| std::str::from_utf8(value).ok()).flatten()
}

/// What each byte stands for; 255 = nothing.
const DIGITS: [u8; 256] = {
    let mut digits = [255; 256];
    let mut value = 0;
    while value < ALPHABET.len() {
        digits[ALPHABET[value] as usize] = value as u8;
        value += 1;
    }
    digits
};

fn digit(character: u8) -> Option<u8> {
    DIGITS
        .get(usize::from(character))
        .copied()
        .filter(|value| *value < 32)
}

/// Randomness in stock, for one thread.
struct Stock {
    bytes: [u8; RANDOM * 400],
    used: usize,
}

thread_local! {
    static STOCK: RefCell<Stock> = const {
        RefCell::new(Stock { bytes: [0; RANDOM * 400], used: RANDOM * 400 })
    };
}

fn random() -> u128 {
    STOCK.with_borrow_mut(|stock| {
        if stock.used >= stock.bytes.len() {
            if getrandom::fill(&mut stock.bytes).is_err() {
                return clock_bits();
            }
            stock.used = 0;
        }
        let end = stock.used + RANDOM;
        let Some(taken) = stock.bytes.get_mut(stock.used..end) else {
            return clock_bits();
        };
        let bits = taken
            .iter()
            .fold(0, |bits, &byte| (bits << 8) | u128::from(byte));
        // What was given out is not kept: a later look into this memory must not tell former ids.
        taken.fill(0);
        stock.used = end;
        bits
    })
}

/// A kernel without randomness is no reason to stop serving: ids then are unique, not secret.
fn clock_bits() -> u128 {
    use std::hash::{BuildHasher, RandomState};
    let hasher = RandomState::new();
    let now = std::time::Instant::now();
    (u128::from(hasher.hash_one(now)) << 64) | u128::from(hasher.hash_one((now, 1)))
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl AsRef<str> for RequestId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl FromStr for RequestId {
    type Err = RequestIdError;

    /// Reads what a person may have typed: lower case counts as upper case.
    fn from_str(text: &str) -> Result<Self, RequestIdError> {
        let mut bytes: [u8; LEN] = text.as_bytes().try_into().map_err(|_| RequestIdError)?;
        bytes.make_ascii_uppercase();
        let valid =
            bytes.iter().all(|&c| digit(c).is_some()) && bytes.first().is_some_and(|&c| c <= b'7');
        valid.then_some(Self(bytes)).ok_or(RequestIdError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_text_is_that_of_the_specification() {
        // 2016-07-30T23:54:10.259Z is the specification's example of the time part.
        let id = RequestId::new(1_469_922_850_259, 0);
        assert_eq!(id.as_str(), "01ARZ3NDEK0000000000000000");
        assert_eq!(id.time_ms(), 1_469_922_850_259);
        assert_eq!(
            RequestId::new((1 << 48) - 1, u128::MAX).as_str(),
            "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"
        );
    }

    #[test]
    fn its_bits_are_those_it_was_made_of() {
        let bits = RequestId::new(1_469_922_850_259, 0x1234).to_bytes();
        assert_eq!(
            u128::from_be_bytes(bits),
            (1_469_922_850_259 << 80) | 0x1234
        );
    }

    #[test]
    fn ids_sort_by_time() {
        assert!(RequestId::new(1_000, u128::MAX) < RequestId::new(1_001, 0));
    }

    #[test]
    fn a_text_reads_back_in_either_case() {
        let id = RequestId::generate();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().to_lowercase().parse(), Ok(id));
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in [
            "",
            "01ARZ3NDEK000000000000000",
            "01ARZ3NDEK00000000000000000",
            "01ARZ3NDEK000000000000000U",
            "81ARZ3NDEK0000000000000000",
            "01ARZ3NDEK00000000000000é",
        ] {
            assert_eq!(text.parse::<RequestId>(), Err(RequestIdError), "{text}");
        }
    }

    #[test]
    fn an_id_of_somebody_else_is_taken_if_it_can_stand_anywhere() {
        let longest = "a".repeat(GIVEN_MAX);
        for good in [
            "1",
            "01JD8Z3V6QK5T2M9B4XW7RCNHE",
            "6f1c2f0e-8b0e-4d5e-9d3a-0c1b2a3d4e5f",
            "Root=1-67891233-ab",
            "a/b+c==:@~._",
            &longest,
        ] {
            assert_eq!(given_id(good.as_bytes()), Some(good));
        }
        let longer = "a".repeat(GIVEN_MAX + 1);
        for bad in [
            "",
            " ",
            "a b",
            "a,b",
            "a\"b",
            "a<b",
            "a\r\nb",
            "a;b",
            "caf\u{e9}",
            "a\0",
            &longer,
        ] {
            assert_eq!(given_id(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn ids_of_many_threads_differ() {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(|| {
                    (0..5_000)
                        .map(|_| RequestId::generate())
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let ids: HashSet<_> = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect();
        assert_eq!(ids.len(), 20_000);
    }

    #[test]
    fn the_time_of_an_id_is_now() {
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let id = RequestId::generate();
        assert!(u128::from(id.time_ms()) >= before.as_millis());
    }
}
