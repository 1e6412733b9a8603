//! The request as it was received, for modules that judge it: raw target, fields in order and case, `Host` among them.
//!
//! One field is left out: `Expect: 100-continue` of a body that is held here. It is ours to answer, no origin will see
//! it, and the Core Rule Set takes it for an attack on whoever stands behind us.

use crate::ctx::Ctx;
use crate::facts;
use aegis_identity::Connection;
use aegis_plugins::{ClientCert, Fields, RequestHead};
use bytes::Bytes;
use pingora_core::protocols::http::ServerSession;
use std::sync::Arc;

/// Builds the head. HTTP/1: from the bytes of the head, without copying them. HTTP/2: the fields as decoded.
pub(crate) fn head(session: &ServerSession, ctx: &Ctx, takes_body: bool) -> Arc<RequestHead> {
    let request = session.req_header();
    let (target, mut headers) = match session.as_http1() {
        Some(http1) => {
            let raw = http1.get_headers_raw_bytes();
            (target(&raw), fields(&raw))
        }
        None => {
            let fields = request.headers.iter();
            let copy = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
                (
                    Bytes::copy_from_slice(name.as_str().as_bytes()),
                    Bytes::copy_from_slice(value.as_bytes()),
                )
            };
            (
                Bytes::copy_from_slice(request.raw_path()),
                fields.map(copy).collect(),
            )
        }
    };
    if takes_body {
        headers.retain(|(name, value)| {
            !(name.eq_ignore_ascii_case(b"expect") && value.eq_ignore_ascii_case(b"100-continue"))
        });
    }
    let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let connection = ctx.connection();
    Arc::new(RequestHead {
        method: text(request.method.as_str()),
        target,
        scheme: Bytes::from_static(ctx.scheme().as_bytes()),
        authority: facts::host(request)
            .ok()
            .flatten()
            .map(text)
            .unwrap_or_default(),
        version: Bytes::from_static(facts::version(request.version).as_bytes()),
        headers,
        source: ctx.client(),
        destination: connection.map_or_else(|| ctx.client(), |connection| connection.local),
        request_id: text(ctx.request_id()),
        received: ctx.time,
        tls_version: connection
            .and_then(Connection::tls_version)
            .map(|v| Bytes::from_static(v.as_bytes())),
        sni: connection.and_then(Connection::sni).map(text),
        ja4: connection.and_then(Connection::ja4).map(text),
        client_cert: ctx.client_certificate().map(|shown| ClientCert {
            subject: text(&shown.subject),
            sha256: text(&shown.fingerprint),
        }),
    })
}

/// What stands between the method and the version on the first line.
fn target(raw: &Bytes) -> Bytes {
    let line = raw
        .split(|&b| b == b'\n')
        .next()
        .unwrap_or_default()
        .trim_ascii_end();
    let mut parts = line.splitn(2, |&b| b == b' ');
    let rest = parts.nth(1).unwrap_or_default();
    let end = memchr::memrchr(b' ', rest).unwrap_or(rest.len());
    raw.slice_ref(rest.get(..end).unwrap_or_default())
}

fn fields(raw: &Bytes) -> Fields {
    let mut fields = Fields::with_capacity(24);
    for line in raw.split(|&b| b == b'\n').skip(1) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(colon) = memchr::memchr(b':', line) else {
            continue;
        };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        fields.push((raw.slice_ref(name), raw.slice_ref(value)));
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::{fields, target};
    use bytes::Bytes;

    #[test]
    fn a_head_is_read_as_it_was_sent() {
        let raw = Bytes::from_static(
            b"GET /a%2fb?x= y HTTP/1.1\r\nhOsT: x\r\nA:1\r\na:  two words \r\nEmpty:\r\nX: a:b\r\n\r\n",
        );
        assert_eq!(target(&raw), "/a%2fb?x= y");
        let fields: Vec<_> = fields(&raw)
            .into_iter()
            .map(|(n, v)| {
                (
                    String::from_utf8_lossy(&n).into_owned(),
                    String::from_utf8_lossy(&v).into_owned(),
                )
            })
            .collect();
        let expected = [
            ("hOsT", "x"),
            ("A", "1"),
            ("a", "two words"),
            ("Empty", ""),
            ("X", "a:b"),
        ];
        assert_eq!(fields, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }

    #[test]
    fn bare_line_feeds_and_nonsense_do_no_harm() {
        let raw = Bytes::from_static(b"GET / HTTP/1.1\nA: 1\nnonsense\n\n");
        assert_eq!(target(&raw), "/");
        assert_eq!(fields(&raw).len(), 1);
        assert_eq!(target(&Bytes::from_static(b"")), "");
        assert_eq!(target(&Bytes::from_static(b"GET")), "");
    }
}
