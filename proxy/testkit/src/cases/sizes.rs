//! The table: at each limit of size, and one past it.

use super::Refused::*;
use super::Then::{Good, No, Ours};
use super::{CHUNKED, Case, NEXT, case};

pub(super) fn all() -> Vec<Case> {
    let get = |target: &str, lines: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n")
    };
    let field = |len: usize| format!("X: {}\r\n", "y".repeat(len - 3));
    let head = |len: usize| {
        let lines = field(8 * 1024 - 2).repeat(7);
        let rest = len - get("/", &lines).len();
        get("/", &(lines + &field(rest - 2)))
    };
    let method = |len: usize| format!("{} / HTTP/1.1\r\nHost: a.example\r\n\r\n", "M".repeat(len));
    let host = |len: usize| format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "h".repeat(len));
    let target = |len: usize| get(&format!("/{}", "a".repeat(len - 1)), "");
    let heads = [
        ("a target of 16 KiB", target(16 * 1024), Good),
        (
            "a target of 16 KiB and 1",
            target(16 * 1024 + 1),
            No(TargetTooLong),
        ),
        ("a target of 100,000", target(100_000), No(TargetTooLong)),
        ("a field of 32 KiB", get("/", &field(32 * 1024 - 1)), Good),
        (
            "a field of 32 KiB and 2",
            get("/", &field(32 * 1024 + 1)),
            No(FieldTooLong),
        ),
        (
            "a name of 32 KiB",
            get("/", &format!("{}: y\r\n", "x".repeat(32 * 1024))),
            No(FieldTooLong),
        ),
        ("100 fields", get("/", &"X: y\r\n".repeat(99)), Good),
        (
            "101 fields",
            get("/", &"X: y\r\n".repeat(100)),
            No(FieldsTooMany),
        ),
        ("a head of 64 KiB", head(64 * 1024), Good),
        (
            "a head of 64 KiB and 1",
            head(64 * 1024 + 1),
            No(HeadTooLarge),
        ),
        ("a method of 64", method(64), Ours(405)),
        ("a method of 65", method(65), No(Method)),
        ("a host of 255", host(255), Ours(404)),
        ("a host of 256", host(256), No(HostInvalid)),
    ];
    let extension = |len: usize| format!("5;{}\r\nhello\r\n0\r\n\r\n", "e".repeat(len - 1));
    let extensions = |count: usize| {
        format!(
            "{}0\r\n\r\n",
            format!("1;{}\r\nx\r\n", "e".repeat(127)).repeat(count)
        )
    };
    let bodies = [
        ("an extension of 255", extension(255), Good),
        ("an extension of 257", extension(257), No(ChunkExtension)),
        ("extensions of 16 KiB", extensions(128), Good),
        (
            "extensions of 16 KiB and 128",
            extensions(129),
            No(ChunkExtension),
        ),
        (
            "trailers of 16,000",
            format!("0\r\n{}\r\n", field(16_000)),
            Good,
        ),
        (
            "trailers of 16 KiB and 7",
            format!("0\r\n{}\r\n", field(16 * 1024)),
            No(TrailersTooLarge),
        ),
        (
            "101 trailers",
            format!("0\r\n{}\r\n", "X: y\r\n".repeat(101)),
            No(TrailersTooLarge),
        ),
        (
            "5,000 chunks",
            format!("{}0\r\n\r\n", "1\r\nx\r\n".repeat(5_000)),
            Good,
        ),
    ];
    let name = |what: &str| format!("size: {what}");
    let mut all = Vec::new();
    all.extend(heads.map(|(what, bytes, then)| case(name(what), bytes, then)));
    all.extend(bodies.map(|(what, body, then)| {
        let mut row = case(name(what), format!("{CHUNKED}{body}"), then);
        row.breaks_off = row.refused.is_some();
        row
    }));
    let behind = "GET / HTTP/1.1\r\n\r\n";
    let mut row = case(
        name("a refusal behind three requests"),
        format!("{}{behind}", NEXT.repeat(3)),
        No(HostMissing),
    );
    row.follows(&NEXT.repeat(3));
    all.push(row);
    all
}
