//! Plugins on the way of requests and responses, with a module that refuses `EVIL` and `SECRET` (`support/guard.wat`).

use crate::support::guard::{Guard, waf_on};
use crate::support::origin::{Origin, Reply, ok};
use crate::support::settings::{Sites, pool, route, to};
use crate::support::{Answer, Node};
use aegis_pipeline::Plugins;
use aegis_settings::model::{Inspect, OnError, PluginStage};
use aegis_settings::resolved::{Route, Waf};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::Notify;

pub(crate) fn with_waf(origin: SocketAddr, waf: Waf, plugins: Plugins) -> Sites {
    sites(
        origin,
        Route {
            waf,
            ..route("/*", to("web"))
        },
        plugins,
    )
}

pub(crate) fn with_plugin(origin: SocketAddr, plugins: Plugins) -> Sites {
    sites(
        origin,
        Route {
            plugins: vec!["guard".to_owned()],
            ..route("/*", to("web"))
        },
        plugins,
    )
}

pub(crate) fn sites(origin: SocketAddr, route: Route, plugins: Plugins) -> Sites {
    Sites {
        plugins,
        ..Sites::default()
            .pool("web", pool(&[origin]))
            .site(&["*"], vec![route])
    }
}

/// A node with the guard as its WAF, and its origin.
async fn guarded(origin: Origin) -> (Node, Origin, Guard) {
    let guard = Guard::new();
    let node = Node::serving(with_waf(origin.address, waf_on(), guard.as_waf())).await;
    (node, origin, guard)
}

pub(crate) fn sized(target: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend(body);
    request
}

pub(crate) fn chunked(target: &str, body: &[u8]) -> Vec<u8> {
    let mut request =
        format!("POST {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            .into_bytes();
    for chunk in body.chunks(4096) {
        request.extend(format!("{:x}\r\n", chunk.len()).bytes());
        request.extend(chunk);
        request.extend(b"\r\n");
    }
    request.extend(b"0\r\n\r\n");
    request
}

pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 % 251) as u8).collect()
}

pub(crate) fn evil(length: usize) -> Vec<u8> {
    let mut body = pattern(length);
    body[length - 4..].copy_from_slice(b"EVIL");
    body
}

pub(crate) fn is_our_page(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.text().contains("Request id"), "{answer:?}");
    assert!(
        !answer.text().contains("942100") && !answer.text().contains("EVIL"),
        "a page names no rule: {answer:?}"
    );
}

const LENGTHS: [usize; 4] = [65_535, 65_536, 65_537, 100_000];

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_head_never_reaches_the_origin_and_explains_itself_by_request_id() {
    let (node, origin, _guard) = guarded(Origin::ok("fine").await).await;
    assert_eq!(node.get("x", "/fine").await.text(), "fine");
    let answer = node.get("x", "/x").await;
    is_our_page(&answer, 403);
    let id = answer.field("x-request-id").expect("an id");
    let event = aegis_telemetry::ring::global().find(id).expect("an event");
    assert_eq!(
        (event.rules[0].id, event.status, event.score),
        (942_100, 403, 5)
    );
    assert_eq!(
        (
            event.target.as_str(),
            event.plugin.as_str(),
            event.client.as_str()
        ),
        ("/x", "waf", "127.0.0.1")
    );
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn clean_bodies_arrive_byte_exact_at_every_length_and_framing() {
    let (node, origin, _guard) = guarded(Origin::ok("fine").await).await;
    for length in [1, 4096].into_iter().chain(LENGTHS) {
        let body = pattern(length);
        for request in [sized("/", &body), chunked("/", &body)] {
            assert_eq!(node.ask(request).await.status, 200, "{length}");
            assert!(origin.last().body == body, "{length}");
        }
    }
    let length = origin
        .seen()
        .iter()
        .filter(|seen| seen.field("content-length").is_some())
        .count();
    assert_eq!(length, 6, "framing goes on as it came");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_bodies_never_arrive_at_every_length_and_framing() {
    let (node, origin, _guard) = guarded(Origin::ok("fine").await).await;
    for length in [4, 4096].into_iter().chain(LENGTHS) {
        let body = evil(length);
        for request in [sized("/", &body), chunked("/", &body)] {
            is_our_page(&node.ask(request).await, 403);
        }
    }
    for seen in origin.seen() {
        assert!(seen.body.is_empty() && !seen.whole, "{seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_in_many_small_reads_is_judged_as_one() {
    let (node, origin, _guard) = guarded(Origin::ok("fine").await).await;
    let mut client = node.connect().await;
    client
        .send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nab")
        .await;
    for piece in ["EV", "IL", "cd"] {
        tokio::task::yield_now().await;
        client.send(piece).await;
    }
    is_our_page(&client.answer().await, 403);
    assert!(origin.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_100_continue_gets_it_and_the_origin_is_not_asked_for_one() {
    let (node, origin, _guard) = guarded(Origin::ok("fine").await).await;
    for length in [10, 70_000] {
        let mut client = node.connect().await;
        let head = format!(
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
        );
        client.send(head).await;
        assert_eq!(client.bytes(25).await, b"HTTP/1.1 100 Continue\r\n\r\n");
        client.send(pattern(length)).await;
        assert_eq!(client.answer().await.status, 200);
        assert_eq!(
            (origin.last().field("expect"), origin.last().body.len()),
            (None, length)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_module_means_what_on_error_says() {
    let (origin, guard) = (Origin::ok("fine").await, Guard::new());
    for (on_error, status) in [(OnError::Deny, 503), (OnError::Allow, 200)] {
        let waf = Waf {
            on_error,
            ..waf_on()
        };
        let node = Node::serving(with_waf(origin.address, waf, guard.as_waf())).await;
        assert_eq!(node.get("x", "/t").await.status, status, "{on_error:?}");
        assert_eq!(
            node.get("x", "/").await.status,
            200,
            "the next request is fine"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_answers_in_its_own_words() {
    let (origin, guard) = (Origin::ok("fine").await, Guard::new());
    let node = Node::serving(with_plugin(origin.address, guard.as_plugin(|_| {}))).await;
    let answer = node.get("x", "/o").await;
    assert_eq!((answer.status, answer.text().as_str()), (418, "own"));
    assert!(answer.field("x-request-id").is_some());
    assert!(origin.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plugin_changes_reaches_the_origin() {
    let (origin, guard) = (Origin::ok("fine").await, Guard::new());
    for stage in [PluginStage::BeforeOrigin, PluginStage::BeforeCache] {
        let plugins = guard.as_plugin(|settings| settings.stage = stage);
        let node = Node::serving(with_plugin(origin.address, plugins)).await;
        node.ask("GET /e HTTP/1.1\r\nHost: x\r\nX-Edit: no\r\nX-Case: yEs\r\n\r\n")
            .await;
        assert_eq!(origin.last().fields("x-edit"), ["yes"]);
        assert!(
            origin.last().head.contains("X-Case: yEs"),
            "{}",
            origin.last().head
        );
        node.get("x", "/r").await;
        assert_eq!(origin.last().line(), "GET /rewritten?x HTTP/1.1");
        assert_eq!(node.ask(sized("/b", &pattern(100))).await.status, 200);
        assert_eq!(
            (
                origin.last().body.as_slice(),
                origin.last().field("content-length")
            ),
            (&b"replaced"[..], Some("8"))
        );
        assert_eq!(node.ask(chunked("/b", &pattern(100_000))).await.status, 200);
        assert_eq!(origin.last().body, b"replaced");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_whose_length_was_announced_cannot_change_its_length_any_more() {
    let (origin, guard) = (Origin::ok("fine").await, Guard::new());
    let node = Node::serving(with_plugin(origin.address, guard.as_plugin(|_| {}))).await;
    is_our_page(&node.ask(sized("/l", &pattern(100_000))).await, 503);
    assert!(!origin.request(1).await.whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_reads_no_bodies_holds_none_and_bounds_none() {
    let (origin, guard) = (Origin::ok("fine").await, Guard::new());
    let deaf = include_str!("support/guard.wat").replace("proxy_on_request_body", "not_a_callback");
    let plugins = guard.running(&deaf, |settings| settings.body_max = 1000);
    let node = Node::serving(with_plugin(origin.address, plugins)).await;
    let mut client = node.connect().await;
    let request = sized("/e", &evil(100_000));
    client.send(&request[..request.len() - 1]).await;
    origin
        .until(|seen| seen.first().is_some_and(|seen| seen.body.len() > 50_000))
        .await;
    client.send(&request[request.len() - 1..]).await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(origin.last().fields("x-edit"), ["yes"]);
    assert_eq!(node.get("x", "/o").await.status, 418);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_verdict_is_taken_once_and_the_body_sent_again_with_a_further_try() {
    let (origin, guard) = (
        Origin::start(|_, n| if n == 0 { Reply::Close } else { ok("fine") }).await,
        Guard::new(),
    );
    let plugins = guard.as_plugin(|_| {});
    let node = Node::serving(with_plugin(origin.address, plugins)).await;
    let body = pattern(50_000);
    let request = String::from_utf8_lossy(&sized("/", &[]))
        .replace("POST", "PUT")
        .replace("Length: 0", "Length: 50000");
    let mut request = request.into_bytes();
    request.extend(&body);
    assert_eq!(node.ask(request).await.status, 200);
    let seen = origin.seen();
    assert!(seen.len() == 2 && seen.iter().all(|seen| seen.body == body));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_head_can_still_become_a_page() {
    let reply = b"HTTP/1.1 200 OK\r\nX-Leak: 1\r\nContent-Length: 2\r\n\r\nok";
    let (node, _origin, _guard) =
        guarded(Origin::start(|_, _| Reply::Bytes(reply.to_vec())).await).await;
    is_our_page(&node.get("x", "/").await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_response_body_becomes_a_page_if_nothing_was_sent_yet() {
    let (node, _origin, _guard) = guarded(Origin::ok("a SECRET of the site").await).await;
    is_our_page(&node.get("x", "/").await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_body_is_held_until_its_verdict_and_cut_by_a_refusal() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nfirst ";
    let gate = Arc::new(Notify::new());
    let opened = Arc::clone(&gate);
    let origin = Origin::start(move |seen, _| {
        let rest = if seen.line().contains("leak") {
            b"SECRET"
        } else {
            b"second"
        };
        Reply::Gated(head.to_vec(), Arc::clone(&opened), rest.to_vec())
    });
    let (node, _origin, _guard) = guarded(origin.await).await;
    for (path, whole, body) in [("/", true, "first second"), ("/leak", false, "")] {
        let mut client = node.connect().await;
        client
            .send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
            .await;
        client.peek_head().await;
        gate.notify_one();
        let answer = client.answer().await;
        assert_eq!(
            (answer.status, answer.whole, answer.text().as_str()),
            (200, whole, body),
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn past_response_max_a_response_passes() {
    let (origin, guard) = (
        Origin::start(|_, _| ok(&format!("{}SECRET", "x".repeat(100_000)))).await,
        Guard::new(),
    );
    let waf = Waf {
        response_max: 1000,
        ..waf_on()
    };
    let node = Node::serving(with_waf(origin.address, waf, guard.as_waf())).await;
    let answer = node.get("x", "/").await;
    assert_eq!((answer.whole, answer.body.len()), (true, 100_006));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_changes_responses() {
    let (origin, guard) = (Origin::ok("original").await, Guard::new());
    let node = Node::serving(with_plugin(origin.address, guard.as_plugin(|_| {}))).await;
    let head = node.get("x", "/h").await;
    assert_eq!(
        (head.field("x-seen"), head.text().as_str()),
        (Some("yes"), "original")
    );
    assert_eq!(
        node.get("x", "/w").await.text(),
        "replaced",
        "of the same length"
    );
    let longer = Origin::ok("an original of another length").await;
    let node = Node::serving(with_plugin(longer.address, guard.as_plugin(|_| {}))).await;
    let free = node.get("x", "/c").await;
    assert_eq!(
        (free.field("content-length"), free.text().as_str()),
        (None, "replaced")
    );
    is_our_page(&node.get("x", "/w").await, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_that_nobody_asked_to_inspect_are_not_held() {
    let (origin, guard) = (Origin::ok("SECRET").await, Guard::new());
    let plugins = guard.as_plugin(|settings| settings.inspect_response = Inspect::Off);
    let node = Node::serving(with_plugin(origin.address, plugins)).await;
    assert_eq!(node.get("x", "/").await.text(), "SECRET");
}

#[tokio::test(flavor = "multi_thread")]
async fn server_sent_events_pass_as_they_come() {
    let reply = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n7\r\ndata: 1\r\n";
    let (node, _origin, _guard) =
        guarded(Origin::start(|_, _| Reply::Bytes(reply.to_vec())).await).await;
    let mut client = node.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut text = String::new();
    while !text.contains("data: 1") {
        text.push_str(&String::from_utf8_lossy(&client.bytes(1).await));
    }
}

// On one thread: Pingora may lose what an origin sends with a 101 that comes before its own task ran once.
#[tokio::test]
async fn a_websocket_is_judged_by_its_head_and_then_left_alone() {
    let reply = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nSECRET";
    let (node, origin, _guard) =
        guarded(Origin::start(|_, _| Reply::Last(reply.to_vec())).await).await;
    let upgrade = |path: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
    };
    is_our_page(&node.ask(upgrade("/x")).await, 403);
    assert!(origin.seen().is_empty());
    let mut client = node.connect().await;
    client.send(upgrade("/")).await;
    assert_eq!(client.answer().await.status, 101);
    assert_eq!(client.bytes(6).await, b"SECRET");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_not_running_is_an_error_that_names_the_route() {
    let origin = Origin::ok("").await;
    let error = with_plugin(origin.address, Plugins::default())
        .try_snapshot()
        .expect_err("no plugin");
    assert_eq!(error.to_string(), "route /*: plugin `guard` is not running");
    let error = with_waf(origin.address, waf_on(), Plugins::default())
        .try_snapshot()
        .expect_err("no WAF");
    assert!(error.to_string().contains("waf"), "{error}");
}
