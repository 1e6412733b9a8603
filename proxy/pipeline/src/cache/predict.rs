//! [`HitForMiss`] as Pingora's predictor.

use super::ctx::{NO_ROOM, ORIGIN_FAILED};
use super::storage::key_of;
use aegis_cache::hit_for_miss::{HitForMiss, Why};
use pingora_cache::predictor::CacheablePredictor;
use pingora_cache::{CacheKey, NoCacheReason};
use std::sync::Arc;
use std::time::Instant;

pub(super) struct Predictor(pub(super) Arc<HitForMiss>);

impl CacheablePredictor for Predictor {
    fn cacheable_prediction(&self, key: &CacheKey) -> bool {
        self.0.why(key_of(key), Instant::now()).is_none()
    }

    fn mark_cacheable(&self, key: &CacheKey) -> bool {
        !self.0.forget(key_of(key))
    }

    fn mark_uncacheable(&self, key: &CacheKey, reason: NoCacheReason) -> Option<bool> {
        let why = match reason {
            NoCacheReason::ResponseTooLarge => Why::TooLarge,
            NoCacheReason::Custom(ORIGIN_FAILED) => Why::OriginFailed,
            // Says nothing about the URL.
            NoCacheReason::Custom(NO_ROOM) => return None,
            NoCacheReason::OriginNotCache | NoCacheReason::Custom(_) => Why::NotStorable,
            _ => return None,
        };
        Some(self.0.remember(key_of(key), why, Instant::now()))
    }
}
