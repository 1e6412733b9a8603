//! What is answered from the store, what is not, and what the client is told about it.

use crate::support::origin::{Origin, Reply, Seen};
use crate::support::settings::{Sites, pool, route, to};
use crate::support::{Answer, Node};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) fn cached(origin: SocketAddr, object_max: u64) -> Sites {
    let mut route = route("/*", to("web"));
    route.cache.enabled = true;
    route.cache.object_max = object_max;
    Sites::default()
        .pool("web", pool(&[origin]))
        .site(&["*"], vec![route])
}

fn ok_with(fields: &str, body: &str) -> Reply {
    let length = body.len();
    Reply::Bytes(
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{fields}\r\n{body}").into_bytes(),
    )
}

/// An origin that always answers the same, and a node before it.
async fn node_with(fields: &'static str, body: &'static str) -> (Origin, Node) {
    let origin = Origin::start(move |_, _| ok_with(fields, body)).await;
    let node = Node::serving(cached(origin.address, 8 << 20)).await;
    (origin, node)
}

async fn get(node: &Node, fields: &str) -> Answer {
    node.ask(format!("GET / HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n"))
        .await
}

fn status(answer: &Answer) -> &str {
    answer.field("cache-status").unwrap_or_default()
}

#[tokio::test]
async fn the_second_request_is_answered_from_memory_with_its_age() {
    let (origin, node) = node_with("Cache-Control: max-age=60\r\nX-One: 1\r\n", "hello").await;
    let miss = get(&node, "").await;
    assert_eq!(
        (miss.text().as_str(), status(&miss)),
        ("hello", "aegis; fwd=uri-miss; stored; ttl=60")
    );
    assert_eq!(miss.field("age"), None);
    for _ in 0..3 {
        let hit = get(&node, "").await;
        assert_eq!((hit.status, hit.text().as_str()), (200, "hello"));
        assert!(status(&hit).starts_with("aegis; hit; ttl="), "{}", hit.head);
        assert!(hit.field("age").is_some() && hit.field("x-one") == Some("1"));
    }
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test]
async fn another_host_port_query_or_letter_case_is_another_page() {
    let (origin, node) = node_with("Cache-Control: max-age=60\r\n", "hello").await;
    for (host, target) in [
        ("a.example", "/x"),
        ("b.example", "/x"),
        ("a.example:8080", "/x"),
        ("a.example", "/x?"),
        ("a.example", "/X"),
    ] {
        let answer = node.get(host, target).await;
        assert!(status(&answer).contains("uri-miss"), "{host}{target}");
    }
    assert_eq!(origin.seen().len(), 5);
    assert!(status(&node.get("A.example.:80", "/x").await).contains("hit"));
}

#[tokio::test]
async fn both_ways_to_a_stored_answer_give_the_same_one() {
    let (_origin, node) = node_with(
        "Cache-Control: max-age=60\r\nETag: \"e\"\r\nContent-Type: text/plain\r\nX-Two: 1\r\nX-Two: 2\r\n",
        "hello",
    )
    .await;
    get(&node, "").await;
    // A Range in a unit nobody knows is ignored, but takes the long way.
    for fields in ["", "If-None-Match: \"e\"\r\n", "If-None-Match: \"x\"\r\n"] {
        let short = get(&node, fields).await;
        let long = get(&node, &format!("Range: lines=1-2\r\n{fields}")).await;
        let lines = |answer: &Answer| {
            let mut lines: Vec<String> = answer
                .head
                .lines()
                .filter(|line| !line.is_empty())
                .map(str::to_ascii_lowercase)
                .filter(|line| {
                    !["x-request-id:", "date:"]
                        .iter()
                        .any(|n| line.starts_with(n))
                })
                .collect();
            lines.sort();
            lines
        };
        assert_eq!(lines(&short), lines(&long), "{fields}");
        assert_eq!(short.body, long.body);
    }
}

#[tokio::test]
async fn vary_keeps_answers_apart_and_evens_out_accept_encoding() {
    let origin = Origin::start(|seen, _| {
        let br = seen
            .field("accept-encoding")
            .is_some_and(|e| e.contains("br"));
        ok_with(
            "Cache-Control: max-age=60\r\nVary: Accept-Encoding\r\n",
            if br { "brotli" } else { "plain" },
        )
    })
    .await;
    let node = Node::serving(cached(origin.address, 8 << 20)).await;
    for (encoding, body, expected) in [
        ("br, gzip", "brotli", "fwd=uri-miss"),
        ("", "plain", "fwd=vary-miss"),
        ("gzip;q=0.5,br;q=0.9", "brotli", "hit"),
        ("", "plain", "hit"),
        ("gzip", "plain", "fwd=vary-miss"),
        ("gzip,br", "brotli", "hit"),
    ] {
        let field = format!("Accept-Encoding: {encoding}\r\n");
        let answer = get(&node, if encoding.is_empty() { "" } else { &field }).await;
        assert_eq!(answer.text(), body, "{encoding}");
        assert!(
            status(&answer).contains(expected),
            "{encoding}: {}",
            answer.head
        );
    }
    assert_eq!(origin.seen().len(), 3);
}

#[tokio::test]
async fn what_must_not_be_stored_is_not() {
    for (fields, detail) in [
        ("Cache-Control: no-store\r\n", "no-store"),
        ("Cache-Control: private, max-age=60\r\n", "private"),
        (
            "Cache-Control: max-age=60\r\nSet-Cookie: a=b\r\n",
            "set-cookie",
        ),
        ("Cache-Control: max-age=60\r\nVary: *\r\n", "vary"),
        ("Cache-Control: no-cache\r\nETag: \"e\"\r\n", "no-cache"),
        ("", "no-lifetime"),
    ] {
        let (origin, node) = node_with(fields, "hello").await;
        let first = get(&node, "").await;
        assert_eq!(
            status(&first),
            format!("aegis; fwd=uri-miss; detail={detail}")
        );
        let second = get(&node, "").await;
        assert_eq!(status(&second), "aegis; fwd=bypass; detail=hit-for-miss");
        assert_eq!(second.text(), "hello");
        assert_eq!(origin.seen().len(), 2, "{fields}");
    }
}

#[tokio::test]
async fn a_request_with_authorization_shares_only_what_its_origin_shares() {
    let authorization = "Authorization: Bearer x\r\n";
    let (origin, node) = node_with("Cache-Control: max-age=60\r\n", "hello").await;
    assert!(status(&get(&node, authorization).await).contains("detail=authorization"));
    assert!(
        status(&get(&node, "").await).contains("stored"),
        "and is not held against others"
    );
    assert!(status(&get(&node, "").await).contains("hit"));
    assert!(status(&get(&node, authorization).await).contains("fwd=miss; detail=authorization"));
    assert_eq!(origin.seen().len(), 3);
    let (origin, node) = node_with("Cache-Control: public, max-age=60\r\n", "hello").await;
    assert!(status(&get(&node, authorization).await).contains("stored"));
    assert!(status(&get(&node, authorization).await).contains("hit"));
    assert!(status(&get(&node, "").await).contains("hit"));
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test]
async fn head_is_answered_from_a_stored_get_and_stores_one() {
    let (origin, node) = node_with("Cache-Control: max-age=60\r\n", "hello").await;
    for expected in ["stored", "hit", "hit"] {
        let mut client = node.connect().await;
        client
            .send("HEAD / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
            .await;
        let head = String::from_utf8(client.bytes(usize::MAX).await).expect("text");
        assert!(
            head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"),
            "{head}"
        );
        assert!(
            head.to_ascii_lowercase().contains("content-length: 5\r\n"),
            "{head}"
        );
        assert!(head.contains(expected), "{head}");
    }
    assert_eq!(get(&node, "").await.text(), "hello");
    assert_eq!(origin.seen().len(), 1);
    assert_eq!(origin.last().line(), "GET / HTTP/1.1");
}

#[tokio::test]
async fn conditional_requests_get_304_from_the_store() {
    let (origin, node) = node_with(
        "Cache-Control: max-age=60\r\nETag: \"e\"\r\nLast-Modified: Tue, 18 Nov 2025 12:00:00 GMT\r\n",
        "hello",
    )
    .await;
    let first = get(&node, "If-None-Match: \"e\"\r\n").await;
    assert_eq!(first.status, 304, "even the one that fills it");
    assert_eq!(
        origin.last().field("if-none-match"),
        None,
        "the origin was asked for all of it"
    );
    for (fields, expected) in [
        ("If-None-Match: \"x\", W/\"e\"\r\n", 304),
        ("If-None-Match: \"x\"\r\n", 200),
        ("If-Modified-Since: Tue, 18 Nov 2025 12:00:00 GMT\r\n", 304),
        ("If-Modified-Since: Tue, 18 Nov 2025 11:00:00 GMT\r\n", 200),
    ] {
        let answer = get(&node, fields).await;
        assert_eq!(answer.status, expected, "{fields}");
        assert_eq!(answer.text(), if expected == 200 { "hello" } else { "" });
        assert_eq!(answer.field("etag"), Some("\"e\""));
    }
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test]
async fn ranges_are_cut_from_the_stored_answer_and_from_the_one_being_fetched() {
    let (origin, node) = node_with("Cache-Control: max-age=60\r\n", "0123456789").await;
    for _ in 0..2 {
        let part = get(&node, "Range: bytes=2-4\r\n").await;
        assert_eq!((part.status, part.text().as_str()), (206, "234"));
        assert_eq!(part.field("content-range"), Some("bytes 2-4/10"));
    }
    let parts = get(&node, "Range: bytes=0-1,8-\r\n").await;
    assert_eq!(parts.status, 206);
    assert!(parts.text().contains("\r\n\r\n01\r\n") && parts.text().contains("\r\n\r\n89\r\n"));
    assert_eq!(get(&node, "Range: bytes=10-\r\n").await.status, 416);
    assert_eq!(get(&node, "").await.text(), "0123456789");
    assert_eq!(origin.seen().len(), 1);
    assert_eq!(origin.last().field("range"), None);
}

#[tokio::test]
async fn what_a_request_says_about_the_cache_is_heard() {
    let (origin, node) = node_with("Cache-Control: max-age=60\r\n", "hello").await;
    let only = get(&node, "Cache-Control: only-if-cached\r\n").await;
    assert_eq!(only.status, 504);
    assert_eq!(origin.seen().len(), 0);
    assert_eq!(
        status(&get(&node, "Cache-Control: no-store\r\n").await),
        "aegis; fwd=request"
    );
    assert!(
        status(&get(&node, "").await).contains("stored"),
        "no-store stored nothing"
    );
    assert_eq!(
        get(&node, "Cache-Control: only-if-cached\r\n").await.text(),
        "hello"
    );
    assert_eq!(
        status(&get(&node, "Cache-Control: no-cache\r\n").await),
        "aegis; fwd=request; stored; ttl=60"
    );
    assert_eq!(origin.seen().len(), 3);
}

#[tokio::test]
async fn a_method_that_changes_things_drops_what_was_stored() {
    let (origin, node) = node_with("Cache-Control: max-age=60\r\n", "hello").await;
    get(&node, "").await;
    let post = node
        .ask("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\n\r\nx")
        .await;
    assert_eq!(status(&post), "aegis; fwd=method");
    assert!(status(&get(&node, "").await).contains("uri-miss"));
    assert_eq!(origin.seen().len(), 3);
}

/// Asks until the stored answer is past its second and the origin is asked again.
async fn until_stale(node: &Node, origin: &Origin) -> Answer {
    loop {
        let answer = get(node, "").await;
        if origin.seen().len() == 2 {
            return answer;
        }
    }
}

#[tokio::test]
async fn a_stale_answer_is_validated_and_fresh_again() {
    let origin = Origin::start(|seen: &Seen, count| match count {
        0 => ok_with("Cache-Control: max-age=1\r\nETag: \"e\"\r\nX-From: first\r\n", "hello"),
        _ if seen.field("if-none-match") == Some("\"e\"") => Reply::Bytes(
            b"HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=60\r\nETag: \"e\"\r\nX-From: second\r\n\r\n".to_vec(),
        ),
        _ => Reply::Close,
    })
    .await;
    let node = Node::serving(cached(origin.address, 8 << 20)).await;
    get(&node, "").await;
    let validated = until_stale(&node, &origin).await;
    assert_eq!(
        (validated.status, validated.text().as_str()),
        (200, "hello")
    );
    assert_eq!(
        status(&validated),
        "aegis; fwd=stale; fwd-status=304; ttl=60"
    );
    assert_eq!(validated.field("x-from"), Some("second"));
    let hit = get(&node, "").await;
    assert!(status(&hit).starts_with("aegis; hit; ttl="), "{}", hit.head);
    assert_eq!(
        (hit.text().as_str(), hit.field("x-from")),
        ("hello", Some("second"))
    );
    assert_eq!(origin.seen().len(), 2);
}

#[tokio::test]
async fn a_stale_answer_stands_in_for_a_failing_origin_where_it_may() {
    for (allowed, broken, expected) in [
        (
            true,
            "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
            Some("fwd=stale; fwd-status=503; ttl="),
        ),
        (true, "", Some("fwd=stale; ttl=")),
        (
            false,
            "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
            None,
        ),
    ] {
        let fields = if allowed {
            "Cache-Control: max-age=1, stale-if-error=600\r\n"
        } else {
            "Cache-Control: max-age=1, must-revalidate, stale-if-error=600\r\n"
        };
        let origin = Origin::start(move |_, count| match count {
            0 => ok_with(fields, "hello"),
            _ if broken.is_empty() => Reply::Bytes(b"not HTTP at all\r\n\r\n".to_vec()),
            _ => Reply::Bytes(broken.as_bytes().to_vec()),
        })
        .await;
        let node = Node::serving(cached(origin.address, 8 << 20)).await;
        get(&node, "").await;
        let answer = until_stale(&node, &origin).await;
        match expected {
            Some(expected) => {
                assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
                assert!(status(&answer).contains(expected), "{}", answer.head);
                assert!(answer.field("age").is_some());
            }
            None => assert_eq!(answer.status, 503),
        }
    }
}

#[tokio::test]
async fn a_url_whose_answers_become_storable_is_stored_again() {
    static STORABLE: AtomicBool = AtomicBool::new(false);
    let origin = Origin::start(|_, _| {
        ok_with(
            if STORABLE.load(Ordering::SeqCst) {
                "Cache-Control: max-age=60\r\n"
            } else {
                "Cache-Control: no-store\r\n"
            },
            "hello",
        )
    })
    .await;
    let node = Node::serving(cached(origin.address, 8 << 20)).await;
    get(&node, "").await;
    assert!(status(&get(&node, "").await).contains("hit-for-miss"));
    STORABLE.store(true, Ordering::SeqCst);
    assert!(status(&get(&node, "").await).contains("stored"));
    assert!(status(&get(&node, "").await).contains("hit; ttl"));
}

#[tokio::test]
async fn without_a_length_the_stored_answer_has_one() {
    let origin = Origin::start(|_, _| {
        Reply::Bytes(
            b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n".to_vec(),
        )
    })
    .await;
    let node = Node::serving(cached(origin.address, 8 << 20)).await;
    let miss = get(&node, "").await;
    assert_eq!(
        (miss.text().as_str(), miss.field("transfer-encoding")),
        ("hello world", Some("chunked"))
    );
    let hit = get(&node, "").await;
    assert_eq!(
        (hit.text().as_str(), hit.field("content-length")),
        ("hello world", Some("11"))
    );
    assert_eq!(get(&node, "Range: bytes=6-\r\n").await.text(), "world");
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test]
async fn what_the_cache_said_is_counted() {
    let count = |result: &str| -> u64 {
        let name = format!("aegis_cache_requests_total{{result=\"{result}\"}} ");
        let metrics = aegis_telemetry::metrics::render();
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
        line.and_then(|count| count.parse().ok()).unwrap_or(0)
    };
    let (_origin, node) = node_with("Cache-Control: max-age=60\r\n", "hello").await;
    // Other tests count too, so only that a number grew can be said.
    for (fields, result) in [
        ("", "miss"),
        ("", "hit"),
        ("Cache-Control: no-store\r\n", "bypass"),
    ] {
        let before = count(result);
        let mut client = node.connect().await;
        client
            .send(format!(
                "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n{fields}\r\n"
            ))
            .await;
        // The connection ends after the request was counted.
        client.bytes(usize::MAX).await;
        assert!(count(result) > before, "{result}");
    }
}
