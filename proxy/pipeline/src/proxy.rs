//! Pingora's hooks, each of which hands over to the stage it belongs to and translates what comes back.

use crate::answer;
use crate::cache::{Cache, hooks, memory};
use crate::ctx::Ctx;
use crate::facts;
use crate::fault::Fault;
use crate::incoming::{self, SessionBody};
use crate::inspect;
use crate::live::Live;
use crate::{access, head, lent, order, upstream};
use async_trait::async_trait;
use bytes::Bytes;
use pingora_cache::key::HashBinary;
use pingora_cache::{CacheKey, CacheMeta, ForcedFreshness, HitHandler, RespCacheable};
use pingora_core::modules::http::HttpModules;
use pingora_core::protocols::Digest;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, RangeType, Session};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

/// The proxy as Pingora knows it.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) live: Arc<Live>,
    pub(crate) cache: &'static Cache,
}

impl Proxy {
    fn body<'a>(&self, session: &'a mut Session) -> SessionBody<'a> {
        SessionBody {
            session,
            timeout: self.live.node().client.read_timeout,
        }
    }
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
        ctx.begin(session, &self.live);
        Ok(())
    }

    /// Stages 4 to 9.
    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        let mut step = match facts::read(session) {
            Ok(facts) => order::to_route(&facts, ctx),
            Err(fault) => Err(fault.into()),
        };
        if step.is_ok() {
            incoming::begin_inspection(session, ctx, self.live.shared());
            // A refresh in the background was judged when the visitor asked.
            if !session.is_subrequest() {
                step = order::before_cache(ctx, &mut self.body(session)).await;
            }
        }
        let Err(answer) = step else {
            return memory::look_up(self.cache, session, ctx).await;
        };
        if ctx.snapshot.is_none() {
            ctx.more = self.live.progress();
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

    /// Stage 10.
    async fn proxy_upstream_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        let step = order::before_origin(ctx, &mut self.body(session)).await;
        if let Err(answer) = step {
            answer::send(session, ctx, answer).await?;
            return Ok(false);
        }
        incoming::settled(session, ctx).await?;
        Ok(true)
    }

    /// Stage 10, for bodies that were not read whole before.
    async fn request_body_filter(
        &self,
        session: &mut Session,
        chunk: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        if ctx.inspection.is_none() || session.was_upgraded() {
            return Ok(());
        }
        inspect::body::filter(ctx, chunk, end)
            .await
            .map_err(|answer| ctx.stop(answer))
    }

    /// Stage 11: a server for this try.
    async fn upstream_peer(&self, _: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        upstream::peer(ctx, &self.live.shared().origins)
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        _fd: RawFd,
        _digest: Option<&Digest>,
        ctx: &mut Ctx,
    ) -> Result<()> {
        upstream::connected(ctx, reused);
        Ok(())
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Ctx,
        error: Box<Error>,
    ) -> Box<Error> {
        upstream::not_connected(ctx, error)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Ctx,
        reused: bool,
    ) -> Box<Error> {
        upstream::broke(session, ctx, error, reused)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        upstream::to_origin(session, request, ctx)
    }

    /// Stage 12, before anything is stored.
    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        head::from_origin(response);
        hooks::origin_answered(session, response, ctx);
        upstream::answered(response, ctx)?;
        if ctx.inspection.is_none() || response.status.is_informational() {
            return Ok(());
        }
        // An answer that came early waits for the verdict on the request.
        let judged = inspect::body::finish(ctx, &mut self.body(session), response).await;
        judged.map_err(|answer| ctx.stop(answer))?;
        let bodiless = head::is_bodiless(session.req_header(), response);
        let judged = inspect::response::head(ctx, response, bodiless).await;
        judged.map_err(|answer| ctx.stop(answer))
    }

    fn upstream_response_body_filter(
        &self,
        _session: &mut Session,
        chunk: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Ctx,
    ) -> Result<Option<Duration>> {
        inspect::response::body(ctx, self.live.shared(), chunk, end).map_err(Fault::into_error)?;
        Ok(None)
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
        lent::give_back(session, ctx);
        FailToProxy {
            error_code: answer::send_fault(session, ctx, error).await,
            can_reuse_downstream: false,
        }
    }

    /// Stage 13.
    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Ctx) {
        lent::give_back(session, ctx);
        if let Some(error) = error {
            ctx.fault.get_or_insert_with(|| Fault::of(error));
        }
        access::log(session, ctx, &self.live);
    }

    /// The access log says it.
    fn suppress_error_log(&self, _session: &Session, _ctx: &Ctx, _error: &Error) -> bool {
        true
    }
}
