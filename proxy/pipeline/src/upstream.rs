//! Stage 11: which server is asked, with which head, and what becomes of a try that failed.

use crate::ctx::Ctx;
use crate::facts;
use crate::fault::Fault;
use crate::retry::Broken;
use crate::{head, inspect, spans};
use aegis_origin::Pick;
use http::StatusCode;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, ErrorSource, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use std::time::Instant;

/// A server for the next try.
pub(crate) fn peer(ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
    let pool = ctx.routed().and_then(|routed| routed.entry.pool.as_ref());
    let pool = pool.ok_or_else(|| Fault::Internal.into_error())?;
    let picked = pool.pick(&ctx.origin.tried);
    let Pick { endpoint, peer } = picked.map_err(|e| Fault::Origin(e.into()).into_error())?;
    spans::origin_asked(ctx);
    ctx.origin.endpoint = Some(endpoint);
    ctx.origin.asked = Some(Instant::now());
    Ok(peer)
}

/// There is a connection.
pub(crate) fn connected(ctx: &mut Ctx, reused: bool) {
    inspect::body::restart(ctx);
    if let Some(endpoint) = ctx.origin.endpoint.as_ref().filter(|_| !reused) {
        endpoint.connected();
    }
}

/// There is none; says whether another try is made.
pub(crate) fn not_connected(ctx: &mut Ctx, mut error: Box<Error>) -> Box<Error> {
    let retry = match (ctx.origin.endpoint.clone(), ctx.pool()) {
        (Some(endpoint), Some(pool)) => {
            endpoint.connect_failed();
            let (server, address) = (&endpoint.server, endpoint.address);
            ctx.origin.after_no_connection(&pool, server, address)
        }
        _ => false,
    };
    error.set_retry(retry);
    error
}

/// A request on a connection failed; says whether another try is made.
pub(crate) fn broke(
    session: &Session,
    ctx: &mut Ctx,
    mut error: Box<Error>,
    reused: bool,
) -> Box<Error> {
    use ErrorType::{ConnectionClosed, ReadError, WriteError};
    let written = session.response_written();
    let broken = Broken {
        reused,
        closed: *error.esource() == ErrorSource::Upstream
            && matches!(error.etype(), ConnectionClosed | ReadError | WriteError),
        answered: ctx.origin.head_after.is_some()
            || written.is_some_and(|head| !head.status.is_informational()),
        idempotent: session.req_header().method.is_idempotent(),
        body_at_hand: !session.as_ref().retry_buffer_truncated() && !inspect::body::passes(ctx),
    };
    let retry = match (&ctx.origin.endpoint, ctx.pool()) {
        (Some(endpoint), Some(pool)) => {
            let (address, retries) = (endpoint.address, pool.settings().retries);
            ctx.origin.after_break(broken, address, retries)
        }
        _ => false,
    };
    error.set_retry(retry);
    error
}

/// The head for the origin.
pub(crate) fn to_origin(session: &Session, request: &mut RequestHeader, ctx: &Ctx) -> Result<()> {
    let host = facts::host(session.req_header()).map_err(Fault::into_error)?;
    inspect::to_origin(request, ctx)?;
    head::to_origin(request, ctx, host)
}

/// A head came.
pub(crate) fn answered(response: &ResponseHeader, ctx: &mut Ctx) -> Result<()> {
    if response.status == StatusCode::SWITCHING_PROTOCOLS {
        if inspect::body::goes_on(ctx) {
            // Its rest would go on unseen.
            return Err(Fault::AnsweredEarly.into_error());
        }
        // What follows is no HTTP, and nothing of the request may stay behind in a module meanwhile.
        ctx.inspection = None;
    }
    if !response.status.is_informational() {
        ctx.origin.head_after = ctx.origin.asked.map(|asked| asked.elapsed());
    }
    Ok(())
}
