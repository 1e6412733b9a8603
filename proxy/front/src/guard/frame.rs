//! Frames of HTTP/2 in a stream of bytes (RFC 9113 §4), however it is cut.

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
/// Pad length and the longest padding.
const PADDING_MAX: u32 = 256;
const INITIAL_WINDOW_SIZE: u16 = 4;

const HEAD: usize = 9;
/// `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n` (RFC 9113 §3.4).
const PREFACE: u32 = 24;
const RESERVED: u32 = 1 << 31;

/// What a frame's head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    flags: u8,
    pub(super) length: u32,
    pub(super) stream: u32,
}

impl Frame {
    pub(super) const fn is_empty_data(self) -> bool {
        let nothing = self.length == 0 || (self.flags & PADDED != 0 && self.length <= PADDING_MAX);
        self.kind == DATA && nothing && self.flags & END_STREAM == 0
    }

    /// It ends its half of its stream.
    pub(super) const fn ends_stream(self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    const fn has_fields(self) -> bool {
        matches!(self.kind, HEADERS | PUSH_PROMISE | CONTINUATION)
    }

    /// How many bytes of its payload make one value that is looked at.
    const fn unit(self) -> usize {
        match self.kind {
            SETTINGS if self.flags & ACK == 0 => 6,
            WINDOW_UPDATE | RST_STREAM => 4,
            GOAWAY => 8,
            _ => 0,
        }
    }
}

/// What is found in the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// The head of a frame.
    Head(Frame),
    /// The whole of a frame.
    Whole(Frame),
    /// `SETTINGS_INITIAL_WINDOW_SIZE`.
    InitialWindow(u32),
    /// `WINDOW_UPDATE`; stream 0 is the connection.
    Window { stream: u32, more: u32 },
    /// The error code of a RST_STREAM.
    Reset(u32),
    /// GOAWAY: the last stream it names, and its error code.
    Away { last: u32, code: u32 },
}

/// Finds frames.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// A head, or a value of the payload, as far as it has come.
    part: [u8; HEAD],
    len: usize,
    /// Bytes of the payload that have not come.
    left: u32,
    /// The frame whose payload comes.
    frame: Option<Frame>,
    /// Fields go on in the next frame.
    fields: bool,
    /// The first value of this frame was seen; GOAWAY has more payload than that.
    seen_value: bool,
}

impl Reader {
    /// For what clients send, from the preface on.
    pub(super) fn after_preface() -> Self {
        Self {
            left: PREFACE,
            ..Self::default()
        }
    }

    /// Whether a frame may be put in here: between frames, and not among those of one list of fields.
    pub(super) const fn is_between(&self) -> bool {
        self.len == 0 && self.left == 0 && !self.is_in_fields()
    }

    /// A list of fields has begun and not come to its end.
    pub(super) const fn is_in_fields(&self) -> bool {
        self.fields || matches!(self.frame, Some(frame) if frame.has_fields())
    }

    /// The stream whose DATA has begun and not come to its end.
    pub(super) fn in_data(&self) -> Option<u32> {
        let frame = self.frame.filter(|frame| frame.kind == DATA)?;
        Some(frame.stream)
    }

    /// The next thing in `bytes`, which are taken up to it.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Option<Seen> {
        loop {
            if let Some(frame) = self.frame
                && let Some(seen) = self.payload(frame, bytes)?
            {
                return Some(seen);
            }
            if self.frame.is_some() {
                continue;
            }
            self.skip(bytes);
            while let Some(place) = self.part.get_mut(self.len) {
                let (&byte, rest) = bytes.split_first()?;
                *place = byte;
                self.len += 1;
                *bytes = rest;
            }
            self.len = 0;
            let [a, b, c, kind, flags, s0, s1, s2, s3] = self.part;
            let frame = Frame {
                kind,
                flags,
                length: u32::from_be_bytes([0, a, b, c]),
                stream: u32::from_be_bytes([s0, s1, s2, s3]) & !RESERVED,
            };
            self.left = frame.length;
            self.frame = Some(frame);
            self.seen_value = false;
            return Some(Seen::Head(frame));
        }
    }

    /// `None`: it goes on in later bytes. `Some(None)`: nothing to tell yet, look again.
    fn payload(&mut self, frame: Frame, bytes: &mut &[u8]) -> Option<Option<Seen>> {
        let unit = if self.seen_value && frame.kind != SETTINGS {
            0
        } else {
            frame.unit()
        };
        if unit > 0 && (self.left as usize + self.len) >= unit {
            while self.len < unit {
                let (&byte, rest) = bytes.split_first()?;
                if let Some(place) = self.part.get_mut(self.len) {
                    *place = byte;
                }
                self.len += 1;
                self.left = self.left.saturating_sub(1);
                *bytes = rest;
            }
            self.len = 0;
            self.seen_value = true;
            return Some(self.value(frame));
        }
        self.skip(bytes);
        if self.left > 0 {
            return None;
        }
        self.frame = None;
        if frame.has_fields() {
            self.fields = frame.flags & END_HEADERS == 0;
        }
        Some(Some(Seen::Whole(frame)))
    }

    fn value(&self, frame: Frame) -> Option<Seen> {
        let [a, b, c, d, e, f, g, h, ..] = self.part;
        let whole = u32::from_be_bytes([a, b, c, d]);
        let number = whole & !RESERVED;
        match frame.kind {
            WINDOW_UPDATE => Some(Seen::Window {
                stream: frame.stream,
                more: number,
            }),
            RST_STREAM => Some(Seen::Reset(whole)),
            GOAWAY => Some(Seen::Away {
                last: number,
                code: u32::from_be_bytes([e, f, g, h]),
            }),
            SETTINGS if u16::from_be_bytes([a, b]) == INITIAL_WINDOW_SIZE => {
                Some(Seen::InitialWindow(u32::from_be_bytes([c, d, e, f])))
            }
            _ => None,
        }
    }

    fn skip(&mut self, bytes: &mut &[u8]) {
        let skipped = bytes.len().min(self.left as usize);
        self.left = self
            .left
            .saturating_sub(u32::try_from(skipped).unwrap_or(u32::MAX));
        *bytes = bytes.get(skipped..).unwrap_or_default();
    }
}

/// A frame of ours that says something about `stream`, or the connection, in one number.
pub(super) fn reset(stream: u32, code: u32) -> Vec<u8> {
    with_numbers(RST_STREAM, stream, &[code])
}

/// GOAWAY: what came after `last` was not looked at.
pub(super) fn goaway(last: u32, code: u32) -> Vec<u8> {
    with_numbers(GOAWAY, 0, &[last, code])
}

fn with_numbers(kind: u8, stream: u32, numbers: &[u32]) -> Vec<u8> {
    let length = u8::try_from(numbers.len() * 4).unwrap_or(0);
    let mut bytes = vec![0, 0, length, kind, 0];
    bytes.extend(stream.to_be_bytes());
    for number in numbers {
        bytes.extend(number.to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(reader: &mut Reader, bytes: &[u8], cut: usize) -> Vec<Seen> {
        let mut seen = Vec::new();
        for mut part in bytes.chunks(cut) {
            while let Some(one) = reader.next(&mut part) {
                seen.push(one);
            }
            assert!(part.is_empty(), "all is taken");
        }
        seen
    }

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> (Vec<u8>, Frame) {
        let length = payload.len() as u32;
        let mut bytes = length.to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend_from_slice(payload);
        let frame = Frame {
            kind,
            flags,
            length,
            stream,
        };
        (bytes, frame)
    }

    #[test]
    fn frames_and_their_values_are_found_however_they_are_cut() {
        let (settings, s) = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9, 0, 4, 0, 1, 0, 0]);
        let (acked, a) = frame(SETTINGS, ACK, 0, &[]);
        let (data, d) = frame(DATA, END_STREAM, 5, &[7; 300]);
        let (more, m) = frame(WINDOW_UPDATE, 0, 5, &[0x80, 0, 1, 0]);
        let (away, g) = frame(GOAWAY, 0, 0, &[0, 0, 0, 5, 0, 0, 0, 9, b'b', b'y', b'e']);
        let (odd, o) = frame(WINDOW_UPDATE, 0, 5, &[1]);
        let stream = [settings, acked, data, more, away, odd].concat();
        let expected = [
            Seen::Head(s),
            Seen::InitialWindow(65_536),
            Seen::Whole(s),
            Seen::Head(a),
            Seen::Whole(a),
            Seen::Head(d),
            Seen::Whole(d),
            Seen::Head(m),
            Seen::Window {
                stream: 5,
                more: 256,
            },
            Seen::Whole(m),
            Seen::Head(g),
            Seen::Away { last: 5, code: 9 },
            Seen::Whole(g),
            Seen::Head(o),
            Seen::Whole(o),
        ];
        for cut in 1..stream.len() {
            assert_eq!(all(&mut Reader::default(), &stream, cut), expected, "{cut}");
        }
    }

    #[test]
    fn a_list_of_fields_is_one_thing_up_to_its_last_frame() {
        let mut reader = Reader::default();
        let (head, _) = frame(HEADERS, 0, 1, b"abc");
        let (more, _) = frame(CONTINUATION, END_HEADERS, 1, b"def");
        assert!(reader.is_between());
        all(&mut reader, &head[..10], 1);
        assert!(reader.is_in_fields() && !reader.is_between());
        all(&mut reader, &head[10..], 1);
        assert!(reader.is_in_fields() && !reader.is_between());
        all(&mut reader, &more[..11], 1);
        assert!(reader.is_in_fields());
        all(&mut reader, &more[11..], 1);
        assert!(reader.is_between());
    }
}
