//! An answer on its way into the store.

use super::L1;
use crate::CacheError;
use crate::body::{Body, Paid};
use crate::budget::Charge;
use crate::key::Key;
use crate::object::{Object, Parts};
use bytes::Bytes;
use std::sync::Arc;

/// The writer of an answer. Dropped without [`Fill::finish`] it fails: readers get an error where they are, and
/// nothing of it is stored.
#[derive(Debug)]
pub struct Fill {
    l1: Arc<L1>,
    key: Key,
    object: Arc<Object>,
    length: Option<u64>,
    object_max: u64,
    /// The head's and, with a known length, the body's bytes.
    cost: usize,
    passing: bool,
    done: bool,
}

impl Fill {
    pub(super) fn begin(
        l1: &Arc<L1>,
        key: Key,
        parts: Parts,
        length: Option<u64>,
        object_max: u64,
    ) -> Result<Self, CacheError> {
        let cost = parts.cost();
        let body_cost = match length {
            Some(length) if length > object_max => return Err(CacheError::NoRoom),
            Some(length) => Body::cost_at_most(length).ok_or(CacheError::NoRoom)?,
            None => 0,
        };
        let head = l1.reserve(cost).ok_or(CacheError::NoRoom)?;
        let body = l1.reserve(body_cost).ok_or(CacheError::NoRoom)?;
        let object = Arc::new(Object::new(parts, Body::new(body, length.is_some()), head));
        l1.begin(key, &object);
        Ok(Self {
            l1: Arc::clone(l1),
            key,
            object,
            length,
            object_max,
            cost: cost + body_cost,
            passing: false,
            done: false,
        })
    }

    /// What readers see.
    #[must_use]
    pub fn object(&self) -> &Arc<Object> {
        &self.object
    }

    /// It has outgrown what may be stored, and is only passed on.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.passing
    }

    /// Adds bytes. Returns at once while the answer can still be stored; past that, the origin is held back to its
    /// readers' pace.
    ///
    /// # Errors
    /// [`CacheError::Truncated`] if more comes than was announced; [`CacheError::Unread`] if it cannot be stored and
    /// nobody reads it any more.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), CacheError> {
        let body = Arc::clone(self.object.body());
        let length = body.length() + chunk.len() as u64;
        if let Some(announced) = self.length {
            if length > announced {
                return Err(CacheError::Truncated);
            }
            body.push(&chunk, Paid::Before);
            return Ok(());
        }
        if !self.passing {
            if let Some(charge) = self.room(length, chunk.len()) {
                body.push(&chunk, Paid::Now(charge));
                return Ok(());
            }
            self.passing = true;
            self.l1.abandon(self.key, &self.object);
            body.pass();
        }
        body.push(&chunk, Paid::Past);
        let pace = body.settle()?;
        if !pace.is_zero() {
            tokio::time::sleep(pace).await;
        }
        Ok(())
    }

    fn room(&mut self, length: u64, chunk: usize) -> Option<Charge> {
        if length > self.object_max {
            return None;
        }
        let bytes = Body::cost(chunk);
        let charge = self.l1.reserve(bytes)?;
        self.cost += bytes;
        Some(charge)
    }

    /// The end: stores the answer. Returns the bytes of its body.
    ///
    /// # Errors
    /// [`CacheError::Truncated`] if less came than was announced.
    pub fn finish(mut self) -> Result<u64, CacheError> {
        let body = Arc::clone(self.object.body());
        let length = body.length();
        if self.length.is_some_and(|announced| announced != length) {
            return Err(CacheError::Truncated);
        }
        self.done = true;
        body.complete();
        if !self.passing {
            self.l1.commit(self.key, &self.object, self.cost);
        }
        Ok(length)
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        if !self.done {
            self.l1.abandon(self.key, &self.object);
            self.object.body().fail();
        }
    }
}
