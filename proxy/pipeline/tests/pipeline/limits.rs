//! Limits, where a request ends in other ways than with its answer.

use crate::support::script::{DEADLINE, Script};
use crate::support::settings::{Sites, pool, route, to};
use crate::support::{Client, Node};
use aegis_settings::model::{LimitKey, LimitOf};
use aegis_settings::resolved::{Action, LimitPolicy, Route};
use http::Request;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

fn policy(of: LimitOf, limit: u64) -> LimitPolicy {
    LimitPolicy {
        name: "p".to_owned(),
        of,
        limit,
        window: (of != LimitOf::InFlight).then_some(Duration::from_secs(3600)),
        burst: 0,
        key: vec![LimitKey::Address],
        statuses: vec![400..=499],
        penalty: Duration::ZERO,
        dry_run: false,
        count_refused: false,
        v4_prefix: 32,
        v6_prefix: 64,
    }
}

fn limited(route: Route, policy: &LimitPolicy) -> Route {
    let mut route = route;
    let policies = &mut route.limits.policies;
    policies.insert(policy.name.clone(), policy.clone());
    route
}

/// `/probe` is answered at once, everything else by `origin`; both by the same limit.
async fn node(origin: &Script, policy: &LimitPolicy) -> Node {
    let fixed = Action::Respond {
        status: 200,
        content_type: "text/plain".to_owned(),
        body: "probe".to_owned(),
    };
    let routes = vec![
        limited(route("/probe", fixed), policy),
        limited(route("/*", to("web")), policy),
    ];
    let mut web = pool(&[origin.address]);
    web.retries = 0;
    let sites = Sites::default().pool("web", web);
    Node::serving(sites.site(&["*"], routes)).await
}

/// Waits until a request is let through again.
async fn becomes_free(node: &Node) {
    let until = Instant::now() + DEADLINE;
    while node.get("a", "/probe").await.status != 200 {
        assert!(Instant::now() < until, "still in flight");
        tokio::task::yield_now().await;
    }
}

async fn begin(node: &Node, request: &str) -> Client {
    let mut client = node.connect().await;
    client.send(request).await;
    client
}

#[tokio::test]
async fn an_upgraded_connection_is_in_flight_until_it_ends() {
    let mut origin = Script::start().await;
    let node = node(&origin, &policy(LimitOf::InFlight, 1)).await;
    let upgrade =
        "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let mut client = begin(&node, upgrade).await;
    let mut exchange = origin.next().await;
    exchange
        .send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi")
        .await;
    assert_eq!(client.answer().await.status, 101);
    assert_eq!(client.bytes(2).await, b"hi");
    assert_eq!(node.get("a", "/probe").await.status, 429);
    drop(client);
    becomes_free(&node).await;
    assert!(exchange.closes().await);
}

#[tokio::test]
async fn a_stream_that_is_reset_is_in_flight_no_more() {
    let mut origin = Script::start().await;
    let node = node(&origin, &policy(LimitOf::InFlight, 1)).await;
    let address = node.also_http2("a").await;
    let socket = TcpStream::connect(address).await.expect("connects");
    let (client, connection) = h2::client::handshake(socket).await.expect("HTTP/2");
    tokio::spawn(connection);
    let mut ready = client.ready().await.expect("ready");
    let request = Request::get("https://a/slow").body(()).expect("a request");
    let (response, mut stream) = ready.send_request(request, true).expect("sends");
    let _exchange = origin.next().await;
    let probe = Request::get("https://a/probe").body(()).expect("a request");
    let mut ready = ready.ready().await.expect("ready");
    let (second, _) = ready.send_request(probe, true).expect("sends");
    assert_eq!(second.await.expect("an answer").status(), 429);
    stream.send_reset(h2::Reason::CANCEL);
    drop(response);
    becomes_free(&node).await;
}

#[tokio::test]
async fn as_many_are_in_flight_as_the_limit_says_and_none_stays_behind() {
    const LIMIT: usize = 10;
    let mut origin = Script::start().await;
    let node = node(&origin, &policy(LimitOf::InFlight, LIMIT as u64)).await;
    for round in 0..3 {
        let mut admitted = Vec::new();
        let mut held = Vec::new();
        for _ in 0..LIMIT {
            admitted.push(begin(&node, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await);
            held.push(origin.next().await);
        }
        for _ in 0..5 {
            assert_eq!(node.get("a", "/slow").await.status, 429, "round {round}");
        }
        // Half of them are answered, the others lose their origin.
        for (index, exchange) in held.into_iter().enumerate() {
            if index % 2 == 0 {
                exchange.answer("", "done").await;
            }
        }
        for (index, client) in admitted.iter_mut().enumerate() {
            let expected = if index % 2 == 0 { 200 } else { 502 };
            assert_eq!(client.answer().await.status, expected);
        }
        becomes_free(&node).await;
    }
}
