//! Pingora's hooks, each of which hands over to the stage it belongs to and translates what comes back.

use crate::answer::{self, Answer};
use crate::cache::{Cache, hooks, memory};
use crate::ctx::Ctx;
use crate::facts::{self, Facts};
use crate::fault::Fault;
use crate::live::Live;
use crate::retry::Broken;
use crate::{access, head, order};
use aegis_origin::Pick;
use async_trait::async_trait;
use pingora_cache::key::HashBinary;
use pingora_cache::{CacheKey, CacheMeta, ForcedFreshness, HitHandler, RespCacheable};
use pingora_core::modules::http::HttpModules;
use pingora_core::protocols::Digest;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, ErrorSource, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, RangeType, Session};
use std::sync::Arc;
use std::time::Instant;

/// The proxy as Pingora knows it.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) live: Arc<Live>,
    pub(crate) cache: &'static Cache,
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        Ctx::new()
    }

    /// Without Pingora's compression module, which would sit in the way of every request.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<()> {
        ctx.begin(session, self.live.snapshot());
        Ok(())
    }

    /// Stages 4 to 9.
    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        let step = match Facts::of(session.req_header()) {
            Ok(facts) => order::before_cache(&facts, ctx),
            Err(fault) => Err(fault.into()),
        };
        let Err(answer) = step else {
            return memory::look_up(self.cache, session, ctx).await;
        };
        if matches!(answer, Answer::Page(Fault::Starting)) {
            ctx.more = Some(self.live.progress()).filter(|progress| !progress.is_empty());
        }
        answer::send(session, ctx, answer).await?;
        Ok(true)
    }

    fn request_cache_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<()> {
        hooks::enable(self.cache, session, ctx);
        Ok(())
    }

    fn cache_key_callback(&self, _: &Session, ctx: &mut Ctx) -> Result<CacheKey> {
        hooks::key(ctx)
    }

    fn cache_miss(&self, session: &mut Session, ctx: &mut Ctx) {
        hooks::miss(session, ctx);
    }

    async fn cache_hit_filter(
        &self,
        _session: &mut Session,
        _meta: &CacheMeta,
        handler: &mut HitHandler,
        _is_fresh: bool,
        ctx: &mut Ctx,
    ) -> Result<Option<ForcedFreshness>> {
        Ok(hooks::hit(handler, ctx))
    }

    fn response_cache_filter(
        &self,
        session: &Session,
        response: &ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<RespCacheable> {
        Ok(hooks::storable(self.cache, session, response, ctx))
    }

    fn cache_vary_filter(
        &self,
        meta: &CacheMeta,
        _: &mut Ctx,
        request: &RequestHeader,
    ) -> Option<HashBinary> {
        hooks::variance(self.cache, meta, request)
    }

    fn cache_not_modified_filter(
        &self,
        session: &Session,
        response: &ResponseHeader,
        _: &mut Ctx,
    ) -> Result<bool> {
        Ok(hooks::not_modified(session, response))
    }

    fn range_header_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        _: &mut Ctx,
    ) -> RangeType {
        hooks::range(session, response)
    }

    fn should_serve_stale(&self, _: &mut Session, ctx: &mut Ctx, error: Option<&Error>) -> bool {
        hooks::serve_stale(error, ctx)
    }

    /// Stage 11: a server for this try.
    async fn upstream_peer(&self, _session: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        let pool = ctx.routed().and_then(|routed| routed.entry.pool.as_ref());
        let pool = pool.ok_or_else(|| Fault::Internal.into_error())?;
        let Pick { endpoint, peer } = pool
            .pick(&ctx.origin.tried)
            .map_err(|error| Fault::Origin(error.into()).into_error())?;
        ctx.origin.endpoint = Some(endpoint);
        ctx.origin.asked = Some(Instant::now());
        Ok(peer)
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        _fd: std::os::unix::io::RawFd,
        _digest: Option<&Digest>,
        ctx: &mut Ctx,
    ) -> Result<()> {
        if let Some(endpoint) = ctx.origin.endpoint.as_ref().filter(|_| !reused) {
            endpoint.connected();
        }
        Ok(())
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        ctx: &mut Ctx,
        mut error: Box<Error>,
    ) -> Box<Error> {
        let retry = match (ctx.origin.endpoint.clone(), ctx.pool()) {
            (Some(endpoint), Some(pool)) => {
                endpoint.connect_failed();
                ctx.origin
                    .after_no_connection(&pool, &endpoint.server, endpoint.address)
            }
            _ => false,
        };
        error.set_retry(retry);
        error
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        ctx: &mut Ctx,
        reused: bool,
    ) -> Box<Error> {
        let broken = Broken {
            reused,
            closed: *error.esource() == ErrorSource::Upstream
                && matches!(
                    error.etype(),
                    ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError
                ),
            answered: ctx.origin.head_after.is_some()
                || session
                    .response_written()
                    .is_some_and(|head| !head.status.is_informational()),
            idempotent: session.req_header().method.is_idempotent(),
            body_at_hand: !session.as_ref().retry_buffer_truncated(),
        };
        let retry = match (&ctx.origin.endpoint, ctx.pool()) {
            (Some(endpoint), Some(pool)) => {
                let address = endpoint.address;
                ctx.origin
                    .after_break(broken, address, pool.settings().retries)
            }
            _ => false,
        };
        error.set_retry(retry);
        error
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        let host = facts::host(session.req_header()).map_err(Fault::into_error)?;
        head::to_origin(request, ctx, host)
    }

    /// Stage 12, before anything is stored.
    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        if !response.status.is_informational() {
            ctx.origin.head_after = ctx.origin.asked.map(|asked| asked.elapsed());
        }
        head::from_origin(response);
        hooks::origin_answered(session, response, ctx);
        Ok(())
    }

    /// Stage 12, for stored answers too.
    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        if response.status.is_informational() {
            return Ok(());
        }
        if head::to_client(response, ctx)? {
            session.set_keepalive(None);
        }
        hooks::invalidate(self.cache, session, response, ctx);
        hooks::finish(session, response, ctx)
    }

    /// Every fault that comes out of Pingora becomes a page here.
    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Ctx,
    ) -> FailToProxy {
        let fault = Fault::of(error);
        tracing::debug!(request = ctx.id.as_str(), fault = fault.as_str(), %error, "request failed");
        // Pingora closes the connection after an error; the page must say so.
        session.set_keepalive(None);
        if let Err(error) = answer::send_page(session, ctx, fault).await {
            tracing::debug!(request = ctx.id.as_str(), %error, "page not sent");
        }
        FailToProxy {
            error_code: fault.status(),
            can_reuse_downstream: false,
        }
    }

    /// Stage 13.
    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Ctx) {
        if let Some(error) = error {
            ctx.fault.get_or_insert_with(|| Fault::of(error));
        }
        match ctx.snapshot.clone() {
            Some(snapshot) => access::log(session, ctx, &snapshot.node),
            None => access::log(session, ctx, &self.live.node()),
        }
    }

    /// The access log says it.
    fn suppress_error_log(&self, _session: &Session, _ctx: &Ctx, _error: &Error) -> bool {
        true
    }
}
