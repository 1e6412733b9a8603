//! What the stages see of a request head: plain facts, whatever protocol it came by.

use crate::fault::Fault;
use http::{HeaderMap, Method, Version, header};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::authority::{RawTargetAuthority, raw_target_authority};
use pingora_http::RequestHeader;

/// A request head, read once.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    /// Method.
    pub(crate) method: &'a str,
    /// `Host`, `:authority`, or the authority of an absolute-form target; as received.
    pub(crate) host: Option<&'a str>,
    /// Path without query.
    pub(crate) path: &'a str,
    /// Path with query, in the form an origin expects it.
    pub(crate) origin_form: &'a str,
    /// All fields.
    pub(crate) headers: &'a HeaderMap,
}

impl<'a> Facts<'a> {
    /// Reads the head.
    ///
    /// # Errors
    /// The target or the host cannot be understood.
    pub(crate) fn of(head: &'a RequestHeader) -> Result<Self, Fault> {
        let method = head.method.as_str();
        let target = head.raw_path();
        if !matches!(target.first(), Some(b'/')) {
            check_form(head, target)?;
        }
        Ok(Self {
            method,
            host: host(head)?,
            path: head.uri.path(),
            origin_form: head.uri.path_and_query().map_or("/", |p| p.as_str()),
            headers: &head.headers,
        })
    }
}

/// Reads the head of the request in `session`.
///
/// # Errors
/// As [`Facts::of`]; and both `Content-Length` and `Transfer-Encoding` came. Pingora goes on by the latter, as RFC 9112
/// §6.3 allows, but whoever sent both may have meant to smuggle a request past somebody who goes by the former.
pub(crate) fn read(session: &ServerSession) -> Result<Facts<'_>, Fault> {
    let head = session.req_header();
    if head.headers.contains_key(header::TRANSFER_ENCODING)
        && session
            .as_http1()
            .is_some_and(|http1| has_length(&http1.get_headers_raw_bytes()))
    {
        return Err(Fault::BadRequest("It gives its length in two ways."));
    }
    Facts::of(head)
}

fn has_length(raw: &[u8]) -> bool {
    const NAME: &[u8] = b"content-length";
    let mut lines = raw.split(|&b| b == b'\n');
    lines.any(|line| {
        let name = line.split(|&b| b == b':').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(NAME)
    })
}

/// The forms besides origin-form (RFC 9112 §3.2): absolute-form of HTTP, and `*` for OPTIONS.
fn check_form(head: &RequestHeader, target: &[u8]) -> Result<(), Fault> {
    let known = match raw_target_authority(target) {
        RawTargetAuthority::Absolute { scheme, .. } => {
            scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https")
        }
        RawTargetAuthority::None => target == b"*" && head.method == Method::OPTIONS,
        RawTargetAuthority::AmbiguousAuthority => false,
    };
    // CONNECT has a form of its own, and is refused by its method.
    if known || head.method == Method::CONNECT {
        return Ok(());
    }
    Err(Fault::BadRequest(
        "Its target is neither a path nor an address of the web.",
    ))
}

/// The host a request names, as received.
pub(crate) fn host(head: &RequestHeader) -> Result<Option<&str>, Fault> {
    const BAD: Fault = Fault::BadRequest("Its host is not a name.");
    if let Some(authority) = head.uri.authority() {
        return Ok(Some(authority.as_str()));
    }
    let named = match head.headers.get(header::HOST) {
        Some(host) => Some(host.as_bytes()),
        None => raw_target_authority(head.raw_path()).authority(),
    };
    match named {
        Some(name) if !name.is_empty() => std::str::from_utf8(name).map(Some).map_err(|_| BAD),
        None if head.version == Version::HTTP_11 => Err(Fault::BadRequest("It names no host.")),
        _ => Ok(None),
    }
}

/// `HTTP/1.1`
pub(crate) fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}

#[cfg(test)]
mod tests {
    use super::Facts;
    use crate::fault::Fault;
    use http::Version;
    use pingora_http::RequestHeader;

    fn head(method: &str, target: &[u8], host: Option<&str>) -> RequestHeader {
        let mut head = RequestHeader::build(method, target, None).expect("a head");
        if let Some(host) = host {
            head.insert_header("Host", host).expect("a value");
        }
        head
    }

    #[test]
    fn every_form_of_target_has_a_host_and_a_path() {
        for (method, target, host, expected) in [
            (
                "GET",
                "/a/b?c=d",
                Some("x.example"),
                (Some("x.example"), "/a/b", "/a/b?c=d"),
            ),
            (
                "GET",
                "http://x.example/a?b",
                Some("x.example"),
                (Some("x.example"), "/a", "/a?b"),
            ),
            (
                "GET",
                "http://x.example",
                None,
                (Some("x.example"), "/", "/"),
            ),
            (
                "OPTIONS",
                "*",
                Some("x.example"),
                (Some("x.example"), "*", "*"),
            ),
            ("GET", "/", Some(""), (None, "/", "/")),
        ] {
            let head = head(method, target.as_bytes(), host);
            let facts = Facts::of(&head).expect(target);
            assert_eq!(
                (facts.host, facts.path, facts.origin_form),
                expected,
                "{target}"
            );
        }
    }

    #[test]
    fn what_names_no_resource_is_refused() {
        for (method, target, host) in [
            ("GET", "x", Some("x.example")),
            ("GET", "*", Some("x.example")),
            ("GET", "ftp://x.example/", Some("x.example")),
            ("GET", "x.example:80", Some("x.example")),
            ("GET", "/", None),
        ] {
            let refused = Facts::of(&head(method, target.as_bytes(), host)).map(|_| ());
            assert!(
                matches!(refused, Err(Fault::BadRequest(_))),
                "{method} {target}"
            );
        }
    }

    #[test]
    fn http_1_0_needs_no_host() {
        let mut old = head("GET", b"/", None);
        old.set_version(Version::HTTP_10);
        assert_eq!(Facts::of(&old).expect("a request").host, None);
    }
}
