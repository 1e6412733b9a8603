//! `If-None-Match` and `If-Modified-Since` judged against a stored answer (RFC 9110 §13, RFC 9111 §4.3.2).

use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH};
use http::{HeaderMap, StatusCode};

/// Longest `If-None-Match` read, over all its lines.
const BYTES_MAX: usize = 8_192;

/// Does the client have this answer already, so that 304 will do? What cannot be read does not match: the client then
/// gets the whole answer.
#[must_use]
pub fn not_modified(
    request: &HeaderMap,
    status: StatusCode,
    etag: Option<&[u8]>,
    last_modified: Option<&[u8]>,
) -> bool {
    if status != StatusCode::OK {
        return false;
    }
    // §13.2.2: If-Modified-Since counts only without If-None-Match.
    if request.contains_key(IF_NONE_MATCH) {
        let mut bytes = 0_usize;
        return request.get_all(IF_NONE_MATCH).iter().any(|line| {
            bytes = bytes.saturating_add(line.len());
            bytes <= BYTES_MAX && names(line.as_bytes(), etag)
        });
    }
    let since = request
        .get(IF_MODIFIED_SINCE)
        .and_then(|since| date(since.as_bytes()));
    let modified = last_modified.and_then(date);
    matches!((since, modified), (Some(since), Some(modified)) if modified <= since)
}

/// `"*" / #entity-tag`, compared weakly (§8.8.3.2).
fn names(line: &[u8], etag: Option<&[u8]>) -> bool {
    let line = line.trim_ascii();
    if line == b"*" {
        return true;
    }
    let Some(etag) = etag else {
        return false;
    };
    let opaque = etag.strip_prefix(b"W/").unwrap_or(etag);
    let mut rest = line;
    loop {
        let start = rest
            .iter()
            .position(|byte| !matches!(byte, b' ' | b'\t' | b','))
            .unwrap_or(rest.len());
        rest = rest.get(start..).unwrap_or_default();
        let tag = rest.strip_prefix(b"W/").unwrap_or(rest);
        let Some(end) = tag
            .strip_prefix(b"\"")
            .and_then(|inside| inside.iter().position(|&byte| byte == b'"'))
        else {
            return false;
        };
        let (tag, after) = tag.split_at_checked(end + 2).unwrap_or((tag, b""));
        if tag == opaque {
            return true;
        }
        rest = after;
    }
}

fn date(value: &[u8]) -> Option<std::time::SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn judge(fields: &[(&'static str, &str)], etag: Option<&str>, modified: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        not_modified(
            &headers,
            StatusCode::OK,
            etag.map(str::as_bytes),
            modified.map(str::as_bytes),
        )
    }

    #[test]
    fn tags_match_weakly_anywhere_in_the_list() {
        for (list, etag, matches) in [
            ("\"a\"", "\"a\"", true),
            ("W/\"a\"", "\"a\"", true),
            ("\"a\"", "W/\"a\"", true),
            ("\"x,y\" , \"a\"", "\"a\"", true),
            ("*", "\"a\"", true),
            ("\"x\", \"y\"", "\"a\"", false),
            ("\"x,\"a\"", "\"a\"", false),
            ("a", "\"a\"", false),
            ("\"a", "\"a\"", false),
            ("", "\"a\"", false),
        ] {
            assert_eq!(
                judge(&[("if-none-match", list)], Some(etag), None),
                matches,
                "{list}"
            );
        }
        assert!(judge(
            &[("if-none-match", "\"x\""), ("if-none-match", "\"a\"")],
            Some("\"a\""),
            None
        ));
        assert!(!judge(&[("if-none-match", "\"a\"")], None, None));
    }

    #[test]
    fn the_date_counts_only_without_a_tag() {
        let noon = "Tue, 18 Nov 2025 12:00:00 GMT";
        assert!(judge(&[("if-modified-since", noon)], None, Some(noon)));
        assert!(judge(
            &[("if-modified-since", noon)],
            None,
            Some("Tue, 18 Nov 2025 11:59:59 GMT")
        ));
        assert!(!judge(
            &[("if-modified-since", noon)],
            None,
            Some("Tue, 18 Nov 2025 12:00:01 GMT")
        ));
        assert!(!judge(
            &[("if-modified-since", "yesterday")],
            None,
            Some(noon)
        ));
        assert!(!judge(
            &[("if-modified-since", noon), ("if-none-match", "\"x\"")],
            Some("\"a\""),
            Some(noon)
        ));
    }

    #[test]
    fn only_a_200_can_be_not_modified() {
        let mut headers = HeaderMap::new();
        headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        assert!(!not_modified(
            &headers,
            StatusCode::NOT_FOUND,
            Some(b"\"a\""),
            None
        ));
    }

    #[test]
    fn a_list_is_read_up_to_its_bound() {
        let filler = format!("\"{}\"", "x".repeat(BYTES_MAX - 6));
        assert!(
            judge(
                &[("if-none-match", &format!("{filler},\"a\""))],
                Some("\"a\""),
                None
            ),
            "at the bound"
        );
        assert!(
            !judge(
                &[("if-none-match", &format!("{filler}, \"a\""))],
                Some("\"a\""),
                None
            ),
            "one past it"
        );
    }
}
