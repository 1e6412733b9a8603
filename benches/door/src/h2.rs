//! As much of HTTP/2 as a client needs that asks for one page after the other, or misbehaves (RFC 9113).

use anyhow::{Context, Result, bail};
use std::io::{Read, Write};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

pub(crate) const END_STREAM: u8 = 1;
const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Preface and settings.
pub(crate) fn opening(initial_window: Option<u32>) -> Vec<u8> {
    let mut settings = Vec::new();
    if let Some(window) = initial_window {
        settings.extend([0, 4]);
        settings.extend(window.to_be_bytes());
    }
    [PREFACE, &frame(SETTINGS, 0, 0, &settings)].concat()
}

/// HEADERS of a request: literals without index (RFC 7541 §6.2.2).
pub(crate) fn request(stream: u32, method: &str, host: &str, path: &str, end: bool) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [
        (":method", method),
        (":scheme", "https"),
        (":authority", host),
        (":path", path),
    ] {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap_or(0) & 0x7f);
            block.extend_from_slice(text.as_bytes());
        }
    }
    let flags = END_HEADERS | if end { END_STREAM } else { 0 };
    frame(HEADERS, flags, stream, &block)
}

/// A connection that asks for one page after the other.
pub(crate) struct Client<S> {
    io: S,
    /// The stream of the next request.
    next: u32,
    /// Bytes of DATA that the server has not been given leave for again (RFC 9113 §6.9).
    taken: u32,
}

/// A server has leave for 65,535 bytes at first; it gets more when half of them are used up, as browsers do.
const REFILL: u32 = 32_768;

impl<S: Read + Write> Client<S> {
    /// Begins to speak HTTP/2.
    pub(crate) fn new(mut io: S) -> Result<Self> {
        io.write_all(&opening(None))?;
        Ok(Self {
            io,
            next: 1,
            taken: 0,
        })
    }

    /// Asks for `path` and reads all of it; no page may be longer than a stream's first window.
    pub(crate) fn get(&mut self, host: &str, path: &str) -> Result<()> {
        let stream = self.next;
        self.next += 2;
        self.io
            .write_all(&request(stream, "GET", host, path, true))?;
        self.answer(stream).context("the answer")
    }

    /// Reads up to the end of `stream`, acknowledging what has to be.
    fn answer(&mut self, stream: u32) -> Result<()> {
        let io = &mut self.io;
        loop {
            let mut head = [0; 9];
            io.read_exact(&mut head)?;
            let [a, b, c, kind, flags, s0, s1, s2, s3] = head;
            let length = u32::from_be_bytes([0, a, b, c]);
            let of = u32::from_be_bytes([s0, s1, s2, s3]);
            let mut payload = vec![0; length as usize];
            io.read_exact(&mut payload)?;
            match kind {
                SETTINGS if flags & ACK == 0 => io.write_all(&frame(SETTINGS, ACK, 0, &[]))?,
                PING if flags & ACK == 0 => io.write_all(&frame(PING, ACK, 0, &payload))?,
                // `:status: 200` has an index of its own (RFC 7541 appendix A).
                HEADERS if of == stream && payload.first() != Some(&0x88) => {
                    bail!("another status than 200")
                }
                DATA => {
                    self.taken += length;
                    if self.taken >= REFILL {
                        let more = self.taken.to_be_bytes();
                        io.write_all(&frame(WINDOW_UPDATE, 0, 0, &more))?;
                        self.taken = 0;
                    }
                }
                RST_STREAM if of == stream => bail!("the stream is reset"),
                GOAWAY => bail!("GOAWAY"),
                _ => {}
            }
            if of == stream && matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Cursor};

    /// What a server says, and what it is told.
    struct Server(Cursor<Vec<u8>>, Vec<u8>);

    impl Read for Server {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.0.read(buf)
        }
    }

    impl Write for Server {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.1.write(buf)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_server_gets_back_all_the_window_it_uses() {
        let page = |stream| {
            let head = frame(HEADERS, END_HEADERS, stream, &[0x88]);
            [head, frame(DATA, END_STREAM, stream, &[b'x'; 1024])].concat()
        };
        let says = (0..640).flat_map(|n| page(2 * n + 1)).collect();
        let mut client = Client::new(Server(Cursor::new(says), Vec::new())).unwrap();
        for _ in 0..640 {
            client.get("localhost", "/").unwrap();
        }
        let refill = frame(WINDOW_UPDATE, 0, 0, &REFILL.to_be_bytes());
        let told = client.io.1.windows(refill.len());
        assert_eq!(told.filter(|bytes| *bytes == refill).count(), 20);
    }
}
