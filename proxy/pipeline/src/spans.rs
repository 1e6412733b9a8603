//! Tracing: the trace a request belongs to, and the spans of its stages.
//!
//! A trace that a trusted proxy began goes on: whether it is recorded is that proxy's word. Any other request begins one,
//! whose id is the 128 bits of its request id, so that one can be found by the other; a share of them is recorded. What
//! comes in `traceparent` and `tracestate` from anybody else goes no further.
//!
//! The origin's part hangs below our span where there is one. A trace that is not recorded here passes as it came: a
//! parent that nobody ever hears of would cut it in two.

use crate::ctx::Ctx;
use aegis_identity::{RequestId, TraceContext, trace_state};
use aegis_telemetry::metrics::{CacheResult, WafVerdict};
use aegis_telemetry::spans::{Exporter, Kind, Span, Value};
use http::{HeaderMap, HeaderValue, Method};
use pingora_error::Result;
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use std::time::{Duration, Instant};

/// Bytes of a path, a host or a User-Agent that a span keeps.
const PATH_MAX: usize = 1_024;
const HOST_MAX: usize = 255;
const AGENT_MAX: usize = 256;

/// Where spans go, and how many requests have any.
#[derive(Debug)]
pub struct Tracer {
    exporter: Exporter,
    /// A trace is recorded if its last seven bytes are a lower number.
    below: u64,
}

impl Tracer {
    /// Records this share of the requests, from 0 to 1.
    #[must_use]
    pub fn new(exporter: Exporter, share: f64) -> Self {
        let all = (1_u64 << 56) as f64;
        Self {
            exporter,
            below: (share.clamp(0.0, 1.0) * all) as u64,
        }
    }

    /// Waits until what is queued was sent or given up; `false` = not within `limit`.
    #[must_use]
    pub fn flush(&self, limit: Duration) -> bool {
        self.exporter.flush(limit)
    }

    fn records(&self, trace: &[u8; 16]) -> bool {
        let random = trace
            .iter()
            .skip(9)
            .fold(0, |n, byte| n << 8 | u64::from(*byte));
        random < self.below
    }
}

/// The trace that a trusted proxy began.
#[derive(Debug)]
pub(crate) struct Given {
    context: TraceContext,
    state: Option<String>,
}

impl Given {
    /// Reads the fields of a trusted proxy.
    pub(crate) fn of(parent: Option<&[u8]>, headers: &HeaderMap) -> Option<Self> {
        let lines = headers
            .get_all("tracestate")
            .iter()
            .map(HeaderValue::as_bytes);
        Some(Self {
            context: TraceContext::read(parent?)?,
            state: trace_state(lines),
        })
    }
}

/// When the stages of a request that is recorded began and ended.
#[derive(Debug, Default)]
pub(crate) struct Times {
    stages: Vec<(&'static str, Instant, Instant)>,
    cache: Option<Instant>,
    origin: Option<Instant>,
}

/// The times of a request, if it is recorded.
pub(crate) fn wanted(tracer: &Tracer, given: Option<&Given>, id: &RequestId) -> Option<Box<Times>> {
    let wanted = match given {
        Some(given) => given.context.sampled,
        None => tracer.records(&id.to_bytes()),
    };
    wanted.then(Box::default)
}

/// Now, if anybody wants to know.
pub(crate) fn begin(ctx: &Ctx) -> Option<Instant> {
    ctx.times.as_ref().map(|_| Instant::now())
}

/// The stage that began then is over.
pub(crate) fn end(ctx: &mut Ctx, stage: &'static str, began: Option<Instant>) {
    if let (Some(times), Some(began)) = (&mut ctx.times, began) {
        times.stages.push((stage, began, Instant::now()));
    }
}

/// The cache is asked.
pub(crate) fn cache_asked(ctx: &mut Ctx) {
    if let Some(times) = &mut ctx.times {
        times.cache = Some(Instant::now());
    }
}

/// The cache has said what it has.
pub(crate) fn cache_answered(ctx: &mut Ctx) {
    if let Some(times) = &mut ctx.times
        && let Some(asked) = times.cache.take()
    {
        times.stages.push(("cache", asked, Instant::now()));
    }
}

/// The origin is asked, perhaps not for the first time.
pub(crate) fn origin_asked(ctx: &mut Ctx) {
    if let Some(times) = &mut ctx.times {
        times.origin.get_or_insert_with(Instant::now);
    }
}

/// Tells the origin which trace its part belongs to.
pub(crate) fn tell_origin(head: &mut RequestHeader, ctx: &Ctx) -> Result<()> {
    let given = ctx.given_trace();
    let context = match (&ctx.times, given) {
        (None, Some(given)) => given.context,
        (recorded, _) => TraceContext {
            trace: trace(ctx),
            parent: id(ctx, if recorded.is_some() { ORIGIN } else { ROOT }),
            sampled: recorded.is_some(),
        },
    };
    if let Ok(value) = HeaderValue::from_bytes(&context.write()) {
        head.insert_header("traceparent", value)?;
    }
    if let Some(state) = given.and_then(|given| given.state.as_deref()) {
        head.insert_header("tracestate", state)?;
    }
    Ok(())
}

fn trace(ctx: &Ctx) -> [u8; 16] {
    ctx.given_trace()
        .map_or_else(|| ctx.id.to_bytes(), |given| given.context.trace)
}

/// Spans of one request have neighbouring ids, from the random part of its own.
const ROOT: u64 = 0;
const ORIGIN: u64 = 1;
const STAGES: u64 = 2;

fn id(ctx: &Ctx, number: u64) -> [u8; 8] {
    let whole = u128::from_be_bytes(ctx.id.to_bytes());
    (whole as u64).wrapping_add(number).max(1).to_be_bytes()
}

/// Hands over the spans of a request that is recorded.
pub(crate) fn finish(
    session: &Session,
    ctx: &Ctx,
    tracer: Option<&Tracer>,
    status: u16,
    cache: Option<CacheResult>,
) {
    let (Some(times), Some(tracer)) = (&ctx.times, tracer) else {
        return;
    };
    let end = Instant::now();
    let head = session.req_header();
    let method = method(&head.method);
    let span =
        |number, parent: Option<[u8; 8]>, name: &str, kind, from: Instant, to: Instant| Span {
            trace: trace(ctx),
            id: id(ctx, number),
            parent,
            name: name.to_owned(),
            kind,
            start: ctx.time + from.saturating_duration_since(ctx.started),
            took: to.saturating_duration_since(from),
            attributes: Vec::new(),
            failed: false,
        };
    let root = id(ctx, ROOT);
    let given = ctx.given_trace().map(|given| given.context.parent);
    let routed = ctx.routed();
    let route = routed
        .as_ref()
        .map(|routed| routed.entry.route.path.as_str());
    let name = route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
    let mut request = span(ROOT, given, &name, Kind::Server, ctx.started, end);
    request.failed = status >= 500 || status == 0;
    let own = &mut request.attributes;
    own.push(("http.request.method", method.into()));
    own.push(("url.scheme", ctx.scheme().into()));
    own.push(("url.path", cut(head.uri.path().as_bytes(), PATH_MAX)));
    own.push(("client.address", ctx.client_text().into()));
    own.push(("network.protocol.version", version(ctx).into()));
    own.push(("aegis.request_id", ctx.request_id().into()));
    if let Some(peer) = ctx.proxy_text() {
        own.push(("network.peer.address", peer.as_str().into()));
    }
    let field = |name: http::HeaderName| head.headers.get(name).map(HeaderValue::as_bytes);
    let host = match head.uri.authority() {
        Some(authority) => Some(authority.as_str().as_bytes()),
        None => field(http::header::HOST),
    };
    if let Some(host) = host {
        own.push(("server.address", cut(host, HOST_MAX)));
    }
    if let Some(agent) = field(http::header::USER_AGENT) {
        own.push(("user_agent.original", cut(agent, AGENT_MAX)));
    }
    if status > 0 {
        own.push(("http.response.status_code", status.into()));
    }
    if let Some(routed) = &routed {
        own.push(("http.route", routed.entry.route.path.as_str().into()));
        own.push(("aegis.site", routed.site.site.name.as_str().into()));
        own.push(("aegis.route", routed.entry.route.key.as_str().into()));
    }
    if let Some(cache) = cache {
        own.push(("aegis.cache", cache.as_str().into()));
    }
    if let Some(waf) = ctx.waf.map(WafVerdict::as_str) {
        own.push(("aegis.waf", waf.into()));
    }
    if let Some(fault) = ctx.fault {
        own.push(("error.type", fault.as_str().into()));
    }
    let mut spans = vec![request];
    for (number, (stage, from, to)) in (STAGES..).zip(&times.stages) {
        spans.push(span(number, Some(root), stage, Kind::Internal, *from, *to));
    }
    if let Some(asked) = times.origin {
        let mut origin = span(ORIGIN, Some(root), method, Kind::Client, asked, end);
        origin.attributes = of_origin(ctx, method);
        origin.failed = ctx.origin.head_after.is_none();
        spans.push(origin);
    }
    tracer.exporter.send(spans);
}

fn of_origin(ctx: &Ctx, method: &str) -> Vec<(&'static str, Value)> {
    let mut attributes = vec![
        ("http.request.method", method.into()),
        ("aegis.stage", "origin".into()),
    ];
    if let Some(endpoint) = &ctx.origin.endpoint {
        let address = endpoint.address;
        attributes.push(("server.address", cut(endpoint.server.as_bytes(), HOST_MAX)));
        attributes.push((
            "network.peer.address",
            Value::Text(address.ip().to_string()),
        ));
        attributes.push(("network.peer.port", address.port().into()));
    }
    if ctx.origin.retries > 0 {
        attributes.push(("http.request.resend_count", ctx.origin.retries.into()));
    }
    if let Some(head_after) = ctx.origin.head_after {
        let micros = i64::try_from(head_after.as_micros()).unwrap_or(i64::MAX);
        attributes.push(("aegis.head_after_us", Value::Number(micros)));
    }
    if let (None, Some(fault)) = (ctx.origin.head_after, ctx.fault) {
        attributes.push(("error.type", fault.as_str().into()));
    }
    attributes
}

/// One of those that the semantic conventions know.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => "_OTHER",
    }
}

fn version(ctx: &Ctx) -> &'static str {
    crate::facts::version(ctx.version)
        .strip_prefix("HTTP/")
        .unwrap_or_default()
}

fn cut(bytes: &[u8], max: usize) -> Value {
    let kept = bytes.get(..max).unwrap_or(bytes);
    Value::Text(String::from_utf8_lossy(kept).into_owned())
}
