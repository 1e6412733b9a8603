//! Stage 9: answer from the store, or let one request fetch for all that wait.
//!
//! A stored, whole, fresh answer to a plain request is sent straight from memory ([`memory`]); everything else goes
//! through Pingora's cache, which needs a `CacheKey`, a `CacheMeta` and some boxes for each request but knows about
//! waiting, validating, ranges and answers that still come in. Here its calls are translated: [`storage`] to the store,
//! [`lock`] for those who wait, [`predict`] for what is known not to be storable, [`hooks`] for its decisions. Both
//! ways ask the same functions of `aegis_cache`.
//!
//! Pingora wants all of these to live as long as the process; a [`Cache`] is made once at start and does.

mod ctx;
pub(crate) mod hooks;
mod lock;
pub(crate) mod memory;
mod meta;
mod predict;
mod storage;

pub(crate) use ctx::CacheCtx;

use aegis_cache::hit_for_miss::HitForMiss;
use aegis_cache::key::KeyMaker;
use aegis_cache::l1::L1;
use lock::Lock;
use std::sync::Arc;
use storage::Storage;

/// The store and what surrounds it.
pub struct Cache {
    keys: KeyMaker,
    l1: Arc<L1>,
    uncacheable: predict::Predictor,
    storage: Storage,
    lock: Lock,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache")
            .field("bytes_max", &self.l1.budget().limit())
            .finish_non_exhaustive()
    }
}

impl Cache {
    /// A store of at most `bytes` (`node.cache.memory`). It is never freed: make one for a process.
    #[must_use]
    pub fn new(bytes: u64) -> &'static Self {
        let l1 = L1::new(usize::try_from(bytes).unwrap_or(usize::MAX));
        let uncacheable = Arc::new(HitForMiss::default());
        Box::leak(Box::new(Self {
            keys: KeyMaker::random(),
            storage: Storage::new(Arc::clone(&l1), Arc::clone(&uncacheable)),
            lock: Lock::new(Arc::clone(&l1)),
            uncacheable: predict::Predictor(uncacheable),
            l1,
        }))
    }

    /// Bytes held now.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.l1.budget().used()
    }
}
