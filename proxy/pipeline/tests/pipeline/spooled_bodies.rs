//! Routes with `body_mode: spool`: an origin hears nothing of a request before its whole body was judged.

use crate::http2;
use crate::plugins::{chunked, evil, is_our_page, pattern, sites, sized, with_waf};
use crate::support::guard::{Guard, waf_on};
use crate::support::origin::{Origin, Reply, nobody};
use crate::support::script::DEADLINE;
use crate::support::settings::{pool, route, to, waf_off};
use crate::support::{Answer, Node};
use aegis_pipeline::Plugins;
use aegis_settings::model::PluginStage;
use aegis_settings::resolved::{BodyMode, Route, Waf};
use aegis_telemetry::metrics;

/// Longer than Pingora replays, longer than memory keeps, and a round number.
const LENGTHS: [usize; 4] = [65_537, 200_000, (1 << 20) + 1, 5 << 20];

fn spooling() -> Waf {
    Waf {
        body_mode: BodyMode::Spool,
        ..waf_on()
    }
}

async fn node_before(origin: &Origin, guard: &Guard) -> Node {
    Node::serving(with_waf(origin.address, spooling(), guard.as_waf())).await
}

fn put(request: &[u8]) -> Vec<u8> {
    let rest = request.strip_prefix(b"POST").expect("a POST");
    [b"PUT", rest].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_request_costs_the_origin_not_even_a_connection() {
    let (origin, guard) = (Origin::ok("fine").await, Guard::new());
    let node = node_before(&origin, &guard).await;
    let address = node.also_http2("x").await;
    for length in LENGTHS {
        let body = evil(length);
        for request in [sized("/", &body), chunked("/", &body)] {
            is_our_page(&node.ask(request).await, 403);
        }
        let mut client = http2::client(address).await;
        for sized in [true, false] {
            assert_eq!(
                http2::ask(&mut client, "https://x/", &body, sized).await.0,
                403
            );
        }
    }
    let mut with_end_elsewhere = chunked("/", &evil(200_000));
    with_end_elsewhere.truncate(with_end_elsewhere.len() - 2);
    with_end_elsewhere.extend(b"X-Trailer: EVIL\r\n\r\n");
    is_our_page(&node.ask(with_end_elsewhere).await, 403);
    assert_eq!(origin.connections(), 0);
    assert_eq!(node.ask(sized("/", &pattern(200_000))).await.status, 200);
    assert_eq!(origin.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_arrives_as_it_was_sent_and_the_connection_goes_on() {
    let (origin, guard) = (Origin::ok("fine").await, Guard::new());
    let node = node_before(&origin, &guard).await;
    let mut one = node.connect().await;
    let mut client = http2::client(node.also_http2("x").await).await;
    for length in LENGTHS {
        let body = pattern(length);
        for (request, framing) in [
            (sized("/", &body), "content-length"),
            (chunked("/", &body), "transfer-encoding"),
        ] {
            one.send(request).await;
            let answer = one.answer().await;
            assert_eq!(
                (answer.status, answer.text().as_str()),
                (200, "fine"),
                "{length}"
            );
            assert_eq!(answer.field("connection"), Some("keep-alive"));
            let seen = origin.last();
            assert!(seen.whole && seen.body == body, "{length}");
            assert!(seen.field(framing).is_some(), "{}", seen.head);
        }
        for sized in [true, false] {
            let answer = http2::ask(&mut client, "https://x/", &body, sized).await;
            assert_eq!(answer, (200, "fine".to_owned()), "{length}");
            assert!(origin.last().body == body, "{length}");
        }
    }
    // What came before an answer was read is answered too.
    let body = pattern(300_000);
    let both = [sized("/first", &body), chunked("/second", &body)].concat();
    one.send(both).await;
    for path in ["/first", "/second"] {
        assert_eq!(one.answer().await.status, 200, "{path}");
        let seen = origin
            .seen()
            .into_iter()
            .find(|seen| seen.line().contains(path));
        assert!(seen.expect("it was asked").body == body, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_costs_nothing_of_the_body() {
    let (origin, guard) = (Origin::ok("fine").await, Guard::new());
    let mut sites = with_waf(origin.address, spooling(), guard.as_waf());
    sites = sites.pool("web", pool(&[nobody().await, origin.address]));
    let node = Node::serving(sites).await;
    for length in LENGTHS {
        let body = pattern(length);
        for request in [sized("/", &body), chunked("/", &body)] {
            assert_eq!(node.ask(request).await.status, 200, "{length}");
            assert!(origin.last().body == body, "{length}");
        }
    }
    assert_eq!(origin.seen().len(), 2 * LENGTHS.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_further_try_sends_the_whole_body_again() {
    let guard = Guard::new();
    let broken = Origin::start(|_, _| Reply::Close).await;
    let origin = Origin::ok("fine").await;
    let mut sites = with_waf(origin.address, spooling(), guard.as_waf());
    sites = sites.pool("web", pool(&[broken.address, origin.address]));
    let node = Node::serving(sites).await;
    for length in LENGTHS {
        let body = pattern(length);
        let tries = broken.seen().len();
        // Round robin: one of two requests comes to the broken server first.
        for request in [put(&sized("/", &body)), put(&chunked("/", &body))] {
            assert_eq!(node.ask(request).await.status, 200, "{length}");
            assert!(origin.last().body == body, "{length}");
        }
        assert!(broken.seen().len() > tries);
        assert!(broken.last().body == body, "{length}");
    }
    assert_eq!(origin.seen().len(), 2 * LENGTHS.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_repeated_is_not_though_its_body_is_at_hand() {
    let (origin, guard) = (Origin::start(|_, _| Reply::Close).await, Guard::new());
    let node = node_before(&origin, &guard).await;
    is_our_page(&node.ask(sized("/", &pattern(200_000))).await, 502);
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_leaves_nothing_behind() {
    let (origin, guard) = (Origin::ok("fine").await, Guard::new());
    let node = node_before(&origin, &guard).await;
    let body = pattern(12 << 20);
    let before = metrics::BODIES_SPOOLED.get();
    for request in [sized("/", &body), chunked("/", &body)] {
        let mut client = node.connect().await;
        client.send(&request[..9 << 20]).await;
        while metrics::BODIES_SPOOLED.get() < before + (4 << 20) {
            tokio::task::yield_now().await;
        }
        drop(client);
        // Other tests of this process keep less than that.
        while metrics::BODIES_SPOOLED.get() >= before + (4 << 20) {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(origin.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn past_held_max_a_body_is_refused_and_no_origin_is_asked() {
    let (origin, guard) = (Origin::ok("fine").await, Guard::new());
    let waf = Waf {
        held_max: 80_000,
        ..spooling()
    };
    let node = Node::serving(with_waf(origin.address, waf, guard.as_waf())).await;
    for request in [sized("/", &pattern(80_001)), chunked("/", &pattern(80_001))] {
        is_our_page(&node.ask(request).await, 413);
    }
    assert_eq!(origin.connections(), 0);
    for request in [sized("/", &pattern(80_000)), chunked("/", &pattern(80_000))] {
        assert_eq!(node.ask(request).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_bound_of_the_disk_a_body_is_refused() {
    let (origin, guard) = (Origin::ok("fine").await, Guard::new());
    let mut sites = with_waf(origin.address, spooling(), guard.as_waf());
    sites.bodies_spooled_max = 3 << 20;
    let node = Node::serving(sites).await;
    for request in [
        sized("/", &pattern(6 << 20)),
        chunked("/", &pattern(6 << 20)),
    ] {
        let refused = node.ask(request).await;
        is_our_page(&refused, 503);
        assert!(refused.field("retry-after").is_some());
    }
    assert_eq!(origin.connections(), 0);
    let body = pattern(3 << 20);
    // It is given back when the request ends, which is after its answer.
    let given_back = async || {
        while node.ask(sized("/", &body)).await.status != 200 {}
    };
    for _turn in 0..3 {
        tokio::time::timeout(DEADLINE, given_back())
            .await
            .expect("it is given back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_to_be_asked_for_a_body_is_asked_and_the_origin_is_not_told() {
    let (origin, guard) = (Origin::ok("fine").await, Guard::new());
    let node = node_before(&origin, &guard).await;
    for (bytes, status) in [(pattern(200_000), 200), (evil(200_000), 403)] {
        let mut client = node.connect().await;
        let head = format!(
            "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            bytes.len()
        );
        client.send(head).await;
        let line = b"HTTP/1.1 100 Continue\r\n\r\n";
        assert_eq!(client.bytes(line.len()).await, line);
        client.send(&bytes).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    assert_eq!(origin.seen().len(), 1);
    assert_eq!(origin.last().field("expect"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_may_change_length_and_content() {
    let (origin, guard) = (Origin::ok("fine").await, Guard::new());
    let waf = Waf {
        body_mode: BodyMode::Spool,
        ..waf_off()
    };
    let route = Route {
        waf,
        plugins: vec!["guard".to_owned()],
        ..route("/*", to("web"))
    };
    let node = Node::serving(sites(origin.address, route, guard.as_plugin(|_| {}))).await;
    for length in LENGTHS {
        let body = pattern(length);
        for request in [sized("/b", &body), chunked("/b", &body)] {
            assert_eq!(node.ask(request).await.status, 200);
            let seen = origin.last();
            assert_eq!((seen.body.as_slice(), seen.whole), (&b"replaced"[..], true));
            assert_eq!(seen.fields("content-length"), ["8"]);
            assert_eq!(seen.fields("transfer-encoding"), [""; 0]);
        }
        assert_eq!(node.ask(sized("/e", &body)).await.status, 200);
        assert_eq!(origin.last().fields("x-edit"), ["yes"]);
        assert!(origin.last().body == body, "{length}");
    }
    let asked = origin.seen().len();
    is_our_plain_page(&node.ask(sized("/", &evil(200_000))).await);
    assert_eq!(origin.seen().len(), asked);
}

/// A plugin's own answer.
fn is_our_plain_page(answer: &Answer) {
    assert_eq!(answer.status, 403, "{answer:?}");
}

/// A plugin before the cache and the WAF before the origin read the same body, which is in memory twice, one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn two_stages_see_the_same_body() {
    let (origin, guard) = (Origin::ok("fine").await, Guard::new());
    let first = guard.as_plugin(|settings| settings.stage = PluginStage::BeforeCache);
    let plugins = Plugins {
        named: first.named,
        ..guard.as_waf()
    };
    let route = Route {
        waf: spooling(),
        plugins: vec!["guard".to_owned()],
        ..route("/*", to("web"))
    };
    let node = Node::serving(sites(origin.address, route, plugins)).await;
    let body = pattern(3 << 20);
    assert_eq!(node.ask(chunked("/", &body)).await.status, 200);
    assert!(origin.last().body == body);
    assert_eq!(node.ask(chunked("/", &evil(3 << 20))).await.status, 403);
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_client_gets_its_answer_and_the_end_of_its_connection() {
    let (origin, guard) = (
        Origin::start(|_, _| {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            Reply::Bytes(format!("{head}4\r\nfine\r\n0\r\n\r\n").into())
        })
        .await,
        Guard::new(),
    );
    let node = node_before(&origin, &guard).await;
    let request = String::from_utf8(sized("/", &[b'x'; 200_000])).expect("text");
    let request = request.replace("HTTP/1.1\r\n", "HTTP/1.0\r\nConnection: keep-alive\r\n");
    let mut client = node.connect().await;
    client.send(request).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "fine"));
    assert!(answer.field("transfer-encoding").is_none() && client.is_closed().await);
}

fn early(head: &'static str) -> impl Fn(&crate::support::origin::Seen, usize) -> Reply {
    move |_, _| Reply::Early(format!("HTTP/1.1 {head}\r\n\r\nearly").into_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_is_an_answer_since_the_verdict_is_there() {
    let guard = Guard::new();
    for head in [
        "201 Created\r\nContent-Length: 5",
        "413 Content Too Large\r\nContent-Length: 5",
    ] {
        let origin = Origin::start(early(head)).await;
        let node = node_before(&origin, &guard).await;
        let answer = node.ask(sized("/", &pattern(5 << 20))).await;
        assert!(head.starts_with(&answer.status.to_string()), "{answer:?}");
        assert_eq!(answer.text(), "early");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protocol_is_switched_after_the_verdict() {
    let origin = Origin::start(|_, _| {
        let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket";
        Reply::Bytes(format!("{head}\r\n\r\nwelcome").into_bytes())
    })
    .await;
    let guard = Guard::new();
    let node = node_before(&origin, &guard).await;
    let upgrade = |body: &[u8]| {
        let request = String::from_utf8_lossy(&chunked("/", body)).into_owned();
        request.replace(
            "Host: x",
            "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket",
        )
    };
    is_our_page(&node.ask(upgrade(b"first EVIL last")).await, 403);
    assert_eq!(origin.connections(), 0);
    let mut client = node.connect().await;
    client.send(upgrade(b"first last")).await;
    assert_eq!(client.answer().await.status, 101);
    assert_eq!(client.bytes(7).await, b"welcome");
    assert_eq!(origin.last().body, b"first last");
}

/// What is left in a node that is never asked for it costs nothing: the mode changes only long bodies.
#[tokio::test(flavor = "multi_thread")]
async fn requests_without_a_long_body_are_as_they_were() {
    let (origin, guard) = (Origin::ok("fine").await, Guard::new());
    let node = node_before(&origin, &guard).await;
    assert_eq!(node.get("x", "/").await.text(), "fine");
    for length in [1, 65_536] {
        let body = pattern(length);
        assert_eq!(node.ask(sized("/", &body)).await.status, 200);
        assert!(origin.last().body == body);
    }
    let empty = node.ask(chunked("/", b"")).await;
    assert_eq!(empty.status, 200);
    assert!(origin.last().whole && origin.last().body.is_empty());
}

/// Where a WAF only watches nothing is blocked, and nothing waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_waf_that_watches_keeps_no_body() {
    let (origin, guard) = (Origin::ok("fine").await, Guard::new());
    let waf = Waf {
        mode: aegis_settings::resolved::WafMode::Detect,
        ..spooling()
    };

    let node = Node::serving(with_waf(origin.address, waf, guard.as_waf())).await;
    let request = sized("/", &evil(5 << 20));
    let mut client = node.connect().await;
    client.send(&request[..100_000]).await;
    origin.request(1).await;
    client.send(&request[100_000..]).await;
    assert_eq!(client.answer().await.status, 200);
}
