//! How much work a request looks like, before anybody has done it.
//!
//! What a set of rules costs grows with the text it reads and with the number of values it finds there: about a
//! millisecond of CPU a KiB, and half of one an argument. Guessing too little must not pay, so both are counted.

use crate::spec::RequestHead;
use bytes::Bytes;

/// Work from which on a job is long: some 25 ms.
const LONG: u64 = 24;
/// More than this is not believed: most of a large body is a file, which is not read.
const MOST: u64 = 512;
/// Bytes of a body that are looked at.
const LOOKED_AT: usize = 64 << 10;
/// Parts of a unit.
const PARTS: u64 = 8;

/// Expected work, in units of about a millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Weight(u64);

impl Weight {
    /// Of a plain request.
    #[cfg(test)]
    pub(crate) const LIGHT: Self = Self(1);

    /// Of a request.
    pub(crate) fn of_request(head: &RequestHead, body: &[Bytes]) -> Self {
        let fields = head.headers.iter();
        let bytes: usize = fields.clone().map(|(n, v)| n.len() + v.len()).sum();
        let cookies = fields.filter(|(name, _)| name.eq_ignore_ascii_case(b"cookie"));
        let mut parts: u64 = cookies.map(|(_, value)| values(value)).sum();
        parts += values(&head.target);
        Self::of(head.target.len() + bytes, parts, body)
    }

    /// Of a further part of a body.
    pub(crate) fn of_body(body: &[Bytes]) -> Self {
        Self::of(0, 0, body)
    }

    fn of(bytes: usize, mut parts: u64, body: &[Bytes]) -> Self {
        let mut left = LOOKED_AT;
        for chunk in body {
            let piece = chunk.get(..left.min(chunk.len())).unwrap_or_default();
            parts += values(piece);
            left -= piece.len();
        }
        let bytes = bytes + body.iter().map(Bytes::len).sum::<usize>();
        let kib = u64::try_from(bytes / 1024).unwrap_or(MOST);
        Self((1 + kib).saturating_add(parts / PARTS).min(MOST))
    }

    pub(crate) fn is_long(self) -> bool {
        self.0 >= LONG
    }

    pub(crate) fn units(self) -> u64 {
        self.0
    }
}

/// Eighths of a unit for what separates values in a query, a form, cookies, JSON, XML, and lines of a multipart body.
fn values(text: &[u8]) -> u64 {
    let eighths = text.iter().map(|byte| match byte {
        b'&' | b';' | b',' => 4,
        b'<' | b'\n' => 1,
        _ => 0,
    });
    eighths.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(body: &str) -> Weight {
        Weight::of_body(&[Bytes::from(body.to_owned())])
    }

    #[test]
    fn long_text_and_many_arguments_are_long_and_a_usual_form_is_not() {
        assert!(!weight("name=Anna&town=Ulm&text=some+words").is_long());
        assert!(!weight(&"a=1&".repeat(40)).is_long());
        assert!(weight(&"a=1&".repeat(50)).is_long());
        assert!(weight(&"[1,2,3,4,5],".repeat(10)).is_long());
        assert!(!weight(&"a".repeat(20 << 10)).is_long());
        assert!(weight(&"a".repeat(24 << 10)).is_long());
        assert_eq!(weight(&"&".repeat(10 << 20)), Weight(MOST));
    }

    #[test]
    fn a_body_counts_the_same_in_any_number_of_chunks() {
        let whole = "a=1&b=2;".repeat(100);
        let chunks: Vec<Bytes> = whole
            .as_bytes()
            .chunks(7)
            .map(Bytes::copy_from_slice)
            .collect();
        assert_eq!(Weight::of_body(&chunks), weight(&whole));
    }

    #[test]
    fn arguments_in_a_target_and_cookies_count() {
        let mut head = crate::testing::head();
        assert_eq!(Weight::of_request(&head, &[]), Weight::LIGHT);
        head.target = Bytes::from("/?".to_owned() + &"a=1&".repeat(60));
        assert!(Weight::of_request(&head, &[]).is_long());
        head.target = Bytes::from_static(b"/");
        let cookies = Bytes::from("a=1; ".repeat(60));
        head.headers = vec![(Bytes::from_static(b"Cookie"), cookies)];
        assert!(Weight::of_request(&head, &[]).is_long());
    }
}
