//! What a module changed in a request's head → the head the origin gets.

use aegis_plugins::{Fields, RequestHead};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};
use pingora_error::{ErrorType, OrErr, Result};
use pingora_http::RequestHeader;

/// The head after a module's changes; its list begins with the pseudo fields.
pub(crate) fn edited(head: &RequestHead, fields: Fields) -> RequestHead {
    let mut head = RequestHead {
        headers: Vec::with_capacity(fields.len()),
        ..head.clone()
    };
    for (name, value) in fields {
        match &name[..] {
            b":method" => head.method = value,
            b":path" => head.target = value,
            b":authority" => head.authority = value,
            b":scheme" => {}
            _ => head.headers.push((name, value)),
        }
    }
    head
}

/// Puts an edited head in the place of what Pingora made of the client's.
///
/// The framing stays ours: fields of the connection are taken from `request`, a `Content-Length` only if the module left
/// it in (a module that changes a body's length takes it out first, as in Envoy), and with `body` it is that body's.
///
/// # Errors
/// A method, target, name or value that is none.
pub(crate) fn apply(
    request: &mut RequestHeader,
    head: &RequestHead,
    body: Option<&Bytes>,
) -> Result<()> {
    let method = Method::from_bytes(&head.method)
        .or_err(ErrorType::InvalidHTTPHeader, "method of a module")?;
    let mut new = RequestHeader::build(method, &head.target, Some(head.headers.len() + 8))?;
    new.set_version(request.version);
    let had_length = request.headers.get(header::CONTENT_LENGTH).cloned();
    let mut keeps_length = false;
    for (name, value) in &head.headers {
        let parsed = HeaderName::from_bytes(name)
            .or_err(ErrorType::InvalidHTTPHeader, "field of a module")?;
        if parsed == header::CONTENT_LENGTH {
            keeps_length = true;
        } else if parsed != header::HOST
            && !is_of_connection(&parsed)
            && !was_removed(request, head, &parsed)
        {
            let value = HeaderValue::from_maybe_shared(value.clone());
            new.append_header(
                name.clone(),
                value.or_err(ErrorType::InvalidHTTPHeader, "value of a module")?,
            )?;
        }
    }
    if !head.authority.is_empty() {
        new.insert_header(header::HOST, &head.authority[..])?;
    }
    for name in [
        header::CONNECTION,
        header::UPGRADE,
        header::TRANSFER_ENCODING,
    ] {
        if let Some(value) = request.headers.get(&name) {
            new.insert_header(name, value.clone())?;
        }
    }
    match (body, had_length) {
        (Some(body), _) => {
            new.insert_header(header::CONTENT_LENGTH, body.len())?;
        }
        (None, Some(length)) if keeps_length => {
            new.insert_header(header::CONTENT_LENGTH, length)?;
        }
        _ => {}
    }
    *request = new;
    Ok(())
}

fn is_of_connection(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authorization"
            | "proxy-authenticate"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// A field that `Connection` named was taken out of `request`; the module's list, made from the head as received, still
/// has it.
fn was_removed(request: &RequestHeader, head: &RequestHead, name: &HeaderName) -> bool {
    if request.headers.contains_key(name) {
        return false;
    }
    let mut connection = head
        .headers
        .iter()
        .filter(|(field, _)| field.eq_ignore_ascii_case(b"connection"));
    connection.any(|(_, value)| {
        value.split(|&b| b == b',').any(|token| {
            token
                .trim_ascii()
                .eq_ignore_ascii_case(name.as_str().as_bytes())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{apply, edited};
    use aegis_plugins::{Fields, RequestHead};
    use bytes::Bytes;
    use pingora_http::RequestHeader;
    use std::time::SystemTime;

    fn fields(list: &[(&'static str, &'static str)]) -> Fields {
        list.iter()
            .map(|(n, v)| (Bytes::from(*n), Bytes::from(*v)))
            .collect()
    }

    fn received(headers: &[(&'static str, &'static str)]) -> RequestHead {
        let nobody = "127.0.0.1:1".parse().expect("an address");
        RequestHead {
            method: "POST".into(),
            target: "/a".into(),
            scheme: "http".into(),
            authority: "x.example".into(),
            version: "HTTP/1.1".into(),
            headers: fields(headers),
            source: nobody,
            destination: nobody,
            request_id: Bytes::new(),
            received: SystemTime::UNIX_EPOCH,
            tls_version: None,
            sni: None,
            ja4: None,
            client_cert: None,
        }
    }

    fn upstream() -> RequestHeader {
        let mut request = RequestHeader::build("POST", b"/a", None).expect("a head");
        request.insert_header("Host", "x.example").expect("a field");
        request
            .insert_header("Content-Length", "3")
            .expect("a field");
        request
    }

    fn lines(request: &RequestHeader) -> String {
        let mut wire = Vec::new();
        request.header_to_h1_wire(&mut wire);
        let mut lines: Vec<_> = std::str::from_utf8(&wire).expect("text").lines().collect();
        lines.sort_unstable();
        lines.join(" | ")
    }

    #[test]
    fn method_target_host_and_fields_are_the_modules() {
        let head = received(&[]);
        let new = [
            (":method", "PUT"),
            (":path", "/b?c"),
            (":scheme", "http"),
            (":authority", "y.example"),
        ];
        let head = edited(
            &head,
            fields(
                &[
                    &new[..],
                    &[("X-A", "1"), ("x-a", "2"), ("content-length", "999")],
                ]
                .concat(),
            ),
        );
        let mut request = upstream();
        apply(&mut request, &head, None).expect("a head");
        assert_eq!(
            (request.method.as_str(), request.raw_path()),
            ("PUT", &b"/b?c"[..])
        );
        assert_eq!(
            lines(&request),
            "Content-Length: 3 | Host: y.example | X-A: 1 | x-a: 2"
        );
    }

    #[test]
    fn the_framing_stays_ours() {
        let head = edited(
            &received(&[]),
            fields(&[
                ("Transfer-Encoding", "gzip"),
                ("Connection", "x"),
                ("TE", "y"),
            ]),
        );
        let mut request = upstream();
        apply(&mut request, &head, None).expect("a head");
        assert_eq!(
            lines(&request),
            "Host: x.example",
            "without its Content-Length the body goes in chunks"
        );
        let mut request = upstream();
        apply(&mut request, &head, Some(&Bytes::from("12345"))).expect("a head");
        assert_eq!(lines(&request), "Content-Length: 5 | Host: x.example");
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for bad in [(":method", "G T"), ("a b", "1"), ("X-Bad", "a\r\nb")] {
            let head = edited(&received(&[]), fields(&[bad]));
            assert!(apply(&mut upstream(), &head, None).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn fields_named_by_connection_do_not_come_back() {
        let head = received(&[("Connection", "X-Hop"), ("X-Hop", "1"), ("X-Keep", "1")]);
        let mut request = upstream();
        request.insert_header("X-Keep", "1").expect("a field");
        apply(&mut request, &head, None).expect("a head");
        assert_eq!(lines(&request), "Host: x.example | X-Keep: 1");
    }
}
