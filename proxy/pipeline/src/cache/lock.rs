//! One fetch for all that wait.
//!
//! Pingora looks into the store first and takes the lock after. In between, the writer before may have brought the
//! answer and given the lock back: the request would fetch again what is there. So whoever gets the lock looks once
//! more, and if the answer has come lets itself go like those that waited.

use super::storage::find;
use aegis_cache::decide::{Request, Reuse, reuse};
use aegis_cache::l1::L1;
use pingora_cache::CacheKey;
use pingora_cache::lock::{CacheKeyLock, CacheLock, LockStatus, Locked, WritePermit};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// When an origin has not answered after this, another of those who wait may try.
const WRITER_MAX: Duration = Duration::from_secs(10);
/// Nobody waits longer than this in all.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(60);
/// After so many writers that brought nothing, those who wait go to the origin themselves.
pub(super) const WAITS_MAX: usize = 4;

pub(super) struct Lock {
    inner: CacheLock,
    l1: Arc<L1>,
}

impl Lock {
    pub(super) fn new(l1: Arc<L1>) -> Self {
        Self {
            inner: CacheLock::new(WRITER_MAX),
            l1,
        }
    }

    fn has_come(&self, key: &CacheKey) -> bool {
        let Some(request) = key.extensions.get::<Request>() else {
            return false;
        };
        find(&self.l1, key)
            .is_some_and(|object| reuse(object.facts(), request, SystemTime::now()) == Reuse::Send)
    }
}

impl CacheKeyLock for Lock {
    fn lock(&self, key: &CacheKey, stale_writer: bool) -> Locked {
        match self.inner.lock(key, stale_writer) {
            Locked::Write(permit) if self.has_come(key) => {
                let read = self.inner.lock(key, stale_writer);
                self.inner.release(key, permit, LockStatus::Done);
                read
            }
            locked => locked,
        }
    }

    fn release(&self, key: &CacheKey, permit: WritePermit, reason: LockStatus) {
        self.inner.release(key, permit, reason);
    }
}
