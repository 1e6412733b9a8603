//! Long text around the 64 KiB that Pingora can replay: form and JSON, however they are sent, arrive byte for byte, and
//! with an attack as their last words never do.
//!
//! Each size stands once in each table, and not in every kind and way.
#![allow(clippy::unwrap_used, reason = "helpers of tests end them")]

use aegis_testkit::{Aegis, Origin, Reply};
use std::sync::LazyLock;

static SHOP: LazyLock<(Origin, Aegis)> = LazyLock::new(|| {
    let origin = Origin::start(|request| Reply::text(format!("{}", request.body.len())));
    let aegis = Aegis::before(&origin)
        .waf()
        // All else is as shipped. The tests of this file run side by side with whatever else keeps the machine's cores
        // busy, and the threads of the sandbox are niced: 100 ms is no time to get one then.
        .set("node.plugins.wait_max", "60s")
        .start();
    (origin, aegis)
});

const WORDS: &str = "the quick brown fox jumps over the lazy dog ";

/// How the body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Form,
    Json,
}

/// How it is sent. HTTP/2 has frames of at most 16 KiB, so it always comes in many reads.
#[derive(Debug, Clone, Copy)]
enum Way {
    Length,
    LengthInManyWrites,
    Chunked,
    ChunkedInManyWrites,
    Http2,
    Http2WithoutLength,
}

type Row = (Kind, usize, Way);

const HONEST: [Row; 4] = [
    (Kind::Form, 65_535, Way::Length),
    (Kind::Json, 65_536, Way::ChunkedInManyWrites),
    (Kind::Form, 65_537, Way::Http2),
    (Kind::Json, 100_000, Way::LengthInManyWrites),
];

const ATTACKS: [Row; 4] = [
    (Kind::Json, 65_535, Way::Http2WithoutLength),
    (Kind::Form, 65_536, Way::LengthInManyWrites),
    (Kind::Json, 65_537, Way::Chunked),
    (Kind::Form, 100_000, Way::ChunkedInManyWrites),
];

impl Kind {
    fn content_type(self) -> &'static str {
        match self {
            Self::Form => "application/x-www-form-urlencoded",
            Self::Json => "application/json",
        }
    }

    /// A body of exactly `size` bytes that no rule has anything against, but for its tail.
    fn body(self, size: usize, attack: bool) -> Vec<u8> {
        let (head, words, tail) = match self {
            Self::Form => (
                "text=",
                WORDS.replace(' ', "+"),
                if attack {
                    "&q=1%27%20UNION%20SELECT%20password%20FROM%20users--%20"
                } else {
                    "&q=no+more"
                },
            ),
            Self::Json => (
                "{\"text\":\"",
                WORDS.to_owned(),
                if attack {
                    "\",\"q\":\"1' UNION SELECT password FROM users-- \"}"
                } else {
                    "\",\"q\":\"no more\"}"
                },
            ),
        };
        let filling = words.bytes().cycle();
        let mut body = head.as_bytes().to_vec();
        body.extend(filling.take(size - head.len() - tail.len()));
        body.extend_from_slice(tail.as_bytes());
        body
    }
}

/// Sends it and gives the status.
fn send(way: Way, target: &str, content_type: &str, body: &[u8]) -> u16 {
    let aegis = &SHOP.1;
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\nContent-Type: {content_type}\r\n"
    );
    let length = format!("{head}Content-Length: {}\r\n\r\n", body.len());
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    let chunk = |part: &[u8]| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
    let http2 = || {
        let curl = aegis
            .curl_tls("shop.test", target)
            .http2()
            .header("User-Agent: Mozilla/5.0");
        curl.header(&format!("Content-Type: {content_type}"))
    };
    let mut client = aegis.raw();
    // A refusal may come before the end: what cannot be written any more is no failure.
    let _taken = match way {
        Way::Length => client.try_send([length.as_bytes(), body].concat()),
        Way::LengthInManyWrites => {
            client.send(length);
            body.chunks(997).all(|part| client.try_send(part))
        }
        Way::Chunked => client.try_send([chunked.as_bytes(), &chunk(body), b"0\r\n\r\n"].concat()),
        Way::ChunkedInManyWrites => {
            client.send(chunked);
            body.chunks(997).all(|part| client.try_send(chunk(part)))
                && client.try_send("0\r\n\r\n")
        }
        Way::Http2 => return http2().body(body).send().status,
        Way::Http2WithoutLength => {
            let curl = http2().arg(&["-X", "POST", "-T", "-"]);
            return curl.stdin(body).send().status;
        }
    };
    client.answer().status()
}

/// As [`send`], but once more when the job's CPU time was not enough: a core shared with other work bills a job up to
/// three times what it takes alone, and how fast the machine is is not what is tried here.
fn judged(way: Way, target: &str, content_type: &str, body: &[u8]) -> u16 {
    let too_slow = || {
        SHOP.1.metrics().sum(
            "aegis_plugin_faults_total",
            &["plugin=\"waf\"", "kind=\"deadline\""],
        )
    };
    let before = too_slow();
    match send(way, target, content_type, body) {
        503 if too_slow() > before => send(way, target, content_type, body),
        status => status,
    }
}

#[test]
fn honest_text_arrives_byte_for_byte_at_every_size() {
    for (kind, size, way) in HONEST {
        let target = format!("/honest/{kind:?}/{size}/{way:?}");
        let body = kind.body(size, false);
        assert_eq!(body.len(), size);
        let status = judged(way, &target, kind.content_type(), &body);
        assert_eq!(status, 200, "{target}: {}", SHOP.1.output());
        let got = SHOP.0.requests().into_iter();
        let got = got.rev().find(|r| r.target == target).unwrap();
        assert!(
            got.complete && got.body == body,
            "{target}: {} bytes arrived",
            got.body.len()
        );
        assert_eq!(got.header("content-type"), kind.content_type());
    }
}

#[test]
fn text_that_ends_with_an_attack_never_arrives() {
    for (kind, size, way) in ATTACKS {
        let target = format!("/attack/{kind:?}/{size}/{way:?}");
        let body = kind.body(size, true);
        assert_eq!(body.len(), size);
        let status = judged(way, &target, kind.content_type(), &body);
        assert_eq!(status, 403, "{target}: {}", SHOP.1.output());
    }
    // What comes through after them shows that the origin has recorded what came before.
    assert_eq!(SHOP.1.get("/after").status, 200);
    let requests = SHOP.0.requests().into_iter();
    for got in requests.filter(|r| r.target.starts_with("/attack/")) {
        assert!(
            !got.complete && got.body.is_empty(),
            "{}: {} bytes arrived",
            got.target,
            got.body.len()
        );
    }
}
