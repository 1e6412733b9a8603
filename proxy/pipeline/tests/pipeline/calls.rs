//! `proxy_http_call` to the pools of the live configuration.

use crate::support::Node;
use crate::support::origin::{Origin, Reply, nobody};
use crate::support::settings::{Sites, pool};
use aegis_pipeline::Calls;
use aegis_plugins::{HttpCallError, HttpCallRequest, HttpCallResponse, HttpCalls};
use bytes::Bytes;
use std::time::Duration;

fn request(pool: &str, body: &'static str) -> HttpCallRequest {
    let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
    HttpCallRequest {
        plugin: "bot".into(),
        site: "shop.example".into(),
        pool: pool.to_owned(),
        method: bytes("POST"),
        path: bytes("/check?a=b"),
        authority: bytes("auth.example"),
        scheme: None,
        headers: vec![
            (bytes("X-Case"), bytes("1")),
            (bytes("connection"), bytes("close")),
            (bytes("content-length"), bytes("999")),
        ],
        body: bytes(body),
        trailers: vec![],
        timeout: Duration::from_secs(60),
        response_max: 10,
    }
}

async fn call(node: &Node, request: HttpCallRequest) -> Result<HttpCallResponse, HttpCallError> {
    Calls::new(&node.live).call(request).await
}

fn reason(result: Result<HttpCallResponse, HttpCallError>) -> String {
    result.expect_err("fails").to_string()
}

#[tokio::test]
async fn a_call_goes_to_its_pool_with_our_framing() {
    let origin = Origin::ok("yes").await;
    let servers = [nobody().await, origin.address];
    let node = Node::serving(Sites::default().pool("auth", pool(&servers))).await;
    let answer = call(&node, request("auth", "who"))
        .await
        .expect("an answer");
    assert_eq!((answer.status, &answer.body[..]), (200, &b"yes"[..]));
    let seen = origin.last();
    assert_eq!(
        (seen.line(), seen.body.as_slice()),
        ("POST /check?a=b HTTP/1.1", &b"who"[..])
    );
    assert_eq!(seen.fields("host"), ["auth.example"]);
    assert_eq!(seen.fields("content-length"), ["3"]);
    assert_eq!(seen.fields("connection"), [] as [&str; 0]);
    assert!(seen.head.contains("X-Case: 1"), "{}", seen.head);
}

#[tokio::test]
async fn connections_for_calls_are_kept() {
    let origin = Origin::ok("yes").await;
    let node = Node::serving(Sites::default().pool("auth", pool(&[origin.address]))).await;
    let calls = Calls::new(&node.live);
    for _ in 0..3 {
        calls.call(request("auth", "")).await.expect("an answer");
    }
    assert_eq!(origin.last().connection, 0);
}

#[tokio::test]
async fn a_call_that_cannot_be_made_says_why() {
    let long = Origin::ok("more than ten bytes").await;
    let silent = Origin::start(|_, _| Reply::Hang).await;
    let early = Origin::start(|_, _| {
        Reply::Bytes(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n".to_vec())
    })
    .await;
    let sites = Sites::default()
        .pool("long", pool(&[long.address]))
        .pool("silent", pool(&[silent.address]))
        .pool("early", pool(&[early.address]))
        .pool("refusing", pool(&[nobody().await]));
    let node = Node::serving(sites).await;
    assert_eq!(
        reason(call(&node, request("none", "")).await),
        "there is no pool `none`"
    );
    assert!(reason(call(&node, request("long", "")).await).contains("more than 10 bytes"));
    assert!(reason(call(&node, request("refusing", "")).await).contains("ConnectRefused"));
    let short = HttpCallRequest {
        timeout: Duration::from_millis(50),
        ..request("silent", "")
    };
    assert_eq!(reason(call(&node, short).await), "no answer within 50ms");
    let trailers = vec![(Bytes::from("a"), Bytes::from("b"))];
    let trailers = HttpCallRequest {
        trailers,
        ..request("long", "")
    };
    assert!(reason(call(&node, trailers).await).contains("trailers"));
    assert_eq!(
        call(&node, request("early", ""))
            .await
            .expect("an answer")
            .status,
        204
    );
    assert_eq!(
        reason(call(&Node::starting().await, request("long", "")).await),
        "there is no pool `long`"
    );
}
