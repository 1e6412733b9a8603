//! The open streams of an HTTP/2 connection, and which of them keep us waiting (RFC 9113 §5).
//!
//! Told by frame heads alone, in both directions. A stream waits for its client
//! - while a request body is not at its end and the client has a window to send in, of the stream and of the connection;
//! - while an answer has begun and is not at its end, and the client has left no window for it.
//!
//! So whoever has nothing to send, and whoever waits for us, is never counted, nor is a window that is used up when all
//! answers are at their end. What frame heads do not tell is whether an answer that goes on has more to send right now: a
//! client that leaves no window at all for one is taken to keep it waiting.
//!
//! Time is charged whenever a frame may change who waits for whom ([`Streams::pass`]), so it counts for those who waited
//! in it, however short the pieces are in which it passes.

use super::Limits;
use super::frame::{DATA, Frame, HEADERS, RST_STREAM, Seen};
use crate::pace::{Pace, Patience};
use aegis_identity::Reject;
use std::time::Duration;

/// `SETTINGS_INITIAL_WINDOW_SIZE` before anybody says otherwise (RFC 9113 §6.5.2).
const WINDOW: i64 = 65_535;
/// Streams that are followed. The `h2` crate refuses those past `node.client.h2_streams_max` before it reads on, so no
/// connection comes near.
const OPEN_MAX: usize = 16_384;

/// Streams by number.
#[derive(Debug)]
pub(super) struct Streams {
    /// In order of their numbers.
    open: Vec<Stream>,
    highest: u32,
    /// Streams after this one are not looked at, as a GOAWAY of ours has said.
    last: u32,
    /// What the client may send.
    client: Side,
    /// What we may send.
    ours: Side,
    /// Up to when time was charged, since the connection began.
    now: Duration,
    /// With these there was no patience left; they are not among the open ones any more.
    slow: Vec<(u32, Reject)>,
}

/// Windows of one side that are not a stream's own.
#[derive(Debug)]
struct Side {
    initial: i64,
    connection: i64,
}

#[derive(Debug)]
struct Stream {
    number: u32,
    request: Half,
    answer: Half,
    /// When it was opened, since the connection began.
    opened: Duration,
}

/// One direction of a stream.
#[derive(Debug)]
struct Half {
    /// It has begun and has not ended.
    open: bool,
    /// It has ended.
    over: bool,
    window: i64,
    /// Made when it is first judged.
    patience: Option<Patience>,
}

impl Default for Streams {
    fn default() -> Self {
        let side = || Side {
            initial: WINDOW,
            connection: WINDOW,
        };
        Self {
            open: Vec::new(),
            highest: 0,
            last: u32::MAX,
            client: side(),
            ours: side(),
            now: Duration::ZERO,
            slow: Vec::new(),
        }
    }
}

impl Streams {
    /// Whether there is none.
    pub(super) const fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The last one a client opened.
    pub(super) const fn highest(&self) -> u32 {
        self.highest
    }

    /// Whether a GOAWAY of ours has named a last stream that can come.
    pub(super) const fn are_closing(&self) -> bool {
        self.last < u32::MAX >> 1
    }

    pub(super) fn received(&mut self, seen: Seen) {
        match seen {
            Seen::Head(frame) if frame.kind == HEADERS => self.opened(frame),
            Seen::Head(frame) if frame.kind == DATA => {
                self.client.connection -= i64::from(frame.length);
                if let Some(stream) = self.find(frame.stream) {
                    stream.request.went(frame.length);
                }
            }
            Seen::Whole(frame) if frame.kind == RST_STREAM => self.remove(frame.stream),
            Seen::Whole(frame) if frame.ends_stream() => {
                if let Some(stream) = self.find(frame.stream) {
                    stream.request.end();
                    self.remove_if_done(frame.stream);
                }
            }
            Seen::InitialWindow(size) => {
                let more = i64::from(size) - self.ours.initial;
                self.ours.initial = i64::from(size);
                for stream in &mut self.open {
                    stream.answer.window += more;
                }
            }
            Seen::Window { stream: 0, more } => self.ours.connection += i64::from(more),
            Seen::Window { stream, more } => {
                if let Some(stream) = self.find(stream) {
                    stream.answer.window += i64::from(more);
                }
            }
            _ => {}
        }
    }

    pub(super) fn sent(&mut self, seen: Seen) {
        match seen {
            Seen::Head(frame) if matches!(frame.kind, HEADERS | DATA) => {
                let length = if frame.kind == DATA { frame.length } else { 0 };
                self.ours.connection -= i64::from(length);
                let Some(stream) = self.find(frame.stream) else {
                    return;
                };
                stream.answer.open = true;
                stream.answer.went(length);
                if frame.ends_stream() {
                    stream.answer.end();
                    self.remove_if_done(frame.stream);
                }
            }
            Seen::Head(frame) if frame.kind == RST_STREAM => self.remove(frame.stream),
            Seen::InitialWindow(size) => {
                let more = i64::from(size) - self.client.initial;
                self.client.initial = i64::from(size);
                for stream in &mut self.open {
                    stream.request.window += more;
                }
            }
            Seen::Window { stream: 0, more } => self.client.connection += i64::from(more),
            Seen::Window { stream, more } => {
                if let Some(stream) = self.find(stream) {
                    stream.request.window += i64::from(more);
                }
            }
            Seen::Away { last, .. } => {
                self.last = self.last.min(last);
                let last = self.last;
                self.open.retain(|stream| stream.number <= last);
            }
            _ => {}
        }
    }

    /// Whether a stream keeps us waiting, or may come to the end of its time.
    pub(super) fn wait(&self) -> bool {
        let ours = self.ours.connection > 0;
        self.open
            .iter()
            .any(|stream| stream.request.open || stream.waits_to_answer(ours))
    }

    /// It is `now`, by the age of the connection: who has kept us waiting since this was last said is charged for it.
    /// `in_data` is the stream whose DATA has not come whole.
    pub(super) fn pass(&mut self, now: Duration, in_data: Option<u32>, limits: &Limits) {
        let time = now.saturating_sub(self.now);
        self.now = now;
        if self.open.is_empty() {
            return;
        }
        // Stages that read a body themselves can answer, and do so first.
        let receive = limits.receive.and(Duration::from_secs(1));
        let (client, ours) = (self.client.connection > 0, self.ours.connection > 0);
        let slow = &mut self.slow;
        self.open.retain_mut(|stream| {
            let too_long =
                stream.request.open && now.saturating_sub(stream.opened) >= limits.body_timeout;
            let why = if stream.waits_for_request(client, in_data)
                && !stream.request.waited(time, receive)
            {
                Reject::BodyRate
            } else if too_long {
                Reject::BodyTimeout
            } else if stream.waits_to_answer(ours) && !stream.answer.waited(time, limits.send) {
                Reject::SlowReader
            } else {
                return true;
            };
            slow.push((stream.number, why));
            false
        });
        self.shrink();
    }

    /// Whether there are streams to be ended.
    pub(super) const fn has_slow(&self) -> bool {
        !self.slow.is_empty()
    }

    /// Streams to be ended, and why.
    pub(super) fn take_slow(&mut self) -> Vec<(u32, Reject)> {
        std::mem::take(&mut self.slow)
    }

    /// It is over, whatever the client says of it now.
    pub(super) fn remove(&mut self, number: u32) {
        if let Ok(at) = self.place(number) {
            self.open.remove(at);
            self.shrink();
        }
    }

    /// An idle connection holds nothing.
    fn shrink(&mut self) {
        if self.open.is_empty() {
            self.open = Vec::new();
        }
    }

    fn opened(&mut self, frame: Frame) {
        let number = frame.stream;
        let new = number > self.highest && number % 2 == 1 && number <= self.last;
        // Fields at the end of a body, or what the `h2` crate refuses.
        if !new {
            return;
        }
        self.highest = number;
        if self.open.len() < OPEN_MAX {
            let half = |open, side: &Side| Half {
                open,
                over: false,
                window: side.initial,
                patience: None,
            };
            self.open.push(Stream {
                number,
                request: half(true, &self.client),
                answer: half(false, &self.ours),
                opened: self.now,
            });
        }
    }

    fn remove_if_done(&mut self, number: u32) {
        let done = |stream: &mut Stream| stream.request.over && stream.answer.over;
        if self.find(number).is_some_and(done) {
            self.remove(number);
        }
    }

    fn find(&mut self, number: u32) -> Option<&mut Stream> {
        let at = self.place(number).ok()?;
        self.open.get_mut(at)
    }

    fn place(&self, number: u32) -> Result<usize, usize> {
        self.open
            .binary_search_by_key(&number, |stream| stream.number)
    }
}

impl Stream {
    /// `window` says whether the connection has one for the client.
    fn waits_for_request(&self, window: bool, in_data: Option<u32>) -> bool {
        let may_send = window && self.request.window > 0;
        self.request.open && (may_send || in_data == Some(self.number))
    }

    /// `window` says whether the connection has one for us.
    const fn waits_to_answer(&self, window: bool) -> bool {
        self.answer.open && (!window || self.answer.window <= 0)
    }
}

impl Half {
    fn went(&mut self, bytes: u32) {
        self.window -= i64::from(bytes);
        if let Some(patience) = &mut self.patience {
            patience.moved(bytes as usize);
        }
    }

    const fn end(&mut self) {
        self.open = false;
        self.over = true;
    }

    fn waited(&mut self, time: Duration, pace: Pace) -> bool {
        self.patience
            .get_or_insert_with(|| Patience::new(pace))
            .waited(time)
    }
}

#[cfg(test)]
mod tests;
