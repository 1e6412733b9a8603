//! HTTP/2, with the facts front attaches to a connection.

use crate::support::Node;
use crate::support::guard::{Guard, waf_on};
use crate::support::origin::Origin;
use crate::support::settings::{Sites, pool, route, to};
use aegis_settings::resolved::{Route, Waf};
use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// A client on one connection.
pub(crate) async fn client(address: SocketAddr) -> SendRequest<Bytes> {
    let socket = TcpStream::connect(address).await.expect("connects");
    let (client, connection) = h2::client::handshake(socket).await.expect("HTTP/2");
    tokio::spawn(connection);
    client
}

/// Status and body of the answer to a request with this body, sent in pieces; a length is announced if `sized`.
pub(crate) async fn ask(
    client: &mut SendRequest<Bytes>,
    url: &str,
    body: &[u8],
    sized: bool,
) -> (u16, String) {
    let mut request = Request::post(url);
    if sized {
        request = request.header("content-length", body.len());
    }
    let mut ready = client.clone().ready().await.expect("ready");
    let request = request.body(()).expect("a request");
    let (response, mut stream) = ready.send_request(request, body.is_empty()).expect("sends");
    let body = body.to_vec();
    let sending = tokio::spawn(async move {
        let mut pieces = body.chunks(10_000).peekable();
        while let Some(piece) = pieces.next() {
            let mut piece = Bytes::copy_from_slice(piece);
            while !piece.is_empty() {
                stream.reserve_capacity(piece.len());
                let Some(Ok(n)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else {
                    return;
                };
                let now = piece.split_to(n.min(piece.len()));
                let end = piece.is_empty() && pieces.peek().is_none();
                if stream.send_data(now, end).is_err() {
                    return;
                }
            }
        }
    });
    let response = response.await.expect("an answer");
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut text = Vec::new();
    while let Some(Ok(piece)) = body.data().await {
        body.flow_control()
            .release_capacity(piece.len())
            .expect("taken");
        text.extend_from_slice(&piece);
    }
    sending.await.expect("no panic");
    (status, String::from_utf8_lossy(&text).into_owned())
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 % 251) as u8).collect()
}

#[tokio::test]
async fn a_request_reaches_the_origin_with_host_and_the_facts_of_the_connection() {
    let origin = Origin::ok("hello").await;
    let node = Node::serving(Sites::one(origin.address)).await;
    let address = node.also_http2("shop.example").await;
    let mut client = client(address).await;
    let answer = ask(&mut client, "https://shop.example/a?b", b"", false).await;
    assert_eq!(answer, (200, "hello".to_owned()));
    let seen = origin.last();
    assert_eq!(seen.line(), "POST /a?b HTTP/1.1");
    assert_eq!(seen.fields("host"), ["shop.example"]);
    assert_eq!(seen.fields("x-forwarded-proto"), ["https"]);
    assert_eq!(seen.fields("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.fields("via"), ["2 aegis"]);
}

#[tokio::test]
async fn a_name_the_connection_was_not_made_for_is_misdirected_if_no_site_has_it() {
    let origin = Origin::ok("").await;
    let sites = Sites::default()
        .pool("web", pool(&[origin.address]))
        .site(&["shop.example"], vec![route("/*", to("web"))]);
    let node = Node::serving(sites).await;
    let mut client = client(node.also_http2("shop.example").await).await;
    let status = |answer: (u16, String)| answer.0;
    assert_eq!(
        status(ask(&mut client, "https://shop.example/", b"", false).await),
        200
    );
    let (status, page) = ask(&mut client, "https://other.example/", b"", false).await;
    assert_eq!(status, 421);
    assert!(page.contains("Request id"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_judged_and_arrive_byte_exact() {
    let (origin, guard) = (Origin::ok("fine").await, Guard::new());
    let judged = Route {
        waf: waf_on(),
        ..route("/*", to("web"))
    };
    let sites = Sites {
        plugins: guard.as_waf(),
        ..Sites::default()
            .pool("web", pool(&[origin.address]))
            .site(&["*"], vec![judged])
    };
    let node = Node::serving(sites).await;
    let mut client = client(node.also_http2("x").await).await;
    for length in [1, 65_535, 65_536, 65_537, 100_000] {
        for sized in [true, false] {
            let body = pattern(length);
            assert_eq!(
                ask(&mut client, "https://x/", &body, sized).await.0,
                200,
                "{length}"
            );
            assert!(origin.last().body == body, "{length}");
        }
    }
    let before = origin.seen().len();
    for length in [100, 65_536, 100_000] {
        for sized in [true, false] {
            let mut body = pattern(length);
            body[length - 4..].copy_from_slice(b"EVIL");
            let (status, page) = ask(&mut client, "https://x/", &body, sized).await;
            assert_eq!(status, 403);
            assert!(page.contains("Request id"), "{page}");
        }
    }
    assert!(
        origin.seen()[before..]
            .iter()
            .all(|seen| seen.body.is_empty() && !seen.whole)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_long_gets_its_answer_while_it_is_still_being_sent() {
    let (origin, guard) = (Origin::ok("fine").await, Guard::new());
    let judged = Route {
        waf: Waf {
            held_max: 100_000,
            ..waf_on()
        },
        ..route("/*", to("web"))
    };
    let sites = Sites {
        plugins: guard.as_waf(),
        ..Sites::default()
            .pool("web", pool(&[origin.address]))
            .site(&["*"], vec![judged])
    };
    let node = Node::serving(sites).await;
    let mut client = client(node.also_http2("x").await).await;
    for sized in [true, false] {
        let (status, page) = ask(&mut client, "https://x/", &pattern(3_000_000), sized).await;
        assert_eq!(status, 413);
        assert!(page.contains("Request id"), "{page}");
    }
}
