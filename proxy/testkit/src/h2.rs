//! HTTP/2 by hand (RFC 9113): frames that no client library would send.

use crate::wait::DEADLINE;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

/// How long a look takes whether something came: the longest read of a stream given to [`H2::over`].
pub const LOOK: Duration = Duration::from_millis(5);
/// Error codes (§7).
pub mod code {
    #![allow(missing_docs, reason = "the names are the RFC's")]
    pub const NO_ERROR: u32 = 0;
    pub const CANCEL: u32 = 8;
    pub const ENHANCE_YOUR_CALM: u32 = 0xb;
}

/// What a client sends first (§3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Types of frames (§6).
pub mod kind {
    #![allow(missing_docs, reason = "the names are the RFC's")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}
/// The stream ends with this frame.
pub const END_STREAM: u8 = 1;
/// The field block ends with this frame.
pub const END_HEADERS: u8 = 4;

/// One frame.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload");
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A field block without compression: literals that are not indexed (RFC 7541 §6.2.2).
#[must_use]
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "one byte of length");
            bytes.push(u8::try_from(text.len()).expect("short"));
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes
}

/// A `GET` of `path` on `stream`.
#[must_use]
pub fn get(stream: u32, authority: &str, path: &str) -> Vec<u8> {
    let flags = END_STREAM | END_HEADERS;
    frame(kind::HEADERS, flags, stream, &head("GET", authority, path))
}

/// A `POST` to `path` on `stream`, whose body is to follow.
#[must_use]
pub fn post(stream: u32, authority: &str, path: &str) -> Vec<u8> {
    let block = head("POST", authority, path);
    frame(kind::HEADERS, END_HEADERS, stream, &block)
}

/// `WINDOW_UPDATE`; stream 0 is the connection.
#[must_use]
pub fn window_update(stream: u32, more: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
}

/// The field block of a request over TLS.
#[must_use]
pub fn head(method: &str, authority: &str, path: &str) -> Vec<u8> {
    block(&[
        (":method", method),
        (":scheme", "https"),
        (":authority", authority),
        (":path", path),
    ])
}

/// A frame that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 is the connection.
    pub stream: u32,
    /// What follows its head.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The last number of its payload: the error code of RST_STREAM, and of GOAWAY without debug data.
    #[must_use]
    pub fn code(&self) -> u32 {
        let last = self.payload.last_chunk().expect("four bytes");
        u32::from_be_bytes(*last)
    }

    /// The last frame of an answer.
    #[must_use]
    pub const fn ends(&self) -> bool {
        self.kind <= kind::HEADERS && self.flags & END_STREAM != 0
    }
}

/// A client that sees every frame and opens no window of itself.
#[derive(Debug)]
pub struct H2<S> {
    stream: S,
    authority: String,
    came: Vec<u8>,
    closed: bool,
}

impl<S: Read + Write> H2<S> {
    /// Sends preface and settings, with this initial window, over a stream whose reads end after [`LOOK`]. It asks
    /// `authority` for everything.
    pub fn over(mut stream: S, authority: &str, window: Option<u32>) -> Self {
        let settings = window.map_or(vec![], |window| {
            [&[0, 4][..], &window.to_be_bytes()].concat()
        });
        stream.write_all(PREFACE).expect("a preface");
        let settings = frame(kind::SETTINGS, 0, 0, &settings);
        stream.write_all(&settings).expect("settings");
        Self {
            stream,
            authority: authority.to_owned(),
            came: Vec::new(),
            closed: false,
        }
    }

    /// Sends, if the other side still listens.
    pub fn send(&mut self, bytes: &[u8]) {
        self.closed |= self.stream.write_all(bytes).is_err();
    }

    /// A frame, if one has come.
    pub fn look(&mut self) -> Option<Frame> {
        loop {
            if let Some((head, rest)) = self.came.split_first_chunk::<9>() {
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                if rest.len() >= length {
                    let mut frame: Vec<u8> = self.came.drain(..9 + length).collect();
                    let payload = frame.split_off(9);
                    return Some(Frame {
                        kind: frame[3],
                        flags: frame[4],
                        stream: u32::from_be_bytes(*frame.last_chunk().expect("nine bytes")),
                        payload,
                    });
                }
            }
            let mut bytes = [0; 16_384];
            match self.stream.read(&mut bytes) {
                Ok(0) => self.closed = true,
                Ok(read) => {
                    self.came.extend_from_slice(&bytes[..read]);
                    continue;
                }
                Err(error) => {
                    let later = [ErrorKind::WouldBlock, ErrorKind::TimedOut];
                    self.closed |= !later.contains(&error.kind());
                }
            }
            return None;
        }
    }

    /// Whether the other side has closed, after all that came was looked at.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// The next frame that `is` the one; between looks `meanwhile` happens.
    pub fn wait(
        &mut self,
        what: &str,
        is: impl Fn(&Frame) -> bool,
        mut meanwhile: impl FnMut(&mut Self),
    ) -> Frame {
        let begin = Instant::now();
        loop {
            while let Some(frame) = self.look() {
                if is(&frame) {
                    return frame;
                }
            }
            assert!(!self.closed, "closed before {what}");
            assert!(begin.elapsed() < DEADLINE, "not in time: {what}");
            meanwhile(self);
        }
    }

    /// Asks for `path`.
    pub fn ask(&mut self, stream: u32, path: &str) {
        let get = get(stream, &self.authority, path);
        self.send(&get);
    }

    /// Says that a body for `path` is to follow.
    pub fn post(&mut self, stream: u32, path: &str) {
        let post = post(stream, &self.authority, path);
        self.send(&post);
    }

    /// Asks and reads the answer to its end.
    pub fn get(&mut self, stream: u32, path: &str) {
        self.ask(stream, path);
        self.end_of(stream);
    }

    /// Reads an answer to its end.
    pub fn end_of(&mut self, stream: u32) {
        let ends = |frame: &Frame| frame.stream == stream && frame.ends();
        self.wait("an answer", ends, |_| {});
    }

    /// Waits for the close, and whether a GOAWAY came before it and with which code.
    pub fn closes(&mut self, mut meanwhile: impl FnMut(&mut Self)) -> Option<u32> {
        let begin = Instant::now();
        let mut code = None;
        loop {
            while let Some(frame) = self.look() {
                if frame.kind == kind::GOAWAY {
                    code = Some(frame.code());
                }
            }
            if self.closed {
                return code;
            }
            assert!(begin.elapsed() < DEADLINE, "it does not close");
            meanwhile(self);
        }
    }
}
