//! The store as Pingora's `Storage`: reads of whole and growing answers, writes that are read while they go on.

use super::meta;
use aegis_cache::CacheError;
use aegis_cache::body::Reader;
use aegis_cache::hit_for_miss::{HitForMiss, Why};
use aegis_cache::key::{Key, Variance};
use aegis_cache::l1::{Fill, L1};
use aegis_cache::object::Object;
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use pingora_cache::key::CacheHashKey;
use pingora_cache::storage::{HandleHit, HandleMiss, MissFinishType};
use pingora_cache::trace::SpanHandle;
use pingora_cache::{
    CacheKey, CacheMeta, HitHandler, MissHandler, PurgeOutcome, PurgeTarget, PurgeType,
};
use pingora_error::{Error, ErrorType, Result};
use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

pub(super) struct Storage {
    l1: Arc<L1>,
    uncacheable: Arc<HitForMiss>,
    writers: Arc<Writers>,
}

/// Answers whose writer has yet to ask for its own reader: it does so in the next breath, so there are few.
#[derive(Default)]
struct Writers {
    next: AtomicU64,
    objects: Mutex<HashMap<u64, Arc<Object>>>,
}

impl Storage {
    pub(super) fn new(l1: Arc<L1>, uncacheable: Arc<HitForMiss>) -> Self {
        Self {
            l1,
            uncacheable,
            writers: Arc::default(),
        }
    }
}

pub(super) fn key_of(key: &CacheKey) -> Key {
    Key::from_bytes(key.primary_bin())
}

/// What a request with this key is answered by: with a variance that variant, else any, to learn what they vary by.
pub(super) fn find(l1: &L1, key: &CacheKey) -> Option<Arc<Object>> {
    match key.variance_bin() {
        Some(variance) => l1.get(key_of(key), |_| Some(Variance(variance))),
        None => l1.any(key_of(key)),
    }
}

fn hit(object: Arc<Object>, reader: Reader) -> (CacheMeta, HitHandler) {
    let meta = meta::of_stored(&object);
    (meta, Box::new(Hit { object, reader }))
}

#[async_trait]
impl pingora_cache::Storage for Storage {
    async fn lookup(
        &'static self,
        key: &CacheKey,
        _trace: &SpanHandle,
    ) -> Result<Option<(CacheMeta, HitHandler)>> {
        Ok(find(&self.l1, key).map(|object| {
            let reader = Reader::new(Arc::clone(object.body()));
            hit(object, reader)
        }))
    }

    async fn lookup_streaming_write(
        &'static self,
        _key: &CacheKey,
        tag: Option<&[u8]>,
        _trace: &SpanHandle,
    ) -> Result<Option<(CacheMeta, HitHandler)>> {
        let id = tag.and_then(|tag| tag.try_into().ok().map(u64::from_be_bytes));
        let object = id.and_then(|id| self.writers.objects.lock().remove(&id));
        Ok(object.map(|object| {
            let reader = Reader::leading(Arc::clone(object.body()));
            hit(object, reader)
        }))
    }

    async fn get_miss_handler(
        &'static self,
        key: &CacheKey,
        meta: &CacheMeta,
        _trace: &SpanHandle,
    ) -> Result<MissHandler> {
        let storable = meta.extensions().get::<meta::Storable>();
        let storable = storable.ok_or_else(|| Error::new_in(ErrorType::InternalError))?;
        let key = key_of(key);
        let parts = meta::parts(meta, storable.facts).map_err(internal)?;
        let fill = self
            .l1
            .fill(key, parts, meta::length(meta), storable.object_max)
            .map_err(internal)?;
        let id = self.writers.next.fetch_add(1, Ordering::Relaxed);
        self.writers
            .objects
            .lock()
            .insert(id, Arc::clone(fill.object()));
        Ok(Box::new(Miss {
            fill: Some(fill),
            key,
            id: id.to_be_bytes(),
            writers: Arc::clone(&self.writers),
            uncacheable: Arc::clone(&self.uncacheable),
        }))
    }

    async fn purge(
        &'static self,
        target: PurgeTarget<'_>,
        _purge_type: PurgeType,
        _trace: &SpanHandle,
    ) -> Result<PurgeOutcome> {
        let key = Key::from_bytes(target.key().primary_bin());
        Ok(if self.l1.remove(key) {
            PurgeOutcome::Purged(None)
        } else {
            PurgeOutcome::NotFound
        })
    }

    async fn update_meta(
        &'static self,
        key: &CacheKey,
        meta: &CacheMeta,
        _trace: &SpanHandle,
    ) -> Result<bool> {
        let (Some(old), Some(storable)) = (
            meta::object(meta),
            meta.extensions().get::<meta::Storable>(),
        ) else {
            return Ok(false);
        };
        let parts = meta::parts(meta, storable.facts).map_err(internal)?;
        Ok(self.l1.freshen(key_of(key), old, parts))
    }

    fn support_streaming_partial_write(&self) -> bool {
        true
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync + 'static) {
        self
    }
}

/// One reader of an answer.
pub(super) struct Hit {
    pub(super) object: Arc<Object>,
    reader: Reader,
}

#[async_trait]
impl HandleHit for Hit {
    async fn read_body(&mut self) -> Result<Option<Bytes>> {
        self.reader.next().await.map_err(broken)
    }

    async fn finish(
        self: Box<Self>,
        _storage: &'static (dyn pingora_cache::Storage + Sync),
        _key: &CacheKey,
        _trace: &SpanHandle,
    ) -> Result<()> {
        Ok(())
    }

    fn can_seek(&self) -> bool {
        true
    }

    fn seek(&mut self, start: usize, end: Option<usize>) -> Result<()> {
        let end = end.map(|end| end as u64);
        self.reader.seek(start as u64, end).map_err(internal)
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }

    fn as_any_mut(&mut self) -> &mut (dyn Any + Send + Sync) {
        self
    }
}

/// The writer of an answer; `fill` until its end.
struct Miss {
    fill: Option<Fill>,
    key: Key,
    id: [u8; 8],
    writers: Arc<Writers>,
    uncacheable: Arc<HitForMiss>,
}

impl Drop for Miss {
    fn drop(&mut self) {
        self.writers
            .objects
            .lock()
            .remove(&u64::from_be_bytes(self.id));
    }
}

#[async_trait]
impl HandleMiss for Miss {
    async fn write_body(&mut self, data: Bytes, _eof: bool) -> Result<()> {
        let Some(fill) = self.fill.as_mut() else {
            return Ok(());
        };
        let passed = fill.is_passing();
        let written = fill.write(data).await;
        if fill.is_passing() && !passed {
            // Others need not wait to find out.
            self.uncacheable
                .remember(self.key, Why::TooLarge, Instant::now());
        }
        written.map_err(broken)
    }

    async fn finish(mut self: Box<Self>) -> Result<MissFinishType> {
        let length = match self.fill.take() {
            Some(fill) => fill.finish().map_err(broken)?,
            None => 0,
        };
        Ok(MissFinishType::Created(
            usize::try_from(length).unwrap_or(usize::MAX),
        ))
    }

    fn streaming_write_tag(&self) -> Option<&[u8]> {
        Some(&self.id)
    }
}

fn internal(error: CacheError) -> Box<Error> {
    Error::because(ErrorType::InternalError, "cache", error)
}

/// The origin's fault, or as good as.
fn broken(error: CacheError) -> Box<Error> {
    Error::because(ErrorType::ConnectionClosed, "cache", error).into_up()
}
