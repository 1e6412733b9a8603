//! Values that no log and no security event may show, by the names of what holds them.
//!
//! A name is secret when it holds one of a few well-known words or is one of those an operator named
//! (`node.log.mask`); upper and lower case are one. In a target that concerns the parameters of its query, whatever way
//! their names are encoded.

use arc_swap::ArcSwap;
use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

/// What stands in a value's place.
pub const MASK: &str = "(masked)";

const WORDS: [&[u8]; 4] = [b"password", b"passwd", b"secret", b"token"];

static NAMES: LazyLock<ArcSwap<Vec<String>>> = LazyLock::new(ArcSwap::default);

/// The names that are secret from now on, beside the well-known words.
pub fn set(names: &[String]) {
    NAMES.store(Arc::new(names.to_vec()));
}

/// Whether what has this name must not be shown.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    is_secret_name(name.as_bytes(), &NAMES.load())
}

/// A target or URL as it may be shown.
#[must_use]
pub fn target(target: &[u8]) -> Cow<'_, [u8]> {
    match target.iter().position(|&byte| byte == b'?') {
        Some(query) => pairs(target, query + 1, b"&;"),
        None => Cow::Borrowed(target),
    }
}

/// A text that may hold parameters anywhere: a body, a request line, JSON.
#[must_use]
pub fn text(text: &str) -> String {
    let masked = pairs(text.as_bytes(), 0, b"?&; \t\r\n");
    members(&String::from_utf8_lossy(&masked))
}

/// Masks the values of `"name": value` in JSON, which may be cut anywhere.
fn members(text: &str) -> String {
    let names = NAMES.load();
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once('"') {
        let name_end = string_end(after);
        let name = after.get(..name_end).unwrap_or_default();
        let behind = after.get(name_end..).unwrap_or_default();
        let value = behind
            .strip_prefix('"')
            .and_then(|behind| behind.trim_start().strip_prefix(':'))
            .map(str::trim_start);
        out.extend([before, "\"", name]);
        rest = behind;
        let Some(value) = value.filter(|_| is_secret_name(name.as_bytes(), &names)) else {
            if let Some(behind) = behind.strip_prefix('"') {
                out.push('"');
                rest = behind;
            }
            continue;
        };
        let end = match value.strip_prefix('"') {
            Some(string) => (string_end(string) + 2).min(value.len()),
            // A list or an object goes whole, as far as its first end: what is in it has no name of its own.
            None => value.find([',', '}', ']']).unwrap_or(value.len()),
        };
        out.extend(["\":", MASK]);
        rest = value.get(end..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// Where the string of JSON ends whose first quote is before this text.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.unwrap_or(text.len())
}

/// Masks the values of `name=value` from a place on.
fn pairs<'a>(bytes: &'a [u8], from: usize, between: &[u8]) -> Cow<'a, [u8]> {
    let names = NAMES.load();
    let mut masked: Option<Vec<u8>> = None;
    let mut at = from;
    let mut copied = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let end = rest
            .iter()
            .position(|byte| between.contains(byte))
            .unwrap_or(rest.len());
        let pair = rest.get(..end).unwrap_or_default();
        if let Some(equals) = pair.iter().position(|&byte| byte == b'=')
            && equals + 1 < pair.len()
            && is_secret_name(pair.get(..equals).unwrap_or_default(), &names)
        {
            let out = masked.get_or_insert_with(|| Vec::with_capacity(bytes.len()));
            out.extend_from_slice(bytes.get(copied..=at + equals).unwrap_or_default());
            out.extend_from_slice(MASK.as_bytes());
            copied = at + end;
        }
        at += end + 1;
    }
    match masked {
        None => Cow::Borrowed(bytes),
        Some(mut out) => {
            out.extend_from_slice(bytes.get(copied..).unwrap_or_default());
            Cow::Owned(out)
        }
    }
}

fn is_secret_name(name: &[u8], names: &[String]) -> bool {
    let name = if name.contains(&b'%') {
        Cow::Owned(decoded(name))
    } else {
        Cow::Borrowed(name)
    };
    let holds = |word: &[u8]| {
        name.windows(word.len())
            .any(|part| part.eq_ignore_ascii_case(word))
    };
    WORDS.into_iter().any(holds)
        || names
            .iter()
            .any(|secret| name.eq_ignore_ascii_case(secret.as_bytes()))
}

/// Percent-decoded, as far as it can be; more than once, as the one behind us may.
fn decoded(name: &[u8]) -> Vec<u8> {
    let mut bytes = name.to_vec();
    for _ in 0..3 {
        let mut out = Vec::with_capacity(bytes.len());
        let mut rest = bytes.as_slice();
        while let Some((&byte, after)) = rest.split_first() {
            let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
            if byte == b'%'
                && let (Some(high), Some(low)) = (digit(0), digit(1))
            {
                out.push((high * 16 + low) as u8);
                rest = after.get(2..).unwrap_or_default();
            } else {
                out.push(byte);
                rest = after;
            }
        }
        if out.len() == bytes.len() {
            break;
        }
        bytes = out;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_a_query_are_masked_and_nothing_else_is_touched() {
        let shown = |text: &'static str| {
            String::from_utf8(target(text.as_bytes()).into_owned()).expect("text")
        };
        for (given, expected) in [
            (
                "/login?user=a&password=b",
                "/login?user=a&password=(masked)",
            ),
            ("/?api_TOKEN=b&x=1", "/?api_TOKEN=(masked)&x=1"),
            ("/?a=1;secret=2;b=3", "/?a=1;secret=(masked);b=3"),
            ("/?%70assword=b", "/?%70assword=(masked)"),
            ("/?%2570assword=b", "/?%2570assword=(masked)"),
            ("/?password=a=b&c", "/?password=(masked)&c"),
            ("/?password=?x&y", "/?password=(masked)&y"),
            ("/?password=", "/?password="),
            ("/?password", "/?password"),
            ("/password=b", "/password=b"),
            ("/?", "/?"),
            ("/?&&=&%", "/?&&=&%"),
        ] {
            assert_eq!(shown(given), expected);
        }
        assert!(matches!(target(b"/?a=b&c=d"), Cow::Borrowed(_)));
    }

    #[test]
    fn an_operator_names_more() {
        assert!(!is_secret("test_iban"));
        set(&["test_iban".to_owned()]);
        assert!(is_secret("Test_IBAN") && !is_secret("test_iban2"));
        assert_eq!(
            &*target(b"/?test_iban=DE1&x=1"),
            b"/?test_iban=(masked)&x=1"
        );
        assert_eq!(
            text("POST /?x=1&test_iban=DE1 HTTP/1.1"),
            "POST /?x=1&test_iban=(masked) HTTP/1.1"
        );
        set(&[]);
    }

    #[test]
    fn secrets_in_json_are_masked_wherever_it_is_cut() {
        for (given, expected) in [
            (
                r#"{"user":"a","password":"hunter2","b":1}"#,
                r#"{"user":"a","password":(masked),"b":1}"#,
            ),
            (r#"{"password" : "hun\"ter2"}"#, r#"{"password":(masked)}"#),
            (
                r#"{"api_token": 12345, "b": 2}"#,
                r#"{"api_token":(masked), "b": 2}"#,
            ),
            (r#"{"password":"hunt"#, r#"{"password":(masked)"#),
            (r#"{"a":"password","b":"c"}"#, r#"{"a":"password","b":"c"}"#),
            (r#"{"a"#, r#"{"a"#),
            (r#"""#, r#"""#),
            ("no json", "no json"),
        ] {
            assert_eq!(text(given), expected, "{given}");
        }
    }
}
