//! The rest of the table: bodies and how they are announced, and sizes.

use super::{Case, GOOD, NEXT, case};
use aegis_identity::Reject::{self, *};

pub(super) const FRAMINGS: &[(&str, &str, Option<Reject>)] = &[
    ("Content-Length: 5", "hello", GOOD),
    ("content-length:5", "hello", GOOD),
    ("Content-Length: \t5 ", "hello", GOOD),
    ("Content-Length: 0", "", GOOD),
    ("Content-Length: 00005", "hello", GOOD),
    ("Content-Length: 39", NEXT, GOOD),
    (
        "Content-Length: 5\r\nUpgrade: websocket\r\nConnection: Upgrade",
        "hello",
        GOOD,
    ),
    (
        "Content-Length: 5\r\nContent-Length: 5",
        "hello",
        Some(LengthSeveral),
    ),
    (
        "Content-Length: 5\r\nContent-Length: 6",
        "hello",
        Some(LengthSeveral),
    ),
    (
        "Content-Length: 5\r\nX: y\r\ncontent-length: 0",
        "hello",
        Some(LengthSeveral),
    ),
    ("Content-Length: 5, 5", "hello", Some(LengthInvalid)),
    ("Content-Length: 5,", "hello", Some(LengthInvalid)),
    ("Content-Length: +5", "hello", Some(LengthInvalid)),
    ("Content-Length: -5", "hello", Some(LengthInvalid)),
    ("Content-Length: -0", "hello", Some(LengthInvalid)),
    ("Content-Length: 5 0", "hello", Some(LengthInvalid)),
    ("Content-Length: 0x5", "hello", Some(LengthInvalid)),
    ("Content-Length: 5.0", "hello", Some(LengthInvalid)),
    ("Content-Length: 5e0", "hello", Some(LengthInvalid)),
    ("Content-Length: \"5\"", "hello", Some(LengthInvalid)),
    ("Content-Length: ", "hello", Some(LengthInvalid)),
    ("Content-Length:", "hello", Some(LengthInvalid)),
    ("Content-Length: five", "hello", Some(LengthInvalid)),
    ("Content-Length: ٥", "hello", Some(LengthInvalid)),
    (
        "Content-Length: 9223372036854775808",
        "hello",
        Some(LengthTooLarge),
    ),
    (
        "Content-Length: 18446744073709551621",
        "hello",
        Some(LengthTooLarge),
    ),
    (
        "Content-Length: 99999999999999999999999999999999",
        "hello",
        Some(LengthTooLarge),
    ),
    ("Content-Length : 5", "hello", Some(FieldSpace)),
    ("Content_Length: 5", "hello", Some(FramingName)),
    (
        "content_length: 5\r\nContent-Length: 5",
        "hello",
        Some(FramingName),
    ),
    ("Transfer_Encoding: chunked", "", Some(FramingName)),
    (
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "0\r\n\r\n",
        Some(LengthAndCoding),
    ),
    (
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "0\r\n\r\n",
        Some(LengthAndCoding),
    ),
    (
        "Transfer-Encoding: chunked\r\nContent-Length: 0",
        "0\r\n\r\n",
        Some(LengthAndCoding),
    ),
    ("Transfer-Encoding: chunked", "0\r\n\r\n", GOOD),
    ("transfer-encoding:CHUNKED", "0\r\n\r\n", GOOD),
    ("Transfer-Encoding: \tchunked ", "0\r\n\r\n", GOOD),
    (
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "0\r\n\r\n",
        Some(CodingInvalid),
    ),
    (
        "Transfer-Encoding: chunked, chunked",
        "0\r\n\r\n",
        Some(CodingInvalid),
    ),
    (
        "Transfer-Encoding: chunked, identity",
        "0\r\n\r\n",
        Some(CodingInvalid),
    ),
    (
        "Transfer-Encoding: chunked, gzip",
        "0\r\n\r\n",
        Some(CodingInvalid),
    ),
    (
        "Transfer-Encoding: chunked,",
        "0\r\n\r\n",
        Some(CodingInvalid),
    ),
    (
        "Transfer-Encoding: ,chunked",
        "0\r\n\r\n",
        Some(CodingInvalid),
    ),
    (
        "Transfer-Encoding: chunked;q=1",
        "0\r\n\r\n",
        Some(CodingInvalid),
    ),
    (
        "Transfer-Encoding: \"chunked\"",
        "0\r\n\r\n",
        Some(CodingInvalid),
    ),
    (
        "Transfer-Encoding: chunked chunked",
        "0\r\n\r\n",
        Some(CodingInvalid),
    ),
    ("Transfer-Encoding:", "0\r\n\r\n", Some(CodingInvalid)),
    (
        "Transfer-Encoding: gzip, chunked",
        "0\r\n\r\n",
        Some(CodingUnknown),
    ),
    (
        "Transfer-Encoding: identity",
        "0\r\n\r\n",
        Some(CodingUnknown),
    ),
    (
        "Transfer-Encoding: xchunked",
        "0\r\n\r\n",
        Some(CodingUnknown),
    ),
    (
        "Transfer-Encoding: chunkedx",
        "0\r\n\r\n",
        Some(CodingUnknown),
    ),
    ("Transfer-Encoding: cow", "0\r\n\r\n", Some(CodingUnknown)),
    (
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "0\r\n\r\n",
        Some(CodingUnknown),
    ),
    (
        "Transfer-Encoding: \u{b}chunked",
        "0\r\n\r\n",
        Some(Control),
    ),
    (
        "Transfer-Encoding: chunked\u{0}",
        "0\r\n\r\n",
        Some(Control),
    ),
    (
        "Transfer-Encoding: chunked\r",
        "0\r\n\r\n",
        Some(LineEnding),
    ),
    (
        "Transfer-Encoding:\r\n chunked",
        "0\r\n\r\n",
        Some(CodingInvalid),
    ),
    ("Transfer-Encoding : chunked", "0\r\n\r\n", Some(FieldSpace)),
    (
        "X: y\nTransfer-Encoding: chunked",
        "0\r\n\r\n",
        Some(LineEnding),
    ),
];

pub(super) const CHUNKS: &[(&[u8], Option<Reject>)] = &[
    (b"5\r\nhello\r\n0\r\n\r\n", GOOD),
    (b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", GOOD),
    (
        b"0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n",
        GOOD,
    ),
    (b"5;a\r\nhello\r\n0;b=c\r\n\r\n", GOOD),
    (b"5;a=b;c=\"d\\\" e\"\r\nhello\r\n0\r\n\r\n", GOOD),
    (b"5\r\nhello\r\n0\r\nX: y\r\nZ:\r\n\r\n", GOOD),
    (b"2\r\n\r\n\r\n0\r\n\r\n", GOOD),
    (b"00000000000000005\r\nhello\r\n0\r\n\r\n", Some(ChunkSize)),
    (b"0x5\r\nhello\r\n0\r\n\r\n", Some(ChunkSize)),
    (b"+5\r\nhello\r\n0\r\n\r\n", Some(ChunkSize)),
    (b"-5\r\nhello\r\n0\r\n\r\n", Some(ChunkSize)),
    (b" 5\r\nhello\r\n0\r\n\r\n", Some(ChunkSize)),
    (b"5 \r\nhello\r\n0\r\n\r\n", Some(ChunkSize)),
    (b"5\t\r\nhello\r\n0\r\n\r\n", Some(ChunkSize)),
    (b"5 ;a\r\nhello\r\n0\r\n\r\n", Some(ChunkSize)),
    (b"5_0\r\nhello\r\n0\r\n\r\n", Some(ChunkSize)),
    (b"5.\r\nhello\r\n0\r\n\r\n", Some(ChunkSize)),
    (b"g\r\nhello\r\n0\r\n\r\n", Some(ChunkSize)),
    (b"\r\nhello\r\n0\r\n\r\n", Some(ChunkSize)),
    (b";a\r\nhello\r\n0\r\n\r\n", Some(ChunkSize)),
    (b"5\x00\r\nhello\r\n0\r\n\r\n", Some(ChunkSize)),
    (
        b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        Some(LengthTooLarge),
    ),
    (
        b"8000000000000000\r\nhello\r\n0\r\n\r\n",
        Some(LengthTooLarge),
    ),
    (b"10000000000000005\r\nhello\r\n0\r\n\r\n", Some(ChunkSize)),
    (b"5\nhello\r\n0\r\n\r\n", Some(ChunkEnd)),
    (b"5\rhello\r\n0\r\n\r\n", Some(ChunkEnd)),
    (b"5\r\nhello0\r\n\r\n", Some(ChunkEnd)),
    (b"5\r\nhello\n0\r\n\r\n", Some(ChunkEnd)),
    (b"5\r\nhello\r0\r\n\r\n", Some(ChunkEnd)),
    (b"5\r\nhelloo\r\n0\r\n\r\n", Some(ChunkEnd)),
    (b"6\r\nhello\r\n0\r\n\r\n", Some(ChunkEnd)),
    (b"4\r\nhello\r\n0\r\n\r\n", Some(ChunkEnd)),
    (b"5;\r\nhello\r\n0\r\n\r\n", Some(ChunkExtension)),
    (b"5;a=\r\nhello\r\n0\r\n\r\n", Some(ChunkExtension)),
    (b"5;a b\r\nhello\r\n0\r\n\r\n", Some(ChunkExtension)),
    (b"5; a\r\nhello\r\n0\r\n\r\n", Some(ChunkExtension)),
    (b"5;a\nhello\r\n0\r\n\r\n", Some(ChunkExtension)),
    (b"5;a=\"b\r\nhello\r\n0\r\n\r\n", Some(ChunkExtension)),
    (b"5;a=\"b\"c\r\nhello\r\n0\r\n\r\n", Some(ChunkExtension)),
    (b"5;a\x00\r\nhello\r\n0\r\n\r\n", Some(ChunkExtension)),
    (b"5;a\rb\r\nhello\r\n0\r\n\r\n", Some(ChunkEnd)),
    (b"0\n\n", Some(ChunkEnd)),
    (b"0\r\n\n", Some(Trailer)),
    (b"0\r\n\rX", Some(Trailer)),
    (b"0\r\nX: y\n\r\n", Some(Trailer)),
    (b"0\r\nX : y\r\n\r\n", Some(Trailer)),
    (b"0\r\n X: y\r\n\r\n", Some(Trailer)),
    (b"0\r\nX: a\x00b\r\n\r\n", Some(Trailer)),
    (b"0\r\nX: a\rb\r\n\r\n", Some(Trailer)),
    (b"0\r\n: y\r\n\r\n", Some(Trailer)),
    (b"0\r\nContent-Length: 5\r\n\r\n", Some(Trailer)),
    (b"0\r\ntransfer-encoding: chunked\r\n\r\n", Some(Trailer)),
    (b"0\r\nHost: b.example\r\n\r\n", Some(Trailer)),
    // The last chunk's empty line is missing: the next request is read as a trailer.
    (b"0\r\n", Some(Trailer)),
];

/// At the limits and one past them.
pub(super) fn sizes() -> Vec<Case> {
    let get = |target: &str, lines: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n")
    };
    let field = |len: usize| format!("X: {}\r\n", "y".repeat(len - 3));
    let chunked = |body: &str| {
        format!("POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
    };
    let head = |len: usize| {
        let line = field(8 * 1024 - 2);
        let lines = line.repeat(7);
        let rest = len - get("/", &lines).len();
        get("/", &(lines + &field(rest - 2)))
    };
    vec![
        case(get(&format!("/{}", "a".repeat(16 * 1024 - 1)), ""), GOOD),
        case(
            get(&format!("/{}", "a".repeat(16 * 1024)), ""),
            Some(TargetTooLong),
        ),
        case(
            get(&format!("/{}", "a".repeat(100_000)), ""),
            Some(TargetTooLong),
        ),
        case(get("/", &field(32 * 1024 - 1)), GOOD),
        case(get("/", &field(32 * 1024 + 1)), Some(FieldTooLong)),
        case(
            get("/", &format!("{}: y\r\n", "x".repeat(32 * 1024))),
            Some(FieldTooLong),
        ),
        case(get("/", &"X: y\r\n".repeat(99)), GOOD),
        case(get("/", &"X: y\r\n".repeat(100)), Some(FieldsTooMany)),
        case(head(64 * 1024), GOOD),
        case(head(64 * 1024 + 1), Some(HeadTooLarge)),
        case(
            format!("{} / HTTP/1.1\r\nHost: a.example\r\n\r\n", "M".repeat(64)),
            GOOD,
        ),
        case(
            format!("{} / HTTP/1.1\r\nHost: a.example\r\n\r\n", "M".repeat(65)),
            Some(Method),
        ),
        case(
            format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "h".repeat(255)),
            GOOD,
        ),
        case(
            format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "h".repeat(256)),
            Some(HostInvalid),
        ),
        case(
            chunked(&format!("5;{}\r\nhello\r\n0\r\n\r\n", "e".repeat(254))),
            GOOD,
        ),
        case(
            chunked(&format!("5;{}\r\nhello\r\n0\r\n\r\n", "e".repeat(256))),
            Some(ChunkExtension),
        ),
        case(
            chunked(&format!(
                "{}0\r\n\r\n",
                format!("1;{}\r\nx\r\n", "e".repeat(127)).repeat(128)
            )),
            GOOD,
        ),
        case(
            chunked(&format!(
                "{}0\r\n\r\n",
                format!("1;{}\r\nx\r\n", "e".repeat(127)).repeat(129)
            )),
            Some(ChunkExtension),
        ),
        case(chunked(&format!("0\r\n{}\r\n", field(16_000))), GOOD),
        case(
            chunked(&format!("0\r\n{}\r\n", field(16 * 1024))),
            Some(TrailersTooLarge),
        ),
        case(
            chunked(&format!("0\r\n{}\r\n", "X: y\r\n".repeat(101))),
            Some(TrailersTooLarge),
        ),
        case(
            chunked(&format!("{}0\r\n\r\n", "1\r\nx\r\n".repeat(5_000))),
            GOOD,
        ),
        case(
            format!("{}GET / HTTP/1.1\r\n\r\n", NEXT.repeat(3)),
            Some(HostMissing),
        )
        .after(3),
    ]
}
