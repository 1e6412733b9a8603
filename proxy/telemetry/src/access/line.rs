//! How a line is written.
//!
//! What came from a client may hold any byte. JSON: control bytes, quotes, backslashes, U+007F–U+009F, the line
//! separators and the bidirectional controls become `\u` escapes, bytes that are no UTF-8 become the text `\xHH`.
//! Combined: everything outside printable ASCII, quotes and backslashes become `\xHH`. Long values are cut.

use super::{Cut, Record};
use crate::mask;
use jiff::Timestamp;
use std::time::{Duration, SystemTime};

/// Bytes kept of a target.
const TARGET_MAX: usize = 8192;
/// Bytes kept of a Referer or User-Agent.
const HEADER_MAX: usize = 1024;
/// Bytes kept of a host.
const HOST_MAX: usize = 255;
/// Bytes kept of a method.
const METHOD_MAX: usize = 32;
/// A buffer that grew past this for one odd line is given back.
const BUFFER_MAX: usize = 64 << 10;

/// A thread's line, and the second it last wrote out.
#[derive(Default)]
pub(super) struct Buffer {
    line: Vec<u8>,
    second: Option<(i64, bool)>,
    clock: String,
}

impl Buffer {
    /// The record as one JSON object and a line feed.
    pub(super) fn json(&mut self, r: &Record<'_>) -> &[u8] {
        let millis = self.start(r.time, true);
        let out = &mut self.line;
        out.extend_from_slice(b"{\"time\":\"");
        out.extend_from_slice(self.clock.as_bytes());
        out.push(b'.');
        out.extend_from_slice(&three_digits(millis));
        out.extend_from_slice(b"Z\"");
        text(out, "id", r.request_id);
        text(out, "kind", r.kind);
        text(out, "client", r.client);
        bytes(out, "method", r.method, METHOD_MAX);
        text(out, "scheme", r.scheme);
        bytes(out, "host", r.host, HOST_MAX);
        bytes(out, "target", &mask::target(r.target), TARGET_MAX);
        text(out, "version", r.version);
        number(out, "status", u64::from(r.status));
        number(out, "bytes_sent", r.bytes_sent);
        number(out, "bytes_received", r.bytes_received);
        millis_field(out, "duration_ms", r.duration);
        text(out, "site", r.site);
        text(out, "route", r.route);
        if !r.cache.is_empty() {
            text(out, "cache", r.cache);
        }
        for (name, value) in [
            ("peer", r.peer),
            ("origin", r.origin),
            ("waf", r.waf),
            ("error", r.error),
            ("limit", r.limit),
            ("would_limit", r.would_limit),
            ("tls", r.tls_version),
            ("ja4", r.ja4),
        ] {
            if let Some(value) = value {
                text(out, name, value);
            }
        }
        if let Some((subject, fingerprint)) = r.client_cert {
            bytes(out, "client_cert", subject.as_bytes(), HEADER_MAX);
            text(out, "client_cert_sha256", fingerprint);
        }
        if let Some(time) = r.origin_time {
            millis_field(out, "origin_ms", time);
        }
        let referer = r.referer.map(mask::target);
        for (name, value) in [
            ("user_agent", r.user_agent),
            ("referer", referer.as_deref()),
        ] {
            if let Some(value) = value {
                bytes(out, name, value, HEADER_MAX);
            }
        }
        out.extend_from_slice(b"}\n");
        out
    }

    /// The record in NCSA combined format.
    pub(super) fn combined(&mut self, r: &Record<'_>) -> &[u8] {
        self.start(r.time, false);
        let out = &mut self.line;
        out.extend_from_slice(r.client.as_bytes());
        out.extend_from_slice(b" - - [");
        out.extend_from_slice(self.clock.as_bytes());
        out.extend_from_slice(b"] \"");
        hex_escaped(out, cut(r.method, METHOD_MAX).0);
        out.push(b' ');
        hex_escaped(out, cut(&mask::target(r.target), TARGET_MAX).0);
        out.push(b' ');
        hex_escaped(out, r.version.as_bytes());
        out.extend_from_slice(b"\" ");
        digits(out, u64::from(r.status));
        out.push(b' ');
        digits(out, r.bytes_sent);
        let referer = r.referer.map(mask::target);
        for value in [referer.as_deref(), r.user_agent] {
            out.extend_from_slice(b" \"");
            hex_escaped(out, cut(value.unwrap_or(b"-"), HEADER_MAX).0);
            out.push(b'"');
        }
        out.push(b'\n');
        out
    }

    /// A connection that ended without an answer, as one JSON object and a line feed.
    pub(super) fn json_cut(&mut self, cut: &Cut<'_>, held_back: u64) -> &[u8] {
        let millis = self.start(cut.time, true);
        let out = &mut self.line;
        out.extend_from_slice(b"{\"time\":\"");
        out.extend_from_slice(self.clock.as_bytes());
        out.push(b'.');
        out.extend_from_slice(&three_digits(millis));
        out.extend_from_slice(b"Z\"");
        text(out, "kind", "connection");
        text(out, "client", cut.client);
        text(out, "error", cut.error);
        if cut.connection > 0 {
            number(out, "connection", cut.connection);
        }
        if let Some(local) = cut.local {
            text(out, "local", &local.to_string());
        }
        for (name, value) in [("tls", cut.tls_version), ("sni", cut.sni)] {
            if let Some(value) = value {
                bytes(out, name, value.as_bytes(), HOST_MAX);
            }
        }
        if held_back > 0 {
            number(out, "held_back", held_back);
        }
        out.extend_from_slice(b"}\n");
        out
    }

    /// The same in NCSA combined format, where there was no request: the reason stands in the place of the target.
    pub(super) fn combined_cut(&mut self, cut: &Cut<'_>) -> &[u8] {
        self.start(cut.time, false);
        let out = &mut self.line;
        out.extend_from_slice(cut.client.as_bytes());
        out.extend_from_slice(b" - - [");
        out.extend_from_slice(self.clock.as_bytes());
        out.extend_from_slice(b"] \"- ");
        hex_escaped(out, cut.error.as_bytes());
        out.extend_from_slice(b" -\" 0 0 \"-\" \"-\"\n");
        out
    }

    /// Empties the line and brings the clock's text up to date; returns the milliseconds.
    fn start(&mut self, time: SystemTime, iso: bool) -> u32 {
        if self.line.capacity() > BUFFER_MAX {
            self.line = Vec::new();
        }
        self.line.clear();
        let since = time
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        let second = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        if self.second != Some((second, iso)) {
            let format = if iso {
                "%Y-%m-%dT%H:%M:%S"
            } else {
                "%d/%b/%Y:%H:%M:%S +0000"
            };
            let stamp = Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH);
            self.clock = stamp.strftime(format).to_string();
            self.second = Some((second, iso));
        }
        since.subsec_millis()
    }
}

fn digits(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn three_digits(value: u32) -> [u8; 3] {
    let digit = |n: u32| b'0' + (n % 10) as u8;
    [digit(value / 100), digit(value / 10), digit(value)]
}

fn name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn number(out: &mut Vec<u8>, key: &str, value: u64) {
    name(out, key);
    digits(out, value);
}

fn millis_field(out: &mut Vec<u8>, key: &str, value: Duration) {
    name(out, key);
    let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
    digits(out, micros / 1000);
    out.push(b'.');
    out.extend_from_slice(&three_digits((micros % 1000) as u32));
}

fn text(out: &mut Vec<u8>, key: &str, value: &str) {
    bytes(out, key, value.as_bytes(), HEADER_MAX);
}

fn bytes(out: &mut Vec<u8>, key: &str, value: &[u8], max: usize) {
    name(out, key);
    out.push(b'"');
    let (kept, was_cut) = cut(value, max);
    json_escaped(out, kept);
    if was_cut {
        out.extend_from_slice("…".as_bytes());
    }
    out.push(b'"');
}

fn cut(value: &[u8], max: usize) -> (&[u8], bool) {
    value
        .get(..max)
        .map_or((value, false), |kept| (kept, kept.len() < value.len()))
}

/// Whether a byte may stand in a JSON string as it is.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0x20;
    while byte < 0x7f {
        plain[byte] = byte != b'"' as usize && byte != b'\\' as usize;
        byte += 1;
    }
    plain
};
const HEX: &[u8; 16] = b"0123456789abcdef";

fn hex(out: &mut Vec<u8>, byte: u8) {
    out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
}

fn json_escaped(out: &mut Vec<u8>, value: &[u8]) {
    if value.iter().all(|byte| PLAIN[usize::from(*byte)]) {
        out.extend_from_slice(value);
        return;
    }
    for chunk in value.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\0'..='\u{1f}'
                | '\u{7f}'..='\u{9f}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{feff}' => {
                    let code = c as u32;
                    out.extend_from_slice(b"\\u");
                    hex(out, (code >> 8) as u8);
                    hex(out, code as u8);
                }
                c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        for byte in chunk.invalid() {
            out.extend_from_slice(b"\\\\x");
            hex(out, *byte);
        }
    }
}

fn hex_escaped(out: &mut Vec<u8>, value: &[u8]) {
    for byte in value {
        if PLAIN[usize::from(*byte)] {
            out.push(*byte);
        } else {
            out.extend_from_slice(b"\\x");
            hex(out, *byte);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::access) fn record() -> Record<'static> {
        Record {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_764_000_000_042),
            request_id: "01JD8Z3V6Q0000000000000000",
            client: "2001:db8::7",
            peer: None,
            method: b"GET",
            scheme: "https",
            host: b"shop.example.com",
            target: b"/a?q=1",
            version: "HTTP/2",
            status: 200,
            bytes_sent: 1234,
            bytes_received: 0,
            duration: Duration::from_micros(12_345),
            origin: Some("10.0.0.5:8080"),
            origin_time: Some(Duration::from_micros(900)),
            cache: "miss",
            site: "shop.example.com",
            route: "sites[0]",
            user_agent: Some(b"curl/8"),
            referer: None,
            tls_version: Some("TLSv1.3"),
            client_cert: None,
            ja4: None,
            waf: Some("clean"),
            error: None,
            limit: None,
            would_limit: None,
            kind: "request",
        }
    }

    pub(in crate::access) fn cut() -> Cut<'static> {
        Cut {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_764_000_000_042),
            client: "192.0.2.7",
            local: Some(([192, 0, 2, 1], 443).into()),
            connection: 17,
            tls_version: Some("TLSv1.3"),
            sni: Some("shop.\"example\"\n"),
            error: "h2_reset_flood",
        }
    }

    #[test]
    fn a_line_of_a_connection_says_who_where_and_why() {
        let mut buffer = Buffer::default();
        assert_eq!(
            String::from_utf8_lossy(buffer.json_cut(&cut(), 3)),
            concat!(
                r#"{"time":"2025-11-24T16:00:00.042Z","kind":"connection","client":"192.0.2.7","#,
                r#""error":"h2_reset_flood","connection":17,"local":"192.0.2.1:443","tls":"TLSv1.3","#,
                r#""sni":"shop.\"example\"\u000a","held_back":3}"#,
                "\n"
            )
        );
        assert_eq!(
            String::from_utf8_lossy(buffer.combined_cut(&cut())),
            "192.0.2.7 - - [24/Nov/2025:16:00:00 +0000] \"- h2_reset_flood -\" 0 0 \"-\" \"-\"\n"
        );
    }

    #[test]
    fn a_json_line_holds_what_happened() {
        let mut buffer = Buffer::default();
        let line = String::from_utf8(buffer.json(&record()).to_vec()).expect("UTF-8");
        assert_eq!(
            line,
            concat!(
                r#"{"time":"2025-11-24T16:00:00.042Z","id":"01JD8Z3V6Q0000000000000000","kind":"request","#,
                r#""client":"2001:db8::7","method":"GET","scheme":"https","host":"shop.example.com","#,
                r#""target":"/a?q=1","version":"HTTP/2","status":200,"bytes_sent":1234,"bytes_received":0,"#,
                r#""duration_ms":12.345,"site":"shop.example.com","route":"sites[0]","cache":"miss","#,
                r#""origin":"10.0.0.5:8080","waf":"clean","tls":"TLSv1.3","origin_ms":0.900,"#,
                r#""user_agent":"curl/8"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_combined_line_is_what_log_analysers_read() {
        let mut buffer = Buffer::default();
        let line = buffer.combined(&record());
        assert_eq!(
            String::from_utf8_lossy(line),
            "2001:db8::7 - - [24/Nov/2025:16:00:00 +0000] \"GET /a?q=1 HTTP/2\" 200 1234 \"-\" \"curl/8\"\n"
        );
    }

    #[test]
    fn no_value_can_end_a_line_or_add_one() {
        let every_byte: Vec<u8> = (0..=255).collect();
        let hostile: [&[u8]; 5] = [
            &every_byte,
            b"x\"}\n{\"status\":200,\"x\":\"",
            b"\" 200 1 \"-\" \"-\"\r\n1.2.3.4 - - [",
            "a\u{2028}b\u{85}c\u{202e}d\u{1b}[2J".as_bytes(),
            b"\xff\xfe\xc3\x28\\",
        ];
        let mut buffer = Buffer::default();
        for value in hostile {
            let mut record = record();
            record.user_agent = Some(value);
            record.referer = Some(value);
            record.target = value;
            record.host = value;
            record.method = value;
            let json = buffer.json(&record).to_vec();
            let parsed: serde_json::Value = serde_json::from_slice(&json).expect("valid JSON");
            assert_eq!(parsed["status"], 200);
            let combined = buffer.combined(&record).to_vec();
            for line in [&json, &combined] {
                let (end, rest) = line.split_last().expect("not empty");
                assert_eq!(*end, b'\n');
                let rest = std::str::from_utf8(rest).expect("UTF-8");
                assert!(
                    !rest
                        .chars()
                        .any(|c| c.is_control() || c == '\u{2028}' || c == '\u{202e}')
                );
            }
            assert_eq!(combined.iter().filter(|b| **b == b'"').count(), 6);
        }
    }

    #[test]
    fn valid_utf_8_is_kept_and_other_bytes_are_shown() {
        let mut record = record();
        record.user_agent = Some(b"caf\xc3\xa9 \xe9");
        let mut buffer = Buffer::default();
        let parsed: serde_json::Value =
            serde_json::from_slice(buffer.json(&record)).expect("valid JSON");
        assert_eq!(parsed["user_agent"], "café \\xe9");
    }

    #[test]
    fn a_long_value_is_cut_and_the_buffer_is_given_back() {
        let long = vec![b'\x01'; 100_000];
        let mut record = record();
        record.target = &long;
        record.user_agent = Some(&long);
        record.referer = Some(&long);
        let mut buffer = Buffer::default();
        let line = buffer.json(&record);
        assert!(line.len() < 80_000);
        assert!(String::from_utf8_lossy(line).contains('…'));
        record.target = b"/";
        buffer.json(&record);
        buffer.json(&record);
        assert!(buffer.line.capacity() <= BUFFER_MAX);
    }
}
