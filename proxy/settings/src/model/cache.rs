//! `cache:` of profiles, sites and routes.

use crate::define::default;
use crate::kind::scalar::{flag, ms, secs, size, time};
use crate::overlay::overlay;
use std::time::Duration;

overlay! {
    /// Cache values in force.
    pub struct Cache as "cache", off by enabled = false;
    /// Cache values that one place sets.
    pub struct CacheLayer {
        /// Use the cache.
        enabled: bool = flag() => default("true");
        /// Largest object.
        object_max: u64 = size(1 << 10, 4 << 30) => default("8MiB");
        /// Freshness when the origin gives none and no heuristic applies; 0s = not stored.
        ttl_default: Duration = time(ms(0), secs(365 * 86_400)) => default("0s");
        /// Send `Cache-Status` (RFC 9211).
        status_header: bool = flag() => default("true");
    }
}
