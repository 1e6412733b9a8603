//! Bodies around every limit: what is honest arrives byte for byte, what is blocked never arrives.
#![allow(clippy::unwrap_used, reason = "helpers of tests end them")]

use aegis_testkit::{Aegis, Origin, Reply};
use std::sync::LazyLock;

const SIZES: [usize; 4] = [65_535, 65_536, 65_537, 100_000];
const ATTACK: &str = "1' UNION SELECT password FROM users-- ";
const ATTACK_IN_FORM: &str = "&q=1%27%20UNION%20SELECT%20password%20FROM%20users--%20";

static SHOP: LazyLock<(Origin, Aegis)> = LazyLock::new(|| {
    let origin = Origin::start(|request| Reply::text(format!("{}", request.body.len())));
    let aegis = Aegis::before(&origin)
        .waf()
        // The tests of this file run side by side and each body takes a while.
        .set("node.plugins.wait_max", "60s")
        .start();
    (origin, aegis)
});

/// A form of exactly `size` bytes that no rule has anything against, with a tail.
fn form(size: usize, tail: &str) -> Vec<u8> {
    let mut body = b"text=".to_vec();
    body.extend(
        "the quick brown fox jumps over the lazy dog "
            .replace(' ', "+")
            .bytes()
            .cycle()
            .take(size - 5 - tail.len()),
    );
    body.extend_from_slice(tail.as_bytes());
    body
}

/// A multipart body of exactly `size` bytes: a file that holds every byte value, and then a field.
fn multipart(size: usize, note: &str) -> Vec<u8> {
    let head = "--b0undary\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\nContent-Type: application/octet-stream\r\n\r\n";
    let tail = format!(
        "\r\n--b0undary\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\n{note}\r\n--b0undary--\r\n"
    );
    let mut body = head.as_bytes().to_vec();
    body.extend((0u8..=255).cycle().take(size - head.len() - tail.len()));
    body.extend_from_slice(tail.as_bytes());
    body
}

const FORM: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data; boundary=b0undary";

/// How the body is sent.
#[derive(Debug, Clone, Copy)]
enum Way {
    Length,
    LengthInManyWrites,
    Chunked,
    ChunkedInManyWrites,
    Http2,
}

const WAYS: [Way; 5] = [
    Way::Length,
    Way::LengthInManyWrites,
    Way::Chunked,
    Way::ChunkedInManyWrites,
    Way::Http2,
];

/// Sends it and gives the status.
fn send(way: Way, target: &str, content_type: &str, body: &[u8]) -> u16 {
    let aegis = &SHOP.1;
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\nContent-Type: {content_type}\r\n"
    );
    let length = format!("{head}Content-Length: {}\r\n\r\n", body.len());
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    let mut client = aegis.raw();
    let chunk = |part: &[u8]| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
    match way {
        Way::Length => {
            let _taken = client.try_send([length.as_bytes(), body].concat());
        }
        Way::LengthInManyWrites => {
            client.send(length);
            let _all = body.chunks(997).all(|part| client.try_send(part));
        }
        Way::Chunked => {
            let _taken = client.try_send([chunked.as_bytes(), &chunk(body), b"0\r\n\r\n"].concat());
        }
        Way::ChunkedInManyWrites => {
            client.send(chunked);
            let _all = body.chunks(997).all(|part| client.try_send(chunk(part)));
            client.try_send("0\r\n\r\n");
        }
        Way::Http2 => {
            let curl = aegis
                .curl_tls("shop.test", target)
                .http2()
                .header("User-Agent: Mozilla/5.0");
            return curl
                .header(&format!("Content-Type: {content_type}"))
                .body(body)
                .send()
                .status;
        }
    }
    client.answer().status()
}

#[test]
fn honest_files_arrive_byte_for_byte_at_every_size_and_in_every_way() {
    for size in SIZES {
        let body = multipart(size, "from the sea");
        for way in WAYS {
            arrives(way, &format!("/file/{size}/{way:?}"), MULTIPART, &body);
        }
    }
}

#[test]
fn honest_text_arrives_byte_for_byte() {
    for (size, way) in [(30_000, Way::Length), (30_001, Way::ChunkedInManyWrites)] {
        arrives(way, &format!("/form/{size}/{way:?}"), FORM, &form(size, ""));
    }
}

fn arrives(way: Way, target: &str, content_type: &str, body: &[u8]) {
    assert_eq!(
        send(way, target, content_type, body),
        200,
        "{target}: {}",
        SHOP.1.output()
    );
    let got = SHOP
        .0
        .requests()
        .into_iter()
        .find(|r| r.target == target)
        .unwrap();
    assert!(
        got.complete && got.body == body,
        "{target}: {} bytes arrived",
        got.body.len()
    );
}

#[test]
fn blocked_bodies_never_arrive_whatever_their_size_and_way() {
    for size in SIZES {
        let body = multipart(size, ATTACK);
        for way in WAYS {
            never_arrives(way, &format!("/blocked/{size}/{way:?}"), MULTIPART, &body);
        }
    }
    never_arrives(
        Way::Chunked,
        "/blocked/form",
        FORM,
        &form(30_001, ATTACK_IN_FORM),
    );
}

fn never_arrives(way: Way, target: &str, content_type: &str, body: &[u8]) {
    assert_eq!(
        send(way, target, content_type, body),
        403,
        "{target}: {}",
        SHOP.1.output()
    );
    let got = SHOP.0.requests().into_iter().find(|r| r.target == target);
    assert!(
        got.as_ref()
            .is_none_or(|r| !r.complete && r.body.is_empty()),
        "{target} arrived: {got:?}"
    );
}

#[test]
fn a_small_body_waits_for_its_verdict_and_arrives_whole() {
    for way in WAYS {
        let target = format!("/small/{way:?}");
        assert_eq!(send(way, &target, FORM, b"a=1"), 200);
        let got = SHOP
            .0
            .requests()
            .into_iter()
            .find(|r| r.target == target)
            .unwrap();
        assert_eq!(got.body.as_ref(), b"a=1");
        assert_eq!(
            send(
                way,
                &format!("/bad{target}"),
                FORM,
                format!("a=1{ATTACK_IN_FORM}").as_bytes()
            ),
            403
        );
        assert!(
            SHOP.0
                .requests()
                .iter()
                .all(|r| !r.target.starts_with("/bad") || !r.complete)
        );
    }
}

#[test]
fn a_client_that_waits_for_100_is_told_to_go_on() {
    let body = form(30_000, "");
    let mut client = SHOP.1.raw();
    client.send(format!(
        "POST /expect HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: a\r\nAccept: */*\r\nContent-Type: {FORM}\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    ));
    assert_eq!(client.answer().status(), 100);
    client.send(&body);
    assert_eq!(client.answer().text(), "30000");
}
