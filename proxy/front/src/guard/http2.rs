//! A connection of HTTP/2: its frames counted, its streams kept moving.
//!
//! A stream that keeps us waiting is ended by a RST_STREAM to either side: its client is told, and the `h2` crate is told
//! as if by the client, which is the one way to end a stream from below it. Where frames cannot be put in, because the
//! client is in the midst of one, the connection ends.

use super::frame::{goaway, reset};
use super::frames::{Ended, Flood, Frames};
use super::{Limits, Rest, ending};
use aegis_identity::{Connection, Refuse};
use aegis_telemetry::events::{ConnectionCut, RequestRefused};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::ReadBuf;
use tokio::time::{Instant, Sleep, sleep};

/// How often streams are looked at that keep us waiting: so often within the shortest time they have, and at least and at
/// most this often.
const LOOKS: u32 = 8;
const LOOK_LEAST: Duration = Duration::from_millis(20);
const LOOK_MOST: Duration = Duration::from_secs(2);

/// RFC 9113 §7.
const NO_ERROR: u32 = 0;
const ENHANCE_YOUR_CALM: u32 = 0xb;

/// The state of a connection.
pub(crate) struct Http2 {
    frames: Frames,
    began: Instant,
    /// Why nothing is read any more.
    cut: Option<&'static str>,
    /// We have sent what a connection begins with.
    greeted: bool,
    /// Runs while something is waited for.
    clock: Option<Box<Clock>>,
    /// Frames of the guard's own, while there are any.
    ours: Option<Box<Ours>>,
    rest: Rest,
    limits: Arc<Limits>,
    /// A line was written for a stream of it: one a connection is enough.
    stream_told: bool,
    connection: Arc<Connection>,
    refuse: Arc<dyn Refuse>,
}

impl std::fmt::Debug for Http2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http2")
            .field("frames", &self.frames)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Ours {
    /// For the `h2` crate.
    inward: Vec<u8>,
    /// For the client.
    outward: Vec<u8>,
}

#[derive(Debug)]
struct Clock {
    timer: Pin<Box<Sleep>>,
    /// When the list of fields began that has not come to its end.
    fields: Option<Instant>,
}

impl Http2 {
    pub(crate) fn new(
        connection: Arc<Connection>,
        refuse: Arc<dyn Refuse>,
        limits: Arc<Limits>,
        rest: Rest,
    ) -> Self {
        Self {
            frames: Frames::default(),
            began: Instant::now(),
            cut: None,
            greeted: false,
            clock: None,
            ours: None,
            rest,
            limits,
            stream_told: false,
            connection,
            refuse,
        }
    }

    /// Counts what was read.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.cut.is_none() && !bytes.is_empty() {
            let age = self.pass();
            let counted = self.frames.received(bytes, age);
            if let Err(flood) = counted.map_err(Flood::as_str) {
                self.cut(flood);
            }
            self.note_rest();
        }
        self.still()
    }

    /// Counts what was written. What is too much ends the connection at its next read.
    pub(crate) fn wrote(&mut self, bytes: &[u8]) {
        if !self.frames.streams.is_empty() {
            self.pass();
        }
        let (began, refuse, connection) = (self.began, &self.refuse, &self.connection);
        let stream_told = &mut self.stream_told;
        let tell = |ended: Ended| {
            let Some(line) = ending::counted(ended) else {
                return;
            };
            if ended.connection || !std::mem::replace(stream_told, true) {
                refuse.cut(connection, line);
            }
        };
        self.greeted = true;
        let sent = self.frames.sent(bytes, || began.elapsed(), tell);
        if let Err(flood) = sent {
            self.cut(flood.as_str());
        }
        self.note_rest();
    }

    /// Follows what the guard itself has written, of which there is a line already.
    pub(crate) fn wrote_ours(&mut self, bytes: &[u8]) {
        self.frames.follow_sent(bytes, |ended| {
            ending::counted(ended);
        });
    }

    /// Whether there are streams that are not at their end.
    pub(crate) fn has_open_streams(&self) -> bool {
        !self.frames.streams.is_empty()
    }

    /// Gives the reader frames that come before what the client sends next, as many of their bytes as it has room for; the
    /// others come before anything else. False if there are none, or the client is in the midst of a frame.
    pub(crate) fn give_inward(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let Some(ours) = &mut self.ours else {
            return false;
        };
        if ours.inward.is_empty() || !self.frames.received.is_between() {
            return false;
        }
        let now = ours.inward.len().min(buf.remaining());
        buf.put_slice(ours.inward.get(..now).unwrap_or_default());
        ours.inward.drain(..now);
        self.forget_ours();
        true
    }

    /// Frames that the client gets before what is written next.
    pub(crate) fn take_outward(&mut self) -> Option<Vec<u8>> {
        let ours = self.ours.as_mut()?;
        if ours.outward.is_empty() || !self.frames.sent.is_between() {
            return None;
        }
        let frames = std::mem::take(&mut ours.outward);
        self.forget_ours();
        Some(frames)
    }

    /// Gives the memory back in which there is nothing more.
    fn forget_ours(&mut self) {
        let done = |ours: &mut Box<Ours>| ours.inward.is_empty() && ours.outward.is_empty();
        self.ours.take_if(done);
    }

    /// The last frame of a connection that ends without one.
    pub(crate) fn farewell(&self) -> Option<Vec<u8>> {
        let streams = &self.frames.streams;
        if !self.greeted || streams.are_closing() || !self.frames.sent.is_between() {
            return None;
        }
        let code = match self.cut {
            Some(_) => ENHANCE_YOUR_CALM,
            None => NO_ERROR,
        };
        Some(goaway(streams.highest(), code))
    }

    /// Nothing came. Ready when there are streams to be ended, or all of the connection.
    pub(crate) fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.still()?;
            if self.frames.streams.has_slow() {
                return Poll::Ready(Ok(()));
            }
            let in_fields = self.frames.received.is_in_fields();
            if !in_fields && !self.frames.streams.wait() {
                self.clock = None;
                return Poll::Pending;
            }
            let every = self.every();
            let clock = self.clock.get_or_insert_with(|| {
                Box::new(Clock {
                    timer: Box::pin(sleep(every)),
                    fields: None,
                })
            });
            if in_fields {
                clock.fields.get_or_insert_with(Instant::now);
            } else {
                clock.fields = None;
            }
            ready!(clock.timer.as_mut().poll(cx));
            let now = Instant::now();
            clock.timer.as_mut().reset(now + every);
            let fields = clock
                .fields
                .map(|since| now.saturating_duration_since(since));
            if fields.is_some_and(|time| time >= self.limits.head_timeout) {
                self.cut("h2_head_timeout");
                continue;
            }
            self.pass();
        }
    }

    /// What was written may be something that now waits for the client; whoever reads is woken when it has waited.
    pub(crate) fn poll_written(&mut self, cx: &mut Context<'_>) {
        let unseen = self.clock.is_none() || self.frames.streams.has_slow();
        if unseen && self.poll_waiting(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    fn every(&self) -> Duration {
        let Limits {
            head_timeout,
            body_timeout,
            receive,
            send,
        } = &*self.limits;
        let shortest = (*head_timeout)
            .min(*body_timeout)
            .min(receive.longest)
            .min(send.longest);
        (shortest / LOOKS).clamp(LOOK_LEAST, LOOK_MOST)
    }

    /// Charges the time that has passed to those who were waited for in it; gives the age of the connection.
    fn pass(&mut self) -> Duration {
        let age = self.began.elapsed();
        let in_data = self.frames.received.in_data();
        self.frames.streams.pass(age, in_data, &self.limits);
        age
    }

    /// Ends the streams that were waited for too long.
    ///
    /// # Errors
    /// That the connection ends, perhaps with them.
    pub(crate) fn end_slow(&mut self) -> io::Result<()> {
        if self.frames.streams.has_slow() {
            let in_data = self.frames.received.in_data();
            for (stream, why) in self.frames.streams.take_slow() {
                RequestRefused {
                    reason: why.as_str(),
                }
                .emit();
                if in_data == Some(stream) {
                    self.cut("h2_body_rate");
                }
                let ours = self.ours.get_or_insert_default();
                ours.inward.extend(reset(stream, why.reset_code()));
                ours.outward.extend(reset(stream, ENHANCE_YOUR_CALM));
            }
            self.note_rest();
        }
        self.still()
    }

    fn note_rest(&mut self) {
        let idle = self.frames.streams.is_empty() && !self.frames.received.is_in_fields();
        self.rest.set(idle);
    }

    fn cut(&mut self, reason: &'static str) {
        if self.cut.is_some() {
            return;
        }
        self.cut = Some(reason);
        ConnectionCut { reason }.emit();
        self.refuse.cut(&self.connection, reason);
    }

    fn still(&self) -> io::Result<()> {
        match self.cut {
            Some(reason) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, reason)),
            None => Ok(()),
        }
    }
}
