//! Requests through the whole pipeline to an origin that writes down every byte, without plugins and cache.

use crate::support::Node;
use crate::support::origin::{Origin, Reply, nobody, ok};
use crate::support::settings::{Sites, pool, route, to};
use aegis_settings::model;
use aegis_settings::resolved::Action;
use std::time::Duration;

#[tokio::test]
async fn host_and_path_choose_the_origin() {
    let (shop, api) = (Origin::ok("shop").await, Origin::ok("api").await);
    let node = Node::serving(
        Sites::default()
            .pool("shop", pool(&[shop.address]))
            .pool("api", pool(&[api.address]))
            .site(
                &["shop.example"],
                vec![route("/api/*", to("api")), route("/*", to("shop"))],
            )
            .site(&["*.api.example"], vec![route("/*", to("api"))]),
    )
    .await;
    assert_eq!(node.get("shop.example", "/").await.text(), "shop");
    assert_eq!(
        node.get("SHOP.example.:8080", "/api/x?y=z").await.text(),
        "api"
    );
    assert_eq!(api.last().line(), "GET /api/x?y=z HTTP/1.1");
    assert_eq!(api.last().field("host"), Some("SHOP.example.:8080"));
    assert_eq!(node.get("v1.api.example", "/").await.text(), "api");
    assert_eq!(node.get("other.example", "/").await.status, 404);
    assert_eq!(
        node.get("shop.example", "/api/..%2fadmin").await.status,
        400
    );
    assert_eq!(api.seen().len(), 2);
}

#[tokio::test]
async fn a_page_says_what_happened_in_the_form_the_client_reads() {
    let node = Node::serving(Sites::default()).await;
    let request =
        |accept: &str| format!("GET / HTTP/1.1\r\nHost: x.example\r\nAccept: {accept}\r\n\r\n");
    let html = node.ask(request("text/html")).await;
    assert_eq!(
        (html.status, html.field("content-type")),
        (404, Some("text/html; charset=utf-8"))
    );
    assert_eq!(html.field("cache-control"), Some("no-store"));
    let id = html.field("x-request-id").expect("an id").to_owned();
    assert!(html.text().contains(&id), "{}", html.text());
    let json = node.ask(request("application/json")).await;
    assert_eq!(json.field("content-type"), Some("application/problem+json"));
    let mut client = node.connect().await;
    client
        .send("HEAD / HTTP/1.1\r\nHost: x.example\r\nConnection: close\r\n\r\n")
        .await;
    let head = String::from_utf8(client.bytes(usize::MAX).await).expect("text");
    assert!(
        head.starts_with("HTTP/1.1 404 ") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn a_connection_goes_on_after_a_page() {
    let node = Node::serving(Sites::default()).await;
    let mut client = node.connect().await;
    for _ in 0..3 {
        client
            .send("GET / HTTP/1.1\r\nHost: x.example\r\n\r\n")
            .await;
        assert_eq!(client.answer().await.status, 404);
    }
    client
        .send("GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    assert_eq!(
        (client.answer().await.status, client.answer().await.status),
        (404, 404),
        "pipelined requests"
    );
}

#[tokio::test]
async fn before_the_first_snapshot_everything_gets_503_and_a_hint_when_to_come_again() {
    let node = Node::starting().await;
    node.live.say("Compiling coraza.wasm.");
    let answer = node.get("shop.example", "/").await;
    assert_eq!(
        (answer.status, answer.field("retry-after")),
        (503, Some("2"))
    );
    assert!(
        answer.text().contains("Compiling coraza.wasm."),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn redirects_and_fixed_answers_ask_no_origin() {
    let node = Node::serving(Sites::default().site(
        &["*"],
        vec![
            route(
                "/old/*",
                Action::Redirect {
                    status: 308,
                    to: "https://{host}{path}".to_owned(),
                },
            ),
            route(
                "/*",
                Action::Respond {
                    status: 200,
                    content_type: "text/plain".to_owned(),
                    body: "hi".to_owned(),
                },
            ),
        ],
    ))
    .await;
    let moved = node.get("shop.example:80", "/old/a?b=c").await;
    assert_eq!(
        (moved.status, moved.field("location")),
        (308, Some("https://shop.example:80/old/a?b=c"))
    );
    let fixed = node.get("shop.example", "/").await;
    assert_eq!(
        (
            fixed.status,
            fixed.text().as_str(),
            fixed.field("content-type")
        ),
        (200, "hi", Some("text/plain"))
    );
}

#[tokio::test]
async fn connect_and_trace_are_refused() {
    let origin = Origin::ok("").await;
    let node = Node::serving(Sites::one(origin.address)).await;
    for request in [
        "TRACE / HTTP/1.1\r\nHost: x\r\n\r\n",
        "CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n",
    ] {
        let answer = node.ask(request).await;
        assert_eq!(answer.status, 405);
        assert!(answer.field("allow").is_some());
        assert!(answer.text().contains("Request id"), "our page");
    }
    assert!(origin.seen().is_empty());
}

#[tokio::test]
async fn a_head_that_the_parser_refuses_gets_our_page_too() {
    let origin = Origin::ok("").await;
    let node = Node::serving(Sites::one(origin.address)).await;
    for request in [
        "GET /?q=<script> HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\nAccept: application/json\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\nAccept: application/json\r\n\r\n",
    ] {
        let mut client = node.connect().await;
        client.send(request).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 400, "{request}");
        assert_eq!(
            answer.field("content-type"),
            Some("application/problem+json")
        );
        assert!(answer.field("x-request-id").is_some() && answer.field("server").is_none());
        assert!(client.is_closed().await);
    }
    assert!(origin.seen().is_empty());
}

#[tokio::test]
async fn an_origin_that_speaks_like_pingora_is_not_mistaken_for_it() {
    let reply = b"HTTP/1.1 400 Bad Request\r\nServer: Pingora\r\nContent-Length: 4\r\n\r\nbody";
    let origin = Origin::start(|_, _| Reply::Bytes(reply.to_vec())).await;
    let node = Node::serving(Sites::one(origin.address)).await;
    let answer = node.get("x", "/").await;
    assert_eq!((answer.status, answer.text().as_str()), (400, "body"));
}

#[tokio::test]
async fn a_length_given_in_two_ways_is_refused() {
    let origin = Origin::ok("").await;
    let node = Node::serving(Sites::one(origin.address)).await;
    let request = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nCONTENT-length: 3\r\n\r\n0\r\n\r\n";
    let answer = node.ask(request).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("two ways"), "{}", answer.text());
    assert!(origin.seen().is_empty());
}

#[tokio::test]
async fn fields_of_the_connection_do_not_reach_the_origin_and_ours_do() {
    let origin = Origin::ok("").await;
    let node = Node::serving(Sites::one(origin.address)).await;
    let answer = node
        .ask(
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n\
             Proxy-Authorization: x\r\nProxy-Connection: x\r\nUpgrade: h2c\r\nX-Forwarded-For: 6.6.6.6\r\nX-Keep: CaSe\r\n\r\n",
        )
        .await;
    let seen = origin.last();
    for gone in [
        "connection",
        "x-hop",
        "keep-alive",
        "te",
        "proxy-authorization",
        "proxy-connection",
        "upgrade",
    ] {
        assert_eq!(seen.field(gone), None, "{gone} in {}", seen.head);
    }
    assert_eq!(seen.fields("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.fields("x-forwarded-proto"), ["http"]);
    assert_eq!(
        seen.fields("x-request-id"),
        [answer.field("x-request-id").expect("an id")]
    );
    assert!(seen.head.contains("X-Keep: CaSe"), "{}", seen.head);
}

#[tokio::test]
async fn faults_of_the_origin_are_told_apart() {
    let slow = Origin::start(|_, _| Reply::Hang).await;
    let closing = Origin::start(|_, _| Reply::Close).await;
    let babbling = Origin::start(|_, _| Reply::Last(b"I am no web server\r\n\r\n".to_vec())).await;
    let quick = |origin| model::Pool {
        read_timeout: Duration::from_millis(50),
        ..pool(&[origin])
    };
    let nowhere = model::Pool {
        servers: vec!["no-such-name.invalid:80".to_owned()],
        ..pool(&[])
    };
    let node = Node::serving(
        Sites::default()
            .pool("refusing", pool(&[nobody().await]))
            .pool("slow", quick(slow.address))
            .pool("closing", pool(&[closing.address]))
            .pool("babbling", pool(&[babbling.address]))
            .pool("nowhere", nowhere)
            .site(&["refusing"], vec![route("/*", to("refusing"))])
            .site(&["slow"], vec![route("/*", to("slow"))])
            .site(&["closing"], vec![route("/*", to("closing"))])
            .site(&["babbling"], vec![route("/*", to("babbling"))])
            .site(&["nowhere"], vec![route("/*", to("nowhere"))]),
    )
    .await;
    for (host, status, sentence) in [
        ("refusing", 502, "cannot be reached"),
        ("slow", 504, "in time"),
        ("closing", 502, "broke off"),
        ("babbling", 502, "not HTTP"),
        ("nowhere", 503, "no server"),
    ] {
        let answer = node.get(host, "/").await;
        assert_eq!(answer.status, status, "{host}");
        assert!(
            answer.text().contains(sentence),
            "{host}: {}",
            answer.text()
        );
    }
    assert_eq!(slow.seen().len(), 1, "a time-out is not tried again");
    assert_eq!(closing.seen().len(), 2, "one further try");
}

#[tokio::test]
async fn only_what_may_be_repeated_is_repeated() {
    let origin = Origin::start(|_, n| if n < 3 { Reply::Close } else { ok("at last") }).await;
    let patient = model::Pool {
        retries: 3,
        ..pool(&[origin.address])
    };
    let sites = Sites::default()
        .pool("web", patient)
        .site(&["*"], vec![route("/*", to("web"))]);
    let node = Node::serving(sites).await;
    let posted = node
        .ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
        .await;
    assert_eq!(
        (posted.status, origin.seen().len()),
        (502, 1),
        "a POST is sent once"
    );
    let put = node
        .ask("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
        .await;
    assert_eq!((put.status, put.text().as_str()), (200, "at last"));
    let seen = origin.seen();
    assert_eq!(seen.len(), 4);
    assert!(
        seen[1..].iter().all(|seen| seen.body == b"abc"),
        "the body is sent again with each try"
    );
}

#[tokio::test]
async fn a_server_that_refuses_is_passed_over_for_any_method() {
    let origin = Origin::ok("here").await;
    let two = pool(&[nobody().await, origin.address]);
    let node = Node::serving(
        Sites::default()
            .pool("web", two)
            .site(&["*"], vec![route("/*", to("web"))]),
    )
    .await;
    for _ in 0..6 {
        assert_eq!(
            node.ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na")
                .await
                .text(),
            "here"
        );
    }
}

#[tokio::test]
async fn keep_alive_to_the_origin_can_be_switched_off() {
    let origin = Origin::ok("").await;
    let node = Node::serving(Sites::one(origin.address)).await;
    let close = model::Pool {
        keepalive: Duration::ZERO,
        ..pool(&[origin.address])
    };
    for _ in 0..2 {
        node.get("x", "/").await;
    }
    assert_eq!(origin.last().connection, 0, "one connection serves both");
    let sites = Sites::default()
        .pool("web", close)
        .site(&["*"], vec![route("/*", to("web"))]);
    let node = Node::serving(sites).await;
    for _ in 0..2 {
        node.get("x", "/").await;
    }
    let seen = origin.seen();
    assert_eq!(seen[2].field("connection"), Some("close"));
    assert_ne!(seen[2].connection, seen[3].connection);
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 % 251) as u8).collect()
}

#[tokio::test]
async fn bodies_arrive_byte_exact_whatever_their_framing() {
    let origin = Origin::ok("ok").await;
    let node = Node::serving(Sites::one(origin.address)).await;
    for length in [0, 1, 65_535, 65_536, 65_537, 100_000] {
        let body = pattern(length);
        let mut sized =
            format!("POST /sized HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n")
                .into_bytes();
        sized.extend(&body);
        assert_eq!(node.ask(sized).await.status, 200);
        assert!(origin.last().body == body, "{length} bytes with a length");
        let mut chunked =
            b"POST /chunked HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for chunk in body.chunks(1000) {
            chunked.extend(format!("{:x}\r\n", chunk.len()).bytes());
            chunked.extend(chunk);
            chunked.extend(b"\r\n");
        }
        chunked.extend(b"0\r\n\r\n");
        assert_eq!(node.ask(chunked).await.status, 200);
        assert!(origin.last().body == body, "{length} bytes in chunks");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_cut_for_the_client_too() {
    let origin = Origin::start(|_, _| {
        Reply::Last(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc".to_vec())
    })
    .await;
    let node = Node::serving(Sites::one(origin.address)).await;
    let answer = node.get("x", "/").await;
    assert!(!answer.whole, "{answer:?}");
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test]
async fn http_1_0_clients_get_bodies_without_chunks() {
    let reply = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let origin = Origin::start(|_, _| Reply::Bytes(reply.to_vec())).await;
    let node = Node::serving(Sites::one(origin.address)).await;
    let mut client = node.connect().await;
    client.send("GET / HTTP/1.0\r\nHost: x\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!(
        (answer.field("transfer-encoding"), answer.text().as_str()),
        (None, "abc")
    );
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn an_http_1_0_origin_is_answered_for_in_our_version() {
    for reply in [
        "HTTP/1.0 404 Not Found\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.0 404 Not Found\r\n\r\nabc",
    ] {
        let origin = Origin::start(move |_, _| Reply::Last(reply.into())).await;
        let node = Node::serving(Sites::one(origin.address)).await;
        let answer = node.get("x", "/").await;
        assert!(answer.head.starts_with("HTTP/1.1 404"), "{answer:?}");
        assert_eq!(answer.text(), "abc");
    }
}

#[tokio::test]
async fn an_absolute_target_reaches_the_origin_as_a_path() {
    let origin = Origin::ok("").await;
    let node = Node::serving(Sites::one(origin.address)).await;
    assert_eq!(
        node.ask("GET http://x.example/a?b HTTP/1.1\r\nHost: x.example\r\n\r\n")
            .await
            .status,
        200
    );
    assert_eq!(
        (origin.last().line(), origin.last().field("host")),
        ("GET /a?b HTTP/1.1", Some("x.example"))
    );
}

#[tokio::test]
async fn a_new_snapshot_serves_the_next_request_of_an_open_connection() {
    let (old, new) = (Origin::ok("old").await, Origin::ok("new").await);
    let node = Node::serving(Sites::one(old.address)).await;
    let mut client = node.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(client.answer().await.text(), "old");
    node.live
        .ready(std::sync::Arc::new(Sites::one(new.address).snapshot()));
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(client.answer().await.text(), "new");
}

#[tokio::test]
async fn websockets_pass() {
    let reply = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello";
    let origin = Origin::start(|_, _| Reply::Last(reply.to_vec())).await;
    let node = Node::serving(Sites::one(origin.address)).await;
    let mut client = node.connect().await;
    client
        .send("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 101);
    assert_eq!(client.bytes(5).await, b"hello");
    assert_eq!(origin.last().field("upgrade"), Some("websocket"));
}
