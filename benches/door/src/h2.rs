//! As much of HTTP/2 as a client needs that asks for one page after the other, or misbehaves (RFC 9113).

use anyhow::{Context, Result, bail};
use std::io::{Read, Write};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
const GOAWAY: u8 = 7;

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

/// Reads up to the end of `stream`, acknowledging what has to be.
pub(crate) fn answer(io: &mut (impl Read + Write), stream: u32) -> Result<()> {
    loop {
        let mut head = [0; 9];
        io.read_exact(&mut head)?;
        let [a, b, c, kind, flags, s0, s1, s2, s3] = head;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let of = u32::from_be_bytes([s0, s1, s2, s3]);
        let mut payload = vec![0; length];
        io.read_exact(&mut payload)?;
        match kind {
            SETTINGS if flags & ACK == 0 => io.write_all(&frame(SETTINGS, ACK, 0, &[]))?,
            PING if flags & ACK == 0 => io.write_all(&frame(PING, ACK, 0, &payload))?,
            // `:status: 200` has an index of its own (RFC 7541 appendix A).
            HEADERS if of == stream && payload.first() != Some(&0x88) => {
                bail!("another status than 200")
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

/// Asks for `path` and reads all of it.
pub(crate) fn get(io: &mut (impl Read + Write), stream: u32, host: &str, path: &str) -> Result<()> {
    io.write_all(&request(stream, "GET", host, path, true))?;
    answer(io, stream).context("the answer")
}
