//! HTTP/2 by hand: what a client library would not send. The rules are the `h2` crate's, Pingora's and ours; each has to
//! hold, whoever holds it.

use crate::support::Node;
use crate::support::origin::Origin;
use crate::support::settings::Sites;
use aegis_testkit::h2::{END_HEADERS, END_STREAM, PREFACE, block, frame};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// Answered with 200.
    Served,
    /// Answered with another status.
    Refused,
    /// `RST_STREAM`.
    Reset,
    /// `GOAWAY`, or closed.
    Closed,
}

/// What becomes of stream 1 after these frames.
async fn fate(address: SocketAddr, frames: &[Vec<u8>]) -> Fate {
    let mut socket = TcpStream::connect(address).await.expect("connects");
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    bytes.extend(frames.concat());
    socket.write_all(&bytes).await.expect("sends");
    let mut head = [0; 9];
    loop {
        let read = tokio::time::timeout(DEADLINE, socket.read_exact(&mut head)).await;
        if read.expect("in time").is_err() {
            return Fate::Closed;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        socket.read_exact(&mut payload).await.expect("a frame");
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        match (head[3], stream) {
            // `:status: 200` has an index of its own (RFC 7541 appendix A), and comes first.
            (1, 1) if payload.first() == Some(&0x88) => return Fate::Served,
            (1, 1) => return Fate::Refused,
            (3, 1) => return Fate::Reset,
            (7, _) => return Fate::Closed,
            _ => {}
        }
    }
}

const GET: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "https"),
    (":authority", "a.example"),
    (":path", "/"),
];

/// `GET` with these fields before and after the usual ones, and without those of these names.
fn get(
    without: &[&str],
    before: &[(&'static str, &'static str)],
    after: &[(&'static str, &'static str)],
) -> Vec<u8> {
    let mut fields = before.to_vec();
    fields.extend(GET.into_iter().filter(|(name, _)| !without.contains(name)));
    fields.extend(after);
    frame(1, END_STREAM | END_HEADERS, 1, &block(&fields))
}

async fn node() -> (Origin, Node, SocketAddr) {
    let origin = Origin::ok("fine").await;
    let node = Node::serving(Sites::one(origin.address)).await;
    let address = node.also_http2("a.example").await;
    (origin, node, address)
}

#[tokio::test]
async fn a_request_made_by_hand_is_served() {
    let (origin, _node, address) = node().await;
    assert_eq!(fate(address, &[get(&[], &[], &[])]).await, Fate::Served);
    assert_eq!(
        fate(address, &[get(&[], &[], &[("host", "a.example")])]).await,
        Fate::Served
    );
    assert_eq!(origin.seen().len(), 2);
}

#[tokio::test]
async fn heads_that_http2_forbids_never_reach_the_origin() {
    let (origin, _node, address) = node().await;
    let long = frame(
        1,
        END_HEADERS,
        1,
        &block(&[&GET[..], &[("content-length", "3")]].concat()),
    );
    let data = |bytes: &[u8]| frame(0, END_STREAM, 1, bytes);
    let bad = [
        // Pseudo-header fields (RFC 9113 §8.3).
        ("no method", vec![get(&[":method"], &[], &[])]),
        ("no scheme", vec![get(&[":scheme"], &[], &[])]),
        ("no path", vec![get(&[":path"], &[], &[])]),
        (
            "an empty path",
            vec![get(&[":path"], &[(":path", "")], &[])],
        ),
        ("two methods", vec![get(&[], &[(":method", "POST")], &[])]),
        ("two paths", vec![get(&[], &[(":path", "/x")], &[])]),
        (
            "two authorities",
            vec![get(&[], &[(":authority", "b.example")], &[])],
        ),
        ("an unknown one", vec![get(&[], &[(":x", "y")], &[])]),
        ("one of answers", vec![get(&[], &[(":status", "200")], &[])]),
        (
            "one after a field",
            vec![get(&[":path"], &[("x", "y")], &[(":path", "/")])],
        ),
        // Fields of a connection (RFC 9113 §8.2.2).
        (
            "connection",
            vec![get(&[], &[], &[("connection", "close")])],
        ),
        ("keep-alive", vec![get(&[], &[], &[("keep-alive", "1")])]),
        (
            "proxy-connection",
            vec![get(&[], &[], &[("proxy-connection", "close")])],
        ),
        (
            "transfer-encoding",
            vec![get(&[], &[], &[("transfer-encoding", "chunked")])],
        ),
        ("upgrade", vec![get(&[], &[], &[("upgrade", "websocket")])]),
        ("te", vec![get(&[], &[], &[("te", "gzip")])]),
        // Names and values (RFC 9113 §8.2.1).
        ("an upper-case name", vec![get(&[], &[], &[("X", "y")])]),
        ("a name with a space", vec![get(&[], &[], &[("x y", "z")])]),
        ("an empty name", vec![get(&[], &[], &[("", "z")])]),
        (
            "a line end in a value",
            vec![get(&[], &[], &[("x", "y\r\nz: a")])],
        ),
        ("NUL in a value", vec![get(&[], &[], &[("x", "y\0")])]),
        (
            "a line end in the path",
            vec![get(&[":path"], &[(":path", "/ HTTP/1.1\r\nx: y")], &[])],
        ),
        (
            "a space in the path",
            vec![get(&[":path"], &[(":path", "/a b")], &[])],
        ),
        (
            "a space in the method",
            vec![get(&[":method"], &[(":method", "GET /x")], &[])],
        ),
        // The site (RFC 9113 §8.3.1).
        (
            "another host",
            vec![get(&[], &[], &[("host", "b.example")])],
        ),
        (
            "two hosts",
            vec![get(
                &[":authority"],
                &[],
                &[("host", "a.example"), ("host", "a.example")],
            )],
        ),
        (
            "user information",
            vec![get(&[":authority"], &[(":authority", "u@a.example")], &[])],
        ),
        // The length against the bytes (RFC 9113 §8.1.1).
        ("fewer bytes", vec![long.clone(), data(b"ab")]),
        ("more bytes", vec![long.clone(), data(b"abcd")]),
        ("no bytes", vec![get(&[], &[], &[("content-length", "3")])]),
        (
            "two lengths",
            vec![get(
                &[],
                &[],
                &[("content-length", "0"), ("content-length", "1")],
            )],
        ),
        (
            "a length that is none",
            vec![get(&[], &[], &[("content-length", "+0")])],
        ),
    ];
    for (what, frames) in bad {
        let fate = fate(address, &frames).await;
        assert!(fate != Fate::Served, "{what}: {fate:?}");
    }
    let whole: Vec<_> = origin.seen().into_iter().filter(|one| one.whole).collect();
    assert!(whole.is_empty(), "{whole:#?}");
}
