//! The last stage: one line and the counters of a request.

use crate::ctx::Ctx;
use crate::facts;
use crate::fault::Fault;
use crate::inspect::event;
use crate::limits::stage as limits;
use crate::live::Live;
use crate::spans;
use crate::verdicts;
use aegis_identity::{AddressText, Connection, RequestId};
use aegis_telemetry::access::{Cut, Record};
use aegis_telemetry::metrics::{self, WafVerdict};
use http::{HeaderName, HeaderValue, header};
use pingora_proxy::Session;
use std::time::{Duration, SystemTime};

/// Counts the request and writes its line.
pub(crate) fn log(session: &Session, ctx: &Ctx, live: &Live) {
    let status = session
        .response_written()
        .map_or(0, |head| head.status.as_u16());
    let duration = ctx.started.elapsed();
    verdicts::observe(ctx);
    limits::charge(ctx, status, session.body_bytes_sent() as u64, duration);
    let cache = ctx.cache.result(&session.cache);
    if let Some(cache) = cache {
        cache.count();
    }
    let routed = ctx.routed();
    match &routed {
        Some(routed) => routed.site_plan.metrics.request(status, duration),
        None => metrics::site("none").request(status, duration),
    }
    if let Some(pool) = routed.as_ref().and_then(|routed| routed.plan.pool.as_ref()) {
        match ctx.fault {
            Some(fault @ Fault::Origin(_)) => pool.fault(fault.as_str()),
            _ if ctx.origin.head_after.is_some() => pool.ok(),
            _ => {}
        }
    }
    if let (Some(routed), Some(verdict @ (WafVerdict::Clean | WafVerdict::Fault))) =
        (&routed, ctx.waf)
    {
        // The others were counted with their event.
        routed.site_plan.metrics.waf(verdict);
    }
    if let Some(fault) = ctx.fault {
        event::stopped(session, ctx, fault);
    }
    let starting = live.node();
    let node = ctx
        .snapshot
        .as_ref()
        .map_or(&**starting, |snapshot| &snapshot.node);
    spans::finish(session, ctx, node.tracer.as_deref(), status, cache);
    let Some(access) = &node.access else {
        return;
    };
    let (limit, would_limit) = limits::names(ctx);
    let head = session.req_header();
    let field = |name: HeaderName| head.headers.get(name).map(HeaderValue::as_bytes);
    let host = match head.uri.authority() {
        Some(authority) => authority.as_str().as_bytes(),
        None => field(header::HOST).unwrap_or_default(),
    };
    access.log(&Record {
        time: ctx.time,
        request_id: ctx.request_id(),
        client: ctx.client_text(),
        peer: ctx.proxy_text().as_deref(),
        method: head.method.as_str().as_bytes(),
        scheme: ctx.scheme(),
        host,
        target: head.raw_path(),
        version: facts::version(ctx.version),
        status,
        bytes_sent: session.body_bytes_sent() as u64,
        bytes_received: session.body_bytes_read() as u64,
        duration,
        origin: ctx
            .origin
            .endpoint
            .as_ref()
            .map(|endpoint| &*endpoint.label),
        origin_time: ctx.origin.head_after,
        cache: cache.map_or("", metrics::CacheResult::as_str),
        site: routed.as_ref().map_or("", |routed| &routed.site.site.name),
        route: routed.as_ref().map_or("", |routed| &routed.entry.route.key),
        user_agent: field(header::USER_AGENT),
        referer: field(header::REFERER),
        tls_version: ctx.connection().and_then(Connection::tls_version),
        client_cert: ctx
            .client_certificate()
            .map(|shown| (&*shown.subject, &*shown.fingerprint)),
        ja4: ctx.connection().and_then(Connection::ja4),
        waf: ctx.waf.map(WafVerdict::as_str),
        error: ctx.fault.map(Fault::as_str),
        limit,
        would_limit,
        kind: if session.is_subrequest() {
            "refresh"
        } else {
            "request"
        },
    });
}

/// A head that was refused before there was a request: counted, and written down with what can be read of it.
pub(crate) fn refused(
    live: &Live,
    connection: Option<&Connection>,
    id: &RequestId,
    head: &[u8],
    fault: Fault,
    bytes_sent: usize,
) {
    metrics::site("none").request(fault.status(), Duration::ZERO);
    let node = live.node();
    verdicts::observe_refused(&node, connection, id, fault);
    let Some(access) = &node.access else {
        return;
    };
    let line = head
        .split(|&b| b == b'\n')
        .next()
        .unwrap_or_default()
        .trim_ascii_end();
    let (method, target) = match memchr::memchr(b' ', line) {
        Some(end) => line.split_at(end),
        None => (line, &[][..]),
    };
    let told = connection.filter(|connection| connection.is_told());
    let peer = told.map(|connection| AddressText::new(connection.peer.ip()));
    let target = target.trim_ascii_start();
    let target = target.get(..memchr::memrchr(b' ', target).unwrap_or(target.len()));
    access.log(&Record {
        time: SystemTime::now(),
        request_id: id.as_str(),
        client: connection.map_or("0.0.0.0", Connection::client_text),
        peer: peer.as_deref(),
        method,
        scheme: connection.map_or("http", Connection::scheme),
        host: &[],
        target: target.unwrap_or_default(),
        version: "HTTP/1.1",
        status: fault.status(),
        bytes_sent: bytes_sent as u64,
        bytes_received: 0,
        duration: Duration::ZERO,
        origin: None,
        origin_time: None,
        cache: "",
        site: "",
        route: "",
        user_agent: None,
        referer: None,
        tls_version: connection.and_then(Connection::tls_version),
        client_cert: None,
        ja4: connection.and_then(Connection::ja4),
        waf: None,
        error: Some(fault.as_str()),
        limit: None,
        would_limit: None,
        kind: "refused",
    });
}

/// A connection, or a stream of it, that ended without an answer.
pub(crate) fn cut(live: &Live, connection: &Connection, why: &'static str) {
    if let Some(access) = &live.node().access {
        access.log_cut(&Cut {
            time: SystemTime::now(),
            client: connection.client_text(),
            local: Some(connection.local),
            connection: connection.id,
            tls_version: connection.tls_version(),
            sni: connection.sni(),
            error: why,
        });
    }
}
