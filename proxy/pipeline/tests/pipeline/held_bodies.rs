//! Bodies that wait for a verdict, or pass while they are judged: bounds, early answers, and a WAF that only watches.

use crate::plugins::{chunked, evil, is_our_page, pattern, sites, sized, with_plugin, with_waf};
use crate::support::door::connect;
use crate::support::guard::{Guard, waf_on};
use crate::support::origin::{Origin, Reply, Seen};
use crate::support::settings::{Sites, pool, route, to};
use crate::support::{Answer, Node};
use aegis_pipeline::Plugins;
use aegis_settings::model::OnError;
use aegis_settings::resolved::{BodyMode, OverLimit, Route, Waf, WafMode};
use aegis_telemetry::metrics;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What a test waits for comes within this, or the test has failed.
const DEADLINE: Duration = Duration::from_secs(60);

const GUARD: &str = include_str!("support/guard.wat");

/// A WAF that lets long bodies pass in parts at `/p`, and beside it the plugin `guard` with this module.
fn beside_a_streaming_waf(
    origin: SocketAddr,
    guard: &Guard,
    module: &str,
    on_error: OnError,
    body_max: u64,
) -> Sites {
    let named = guard.running(module, |settings| {
        settings.on_error = on_error;
        settings.body_max = body_max;
    });
    let waf = Waf {
        held_max: 70_000,
        over_limit: OverLimit::Stream,
        ..waf_on()
    };
    let plugins = Plugins {
        named: named.named,
        ..guard.as_waf()
    };
    let route = Route {
        waf,
        plugins: vec!["guard".to_owned()],
        ..route("/*", to("web"))
    };
    sites(origin, route, plugins)
}

/// Does at `/p` what [`GUARD`] does elsewhere: it asks for all of a body first.
fn holding() -> String {
    GUARD.replace("(i32.const 112)", "(i32.const 0)")
}

/// At `/p` it replaces each part of a body and lets it go.
fn editing() -> String {
    GUARD.replace("(i32.const 98)", "(i32.const 112)")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plugin_pauses_stays_here_though_the_waf_lets_parts_pass() {
    let (origin, guard) = (Origin::ok("fine").await, Guard::new());
    let sites = beside_a_streaming_waf(origin.address, &guard, &holding(), OnError::Deny, 300_000);
    let node = Node::serving(sites).await;
    let body = pattern(300_000);
    for request in [sized("/p", &body), chunked("/p", &body)] {
        assert_eq!(node.ask(request).await.status, 200);
        assert!(origin.last().body == body);
    }
    for request in [sized("/p", &evil(300_000)), chunked("/p", &evil(300_000))] {
        let before = origin.seen().len();
        is_our_page(&node.ask(request).await, 403);
        let seen = origin.request(before + 1).await;
        assert!(seen.body.is_empty() && !seen.whole, "{}", seen.body.len());
    }
    for request in [
        sized("/p", &pattern(300_001)),
        chunked("/p", &pattern(300_001)),
    ] {
        is_our_page(&node.ask(request).await, 413);
    }
    assert!(origin.last().body.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_waf_itself_may_hold_what_follows_and_let_it_go_at_the_end() {
    let (origin, guard) = (Origin::ok("fine").await, Guard::new());
    let waf = Waf {
        held_max: 70_000,
        over_limit: OverLimit::Stream,
        ..waf_on()
    };
    let node = Node::serving(with_waf(origin.address, waf, guard.as_waf())).await;
    let body = pattern(300_000);
    assert_eq!(node.ask(chunked("/", &body)).await.status, 200);
    assert!(origin.last().body == body);
    is_our_page(&node.ask(chunked("/", &evil(300_000))).await, 403);
    assert!(origin.request(2).await.body.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_part_that_passes_is_a_fault_and_not_dropped() {
    let (origin, guard) = (Origin::ok("fine").await, Guard::new());
    let body = pattern(300_000);
    for (on_error, status) in [(OnError::Deny, 503), (OnError::Allow, 200)] {
        let sites = beside_a_streaming_waf(origin.address, &guard, &editing(), on_error, 1 << 20);
        let node = Node::serving(sites).await;
        assert_eq!(node.ask(chunked("/p", &body)).await.status, status);
        let expected = if status == 200 { &body[..] } else { &[] };
        assert!(origin.last().body == expected, "{on_error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn past_held_max_a_body_is_refused() {
    let (origin, guard) = (Origin::ok("fine").await, Guard::new());
    let waf = Waf {
        held_max: 80_000,
        ..waf_on()
    };
    let node = Node::serving(with_waf(origin.address, waf, guard.as_waf())).await;
    assert_eq!(node.ask(sized("/", &pattern(80_000))).await.status, 200);
    is_our_page(&node.ask(sized("/", &pattern(80_001))).await, 413);
    assert_eq!(
        origin.seen().len(),
        1,
        "an announced length is refused before the origin is asked"
    );
    assert_eq!(node.ask(chunked("/", &pattern(80_000))).await.status, 200);
    is_our_page(&node.ask(chunked("/", &pattern(80_001))).await, 413);
    assert!(!origin.request(3).await.whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_stream_policy_a_long_body_passes_and_a_later_refusal_cuts_it() {
    let (origin, guard) = (Origin::ok("fine").await, Guard::new());
    let waf = Waf {
        held_max: 70_000,
        over_limit: OverLimit::Stream,
        ..waf_on()
    };
    let node = Node::serving(with_waf(origin.address, waf, guard.as_waf())).await;
    let body = pattern(500_000);
    for request in [sized("/p", &body), chunked("/p", &body)] {
        assert_eq!(node.ask(request).await.status, 200);
        assert!(origin.last().body == body);
    }
    is_our_page(&node.ask(sized("/p", &evil(500_000))).await, 403);
    let seen = origin.request(3).await;
    assert!(!seen.whole && seen.body.len() < 500_000);
    is_our_page(&node.ask(sized("/p", &evil(70_000))).await, 403);
    let seen = origin.request(4).await;
    assert!(seen.body.is_empty(), "what is held is judged first");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_held_bodies_share_one_budget() {
    // More than all other tests of this process hold together.
    const LONG: usize = 12 << 20;
    let (origin, guard) = (Origin::ok("fine").await, Guard::new());
    let mut sites = with_waf(origin.address, waf_on(), guard.as_waf());
    sites.bodies_held_max = (LONG + (1 << 20)) as u64;
    let node = Node::serving(sites).await;
    let mut slow = node.connect().await;
    let request = sized("/", &pattern(LONG));
    slow.send(&request[..request.len() - 1]).await;
    while metrics::BODIES_HELD.get() < LONG as i64 - 1 {
        tokio::task::yield_now().await;
    }
    let refused = node.ask(chunked("/", &pattern(2 << 20))).await;
    is_our_page(&refused, 503);
    assert!(refused.field("retry-after").is_some());
    slow.send(&request[request.len() - 1..]).await;
    assert_eq!(slow.answer().await.status, 200);
    let again = node.ask(chunked("/", &pattern(2 << 20))).await;
    assert_eq!(again.status, 200, "the budget is given back");
}

fn early_answer(head: &'static str) -> impl Fn(&Seen, usize) -> Reply {
    move |_, _| Reply::Early(format!("HTTP/1.1 {head}\r\n\r\nearly").into_bytes())
}

/// Sends `request` but for its last bytes, and these when the node has probably seen the origin's answer.
async fn in_two_parts(node: &Node, origin: &Origin, request: &[u8]) -> (Answer, Seen) {
    let before = origin.seen().len();
    let mut client = node.connect().await;
    let (first, last) = request.split_at(request.len() - 10);
    client.send(first).await;
    origin.until(|seen| seen.len() > before).await;
    for _turn in 0..20 {
        let refused = node.ask("CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n");
        assert_eq!(refused.await.status, 405);
    }
    client.send(last).await;
    (client.answer().await, origin.seen().swap_remove(before))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_waits_for_the_verdict_and_stands_only_if_it_is_a_refusal() {
    let guard = Guard::new();
    for (head, early) in [
        ("201 Created\r\nContent-Length: 5", 502),
        ("413 Content Too Large\r\nContent-Length: 5", 413),
    ] {
        let origin = Origin::start(early_answer(head)).await;
        let node = Node::serving(with_waf(origin.address, waf_on(), guard.as_waf())).await;
        for evil in [sized("/", &evil(100_000)), chunked("/", &evil(100_000))] {
            let (answer, seen) = in_two_parts(&node, &origin, &evil).await;
            is_our_page(&answer, 403);
            assert!(seen.body.is_empty());
        }
        let mut was_early = false;
        while !was_early {
            let (answer, seen) = in_two_parts(&node, &origin, &sized("/", &pattern(100_000))).await;
            was_early = answer.status == early;
            assert!(was_early || answer.status == 201 && !seen.body.is_empty());
        }
    }
}

/// The origin's `200` needs the body to end; the body cannot reach it any more.
#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_answers_first_and_reads_later_is_a_fault_and_no_hang() {
    let guard = Guard::new();
    let origin = Origin::start(|_, _| {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
        Reply::Halves(head.into(), b"afterwards".to_vec())
    })
    .await;
    let node = Node::serving(with_waf(origin.address, waf_on(), guard.as_waf())).await;
    let body = pattern(100_000);
    let mut was_early = false;
    while !was_early {
        let (answer, seen) = in_two_parts(&node, &origin, &chunked("/", &body)).await;
        was_early = answer.status == 502;
        assert!(was_early && seen.body.is_empty() || answer.text() == "afterwards");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_body_that_trickles_is_ended_by_the_door_whatever_reads_it() {
    let (origin, guard) = (Origin::ok("fine").await, Guard::new());
    let serving = async |body_mode| {
        let waf = Waf {
            body_mode,
            ..waf_on()
        };
        Node::serving(with_waf(origin.address, waf, guard.as_waf())).await
    };
    let (holding, spooling) = (
        serving(BodyMode::Hold).await,
        serving(BodyMode::Spool).await,
    );
    let (hold, spool) = (
        holding.also_behind_hasty_door(),
        spooling.also_behind_hasty_door(),
    );
    // Read before an origin is chosen, and held on the way to it.
    for (address, framing) in [
        (hold, "Content-Length: 50000"),
        (spool, "Content-Length: 5000000"),
        (spool, "Transfer-Encoding: chunked"),
        (hold, "Content-Length: 5000000"),
        (hold, "Transfer-Encoding: chunked"),
    ] {
        let mut client = connect(address).await;
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
        client.send(head).await;
        let (reading, mut writing) = client.0.into_split();
        let dripping = tokio::spawn(async move {
            while writing.write_all(b"1\r\ny\r\n").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let mut came = String::new();
        let mut page = reading.take(12);
        let read = tokio::time::timeout(DEADLINE, page.read_to_string(&mut came)).await;
        read.expect("in time").expect("an answer");
        assert_eq!(came, "HTTP/1.1 408", "{framing}");
        dripping.abort();
    }
    assert!(origin.seen().iter().all(|seen| !seen.whole));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_to_a_body_that_is_complete_is_an_answer() {
    let origin = Origin::start(early_answer("201 Created\r\nContent-Length: 5")).await;
    let guard = Guard::new();
    let node = Node::serving(with_waf(origin.address, waf_on(), guard.as_waf())).await;
    let answer = node.ask(sized("/", &pattern(10_000))).await;
    assert_eq!((answer.status, answer.text().as_str()), (201, "early"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protocol_is_not_switched_while_a_body_is_held() {
    let head = "101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket";
    let origin = Origin::start(early_answer(head)).await;
    let guard = Guard::new();
    let node = Node::serving(with_waf(origin.address, waf_on(), guard.as_waf())).await;
    let request = String::from_utf8_lossy(&chunked("/", b"first EVIL last")).replace(
        "Host: x",
        "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket",
    );
    let mut was_early = false;
    while !was_early {
        let (answer, seen) = in_two_parts(&node, &origin, request.as_bytes()).await;
        was_early = answer.status == 502;
        assert!(was_early || answer.status == 403, "{answer:?}");
        assert!(seen.body.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_a_plugin_closes_ends_without_an_answer() {
    let (origin, guard) = (Origin::ok("fine").await, Guard::new());
    let node = Node::serving(with_plugin(origin.address, guard.as_plugin(|_| {}))).await;
    let mut client = node.connect().await;
    client.send("GET /k HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(client.is_closed().await);
    assert!(origin.seen().is_empty());
}

/// A site of this name whose WAF only watches.
fn watched(name: &'static str, origin: SocketAddr, guard: &Guard) -> Sites {
    let waf = Waf {
        mode: WafMode::Detect,
        ..waf_on()
    };
    let route = Route {
        waf,
        ..route("/*", to("web"))
    };
    Sites {
        plugins: guard.as_waf(),
        ..Sites::default()
            .pool("web", pool(&[origin]))
            .site(&[name], vec![route])
    }
}

fn at(name: &str, request: &[u8]) -> Vec<u8> {
    let (head, body) = request.split_at(
        request
            .windows(4)
            .position(|w| w == b"\r\n\r\n")
            .expect("a head"),
    );
    let head = String::from_utf8_lossy(head).replace("Host: x", &format!("Host: {name}"));
    [head.as_bytes(), body].concat()
}

/// Waits until the site has counted so many of these verdicts; requests are counted after their answer.
async fn counted(site: &str, verdict: &str, times: u32) {
    let line =
        format!("aegis_waf_verdicts_total{{site=\"{site}\",verdict=\"{verdict}\"}} {times}\n");
    while !metrics::render().contains(&line) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waf_that_only_watches_refuses_nothing_when_it_fails_or_answers() {
    const NAME: &str = "watched.example";
    let (origin, guard) = (Origin::ok("a SECRET").await, Guard::new());
    let node = Node::serving(watched(NAME, origin.address, &guard)).await;
    assert_eq!(node.get(NAME, "/t").await.status, 200, "it trapped");
    counted(NAME, "fault", 1).await;
    for path in ["/x", "/k", "/o", "/"] {
        let answer = node.get(NAME, path).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "a SECRET"));
    }
    for request in [
        sized("/", &evil(10_000)),
        sized("/", &evil(100_000)),
        chunked("/", &evil(100_000)),
    ] {
        assert_eq!(node.ask(at(NAME, &request)).await.status, 200);
        assert!(origin.last().whole && origin.last().body.ends_with(b"EVIL"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waf_that_only_watches_lets_pass_what_there_is_no_room_to_hold() {
    const NAME: &str = "crowded.example";
    let (origin, guard) = (Origin::ok("fine").await, Guard::new());
    let mut sites = watched(NAME, origin.address, &guard);
    sites.bodies_held_max = 10_000;
    let node = Node::serving(sites).await;
    for length in [10_001, 60_000, 100_000] {
        let body = pattern(length);
        for request in [sized("/", &body), chunked("/", &body)] {
            assert_eq!(node.ask(at(NAME, &request)).await.status, 200, "{length}");
            assert!(origin.last().body == body, "{length}");
        }
    }
    counted(NAME, "fault", 6).await;
    assert_eq!(
        node.ask(at(NAME, &sized("/", &pattern(9_000))))
            .await
            .status,
        200
    );
    counted(NAME, "clean", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_reaches_the_client_if_the_waf_only_watches() {
    const NAME: &str = "early.example";
    let origin = Origin::start(early_answer("201 Created\r\nContent-Length: 5")).await;
    let guard = Guard::new();
    let node = Node::serving(watched(NAME, origin.address, &guard)).await;
    let request = at(NAME, &sized("/", &pattern(100_000)));
    assert_eq!(in_two_parts(&node, &origin, &request).await.0.status, 201);
}
