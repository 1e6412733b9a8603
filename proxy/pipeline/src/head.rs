//! Which fields go on, and which are ours.
//!
//! Towards the origin Pingora removes what concerns one connection only: `Connection` and the fields it names,
//! `Keep-Alive`, `Proxy-*`, `TE`, `Trailer`, `Transfer-Encoding`, `Upgrade` (but for WebSocket), `HTTP2-Settings`. Here
//! the fields by which a proxy speaks of the client are replaced by what is known: what came in them was written by the
//! client, or was read and judged at stage 5. So `X-Forwarded-For` begins with the client, whom an origin may believe,
//! and goes on with the trusted proxies after it. `Forwarded` is not sent: two fields that say the same can differ.
//! `Host` goes on as received.

use crate::ctx::Ctx;
use crate::fault::Fault;
use crate::gate;
use crate::limits::stage as limits;
use crate::spans;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use pingora_error::Result;
use pingora_http::{RequestHeader, ResponseHeader};

/// Hops through this proxy before a request is taken for one that goes in a circle.
const HOPS_MAX: usize = 8;
/// Our name in `Via` (RFC 9110 §7.6.3).
const PSEUDONYM: &str = "aegis";
const VIA_11: HeaderValue = HeaderValue::from_static("1.1 aegis");
const VIA_2: HeaderValue = HeaderValue::from_static("2 aegis");
/// What origins read as a proxy's word about the client; those of [`FAMILIES`] besides.
const CLAIMS: [&str; 18] = [
    "client-cert",
    "client-cert-chain",
    "forwarded",
    "x-request-id",
    "traceparent",
    "tracestate",
    "x-real-ip",
    "x-original-url",
    "x-original-host",
    "x-rewrite-url",
    "x-host",
    "front-end-https",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
];
/// How whole families of them begin. The latter three are what proxies call certificates of clients.
const FAMILIES: [&str; 4] = ["x-forwarded-", "x-client-cert", "ssl-client-", "x-ssl-"];
/// Fields of the origin's connection besides `Connection` itself.
const ORIGIN_HOP: [&str; 4] = ["keep-alive", "proxy-connection", "trailer", "upgrade"];

/// Makes the head for the origin out of the client's (already without fields of the connection).
pub(crate) fn to_origin(head: &mut RequestHeader, ctx: &Ctx, host: Option<&str>) -> Result<()> {
    if !head.raw_path().starts_with(b"/") {
        // An origin server expects origin-form (RFC 9112 §3.2.1); the authority moves to `Host`.
        let target = head
            .uri
            .path_and_query()
            .map_or("/", |p| p.as_str())
            .to_owned();
        if let Some(host) = host
            && !head.headers.contains_key(header::HOST)
        {
            head.insert_header(header::HOST, host)?;
        }
        head.set_raw_path(target.as_bytes())?;
    }
    if head.headers.keys().any(is_claim) {
        let claims = head.headers.keys().filter(|name| is_claim(name));
        for name in claims.cloned().collect::<Vec<_>>() {
            head.remove_header(&name);
        }
    }
    head.insert_header("X-Forwarded-For", ctx.chain())?;
    head.insert_header("X-Forwarded-Proto", HeaderValue::from_static(ctx.scheme()))?;
    if let Some(host) = ctx.forwarded_host().or(host) {
        head.insert_header("X-Forwarded-Host", host)?;
    }
    gate::tell_origin(head, ctx)?;
    head.insert_header("X-Request-Id", ctx.request_id())?;
    spans::tell_origin(head, ctx)?;
    head.append_header(
        "Via",
        if ctx.version == Version::HTTP_2 {
            VIA_2
        } else {
            VIA_11
        },
    )?;
    if ctx.closes_origin_connection() && !head.headers.contains_key(header::UPGRADE) {
        head.insert_header(header::CONNECTION, "close")?;
    }
    Ok(())
}

/// Has this request passed here too often?
pub(crate) fn check_loop(headers: &HeaderMap) -> std::result::Result<(), Fault> {
    let hops = headers
        .get_all(header::VIA)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&b| b == b','))
        .filter(|hop| hop.trim_ascii().split(|&b| b == b' ').nth(1) == Some(PSEUDONYM.as_bytes()))
        .count();
    if hops >= HOPS_MAX {
        Err(Fault::Loop)
    } else {
        Ok(())
    }
}

/// CGI and what came after it make one variable of `X-Real-IP` and `X_Real_IP`.
fn is_claim(name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    if !matches!(name.first(), Some(b'x' | b'f' | b't' | b'c' | b's')) {
        return false;
    }
    let reads_as = |name: &[u8], claim: &str| {
        let alike = |(&n, c): (&u8, u8)| n == c || (n == b'_' && c == b'-');
        name.len() == claim.len() && name.iter().zip(claim.bytes()).all(alike)
    };
    let is_of = |family: &&str| {
        name.get(..family.len())
            .is_some_and(|start| reads_as(start, family))
    };
    FAMILIES.iter().any(is_of) || CLAIMS.iter().any(|claim| reads_as(name, claim))
}

/// One pass over the few fields there are costs less than a look-up for each name.
fn has_any(headers: &HeaderMap, names: &[&str]) -> bool {
    headers.keys().any(|name| names.contains(&name.as_str()))
}

/// Takes from the origin's head what concerns its connection only (RFC 9110 §7.6.1).
pub(crate) fn from_origin(head: &mut ResponseHeader) {
    let switching = head.status == StatusCode::SWITCHING_PROTOCOLS;
    if head.headers.contains_key(header::CONNECTION) && !switching {
        let named: Vec<HeaderName> = head
            .headers
            .get_all(header::CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|&b| b == b','))
            .take(16)
            .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
            .filter(|name| !is_framing(name))
            .collect();
        for name in &named {
            head.remove_header(name);
        }
        head.remove_header(&header::CONNECTION);
    }
    if has_any(&head.headers, &ORIGIN_HOP) {
        let keeps_upgrade = switching || head.status == StatusCode::UPGRADE_REQUIRED;
        for name in ORIGIN_HOP {
            if name != "upgrade" || !keeps_upgrade {
                head.remove_header(name);
            }
        }
    }
}

fn is_framing(name: &HeaderName) -> bool {
    *name == header::CONTENT_LENGTH || *name == header::TRANSFER_ENCODING || *name == header::DATE
}

/// Finishes the head for the client; true if the end of the connection must end the body.
pub(crate) fn to_client(head: &mut ResponseHeader, ctx: &Ctx) -> Result<bool> {
    // The version on the wire is that of the sender, not of who was before it (RFC 9110 §2.5).
    head.set_version(Version::HTTP_11);
    head.insert_header("X-Request-Id", ctx.request_id())?;
    gate::strict_transport(head, ctx)?;
    limits::fields(head, ctx)?;
    // HTTP/1.0 knows no chunks.
    let unframed =
        ctx.version == Version::HTTP_10 && head.headers.contains_key(header::TRANSFER_ENCODING);
    if unframed {
        head.remove_header(&header::TRANSFER_ENCODING);
    }
    Ok(unframed)
}

/// No body follows this head (RFC 9110 §6.4.1).
pub(crate) fn is_bodiless(request: &RequestHeader, response: &ResponseHeader) -> bool {
    request.method == http::Method::HEAD
        || matches!(
            response.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        )
        || response
            .headers
            .get(header::CONTENT_LENGTH)
            .is_some_and(|length| length == "0")
}

/// A field made by a module; `None` for what cannot be one, and for the framing, which is ours.
pub(crate) fn field(name: &Bytes, value: &Bytes) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(name).ok()?;
    let hop = matches!(
        name.as_str(),
        "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade"
    );
    if hop || name == header::CONTENT_LENGTH {
        return None;
    }
    Some((name, HeaderValue::from_maybe_shared(value.clone()).ok()?))
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
