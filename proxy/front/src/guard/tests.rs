//! The machine alone: the table, cut in every way, and mutations of it against another parser.

#[path = "tests/mutations.rs"]
mod mutations;

use super::{Machine, Step};
use aegis_identity::Reject;
use aegis_testkit::cases::{self, Case};

/// What came of a stream.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// Each request with its body as it was framed.
    requests: Vec<Vec<u8>>,
    refused: Option<Reject>,
}

/// Shows the machine `bytes` in these parts, as a reader would.
fn run<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Seen {
    let mut machine = Machine::default();
    let mut held = Vec::new();
    let mut current = Vec::new();
    let mut seen = Seen {
        requests: Vec::new(),
        refused: None,
    };
    for part in parts {
        held.extend_from_slice(part);
        loop {
            match machine.step(&held) {
                Ok(Step::More) => break,
                Ok(Step::Pass { skip, len, end, .. }) => {
                    current.extend_from_slice(&held[skip..skip + len]);
                    held.drain(..skip + len);
                    if end {
                        seen.requests.push(std::mem::take(&mut current));
                    }
                }
                Err(why) => {
                    seen.refused = Some(why);
                    return seen;
                }
            }
        }
    }
    seen
}

fn check(case: &Case, seen: &Seen) {
    let refused = seen.refused.map(|why| (why.as_str(), why.status()));
    let expected = case.refused.map(|why| (why.as_str(), why.status()));
    assert_eq!(refused, expected, "{}", case.name);
    assert_eq!(seen.requests.len(), case.good, "{}", case.name);
}

#[test]
fn every_case_has_its_verdict() {
    let cases = cases::all();
    assert!(cases.len() >= 200, "{}", cases.len());
    for case in &cases {
        check(case, &run([&case.bytes[..]]));
    }
}

#[test]
fn a_verdict_does_not_depend_on_how_the_bytes_arrive() {
    let mut random = mutations::Random(7);
    for case in cases::all() {
        let whole = run([&case.bytes[..]]);
        if case.bytes.len() < 20_000 {
            assert_eq!(run(case.bytes.chunks(1)), whole, "{}", case.name);
        }
        for most in [2, 5, 40, 3_000] {
            let mut rest = &case.bytes[..];
            let mut parts = Vec::new();
            while !rest.is_empty() {
                let (part, later) = rest.split_at((1 + random.below(most)).min(rest.len()));
                parts.push(part);
                rest = later;
            }
            assert_eq!(run(parts), whole, "{}", case.name);
        }
    }
}

#[test]
fn what_is_refused_is_refused_before_it_is_complete_where_that_can_be_seen() {
    for (bytes, why) in [
        (&b"\x16\x03\x01"[..], Reject::Method),
        (b"GET /\x00", Reject::TargetByte),
        (b"GET / HTTP/2", Reject::Version),
        (b"GET / HTTP/2.0", Reject::VersionUnknown),
        (b"GET / HTTP/1.1\r\nX: \x00", Reject::Control),
        (b"GET / HTTP/1.1\r\nX\x00", Reject::FieldName),
    ] {
        if why == Reject::Version {
            assert_eq!(run([bytes]).refused, None);
            continue;
        }
        assert_eq!(run([bytes]).refused, Some(why), "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_last_chunk_is_held_until_all_behind_it_is_good() {
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut machine = Machine::default();
    assert!(matches!(
        machine.step(head),
        Ok(Step::Pass { end: false, .. })
    ));
    let body = b"3\r\nabc\r\n0\r\nX: y\r\n";
    let Ok(Step::Pass { len, end, .. }) = machine.step(body) else {
        panic!("the chunk goes on");
    };
    assert_eq!((len, end), (8, false));
    assert_eq!(machine.step(&body[8..]), Ok(Step::More));
    assert_eq!(machine.step(b"0\r\nX: y\r\n\0"), Err(Reject::Trailer));
}

#[test]
fn a_request_for_another_protocol_is_told_from_others() {
    let asks = |text: &str| match Machine::default().step(text.as_bytes()) {
        Ok(Step::Pass { upgrade, .. }) => upgrade,
        other => panic!("{other:?}"),
    };
    assert!(asks("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\n"));
    assert!(!asks("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert!(!asks("GET / HTTP/1.0\r\nHost: a\r\nUpgrade: x\r\n\r\n"));
}
