//! `Vary` (RFC 9110 §12.5.5, RFC 9111 §4.1): which request fields choose between the answers of one URL.
//!
//! `Accept-Encoding` is brought to one form first, as every browser version words it differently; of other fields only
//! the white space around members and the division into lines are evened out.

use crate::directives::is_token;
use crate::key::{KeyMaker, Variance};
use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, HeaderName, VARY};

/// Most names in a `Vary` before the answer is not stored.
pub const NAMES_MAX: usize = 8;
/// Most codings in an `Accept-Encoding` that is brought to one form; longer ones count as they are.
const CODINGS_MAX: usize = 16;
/// Longest `Vary` or `Accept-Encoding` looked into.
const BYTES_MAX: usize = 1_024;

/// The answer cannot be chosen by request fields: `*`, too many names, or not a list of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unvariable;

/// The names, sorted, each once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vary {
    names: Box<[HeaderName]>,
}

impl Vary {
    /// Reads a response's.
    ///
    /// # Errors
    /// See [`Unvariable`].
    pub fn of(headers: &HeaderMap) -> Result<Self, Unvariable> {
        let mut names = Vec::new();
        for line in headers.get_all(VARY) {
            if line.len() > BYTES_MAX {
                return Err(Unvariable);
            }
            for name in line
                .as_bytes()
                .split(|&byte| byte == b',')
                .map(<[u8]>::trim_ascii)
                .filter(|name| !name.is_empty())
            {
                // `*` is a token, so it has to be told apart by hand.
                let name = HeaderName::from_bytes(name)
                    .ok()
                    .filter(|parsed| parsed != "*")
                    .ok_or(Unvariable)?;
                if !names.contains(&name) {
                    names.push(name);
                }
                if names.len() > NAMES_MAX {
                    return Err(Unvariable);
                }
            }
        }
        names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        Ok(Self {
            names: names.into(),
        })
    }

    /// One answer for all requests.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Which answer this request wants; `None` if there is only one.
    #[must_use]
    pub fn variance(&self, keys: &KeyMaker, request: &HeaderMap) -> Option<Variance> {
        (!self.is_empty())
            .then(|| keys.variance(self.names.iter().map(|name| (name, value(name, request)))))
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        // Names of fields that are not standard live on the heap.
        self.names
            .iter()
            .map(|name| size_of::<HeaderName>() + name.as_str().len())
            .sum()
    }
}

/// §4.1: lines are joined, white space around members dropped.
fn value(name: &HeaderName, request: &HeaderMap) -> Option<Vec<u8>> {
    let mut lines = request.get_all(name).iter().peekable();
    lines.peek()?;
    let mut joined = Vec::new();
    for line in lines {
        for member in line.as_bytes().split(|&byte| byte == b',') {
            if !joined.is_empty() {
                joined.push(b',');
            }
            joined.extend_from_slice(member.trim_ascii());
        }
    }
    if *name == ACCEPT_ENCODING
        && let Some(even) = codings(&joined)
    {
        return Some(even);
    }
    Some(joined)
}

/// The codings a client takes, sorted; those with `q=0` are left out but for `identity` and `*`, where that says
/// something. How much it likes each is not kept: whichever the origin chose is one the client takes. `None` if the
/// field cannot be read.
fn codings(list: &[u8]) -> Option<Vec<u8>> {
    if list.len() > BYTES_MAX {
        return None;
    }
    let mut taken: Vec<Vec<u8>> = Vec::new();
    for member in list
        .split(|&byte| byte == b',')
        .filter(|member| !member.is_empty())
    {
        let mut parts = member.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let coding = parts
            .next()
            .filter(|coding| !coding.is_empty() && coding.iter().copied().all(is_token))?
            .to_ascii_lowercase();
        let coding = if coding == b"x-gzip" {
            b"gzip".to_vec()
        } else {
            coding
        };
        let refused = match parts.next() {
            None => false,
            Some(weight) => {
                let digits = weight
                    .strip_prefix(b"q=")
                    .or_else(|| weight.strip_prefix(b"Q="))?;
                is_zero(digits)?
            }
        };
        if parts.next().is_some() || taken.len() == CODINGS_MAX {
            return None;
        }
        match (coding.as_slice(), refused) {
            (b"identity" | b"*", true) => taken.push([coding.as_slice(), b";q=0"].concat()),
            // `identity` is allowed without being named.
            (b"identity", false) | (_, true) => {}
            (_, false) => taken.push(coding),
        }
    }
    taken.sort();
    taken.dedup();
    Some(taken.join(&b","[..]))
}

/// Is a qvalue (RFC 9110 §12.4.2) zero? `None` if it is not one.
fn is_zero(digits: &[u8]) -> Option<bool> {
    let (whole, fraction) = digits.split_first()?;
    let fraction = match fraction.split_first() {
        None => &[][..],
        Some((b'.', fraction))
            if fraction.len() <= 3 && fraction.iter().all(u8::is_ascii_digit) =>
        {
            fraction
        }
        Some(_) => return None,
    };
    let none = fraction.iter().all(|&digit| digit == b'0');
    match whole {
        b'0' => Some(none),
        b'1' if none => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn head(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::try_from(*name).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        headers
    }

    fn even(list: &str) -> Option<String> {
        codings(list.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn names_are_collected_over_lines_once_each() {
        let vary = Vary::of(&head(&[
            ("vary", "Accept-Encoding, accept"),
            ("vary", "ACCEPT ,"),
        ]))
        .unwrap();
        assert_eq!(
            vary.names
                .iter()
                .map(HeaderName::as_str)
                .collect::<Vec<_>>(),
            ["accept", "accept-encoding"]
        );
        assert!(Vary::of(&head(&[])).unwrap().is_empty());
        for bad in ["*", "accept, *", "a b", "a;b"] {
            assert_eq!(Vary::of(&head(&[("vary", bad)])), Err(Unvariable), "{bad}");
        }
    }

    #[test]
    fn the_number_of_names_is_bounded_at_the_limit() {
        let names = |count| {
            (0..count)
                .map(|at| format!("x-{at}"))
                .collect::<Vec<_>>()
                .join(",")
        };
        assert!(Vary::of(&head(&[("vary", &names(NAMES_MAX))])).is_ok());
        assert_eq!(
            Vary::of(&head(&[("vary", &names(NAMES_MAX + 1))])),
            Err(Unvariable)
        );
    }

    #[test]
    fn accept_encoding_is_evened_out() {
        for (list, form) in [
            ("gzip,deflate,br", "br,deflate,gzip"),
            ("br;q=1.0,gzip;q=0.8,*;q=0.1", "*,br,gzip"),
            ("GZIP,x-gzip", "gzip"),
            ("gzip;q=0", ""),
            ("gzip;q=0.000,br", "br"),
            ("identity", ""),
            ("identity;q=0,gzip", "gzip,identity;q=0"),
            ("*;q=0", "*;q=0"),
            ("", ""),
        ] {
            assert_eq!(even(list).as_deref(), Some(form), "{list}");
        }
        for bad in [
            "gzip;q=2",
            "gzip;q=1.5",
            "gzip;q=0.0000",
            "gzip;level=9",
            "gzip;q=1;x",
            "gzip;q",
            ";q=1",
            "g zip",
        ] {
            assert_eq!(even(bad), None, "{bad}");
        }
        assert!(even(&["a"; CODINGS_MAX].join(",")).is_some());
        assert!(even(&["a"; CODINGS_MAX + 1].join(",")).is_none());
    }

    #[test]
    fn requests_that_differ_in_a_named_field_want_different_answers() {
        let keys = KeyMaker::new([1; 32]);
        let vary = Vary::of(&head(&[("vary", "accept-encoding, x")])).unwrap();
        let of = |fields: &[(&str, &str)]| vary.variance(&keys, &head(fields)).unwrap();
        assert_eq!(
            of(&[("accept-encoding", "gzip, br")]),
            of(&[("accept-encoding", "br;q=0.5,gzip")])
        );
        assert_eq!(of(&[("x", "a, b")]), of(&[("x", "a"), ("x", " b")]));
        assert_eq!(of(&[("y", "1")]), of(&[]));
        assert_ne!(of(&[("x", "")]), of(&[]));
        assert_ne!(of(&[("x", "a")]), of(&[("x", "A")]));
        assert_ne!(
            of(&[("accept-encoding", "gzip")]),
            of(&[("accept-encoding", "br")])
        );
        assert_eq!(Vary::default().variance(&keys, &head(&[("x", "a")])), None);
    }
}
