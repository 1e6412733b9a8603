//! HTTP/2 by hand, over TLS.

use super::{DEADLINE, client, shake};
use boring::ssl::SslStream;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
/// RFC 9113 §7.
pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 0xb;

/// How long a look takes whether something came.
const LOOK: Duration = Duration::from_millis(5);

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A field block without compression (RFC 7541 §6.2.2).
pub(crate) fn block(method: &str, path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in [
        (":method", method),
        (":scheme", "https"),
        (":authority", "a"),
        (":path", path),
    ] {
        bytes.push(0);
        for text in [name, value] {
            bytes.push(text.len() as u8);
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes
}

pub(crate) fn get(stream: u32, path: &str) -> Vec<u8> {
    let flags = END_STREAM | END_HEADERS;
    frame(HEADERS, flags, stream, &block("GET", path))
}

pub(crate) fn post(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block("POST", path))
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The last number of its payload: the error code of RST_STREAM and GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let at = self.payload.len() - 4;
        u32::from_be_bytes(self.payload[at..].try_into().unwrap())
    }
}

/// A client.
pub(crate) struct H2 {
    stream: SslStream<TcpStream>,
    came: Vec<u8>,
    closed: bool,
}

impl H2 {
    /// Shakes hands and sends preface and settings, with this initial window.
    pub(crate) fn connect(address: SocketAddr, window: Option<u32>) -> Self {
        let mut builder = client();
        builder.set_alpn_protos(b"\x02h2").unwrap();
        let mut stream = shake(builder, "a", address).unwrap();
        stream.get_mut().set_read_timeout(Some(LOOK)).unwrap();
        let settings = window.map_or(vec![], |window| {
            [&[0, 4][..], &window.to_be_bytes()].concat()
        });
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, &settings)).unwrap();
        Self {
            stream,
            came: Vec::new(),
            closed: false,
        }
    }

    /// Sends, if the other side still listens.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.closed |= self.stream.write_all(bytes).is_err();
    }

    /// A frame, if one has come.
    pub(crate) fn look(&mut self) -> Option<Frame> {
        loop {
            if self.came.len() >= 9 {
                let length = u32::from_be_bytes([0, self.came[0], self.came[1], self.came[2]]);
                let end = 9 + length as usize;
                if self.came.len() >= end {
                    let frame: Vec<u8> = self.came.drain(..end).collect();
                    return Some(Frame {
                        kind: frame[3],
                        flags: frame[4],
                        stream: u32::from_be_bytes(frame[5..9].try_into().unwrap()),
                        payload: frame[9..].to_vec(),
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
                    let kind = error.kind();
                    let later = [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut];
                    self.closed |= !later.contains(&kind);
                }
            }
            return None;
        }
    }

    /// Whether the other side has closed, after all that came was looked at.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// The next frame that `is` the one; between looks `meanwhile` happens.
    pub(crate) fn wait(
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

    /// Asks and reads the answer's end.
    pub(crate) fn get(&mut self, stream: u32, path: &str) {
        self.send(&get(stream, path));
        self.end_of(stream);
    }

    pub(crate) fn end_of(&mut self, stream: u32) {
        let ends = |frame: &Frame| frame.stream == stream && frame.flags & END_STREAM != 0;
        self.wait(
            "an answer",
            |frame| frame.kind <= HEADERS && ends(frame),
            |_| {},
        );
    }

    /// Waits for the close, and whether a GOAWAY came before it and with which code.
    pub(crate) fn closes(&mut self, mut meanwhile: impl FnMut(&mut Self)) -> Option<u32> {
        let begin = Instant::now();
        let mut code = None;
        loop {
            while let Some(frame) = self.look() {
                if frame.kind == GOAWAY {
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
