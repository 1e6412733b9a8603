//! Reading, at one's own pace.

use super::Body;
use super::growing::{GONE, State, slice_at};
use crate::CacheError;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Reads a body from any place to any place.
#[derive(Debug)]
pub struct Reader {
    body: Arc<Body>,
    place: Option<Arc<AtomicU64>>,
    at: u64,
    end: u64,
}

enum Read {
    Bytes(Bytes),
    End,
    Wait,
}

impl Reader {
    /// From the first byte to the last.
    #[must_use]
    pub fn new(body: Arc<Body>) -> Self {
        let place = body.growing.lock().as_mut().map(|growing| {
            let own = Arc::new(AtomicU64::new(0));
            // Those that left make room for those that come.
            if growing.places.len() == growing.places.capacity() {
                let mut first = true;
                growing.places.retain(|place| {
                    std::mem::take(&mut first) || place.load(Ordering::Relaxed) != GONE
                });
            }
            growing.places.push(Arc::clone(&own));
            own
        });
        Self {
            body,
            place,
            at: 0,
            end: u64::MAX,
        }
    }

    /// As [`Reader::new`], for the one the answer is fetched for, whose pace a passing body keeps.
    #[must_use]
    pub fn leading(body: Arc<Body>) -> Self {
        let place = body
            .growing
            .lock()
            .as_ref()
            .and_then(|growing| growing.places.first().cloned());
        Self {
            body,
            place,
            at: 0,
            end: u64::MAX,
        }
    }

    /// The next bytes; `None` at the end. Cancel-safe.
    ///
    /// # Errors
    /// The end cannot be reached: see [`CacheError`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, CacheError> {
        loop {
            let mut read = self.read()?;
            if matches!(read, Read::Wait) {
                let mut changed = std::pin::pin!(self.body.changed.notified());
                // Registered before looking again, or a change between the two would be missed.
                changed.as_mut().enable();
                read = self.read()?;
                if matches!(read, Read::Wait) {
                    changed.await;
                    continue;
                }
            }
            let Read::Bytes(mut bytes) = read else {
                return Ok(None);
            };
            bytes.truncate(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
            self.at += bytes.len() as u64;
            if let Some(place) = &self.place {
                place.store(self.at, Ordering::Relaxed);
            }
            return Ok(Some(bytes));
        }
    }

    fn read(&self) -> Result<Read, CacheError> {
        if self.at >= self.end {
            return Ok(Read::End);
        }
        if let Some(whole) = self.body.whole.get() {
            return Ok(slice_at(&whole.pieces, self.at).map_or(Read::End, Read::Bytes));
        }
        let guard = self.body.growing.lock();
        let Some(growing) = guard.as_ref() else {
            // Frozen since the look above.
            return Ok(self
                .body
                .whole
                .get()
                .and_then(|whole| slice_at(&whole.pieces, self.at))
                .map_or(Read::End, Read::Bytes));
        };
        if growing.state == State::Failed {
            return Err(CacheError::Truncated);
        }
        if self.at < growing.dropped {
            return Err(CacheError::TooSlow);
        }
        Ok(match slice_at(&growing.pieces, self.at) {
            Some(bytes) => Read::Bytes(bytes),
            None if growing.state == State::Passed => Read::End,
            None => Read::Wait,
        })
    }

    /// Reads from `start` to before `end` (or the end) next.
    ///
    /// # Errors
    /// [`CacheError::Range`] if the range is empty or begins past the end.
    pub fn seek(&mut self, start: u64, end: Option<u64>) -> Result<(), CacheError> {
        let end = end.unwrap_or(u64::MAX);
        if start >= end
            || self
                .body
                .complete_length()
                .is_some_and(|length| start >= length)
        {
            return Err(CacheError::Range);
        }
        (self.at, self.end) = (start, end);
        if let Some(place) = &self.place {
            place.store(start, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            place.store(GONE, Ordering::Relaxed);
        }
    }
}
