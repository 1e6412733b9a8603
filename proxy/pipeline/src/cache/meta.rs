//! Between our objects and Pingora's `CacheMeta`.

use aegis_cache::CacheError;
use aegis_cache::decide::{self, Facts};
use aegis_cache::key::Variance;
use aegis_cache::object::{Head, Object, Parts};
use aegis_cache::vary::Vary;
use http::header::{AGE, TRANSFER_ENCODING};
use http::{HeaderMap, Response, StatusCode};
use pingora_cache::CacheMeta;
use pingora_http::ResponseHeader;
use std::sync::Arc;
use std::time::SystemTime;

/// What our decision adds to a `CacheMeta` on its way into the store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Storable {
    pub(super) facts: Facts,
    pub(super) object_max: u64,
}

/// The head of a stored answer as Pingora writes it.
pub(super) fn response(object: &Object, more: usize) -> ResponseHeader {
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = object.head().status();
    parts.headers = object.headers(more);
    ResponseHeader::from(parts)
}

/// For an answer out of the store.
pub(super) fn of_stored(object: &Arc<Object>) -> CacheMeta {
    let mut meta = base(object.facts(), response(object, 4));
    if let Some(variance) = object.variance() {
        meta.set_variance(variance.0);
    }
    meta.extensions_mut().insert(Arc::clone(object));
    meta
}

/// For an answer on its way into the store.
pub(super) fn of_fetched(storable: Storable, mut head: ResponseHeader) -> CacheMeta {
    for name in decide::strip(&head.headers) {
        // It is still to be sent; only the stored one is counted on.
        if name != AGE {
            head.remove_header(&name);
        }
    }
    let mut meta = base(&storable.facts, head);
    meta.extensions_mut().insert(storable);
    meta
}

fn base(facts: &Facts, head: ResponseHeader) -> CacheMeta {
    let stale_if_error = u32::try_from(facts.stale_if_error.as_secs()).unwrap_or(u32::MAX);
    // Pingora drops variants older than the first one it looked at; ours stand and fall together, so all are equally old.
    let created = SystemTime::UNIX_EPOCH;
    let mut meta = CacheMeta::new(facts.fresh_until(), created, 0, stale_if_error, head);
    // Its `Age` counts from here.
    meta.set_epoch_override(facts.born);
    meta
}

/// The stored answer a `CacheMeta` was made of.
pub(super) fn object(meta: &CacheMeta) -> Option<&Arc<Object>> {
    meta.extensions().get::<Arc<Object>>()
}

/// What is stored of a `CacheMeta`.
pub(super) fn parts(meta: &CacheMeta, facts: Facts) -> Result<Parts, CacheError> {
    let mut headers: HeaderMap = meta.headers().clone();
    headers.remove(AGE);
    headers.remove(TRANSFER_ENCODING);
    let variance = meta.variance().map(Variance);
    // Without a variance there is nothing to choose by, whatever the field says.
    let vary = match variance {
        Some(_) => Vary::of(&headers).unwrap_or_default(),
        None => Vary::default(),
    };
    Ok(Parts {
        head: Head::new(meta.response_header().status, &headers)?,
        facts,
        vary,
        variance,
    })
}

/// The length of a body, if the head says it.
pub(super) fn length(meta: &CacheMeta) -> Option<u64> {
    match meta.response_header().status {
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT => None,
        _ => decide::content_length(meta.headers()).ok().flatten(),
    }
}
