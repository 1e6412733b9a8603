//! Frames of HTTP/2 (RFC 9113 §4.1) that cost more than they bring, counted by their nine bytes of head.
//!
//! The limits are for a connection and ten seconds, judged by the counts of this window and the part of the last one that
//! still lies in it. They lie far above what clients do and far below what hurts:
//!
//! | frame | limit | why |
//! |---|---|---|
//! | RST_STREAM | 500 | a browser cancels its streams (at most 128) on each navigation; rapid reset (CVE-2023-44487) sends thousands a second. Envoy allows 500 in a connection's life, nginx about as many as streams |
//! | PING | 2,000 | gRPC measures bandwidth with one a round trip; each costs an answer (CVE-2019-9512) |
//! | SETTINGS | 100 | one at the start, few later; each costs an answer (CVE-2019-9515) |
//! | CONTINUATION | 200, 16 in a row | 64 KiB of fields are at most four full frames; only attackers send small ones (CVE-2024-27316) |
//! | PRIORITY | 2,000 | Firefox sends some for each stream; they are ignored here (CVE-2019-9513) |
//! | DATA without bytes or end | 100 | no use at all (CVE-2019-9518); padding counts as nothing |
//! | WINDOW_UPDATE | 2,000 and 10 for each DATA frame we sent | as Envoy; clients acknowledge at most each frame, for stream and connection |
//! | others | 1,000 | unknown types must be ignored (RFC 9113 §5.5), not endlessly |
//! | RST_STREAM that **we** sent | 500 | a client can make a server reset its streams by sending what is wrong on them, and be rid of them as by rapid reset (CVE-2025-8671, MadeYouReset). Those with NO_ERROR are not counted: they follow a whole answer (RFC 9113 §8.1) |
//!
//! The `h2` crate has bounds of its own: streams reset before they are accepted (20), continuations, the decoded list.
//! Requests themselves are not counted here.

use super::frame::{DATA, Frame, Reader, Seen};
use super::streams::Streams;
use std::time::Duration;

const WINDOW_MS: u64 = 10_000;
const CONTINUATIONS_IN_A_ROW: u32 = 16;
const UPDATES_FOR_EACH_FRAME: u64 = 10;
const NO_ERROR: u32 = 0;

/// What a client sends too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    /// `RST_STREAM`.
    Reset,
    /// `PING`.
    Ping,
    /// `SETTINGS`.
    Settings,
    /// `CONTINUATION`.
    Continuation,
    /// `PRIORITY`, `PRIORITY_UPDATE`.
    Priority,
    /// `DATA` without bytes that does not end its stream.
    EmptyData,
    /// `WINDOW_UPDATE`.
    WindowUpdate,
    /// Any other type.
    Other,
    /// What made us send `RST_STREAM`.
    MadeReset,
}

impl Flood {
    /// The word in logs and in the metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reset => "h2_reset_flood",
            Self::Ping => "h2_ping_flood",
            Self::Settings => "h2_settings_flood",
            Self::Continuation => "h2_continuation_flood",
            Self::Priority => "h2_priority_flood",
            Self::EmptyData => "h2_empty_data_flood",
            Self::WindowUpdate => "h2_window_update_flood",
            Self::Other => "h2_unknown_flood",
            Self::MadeReset => "h2_made_reset_flood",
        }
    }

    const fn limit(self) -> u64 {
        match self {
            Self::Reset | Self::MadeReset => 500,
            Self::Ping | Self::Priority | Self::WindowUpdate => 2_000,
            Self::Settings | Self::EmptyData => 100,
            Self::Continuation => 200,
            Self::Other => 1_000,
        }
    }

    /// Which of them this frame counts for; most count for none.
    const fn of(frame: Frame) -> Option<Self> {
        Some(match frame.kind {
            0 if frame.is_empty_data() => Self::EmptyData,
            // DATA, HEADERS.
            0 | 1 => return None,
            2 | 16 => Self::Priority,
            3 => Self::Reset,
            4 => Self::Settings,
            6 => Self::Ping,
            8 => Self::WindowUpdate,
            9 => Self::Continuation,
            _ => Self::Other,
        })
    }
}

/// Kinds of [`Flood`], and DATA frames that we sent.
const COUNTS: usize = 10;
const SENT: usize = 9;

/// The counts of one connection.
#[derive(Debug)]
pub struct Frames {
    pub(super) received: Reader,
    pub(super) sent: Reader,
    /// Streams that are open.
    pub(super) streams: Streams,
    in_a_row: u32,
    began_ms: u64,
    now: [u32; COUNTS],
    last: [u32; COUNTS],
}

/// A frame by which we end something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// All of the connection (`GOAWAY`), or a stream of it (`RST_STREAM`).
    pub connection: bool,
    /// Its error code (RFC 9113 §7).
    pub code: u32,
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            received: Reader::after_preface(),
            sent: Reader::default(),
            streams: Streams::default(),
            in_a_row: 0,
            began_ms: 0,
            now: [0; COUNTS],
            last: [0; COUNTS],
        }
    }
}

impl Frames {
    /// Counts what a client sent, from the preface on; `age` is the connection's.
    ///
    /// # Errors
    /// What there is too much of. The connection cannot go on: which streams it has is not known here, so it gets no
    /// GOAWAY.
    pub fn received(&mut self, mut bytes: &[u8], age: Duration) -> Result<(), Flood> {
        let now_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        while let Some(seen) = self.received.next(&mut bytes) {
            self.streams.received(seen);
            let Seen::Head(frame) = seen else {
                continue;
            };
            let Some(kind) = Flood::of(frame) else {
                self.in_a_row = 0;
                continue;
            };
            self.in_a_row = if kind == Flood::Continuation {
                self.in_a_row + 1
            } else {
                0
            };
            self.turn(now_ms);
            self.add(kind as usize);
            let mut limit = kind.limit();
            if kind == Flood::WindowUpdate {
                limit += UPDATES_FOR_EACH_FRAME * self.count(SENT, now_ms);
            }
            if self.count(kind as usize, now_ms) > limit || self.in_a_row > CONTINUATIONS_IN_A_ROW {
                return Err(kind);
            }
        }
        Ok(())
    }

    /// Counts what we sent, and tells of each frame that ends something. `age` is asked only for those.
    ///
    /// # Errors
    /// The client made us end too much; the connection cannot go on.
    pub fn sent(
        &mut self,
        bytes: &[u8],
        age: impl Fn() -> Duration,
        tell: impl FnMut(Ended),
    ) -> Result<(), Flood> {
        let made = self.follow_sent(bytes, tell);
        if made == 0 {
            return Ok(());
        }
        let now_ms = u64::try_from(age().as_millis()).unwrap_or(u64::MAX);
        self.turn(now_ms);
        for _ in 0..made {
            self.add(Flood::MadeReset as usize);
        }
        if self.count(Flood::MadeReset as usize, now_ms) > Flood::MadeReset.limit() {
            return Err(Flood::MadeReset);
        }
        Ok(())
    }

    /// Follows what we sent, and tells of each frame that ends something; gives how many streams were ended for a fault.
    /// Those are not counted against the client: whoever is slow makes the guard end a stream, and that is no flood.
    pub(super) fn follow_sent(&mut self, mut bytes: &[u8], mut tell: impl FnMut(Ended)) -> u32 {
        let mut made = 0;
        while let Some(seen) = self.sent.next(&mut bytes) {
            self.streams.sent(seen);
            match seen {
                Seen::Head(frame) if frame.kind == DATA => self.add(SENT),
                Seen::Reset(code) => {
                    made += u32::from(code != NO_ERROR);
                    let connection = false;
                    tell(Ended { connection, code });
                }
                Seen::Away { code, .. } => {
                    let connection = true;
                    tell(Ended { connection, code });
                }
                _ => {}
            }
        }
        made
    }

    fn add(&mut self, kind: usize) {
        if let Some(count) = self.now.get_mut(kind) {
            *count = count.saturating_add(1);
        }
    }

    fn turn(&mut self, now_ms: u64) {
        let windows = now_ms.saturating_sub(self.began_ms) / WINDOW_MS;
        if windows > 0 {
            self.last = if windows == 1 { self.now } else { [0; COUNTS] };
            self.now = [0; COUNTS];
            self.began_ms += windows * WINDOW_MS;
        }
    }

    fn count(&self, kind: usize, now_ms: u64) -> u64 {
        let of = |counts: &[u32; COUNTS]| u64::from(counts.get(kind).copied().unwrap_or(0));
        let left = WINDOW_MS.saturating_sub(now_ms.saturating_sub(self.began_ms));
        of(&self.now) + of(&self.last) * left / WINDOW_MS
    }
}

#[cfg(test)]
mod tests {
    use super::{Flood, Frames};
    use std::time::Duration;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let mut bytes = vec![
            0,
            (length >> 8) as u8,
            length as u8,
            kind,
            flags,
            0,
            0,
            0,
            1,
        ];
        bytes.extend(std::iter::repeat_n(9, length));
        bytes
    }

    fn open() -> Frames {
        let mut frames = Frames::default();
        frames.received(PREFACE, Duration::ZERO).unwrap();
        frames
    }

    /// How many of `frame` are let through at once.
    fn allowed(one: &[u8]) -> (usize, Flood) {
        let mut frames = open();
        for times in 0..10_000 {
            if let Err(flood) = frames.received(one, Duration::from_secs(1)) {
                return (times, flood);
            }
        }
        panic!("no end");
    }

    #[test]
    fn each_kind_has_its_limit() {
        for (kind, flags, length, limit, flood) in [
            (3, 0, 4, 500, Flood::Reset),
            (6, 0, 8, 2_000, Flood::Ping),
            (6, 1, 8, 2_000, Flood::Ping),
            (4, 0, 0, 100, Flood::Settings),
            (4, 1, 0, 100, Flood::Settings),
            (9, 0, 10, 16, Flood::Continuation),
            (2, 0, 5, 2_000, Flood::Priority),
            (16, 0, 5, 2_000, Flood::Priority),
            (0, 0, 0, 100, Flood::EmptyData),
            (0, 8, 256, 100, Flood::EmptyData),
            (8, 0, 4, 2_000, Flood::WindowUpdate),
            (77, 0, 1, 1_000, Flood::Other),
        ] {
            assert_eq!(
                allowed(&frame(kind, flags, length)),
                (limit, flood),
                "type {kind}"
            );
        }
    }

    #[test]
    fn requests_bodies_and_ends_of_streams_are_not_counted() {
        let mut frames = open();
        for _ in 0..20_000 {
            for one in [
                frame(1, 4, 30),
                frame(0, 0, 1),
                frame(0, 1, 0),
                frame(0, 8, 257),
            ] {
                assert_eq!(frames.received(&one, Duration::ZERO), Ok(()));
            }
        }
    }

    #[test]
    fn it_does_not_matter_how_the_stream_is_cut() {
        let mut stream = PREFACE.to_vec();
        for _ in 0..101 {
            stream.extend(frame(1, 0, 77));
            stream.extend(frame(4, 0, 6));
        }
        for cut in 1..40 {
            let mut frames = Frames::default();
            let parts: Vec<_> = stream.chunks(cut).collect();
            let verdicts: Vec<_> = parts
                .iter()
                .map(|part| frames.received(part, Duration::ZERO))
                .collect();
            // Told at the last byte of the head of the last frame, whose body has six bytes.
            let first = verdicts.iter().position(Result::is_err);
            assert_eq!(first, Some((stream.len() - 7) / cut));
        }
    }

    #[test]
    fn what_is_spread_over_time_is_let_through_and_a_burst_at_the_edge_of_a_window_is_not() {
        let reset = frame(3, 0, 4);
        let mut frames = open();
        for second in 0..1_000 {
            for _ in 0..45 {
                assert_eq!(frames.received(&reset, Duration::from_secs(second)), Ok(()));
            }
        }
        let mut frames = open();
        for _ in 0..400 {
            frames
                .received(&reset, Duration::from_millis(9_999))
                .unwrap();
        }
        let burst = (0..400).map(|_| frames.received(&reset, Duration::from_millis(10_001)));
        assert!(burst.into_iter().any(|verdict| verdict.is_err()));
    }

    #[test]
    fn who_is_sent_much_may_acknowledge_much() {
        let mut frames = open();
        for _ in 0..1_000 {
            frames.sent(&frame(0, 0, 100), age, |_| {}).unwrap();
        }
        let update = frame(8, 0, 4);
        for _ in 0..12_000 {
            assert_eq!(frames.received(&update, Duration::ZERO), Ok(()));
        }
        assert_eq!(
            frames.received(&update, Duration::ZERO),
            Err(Flood::WindowUpdate)
        );
    }

    fn age() -> Duration {
        Duration::from_secs(1)
    }

    /// A frame that ends something, with this code.
    fn ending(kind: u8, code: u8) -> Vec<u8> {
        let mut bytes = frame(kind, 0, if kind == 7 { 8 + 3 } else { 4 });
        let at = if kind == 7 { 13 } else { 9 };
        bytes[at..at + 4].copy_from_slice(&[0, 0, 0, code]);
        bytes
    }

    #[test]
    fn what_we_end_is_told_with_its_code_however_it_is_written() {
        let stream = [
            frame(4, 0, 6),
            ending(3, 1),
            frame(0, 0, 5),
            ending(3, 8),
            ending(7, 11),
            frame(0, 1, 3),
        ]
        .concat();
        for cut in 1..stream.len() {
            let mut frames = open();
            let mut told = Vec::new();
            for part in stream.chunks(cut) {
                let tell = |ended: super::Ended| told.push((ended.connection, ended.code));
                frames.sent(part, age, tell).unwrap();
            }
            assert_eq!(told, [(false, 1), (false, 8), (true, 11)], "cut {cut}");
        }
    }

    #[test]
    fn a_client_that_makes_us_reset_its_streams_is_cut_as_one_that_resets_them() {
        for (code, limit) in [(1, Some(500)), (5, Some(500)), (8, Some(500)), (0, None)] {
            let mut frames = open();
            let reset = ending(3, code);
            let cut = (0..5_000).find(|_| frames.sent(&reset, age, |_| {}).is_err());
            assert_eq!(cut, limit, "code {code}");
        }
    }

    #[test]
    fn what_the_guard_itself_resets_is_told_and_never_counted_against_the_client() {
        let mut frames = open();
        let mut told = 0;
        for _ in 0..5_000 {
            let made = frames.follow_sent(&ending(3, 11), |_| told += 1);
            assert_eq!(made, 1);
        }
        assert_eq!(told, 5_000);
        for _ in 0..500 {
            assert_eq!(frames.sent(&ending(3, 1), age, |_| {}), Ok(()));
        }
        assert_eq!(
            frames.sent(&ending(3, 1), age, |_| {}),
            Err(Flood::MadeReset)
        );
    }
}
