//! Pingora's questions about the cache, in the order it asks them.

use super::ctx::{NO_ROOM, reason};
use super::storage::Hit;
use super::{Cache, lock, meta};
use crate::ctx::Ctx;
use crate::fault::Fault;
use aegis_cache::conditional;
use aegis_cache::decide::{self, Freshened, Reuse, reuse};
use aegis_cache::status::Forward;
use aegis_cache::vary::Vary;
use http::header::{AGE, ETAG, HeaderName, LAST_MODIFIED};
use http::{HeaderValue, Method, StatusCode};
use pingora_cache::key::HashBinary;
use pingora_cache::predictor::CacheablePredictor;
use pingora_cache::{
    CacheKey, CacheMeta, CacheOptionOverrides, CachePhase, ForcedFreshness, HitHandler,
    NoCacheReason, RespCacheable,
};
use pingora_error::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{RangeType, Session};
use std::time::SystemTime;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// Most ranges of one request that are answered one by one; of more the whole is sent.
const RANGES_MAX: usize = 16;

/// `request_cache_filter`: the look-up found nothing it could send; may Pingora's cache take over?
pub(crate) fn enable(cache: &'static Cache, session: &mut Session, ctx: &Ctx) {
    let Some(request) = &ctx.cache.request else {
        return;
    };
    let mut limits = CacheOptionOverrides::default();
    limits.wait_timeout = Some(lock::WAIT_MAX);
    limits.max_lock_retries = Some(lock::WAITS_MAX);
    // An answer to a request with Authorization is rarely for others: nobody waits for it, and what it says about
    // storing is not held against the URL.
    let shared = !request.authorized;
    let predictor: &'static (dyn CacheablePredictor + Sync) = &cache.uncacheable;
    let lock: &'static pingora_cache::lock::CacheKeyLockImpl = &cache.lock;
    session.cache.enable(
        &cache.storage,
        None,
        shared.then_some(predictor),
        shared.then_some(lock),
        Some(limits),
    );
}

/// `cache_key_callback`
pub(crate) fn key(ctx: &Ctx) -> Result<CacheKey> {
    let (Some(key), Some(request)) = (ctx.cache.key, ctx.cache.request) else {
        return Err(Error::new_in(ErrorType::InternalError));
    };
    let mut pingora = CacheKey::new(Vec::new(), String::new());
    pingora.set_primary_bin_override(key.to_bytes());
    pingora.extensions.insert(request);
    Ok(pingora)
}

/// `cache_hit_filter`
pub(crate) fn hit(handler: &HitHandler, ctx: &mut Ctx) -> Option<ForcedFreshness> {
    let (Some(hit), Some(request)) = (handler.as_any().downcast_ref::<Hit>(), ctx.cache.request)
    else {
        return Some(ForcedFreshness::ForceMiss);
    };
    let (facts, now) = (*hit.object.facts(), SystemTime::now());
    ctx.cache.facts = Some(facts);
    let fresh = facts.is_fresh(now);
    Some(match reuse(&facts, &request, now) {
        Reuse::Send => ForcedFreshness::ForceFresh,
        Reuse::Validate { on_error } => {
            let why = if fresh {
                Forward::Request
            } else {
                Forward::Stale
            };
            ctx.cache.forward = Some(why);
            if on_error {
                ForcedFreshness::ForceExpiredServeStale { expired_at: None }
            } else {
                ForcedFreshness::ForceExpired
            }
        }
        Reuse::Never => {
            ctx.cache.forward = Some(Forward::Miss);
            ForcedFreshness::ForceMiss
        }
    })
}

/// `cache_miss`
pub(crate) fn miss(session: &mut Session, ctx: &mut Ctx) {
    let varies = session
        .cache
        .maybe_cache_key()
        .is_some_and(|key| key.get_variance_key().is_some());
    ctx.cache.forward.get_or_insert(if varies {
        Forward::VaryMiss
    } else {
        Forward::UriMiss
    });
    session.cache.cache_miss();
}

/// `upstream_response_filter`: keeps a 304's fields, of which Pingora would take only some.
pub(crate) fn origin_answered(session: &Session, response: &ResponseHeader, ctx: &mut Ctx) {
    if response.status == StatusCode::NOT_MODIFIED
        && session.cache.enabled()
        && session.cache.maybe_cache_meta().is_some()
    {
        ctx.cache.not_modified = Some(response.headers.clone());
    }
}

/// `response_cache_filter`
pub(crate) fn storable(
    cache: &Cache,
    session: &Session,
    response: &ResponseHeader,
    ctx: &mut Ctx,
) -> RespCacheable {
    let (Some(request), Some(policy)) = (ctx.cache.request, ctx.cache.policy) else {
        return RespCacheable::Uncacheable(NoCacheReason::InternalError);
    };
    if session.cache.bypassing() {
        ctx.cache.forward = Some(Forward::Bypass);
        ctx.cache.detail = Some("hit-for-miss");
    }
    let received = SystemTime::now();
    let asked = ctx
        .origin
        .asked
        .and_then(|asked| received.checked_sub(asked.elapsed()))
        .unwrap_or(received);
    let freshened = ctx.cache.not_modified.take();
    let confirmed = freshened.is_some();
    let head = match freshened {
        None => response.clone(),
        Some(fields) => match confirm(session, &fields, received) {
            Some(head) => head,
            None => return forget(cache, ctx, NoCacheReason::Custom("other-304")),
        },
    };
    let decision = decide::store(
        &request,
        head.status,
        &head.headers,
        asked,
        received,
        &policy,
    );
    match decision {
        Ok(facts) => {
            let length = decide::content_length(&head.headers).ok().flatten();
            if !confirmed && !cache.l1.has_room(length.unwrap_or(0)) {
                return RespCacheable::Uncacheable(NoCacheReason::Custom(NO_ROOM));
            }
            (ctx.cache.facts, ctx.cache.detail) = (Some(facts), None);
            let storable = meta::Storable {
                facts,
                object_max: policy.object_max,
            };
            RespCacheable::Cacheable(meta::of_fetched(storable, head))
        }
        Err(why) => {
            let reason = reason(why, head.status.is_server_error());
            // A new answer that may not be kept replaces the stored one all the same; a failure does not.
            let replaced = session.cache.maybe_cache_meta().is_some();
            if confirmed || (replaced && !head.status.is_server_error()) {
                return forget(cache, ctx, reason);
            }
            ctx.cache.facts = None;
            RespCacheable::Uncacheable(reason)
        }
    }
}

/// The stored head with what the 304 brought.
fn confirm(
    session: &Session,
    fields: &http::HeaderMap,
    received: SystemTime,
) -> Option<ResponseHeader> {
    let object = session.cache.maybe_cache_meta().and_then(meta::object)?;
    match decide::freshen(&object.headers(2), fields, received) {
        Freshened::Head(headers) => {
            let (mut parts, ()) = http::Response::new(()).into_parts();
            (parts.status, parts.headers) = (object.head().status(), headers);
            Some(parts.into())
        }
        Freshened::Other => None,
    }
}

/// What is stored may not be kept any longer.
fn forget(cache: &Cache, ctx: &mut Ctx, reason: NoCacheReason) -> RespCacheable {
    ctx.cache.facts = None;
    if let Some(key) = ctx.cache.key {
        cache.l1.remove(key);
    }
    RespCacheable::Uncacheable(reason)
}

/// `cache_vary_filter`
pub(crate) fn variance(
    cache: &Cache,
    meta: &CacheMeta,
    request: &RequestHeader,
) -> Option<HashBinary> {
    let variance = match meta::object(meta) {
        Some(object) => object.vary().variance(&cache.keys, &request.headers),
        None => Vary::of(meta.headers())
            .ok()?
            .variance(&cache.keys, &request.headers),
    };
    variance.map(|variance| variance.0)
}

/// `cache_not_modified_filter`
pub(crate) fn not_modified(session: &Session, response: &ResponseHeader) -> bool {
    let field = |name| response.headers.get(name).map(HeaderValue::as_bytes);
    conditional::not_modified(
        &session.req_header().headers,
        response.status,
        field(ETAG),
        field(LAST_MODIFIED),
    )
}

/// `range_header_filter`
pub(crate) fn range(session: &Session, response: &mut ResponseHeader) -> RangeType {
    pingora_proxy::range_header_filter(session.req_header(), response, Some(RANGES_MAX))
}

/// `should_serve_stale`: only when the origin failed; Pingora has checked the time.
pub(crate) fn serve_stale(error: Option<&Error>, ctx: &mut Ctx) -> bool {
    let Some(error) = error else {
        return false;
    };
    if !matches!(Fault::of(error), Fault::Origin(_)) {
        return false;
    }
    ctx.cache.failed = Some(match error.etype() {
        ErrorType::HTTPStatus(status)
            if *error.esource() == pingora_error::ErrorSource::Upstream =>
        {
            *status
        }
        _ => 0,
    });
    true
}

/// `response_filter`, for every answer: `Cache-Status`, and what a change of the resource means for what is stored.
pub(crate) fn finish(session: &Session, response: &mut ResponseHeader, ctx: &Ctx) -> Result<()> {
    if !ctx.cache.asked {
        return Ok(());
    }
    if matches!(
        session.cache.phase(),
        CachePhase::Revalidated | CachePhase::RevalidatedNoCache(_)
    ) {
        // The 304's own, if it came from another cache; what is sent has just been confirmed.
        response.remove_header(&AGE);
    }
    if ctx.cache.status_header {
        let mut value = Vec::with_capacity(64);
        ctx.cache
            .status(&session.cache, SystemTime::now())
            .write(&mut value);
        if let Ok(value) = HeaderValue::try_from(value) {
            response.append_header(CACHE_STATUS, value)?;
        }
    }
    Ok(())
}

/// RFC 9111 §4.4: after a method that may have changed the resource, what was stored of it is gone.
pub(crate) fn invalidate(cache: &Cache, session: &Session, response: &ResponseHeader, ctx: &Ctx) {
    let safe = matches!(
        session.req_header().method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE
    );
    if let Some(key) = ctx.cache.key
        && !safe
        && (response.status.is_success() || response.status.is_redirection())
    {
        cache.l1.remove(key);
    }
}
