//! A stored answer confirmed by a 304 (RFC 9111 §3.2, §4.3.4).

use super::strip;
use http::HeaderMap;
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, HeaderValue,
    LAST_MODIFIED, VARY,
};
use std::time::SystemTime;

/// What a 304 made of the stored head.
#[derive(Debug)]
pub enum Freshened {
    /// The head to store from now on; whether it may be stored has to be decided anew.
    Head(HeaderMap),
    /// The 304 speaks of another answer than the stored one.
    Other,
}

/// Brings the fields of `not_modified` into `stored`.
#[must_use]
pub fn freshen(stored: &HeaderMap, not_modified: &HeaderMap, received: SystemTime) -> Freshened {
    if !is_same(stored, not_modified) {
        return Freshened::Other;
    }
    let gone = strip(not_modified);
    let mut head = stored.clone();
    for name in not_modified.keys() {
        // §3.2: what describes the stored body stays.
        if gone.contains(name)
            || [
                CONTENT_LENGTH,
                CONTENT_ENCODING,
                CONTENT_TYPE,
                CONTENT_RANGE,
            ]
            .contains(name)
        {
            continue;
        }
        head.remove(name);
        for value in not_modified.get_all(name) {
            head.append(name.clone(), value.clone());
        }
    }
    // Without a date of its own, the 304's is when it came (RFC 9110 §6.6.1); the stored one would make it old at once.
    if !not_modified.contains_key(DATE)
        && let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(received))
    {
        head.insert(DATE, date);
    }
    Freshened::Head(head)
}

/// §4.3.4: validators that are there must agree; and a new `Vary` would put the answer in another place.
fn is_same(stored: &HeaderMap, not_modified: &HeaderMap) -> bool {
    if let Some(new) = not_modified.get(ETAG) {
        let weak = |tag: &HeaderValue| {
            tag.as_bytes()
                .strip_prefix(b"W/")
                .unwrap_or(tag.as_bytes())
                .to_vec()
        };
        let Some(old) = stored.get(ETAG) else {
            return false;
        };
        let strong = !new.as_bytes().starts_with(b"W/");
        if if strong {
            old != new
        } else {
            weak(old) != weak(new)
        } {
            return false;
        }
    } else if let Some(new) = not_modified.get(LAST_MODIFIED)
        && stored.get(LAST_MODIFIED).is_some_and(|old| old != new)
    {
        return false;
    }
    !not_modified.contains_key(VARY)
        || stored
            .get_all(VARY)
            .iter()
            .eq(not_modified.get_all(VARY).iter())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::HeaderName;

    fn head(fields: &[(&str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::try_from(*name).unwrap(),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect()
    }

    fn freshened(stored: &[(&str, &str)], new: &[(&str, &str)]) -> Option<HeaderMap> {
        match freshen(&head(stored), &head(new), SystemTime::UNIX_EPOCH) {
            Freshened::Head(head) => Some(head),
            Freshened::Other => None,
        }
    }

    #[test]
    fn fields_of_the_304_replace_the_stored_ones_but_for_those_of_the_body() {
        let stored = [
            ("etag", "\"a\""),
            ("content-type", "text/html"),
            ("content-length", "5"),
            ("x", "old"),
            ("kept", "1"),
        ];
        let new = [
            ("etag", "\"a\""),
            ("content-type", "text/plain"),
            ("content-length", "0"),
            ("x", "new"),
            ("date", "d"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
        ];
        let merged = freshened(&stored, &new).unwrap();
        for (name, value) in [
            ("content-type", "text/html"),
            ("content-length", "5"),
            ("x", "new"),
            ("kept", "1"),
            ("date", "d"),
        ] {
            assert_eq!(merged.get(name).unwrap(), value, "{name}");
        }
        assert!(!merged.contains_key("x-hop") && !merged.contains_key("connection"));
    }

    #[test]
    fn a_304_without_a_date_is_dated() {
        let merged = freshened(&[("date", "Tue, 18 Nov 2025 12:00:00 GMT")], &[]).unwrap();
        assert_eq!(merged.get("date").unwrap(), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn a_304_for_another_answer_changes_nothing() {
        for (stored, new) in [
            (("etag", "\"a\""), ("etag", "\"b\"")),
            (("etag", "W/\"a\""), ("etag", "\"a\"")),
            (("x", "1"), ("etag", "\"a\"")),
            (("last-modified", "a"), ("last-modified", "b")),
            (("vary", "accept"), ("vary", "cookie")),
        ] {
            assert!(freshened(&[stored], &[new]).is_none(), "{stored:?} {new:?}");
        }
        assert!(freshened(&[("etag", "\"a\"")], &[("etag", "W/\"a\"")]).is_some());
        assert!(freshened(&[("etag", "\"a\"")], &[("last-modified", "b")]).is_some());
    }
}
