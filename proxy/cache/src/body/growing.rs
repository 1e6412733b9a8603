//! The list of pieces, while it grows and when it is whole.

use super::{PASS_WINDOW, PIECE_MAX, PIECE_MIN, PIECE_OVERHEAD};
use crate::CacheError;
use crate::budget::Charge;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A passing body is slowed down from here on.
const PASS_FREE: u64 = 512 * 1024;
/// The place of a reader that is gone.
pub(super) const GONE: u64 = u64::MAX;

#[derive(Debug)]
pub(super) struct Piece {
    /// Where in the body it ends.
    end: u64,
    pub(super) bytes: Bytes,
}

/// The pieces that end after `at`, from the one that holds it.
pub(super) fn slice_at(pieces: &[Piece], at: u64) -> Option<Bytes> {
    let piece = pieces.get(pieces.partition_point(|piece| piece.end <= at))?;
    let start = piece.end - piece.bytes.len() as u64;
    let inside = usize::try_from(at.checked_sub(start)?).ok()?;
    Some(piece.bytes.slice(inside..))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Open,
    Passing,
    Passed,
    Failed,
}

#[derive(Debug)]
pub(super) struct Growing {
    pub(super) pieces: Vec<Piece>,
    /// Bytes received.
    pub(super) length: u64,
    /// Bytes before the first piece that a passing body has dropped.
    pub(super) dropped: u64,
    pub(super) state: State,
    pub(super) charge: Charge,
    /// The charge is for the whole body, not for what is here.
    reserved: bool,
    /// Where each reader is; the first is the one the answer was fetched for.
    pub(super) places: Vec<Arc<AtomicU64>>,
}

#[derive(Debug)]
pub(super) struct Whole {
    pub(super) pieces: Box<[Piece]>,
    pub(super) length: u64,
    _charge: Charge,
}

impl Growing {
    pub(super) fn new(charge: Charge, reserved: bool) -> Self {
        let places = vec![Arc::new(AtomicU64::new(0))];
        Self {
            pieces: Vec::new(),
            length: 0,
            dropped: 0,
            state: State::Open,
            charge,
            reserved,
            places,
        }
    }

    pub(super) fn fail(&mut self) {
        self.state = State::Failed;
        self.pieces = Vec::new();
        self.charge.release(self.charge.bytes());
    }

    pub(super) fn push(&mut self, chunk: &[u8]) {
        if chunk.is_empty() {
            return;
        }
        let mut chunk = chunk;
        // What is read is shared, so a short last piece is not extended but replaced.
        if let Some(last) = self.pieces.last_mut()
            && last.bytes.len() + chunk.len() <= PIECE_MIN
        {
            last.bytes = Bytes::from([&last.bytes[..], chunk].concat());
            last.end += chunk.len() as u64;
            self.length = last.end;
            return;
        }
        while !chunk.is_empty() {
            let (part, rest) = chunk.split_at(chunk.len().min(PIECE_MAX));
            self.length += part.len() as u64;
            self.pieces.push(Piece {
                end: self.length,
                bytes: Bytes::copy_from_slice(part),
            });
            chunk = rest;
        }
    }

    /// Gives back what was taken for more than is held.
    pub(super) fn true_up(&mut self) {
        if !self.reserved {
            let bytes = usize::try_from(self.length - self.dropped).unwrap_or(usize::MAX);
            let held = bytes.saturating_add(self.pieces.len() * PIECE_OVERHEAD);
            self.charge
                .release(self.charge.bytes().saturating_sub(held));
        }
    }

    /// The list cut to fit, short pieces joined.
    pub(super) fn freeze(mut self) -> Whole {
        let least = usize::try_from(self.length)
            .unwrap_or(usize::MAX)
            .div_ceil(PIECE_MAX);
        if self.pieces.len() > 2 * least {
            let old = std::mem::take(&mut self.pieces);
            let (mut joined, mut end) = (Vec::with_capacity(PIECE_MAX), 0_u64);
            let mut cut = |joined: &mut Vec<u8>, pieces: &mut Vec<Piece>| {
                end += joined.len() as u64;
                pieces.push(Piece {
                    end,
                    bytes: Bytes::copy_from_slice(joined),
                });
                joined.clear();
            };
            for piece in old {
                if joined.len() + piece.bytes.len() > PIECE_MAX {
                    cut(&mut joined, &mut self.pieces);
                }
                joined.extend_from_slice(&piece.bytes);
            }
            if !joined.is_empty() {
                cut(&mut joined, &mut self.pieces);
            }
        }
        self.reserved = false;
        self.true_up();
        Whole {
            pieces: self.pieces.into_boxed_slice(),
            length: self.length,
            _charge: self.charge,
        }
    }

    /// Whether a reader at `place` can still be served.
    fn is_alive(&self, place: u64) -> bool {
        place != GONE && place >= self.dropped
    }

    pub(super) fn settle(&mut self) -> Result<Duration, CacheError> {
        let places: Vec<u64> = self
            .places
            .iter()
            .map(|place| place.load(Ordering::Relaxed))
            .collect();
        let needed = places
            .iter()
            .copied()
            .filter(|place| self.is_alive(*place))
            .min()
            .ok_or(CacheError::Unread)?;
        let keep = needed.max(self.length.saturating_sub(PASS_WINDOW));
        let cut = self.pieces.partition_point(|piece| piece.end <= keep);
        if let Some(last) = cut.checked_sub(1).and_then(|last| self.pieces.get(last)) {
            self.dropped = last.end;
        }
        self.pieces.drain(..cut);
        self.true_up();
        // The one it was fetched for sets the pace; without it, the fastest of the others.
        let mut alive = places.iter().copied().filter(|place| self.is_alive(*place));
        let leader = match places.first() {
            Some(first) if self.is_alive(*first) => *first,
            _ => alive.by_ref().max().ok_or(CacheError::Unread)?,
        };
        Ok(pace(self.length.saturating_sub(leader)))
    }
}

/// How long to hold back an origin whose reader is so many bytes behind: nothing at first, 4 s for a nearly full window.
/// The writer cannot simply wait for its reader, as Pingora drives both in one task; while it sleeps the client drains
/// the socket's buffer.
fn pace(behind: u64) -> Duration {
    match behind.checked_sub(PASS_FREE) {
        None => Duration::ZERO,
        Some(over) => Duration::from_millis((2_u64 << (over / (256 * 1024)).min(11)).min(4_000)),
    }
}
