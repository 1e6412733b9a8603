//! The bytes of an answer: written once, read by any number, also while they still come in.
//!
//! A body is a list of pieces, each its own allocation of at most [`PIECE_MAX`], so that what is counted is what is
//! held (a chunk cut from a 64 KiB read buffer would keep all of it alive). When the end has been seen the list is
//! frozen and read without a lock.
//!
//! A body that has outgrown what may be stored *passes*: only the window its readers still need is kept. Its readers
//! are served to the end, at the pace of the one the answer was fetched for; others that fall out of the window fail.

mod growing;
mod reader;

pub use reader::Reader;

use crate::CacheError;
use crate::budget::Charge;
use bytes::Bytes;
use growing::{Growing, Piece, State, Whole};
use parking_lot::Mutex;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::Notify;

/// Longest piece.
pub const PIECE_MAX: usize = 64 * 1024;
/// Pieces shorter than this are joined as they come, so that an origin sending byte by byte makes no long list.
const PIECE_MIN: usize = 4 * 1024;
/// Counted for a piece beside its bytes: its place in the list, and what the allocator and `Bytes` keep for it.
pub const PIECE_OVERHEAD: usize = size_of::<Piece>() + 48;
/// What a passing body keeps.
pub const PASS_WINDOW: u64 = 4 * 1024 * 1024;

/// How the room for a chunk was had.
#[derive(Debug)]
pub(crate) enum Paid {
    /// With the whole body's.
    Before,
    /// With this.
    Now(Charge),
    /// Not: past the bound if need be.
    Past,
}

/// See the module's text.
#[derive(Debug)]
pub struct Body {
    whole: OnceLock<Whole>,
    growing: Mutex<Option<Growing>>,
    changed: Notify,
}

impl Body {
    /// `reserved`: the charge is [`Body::cost_at_most`] of the whole.
    pub(crate) fn new(charge: Charge, reserved: bool) -> Arc<Self> {
        let growing = Mutex::new(Some(Growing::new(charge, reserved)));
        Arc::new(Self {
            whole: OnceLock::new(),
            growing,
            changed: Notify::new(),
        })
    }

    /// The number of bytes, once all of them are here.
    #[must_use]
    pub fn complete_length(&self) -> Option<u64> {
        self.whole.get().map(|whole| whole.length)
    }

    /// All pieces, once all of them are here.
    pub fn pieces(&self) -> Option<impl ExactSizeIterator<Item = &Bytes>> {
        self.whole
            .get()
            .map(|whole| whole.pieces.iter().map(|piece| &piece.bytes))
    }

    /// How many bytes adding `chunk` will hold at most.
    pub(crate) fn cost(chunk: usize) -> usize {
        chunk + chunk.div_ceil(PIECE_MAX) * PIECE_OVERHEAD
    }

    /// How many bytes a body of `length` will hold at most, however it comes: two neighbours are together longer than
    /// [`PIECE_MIN`].
    pub(crate) fn cost_at_most(length: u64) -> Option<usize> {
        let length = usize::try_from(length).ok()?;
        length.checked_add(
            (length / (PIECE_MIN / 2))
                .checked_add(1)?
                .checked_mul(PIECE_OVERHEAD)?,
        )
    }

    /// Adds bytes.
    pub(crate) fn push(&self, chunk: &[u8], paid: Paid) {
        if let Some(growing) = self.growing.lock().as_mut() {
            match paid {
                Paid::Before => {}
                Paid::Now(charge) => growing.charge.merge(charge),
                Paid::Past => growing.charge.force(Self::cost(chunk.len())),
            }
            growing.push(chunk);
            growing.true_up();
        }
        self.changed.notify_waiters();
    }

    pub(crate) fn length(&self) -> u64 {
        self.complete_length().unwrap_or_else(|| {
            self.growing
                .lock()
                .as_ref()
                .map_or(0, |growing| growing.length)
        })
    }

    /// From now on only what readers still need is kept.
    pub(crate) fn pass(&self) {
        if let Some(growing) = self.growing.lock().as_mut() {
            growing.state = State::Passing;
        }
    }

    /// For a passing body: drops what nobody needs any more and says how long to wait before more is added.
    pub(crate) fn settle(&self) -> Result<Duration, CacheError> {
        let pace = self
            .growing
            .lock()
            .as_mut()
            .map_or(Err(CacheError::Unread), Growing::settle);
        self.changed.notify_waiters();
        pace
    }

    /// All bytes are here.
    pub(crate) fn complete(&self) {
        let mut guard = self.growing.lock();
        match guard.as_mut().map(|growing| growing.state) {
            Some(State::Open) => {
                if let Some(growing) = guard.take() {
                    drop(self.whole.set(growing.freeze()));
                }
            }
            Some(State::Passing) => {
                if let Some(growing) = guard.as_mut() {
                    growing.state = State::Passed;
                }
            }
            _ => {}
        }
        drop(guard);
        self.changed.notify_waiters();
    }

    /// There will be no more bytes, and some are missing. Readers fail where they are: nobody shall take the part for
    /// the whole.
    pub(crate) fn fail(&self) {
        if let Some(growing) = self.growing.lock().as_mut() {
            growing.fail();
        }
        self.changed.notify_waiters();
    }
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
