//! What a request carries of the cache, and what is told about it.

use aegis_cache::decide::{Facts, NotStored, Policy, Request};
use aegis_cache::key::Key;
use aegis_cache::status::{Forward, Status};
use aegis_settings::resolved;
use aegis_telemetry::metrics::CacheResult;
use http::HeaderMap;
use pingora_cache::{CachePhase, HttpCache, NoCacheReason};
use std::time::SystemTime;

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct CacheCtx {
    /// The stage was reached.
    pub(super) asked: bool,
    /// What the URL's answers are stored under, also for methods that only make them invalid.
    pub(super) key: Option<Key>,
    /// The request, if it may be answered from the store.
    pub(super) request: Option<Request>,
    pub(super) policy: Option<Policy>,
    pub(super) status_header: bool,
    /// Sent straight from memory.
    pub(super) from_memory: bool,
    /// Why it went to the origin.
    pub(super) forward: Option<Forward>,
    pub(super) detail: Option<&'static str>,
    /// The freshness of what is sent.
    pub(super) facts: Option<Facts>,
    /// The fields of a 304 from the origin.
    pub(super) not_modified: Option<HeaderMap>,
    /// The status of an origin that failed while a stale answer was at hand; 0 = it gave none.
    pub(super) failed: Option<u16>,
}

impl CacheCtx {
    pub(super) fn begin(&mut self, settings: &resolved::Cache) {
        self.asked = true;
        // Where there is no cache there is nothing to say of it.
        self.status_header = settings.status_header && settings.enabled;
        self.policy = Some(Policy {
            ttl_default: settings.ttl_default,
            object_max: settings.object_max,
        });
    }

    /// Goes to the origin without the cache.
    pub(super) fn bypass(&mut self, forward: Forward, detail: Option<&'static str>) {
        self.request = None;
        (self.forward, self.detail) = (Some(forward), detail);
    }

    /// What the cache had to say, for log and metrics; `None` if the request ended before it was asked.
    pub(crate) fn result(&self, cache: &HttpCache) -> Option<CacheResult> {
        if !self.asked {
            return None;
        }
        if self.from_memory {
            return Some(CacheResult::Hit);
        }
        Some(match cache.phase() {
            CachePhase::Disabled(NoCacheReason::NeverEnabled)
            | CachePhase::Uninit
            | CachePhase::CacheKey => CacheResult::Bypass,
            CachePhase::Disabled(NoCacheReason::StorageError | NoCacheReason::InternalError) => {
                CacheResult::Error
            }
            CachePhase::Disabled(_) | CachePhase::Bypass
                if self.forward == Some(Forward::Bypass) =>
            {
                CacheResult::Pass
            }
            CachePhase::Hit => CacheResult::Hit,
            CachePhase::Disabled(_)
            | CachePhase::Bypass
            | CachePhase::Miss
            | CachePhase::Expired => CacheResult::Miss,
            CachePhase::Stale | CachePhase::StaleUpdating => CacheResult::Stale,
            CachePhase::Revalidated | CachePhase::RevalidatedNoCache(_) => CacheResult::Revalidated,
        })
    }

    /// `Cache-Status` for what is about to be sent.
    pub(super) fn status(&self, cache: &HttpCache, now: SystemTime) -> Status {
        let ttl = self.facts.map(|facts| facts.ttl(now));
        let forwarded = Status {
            forward: Some(self.forward.unwrap_or(Forward::UriMiss)),
            detail: self.detail,
            collapsed: cache.lock_duration().is_some(),
            ..Status::default()
        };
        if self.from_memory {
            return Status {
                ttl,
                ..Status::default()
            };
        }
        match cache.phase() {
            CachePhase::Hit if cache.lock_duration().is_some() => Status { ttl, ..forwarded },
            CachePhase::Hit => Status {
                ttl,
                ..Status::default()
            },
            CachePhase::Miss | CachePhase::Expired => Status {
                stored: true,
                ttl,
                ..forwarded
            },
            CachePhase::Stale | CachePhase::StaleUpdating => Status {
                forward_status: self.failed.filter(|status| *status != 0),
                ttl,
                ..forwarded
            },
            CachePhase::Revalidated | CachePhase::RevalidatedNoCache(_) => Status {
                forward_status: Some(304),
                ttl,
                ..forwarded
            },
            CachePhase::Disabled(reason) if reason != NoCacheReason::NeverEnabled => Status {
                detail: self.detail.or_else(|| detail(reason)),
                collapsed: false,
                ..forwarded
            },
            CachePhase::Disabled(_)
            | CachePhase::Bypass
            | CachePhase::Uninit
            | CachePhase::CacheKey => Status {
                collapsed: false,
                ..forwarded
            },
        }
    }
}

/// Why an answer is not stored, as Pingora's reason; and back.
pub(super) fn reason(why: NotStored, origin_failed: bool) -> NoCacheReason {
    match why {
        NotStored::TooLarge => NoCacheReason::ResponseTooLarge,
        _ if origin_failed => NoCacheReason::Custom(ORIGIN_FAILED),
        why => NoCacheReason::Custom(why.as_str()),
    }
}

/// An origin's 5xx that is not to be stored.
pub(super) const ORIGIN_FAILED: &str = "origin-failed";
/// All the memory is in use.
pub(super) const NO_ROOM: &str = "no-room";

fn detail(reason: NoCacheReason) -> Option<&'static str> {
    match reason {
        NoCacheReason::Custom(why) => Some(why),
        NoCacheReason::ResponseTooLarge => Some(NotStored::TooLarge.as_str()),
        NoCacheReason::CacheLockGiveUp => Some("not-storable"),
        NoCacheReason::CacheLockTimeout | NoCacheReason::CacheLockRetryLimit => Some("waited-long"),
        NoCacheReason::StorageError | NoCacheReason::InternalError => Some("cache-error"),
        _ => None,
    }
}
