//! The look-up, and the short way: a stored, whole answer that may be sent as it is goes to the client at once.

use super::{Cache, hooks, meta};
use crate::ctx::Ctx;
use crate::fault::Fault;
use crate::{answer, facts, head, inspect, spans};
use aegis_cache::decide::{Bypass, Request, Reuse, reuse};
use aegis_cache::key::{Key, Scheme};
use aegis_cache::object::Object;
use aegis_cache::status::Forward;
use http::header::{AGE, CONTENT_LENGTH, RANGE};
use http::{HeaderValue, StatusCode};
use pingora_core::protocols::http::conditional_filter::to_304;
use pingora_error::Result;
use pingora_proxy::Session;
use std::sync::Arc;
use std::time::SystemTime;

/// Stage 9. `true` if the request has its answer; else it goes on, with or without Pingora's cache ([`hooks::enable`]).
///
/// # Errors
/// The client could not be written to.
pub(crate) async fn look_up(cache: &Cache, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
    spans::cache_asked(ctx);
    let Some(object) = find(cache, session, ctx) else {
        return if ctx
            .cache
            .request
            .is_some_and(|asked| asked.only_if_cached())
        {
            not_cached(session, ctx).await
        } else {
            Ok(false)
        };
    };
    let Some(request) = ctx.cache.request else {
        return Ok(false);
    };
    let now = SystemTime::now();
    match reuse(object.facts(), &request, now) {
        Reuse::Send => {
            // A part of it, or what is still coming in, needs more than this way has.
            if object.body().complete_length().is_none()
                || session.req_header().headers.contains_key(RANGE)
            {
                return Ok(false);
            }
            send(session, ctx, &object, &request, now).await?;
            Ok(true)
        }
        Reuse::Validate { .. } | Reuse::Never if request.only_if_cached() => {
            not_cached(session, ctx).await
        }
        Reuse::Validate { .. } => Ok(false),
        Reuse::Never => {
            ctx.cache.bypass(Forward::Miss, Some("authorization"));
            Ok(false)
        }
    }
}

/// RFC 9111 §5.2.1.7.
async fn not_cached(session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
    answer::send_page(session, ctx, Fault::NotCached).await?;
    Ok(true)
}

/// What is stored for the request. Fills in what the rest of the stage goes by.
fn find(cache: &Cache, session: &mut Session, ctx: &mut Ctx) -> Option<Arc<Object>> {
    let route = Arc::clone(&ctx.routed()?.entry.route);
    ctx.cache.begin(&route.cache);
    if !route.cache.enabled {
        ctx.cache.bypass(Forward::Bypass, None);
        return None;
    }
    let empty = session.is_body_empty();
    let head = session.req_header();
    ctx.cache.key = key(cache, session, ctx);
    if inspect::has_edited(ctx) {
        // The origin will be asked for something else than this key and these fields say.
        ctx.cache.bypass(Forward::Bypass, Some("edited"));
        return None;
    }
    if ctx.client_certificate().is_some() {
        // What the origin makes of a certificate is for its owner, and no field of the request says so to others.
        ctx.cache
            .bypass(Forward::Bypass, Some("client-certificate"));
        return None;
    }
    let request = match Request::read(&head.method, &head.headers, ctx.time) {
        Ok(request) if empty => request,
        Ok(_) => {
            ctx.cache.bypass(Forward::Request, Some("body"));
            return None;
        }
        Err(why) => {
            let forward = match why {
                Bypass::Method => Forward::Method,
                _ => Forward::Request,
            };
            ctx.cache.bypass(forward, None);
            return None;
        }
    };
    let Some(key) = ctx.cache.key else {
        ctx.cache.bypass(Forward::Bypass, Some("host"));
        return None;
    };
    ctx.cache.request = Some(request);
    cache
        .l1
        .get(key, |vary| vary.variance(&cache.keys, &head.headers))
}

fn key(cache: &Cache, session: &Session, ctx: &Ctx) -> Option<Key> {
    let head = session.req_header();
    let scheme = match ctx.scheme() {
        "https" => Scheme::Https,
        _ => Scheme::Http,
    };
    let target = match head.raw_path() {
        path if path.starts_with(b"/") => path,
        _ => head
            .uri
            .path_and_query()
            .map_or("/", |p| p.as_str())
            .as_bytes(),
    };
    let host = facts::host(head).ok().flatten()?;
    match ctx.forwarded_host() {
        // The origin is told it, and may write it into its answer. No target holds a line feed.
        Some(told) if told != host => {
            let told = told.to_ascii_lowercase();
            let target = [target, b"\n", told.as_bytes()].concat();
            cache.keys.key(scheme, host, &target)
        }
        _ => cache.keys.key(scheme, host, target),
    }
}

/// Head and body, in as few writes as they have pieces.
async fn send(
    session: &mut Session,
    ctx: &mut Ctx,
    object: &Object,
    request: &Request,
    now: SystemTime,
) -> Result<()> {
    spans::cache_answered(ctx);
    ctx.cache.from_memory = true;
    ctx.cache.facts = Some(*object.facts());
    let mut response = meta::response(object, 6);
    response.insert_header(AGE, object.facts().age(now).as_secs())?;
    if hooks::not_modified(session, &response) {
        to_304(&mut response);
    } else if object.head().status() == StatusCode::OK
        && response.headers.contains_key(CONTENT_LENGTH)
    {
        response.insert_header("Accept-Ranges", HeaderValue::from_static("bytes"))?;
    }
    hooks::finish(session, &mut response, ctx)?;
    head::to_client(&mut response, ctx)?;
    let bodiless = matches!(
        response.status,
        StatusCode::NOT_MODIFIED | StatusCode::NO_CONTENT
    );
    let silent = request.head || bodiless || object.body().complete_length() == Some(0);
    session
        .write_response_header(Box::new(response), silent)
        .await?;
    if silent {
        session.finish_body().await?;
        return Ok(());
    }
    let mut left = object.body().pieces().map_or(0, |pieces| pieces.len());
    for piece in object.body().pieces().into_iter().flatten() {
        left -= 1;
        session
            .write_response_body(Some(piece.clone()), left == 0)
            .await?;
    }
    Ok(())
}
