//! `Cache-Control` (RFC 9111 §5.2), read strictly and within bounds.
//!
//! Anything that is not `1#( token [ "=" ( token / quoted-string ) ] )` is [`Malformed`]; what that means is for the
//! caller, who must take the careful side. Qualified `private="x"` and `no-cache="x"` count as the bare directive,
//! as §5.2.2.4 and §5.2.2.7 allow.

use http::HeaderMap;
use http::header::CACHE_CONTROL;

/// Longest `Cache-Control` in all of a message's lines, in bytes.
const BYTES_MAX: usize = 4_096;
/// Most directives in a message.
const DIRECTIVES_MAX: usize = 64;
/// RFC 9111 §1.2.2: larger delta-seconds mean this.
pub(crate) const SECONDS_MAX: u32 = 1 << 31;

/// The field does not follow the grammar, or is past a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A directive's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Delta {
    /// Not there.
    #[default]
    Absent,
    /// Seconds.
    Seconds(u32),
    /// Not a number, or given twice with different values: §4.2.1 wants that to mean stale.
    Invalid,
}

impl Delta {
    fn set(&mut self, argument: Option<&[u8]>) {
        let new = argument
            .and_then(delta_seconds)
            .map_or(Self::Invalid, Self::Seconds);
        *self = match *self {
            Self::Absent => new,
            old if old == new => old,
            _ => Self::Invalid,
        };
    }

    pub(crate) fn is_present(self) -> bool {
        self != Self::Absent
    }
}

/// RFC 9111 §1.2.2.
pub(crate) fn delta_seconds(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut value: u32 = 0;
    for digit in digits {
        value = value
            .saturating_mul(10)
            .saturating_add(u32::from(digit - b'0'))
            .min(SECONDS_MAX);
    }
    Some(value)
}

/// What a response says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ResponseDirectives {
    pub(crate) no_store: bool,
    pub(crate) no_cache: bool,
    pub(crate) private: bool,
    pub(crate) public: bool,
    pub(crate) must_revalidate: bool,
    pub(crate) proxy_revalidate: bool,
    pub(crate) must_understand: bool,
    pub(crate) max_age: Delta,
    pub(crate) s_maxage: Delta,
    pub(crate) stale_if_error: Delta,
}

impl ResponseDirectives {
    pub(crate) fn parse(headers: &HeaderMap) -> Result<Self, Malformed> {
        let mut all = Self::default();
        each(headers, |name, argument| match name {
            Name::NoStore => all.no_store = true,
            Name::NoCache => all.no_cache = true,
            Name::Private => all.private = true,
            Name::Public => all.public = true,
            Name::MustRevalidate => all.must_revalidate = true,
            Name::ProxyRevalidate => all.proxy_revalidate = true,
            Name::MustUnderstand => all.must_understand = true,
            Name::MaxAge => all.max_age.set(argument),
            Name::SMaxage => all.s_maxage.set(argument),
            Name::StaleIfError => all.stale_if_error.set(argument),
            Name::MaxStale | Name::MinFresh | Name::OnlyIfCached => {}
        })?;
        Ok(all)
    }
}

/// How stale an answer a client takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum MaxStale {
    #[default]
    No,
    Any,
    Seconds(u32),
}

/// What a request says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RequestDirectives {
    pub(crate) no_store: bool,
    pub(crate) no_cache: bool,
    pub(crate) only_if_cached: bool,
    pub(crate) max_age: Delta,
    pub(crate) min_fresh: Delta,
    pub(crate) max_stale: MaxStale,
}

impl RequestDirectives {
    pub(crate) fn parse(headers: &HeaderMap) -> Result<Self, Malformed> {
        let mut all = Self::default();
        each(headers, |name, argument| match name {
            Name::NoStore => all.no_store = true,
            Name::NoCache => all.no_cache = true,
            Name::OnlyIfCached => all.only_if_cached = true,
            Name::MaxAge => all.max_age.set(argument),
            Name::MinFresh => all.min_fresh.set(argument),
            // Without an argument any staleness will do; one that cannot be read permits none.
            Name::MaxStale => {
                all.max_stale = argument.map_or(MaxStale::Any, |digits| {
                    delta_seconds(digits).map_or(MaxStale::No, MaxStale::Seconds)
                });
            }
            _ => {}
        })?;
        Ok(all)
    }
}

/// The directives somebody acts on.
#[derive(Clone, Copy)]
enum Name {
    NoStore,
    NoCache,
    Private,
    Public,
    MustRevalidate,
    ProxyRevalidate,
    MustUnderstand,
    MaxAge,
    SMaxage,
    StaleIfError,
    MaxStale,
    MinFresh,
    OnlyIfCached,
}

const NAMES: [(&str, Name); 13] = [
    ("max-age", Name::MaxAge),
    ("public", Name::Public),
    ("no-cache", Name::NoCache),
    ("no-store", Name::NoStore),
    ("private", Name::Private),
    ("s-maxage", Name::SMaxage),
    ("must-revalidate", Name::MustRevalidate),
    ("proxy-revalidate", Name::ProxyRevalidate),
    ("must-understand", Name::MustUnderstand),
    ("stale-if-error", Name::StaleIfError),
    ("max-stale", Name::MaxStale),
    ("min-fresh", Name::MinFresh),
    ("only-if-cached", Name::OnlyIfCached),
];

fn each(headers: &HeaderMap, mut found: impl FnMut(Name, Option<&[u8]>)) -> Result<(), Malformed> {
    let (mut bytes, mut directives) = (0_usize, 0_usize);
    for line in headers.get_all(CACHE_CONTROL) {
        let mut rest = line.as_bytes();
        bytes = bytes.saturating_add(rest.len());
        if bytes > BYTES_MAX {
            return Err(Malformed);
        }
        loop {
            rest = skip(rest, |byte| matches!(byte, b' ' | b'\t' | b','));
            if rest.is_empty() {
                break;
            }
            directives += 1;
            if directives > DIRECTIVES_MAX {
                return Err(Malformed);
            }
            let (name, after) = token(rest)?;
            let (argument, after) = argument(after)?;
            rest = skip(after, |byte| matches!(byte, b' ' | b'\t'));
            if !matches!(rest.first(), None | Some(b',')) {
                return Err(Malformed);
            }
            if let Some((_, name)) = NAMES
                .iter()
                .find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name))
            {
                found(*name, argument);
            }
        }
    }
    Ok(())
}

fn skip(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> &[u8] {
    let end = bytes
        .iter()
        .position(|&byte| !wanted(byte))
        .unwrap_or(bytes.len());
    bytes.get(end..).unwrap_or_default()
}

/// RFC 9110 §5.6.2.
pub(crate) fn token(bytes: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let end = bytes
        .iter()
        .position(|&byte| !is_token(byte))
        .unwrap_or(bytes.len());
    if end == 0 {
        Err(Malformed)
    } else {
        bytes.split_at_checked(end).ok_or(Malformed)
    }
}

pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// `[ "=" ( token / quoted-string ) ]`; of a quoted string the inside, escapes as they stand (no number has any).
fn argument(bytes: &[u8]) -> Result<(Option<&[u8]>, &[u8]), Malformed> {
    let Some(value) = bytes.strip_prefix(b"=") else {
        return Ok((None, bytes));
    };
    let Some(quoted) = value.strip_prefix(b"\"") else {
        return token(value).map(|(argument, rest)| (Some(argument), rest));
    };
    let mut escaped = false;
    let end = quoted.iter().position(|&byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    });
    let (inside, rest) = end
        .and_then(|end| quoted.split_at_checked(end))
        .ok_or(Malformed)?;
    Ok((Some(inside), rest.get(1..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn lines(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(
                CACHE_CONTROL,
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        headers
    }

    #[test]
    fn directives_are_read_in_any_case_over_lines_and_in_both_forms_of_argument() {
        let read = ResponseDirectives::parse(&lines(&[
            "Max-Age=60 ,, PUBLIC",
            "s-maxage=\"120\", foo=bar, x=\"a,\\\"b\"",
        ]))
        .unwrap();
        assert_eq!(
            (read.max_age, read.s_maxage, read.public),
            (Delta::Seconds(60), Delta::Seconds(120), true)
        );
        assert!(
            ResponseDirectives::parse(&lines(&["private=\"set-cookie, x\""]))
                .unwrap()
                .private
        );
        assert_eq!(
            RequestDirectives::parse(&lines(&["max-stale"]))
                .unwrap()
                .max_stale,
            MaxStale::Any
        );
        assert_eq!(
            RequestDirectives::parse(&lines(&["max-stale=x"]))
                .unwrap()
                .max_stale,
            MaxStale::No
        );
    }

    #[test]
    fn what_is_not_the_grammar_is_malformed() {
        for bad in [
            "max-age=60 no-store",
            "=1",
            "max-age=\"60",
            "max-age =60",
            "max-age= 60",
            "a;b",
            "no-store\u{e9}",
            "\"no-store\"",
        ] {
            assert_eq!(
                ResponseDirectives::parse(&lines(&[bad])),
                Err(Malformed),
                "{bad}"
            );
        }
    }

    #[test]
    fn numbers_saturate_and_contradictions_are_invalid() {
        let read = |text: &str| ResponseDirectives::parse(&lines(&[text])).unwrap().max_age;
        assert_eq!(read("max-age=2147483648"), Delta::Seconds(SECONDS_MAX));
        assert_eq!(
            read("max-age=99999999999999999999999"),
            Delta::Seconds(SECONDS_MAX)
        );
        assert_eq!(read("max-age=5, max-age=5"), Delta::Seconds(5));
        for bad in [
            "max-age=5, max-age=6",
            "max-age",
            "max-age=-1",
            "max-age=1.5",
            "max-age=\"\"",
        ] {
            assert_eq!(read(bad), Delta::Invalid, "{bad}");
        }
    }

    #[test]
    fn length_and_count_are_bounded_at_the_limit() {
        let long = format!("x={}", "y".repeat(BYTES_MAX - 2));
        assert!(ResponseDirectives::parse(&lines(&[&long])).is_ok());
        assert_eq!(
            ResponseDirectives::parse(&lines(&[&long, "z"])),
            Err(Malformed)
        );
        let many = vec!["a"; DIRECTIVES_MAX].join(",");
        assert!(ResponseDirectives::parse(&lines(&[&many])).is_ok());
        assert_eq!(
            ResponseDirectives::parse(&lines(&[&many, "a"])),
            Err(Malformed)
        );
    }
}
