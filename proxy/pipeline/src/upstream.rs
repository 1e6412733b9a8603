//! Stage 11: which server is asked, with which head, and what becomes of a try that failed.

use crate::ctx::Ctx;
use crate::facts;
use crate::fault::Fault;
use crate::retry::Broken;
use crate::{head, inspect, lent, spans};
use aegis_identity::Places;
use aegis_origin::Pick;
use aegis_telemetry::events::LimitHit;
use http::StatusCode;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, ErrorSource, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use std::sync::Arc;
use std::time::Instant;

/// Connections that are kept for each worker, as Pingora has it.
const KEPT: usize = 128;

/// Connections to origins: those of requests, and those that are kept for the next ones.
#[derive(Debug)]
pub(crate) struct Origins {
    places: Arc<Places>,
    /// Requests that may be at an origin.
    max: usize,
    /// Connections that may be kept for each worker.
    pub(crate) kept: usize,
}

impl Origins {
    /// Shares `max` connections out.
    pub(crate) fn new(max: usize, workers: usize) -> Self {
        let workers = workers.max(1);
        let kept = (max / 2 / workers).clamp(1, KEPT);
        Self {
            places: Arc::default(),
            max: max.saturating_sub(kept.saturating_mul(workers)).max(1),
            kept,
        }
    }

    /// A place for a request that has none yet.
    fn seat(&self, ctx: &mut Ctx) -> std::result::Result<(), Fault> {
        if ctx.origin.place.is_none() {
            ctx.origin.place = self.places.take(self.max);
        }
        if ctx.origin.place.is_none() {
            LimitHit {
                what: "open files/origins",
            }
            .emit();
            return Err(Fault::OriginsFull);
        }
        Ok(())
    }
}

/// A server for the next try.
pub(crate) fn peer(ctx: &mut Ctx, origins: &Origins) -> Result<Box<HttpPeer>> {
    origins.seat(ctx).map_err(Fault::into_error)?;
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
    head::to_origin(request, ctx, host)?;
    lent::check_authority(request, ctx)
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

#[cfg(test)]
mod tests {
    use super::Origins;

    #[test]
    fn what_is_used_and_kept_is_never_more_than_there_may_be() {
        for (max, workers, used, kept) in [
            (10_000, 2, 9_744, 128),
            (100, 2, 50, 25),
            (100, 64, 36, 1),
            (2, 1, 1, 1),
            (1, 4, 1, 1),
        ] {
            let origins = Origins::new(max, workers);
            assert_eq!((origins.max, origins.kept), (used, kept), "{max} {workers}");
        }
    }
}
