//! One fetch for many, and what happens when it breaks off.

use crate::cache_answers::cached;
use crate::support::script::{DEADLINE, Script};
use crate::support::{Client, Node};
use std::future::Future;

const GET: &str = "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
const HEAD: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nCache-Control: max-age=60\r\n";

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("in time")
}

/// A client that has asked.
async fn asking(node: &Node) -> Client {
    let mut client = node.connect().await;
    client.send(GET).await;
    client
}

/// Reads up to and with `mark`.
async fn read_to(client: &mut Client, mark: &str) {
    let mut got = Vec::new();
    while !got.ends_with(mark.as_bytes()) {
        let byte = in_time(client.bytes(1)).await;
        assert!(
            !byte.is_empty(),
            "ended after {:?}",
            String::from_utf8_lossy(&got)
        );
        got.extend(byte);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_at_once_make_one_request_and_all_read_while_the_origin_still_sends() {
    let mut origin = Script::start().await;
    let node = Node::serving(cached(origin.address, 8 << 20)).await;
    let mut clients = Vec::new();
    for _ in 0..1_000 {
        clients.push(asking(&node).await);
    }
    let mut exchange = origin.next().await;
    exchange
        .send(format!("{HEAD}Content-Length: 10\r\n\r\nfirst"))
        .await;
    for client in &mut clients {
        read_to(client, "first").await;
    }
    exchange.send("-last").await;
    for client in &mut clients {
        read_to(client, "-last").await;
    }
    assert_eq!(origin.count(), 1);
    read_to(&mut asking(&node).await, "first-last").await;
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn nobody_waits_for_what_cannot_be_stored() {
    let mut origin = Script::start().await;
    let node = Node::serving(cached(origin.address, 8 << 20)).await;
    // Ten come at once and do not know yet: nine wait until the first answer's head.
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(asking(&node).await);
    }
    let mut first = origin.next().await;
    first
        .send("HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n")
        .await;
    let mut others = Vec::new();
    for _ in 0..9 {
        others.push(origin.next().await);
    }
    drop(first);
    for other in others {
        other.answer("Cache-Control: no-store\r\n", "x").await;
    }
    // From now on nobody does: a hundred are at the origin before it answers one.
    for _ in 0..100 {
        clients.push(asking(&node).await);
    }
    let mut all = Vec::new();
    for _ in 0..100 {
        all.push(origin.next().await);
    }
    for one in all {
        one.answer("Cache-Control: no-store\r\n", "y").await;
    }
    for client in clients.iter_mut().skip(10) {
        read_to(client, "\r\n\r\ny").await;
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_stored_and_not_taken_for_whole() {
    for framing in [
        "Content-Length: 10\r\n\r\nhalf",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let mut origin = Script::start().await;
        let node = Node::serving(cached(origin.address, 8 << 20)).await;
        let (mut one, mut two) = (asking(&node).await, asking(&node).await);
        let mut exchange = origin.next().await;
        exchange.send(format!("{HEAD}{framing}")).await;
        read_to(&mut one, "half").await;
        read_to(&mut two, "half").await;
        drop(exchange);
        let rest = (
            in_time(one.bytes(usize::MAX)).await,
            in_time(two.bytes(usize::MAX)).await,
        );
        let ended = |rest: &[u8]| String::from_utf8_lossy(rest).contains("0\r\n\r\n");
        assert!(!ended(&rest.0) && !ended(&rest.1), "{rest:?}");
        let mut three = asking(&node).await;
        origin
            .next()
            .await
            .answer("Cache-Control: max-age=60\r\n", "whole")
            .await;
        read_to(&mut three, "whole").await;
        assert_eq!(origin.count(), 2);
    }
}

#[tokio::test]
async fn a_client_that_leaves_takes_nothing_from_the_others() {
    let mut origin = Script::start().await;
    let node = Node::serving(cached(origin.address, 8 << 20)).await;
    let mut first = asking(&node).await;
    let mut exchange = origin.next().await;
    exchange
        .send(format!("{HEAD}Content-Length: 10\r\n\r\nab"))
        .await;
    read_to(&mut first, "ab").await;
    let mut second = asking(&node).await;
    read_to(&mut second, "ab").await;
    drop(first);
    exchange.send("cd").await;
    read_to(&mut second, "cd").await;
    drop(second);
    exchange.send("efghij").await;
    assert!(
        exchange.closes().await,
        "fetched to its end though nobody is left"
    );
    read_to(&mut asking(&node).await, "abcdefghij").await;
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_writer_whose_origin_fails_hands_over_to_one_of_those_that_wait() {
    let mut origin = Script::start().await;
    let node = Node::serving(cached(origin.address, 8 << 20)).await;
    let mut one = asking(&node).await;
    let exchange = origin.next().await;
    let mut two = asking(&node).await;
    let mut three = asking(&node).await;
    let mut broken = exchange;
    broken.send("this is not HTTP\r\n\r\n").await;
    drop(broken);
    read_to(&mut one, "HTTP/1.1 502").await;
    origin
        .next()
        .await
        .answer("Cache-Control: max-age=60\r\n", "good")
        .await;
    read_to(&mut two, "good").await;
    read_to(&mut three, "good").await;
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn what_turns_out_too_large_reaches_its_clients_whole_and_is_not_stored() {
    let mut origin = Script::start().await;
    let node = Node::serving(cached(origin.address, 100_000)).await;
    let client = asking(&node).await;
    let mut exchange = origin.next().await;
    let chunk = format!("2710\r\n{}\r\n", "x".repeat(10_000));
    let sending = tokio::spawn(async move {
        exchange
            .send(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n"))
            .await;
        for _ in 0..300 {
            exchange.send(&chunk).await;
        }
        exchange.send("0\r\n\r\n").await;
        exchange
    });
    let mut client = client;
    let answer = in_time(client.answer()).await;
    assert!(
        answer.whole && answer.body.len() == 3_000_000,
        "{}",
        answer.body.len()
    );
    drop(sending.await);
    // And from now on nobody waits for it.
    let mut two = [asking(&node).await, asking(&node).await];
    let both = [origin.next().await, origin.next().await];
    for exchange in both {
        exchange
            .answer("Cache-Control: no-store\r\n", "small")
            .await;
    }
    for client in &mut two {
        assert_eq!(in_time(client.answer()).await.text(), "small");
    }
}

#[tokio::test]
async fn what_says_it_is_too_large_goes_past_the_store_at_once() {
    let mut origin = Script::start().await;
    let node = Node::serving(cached(origin.address, 4)).await;
    let mut client = asking(&node).await;
    origin
        .next()
        .await
        .answer("Cache-Control: max-age=60\r\n", "12345")
        .await;
    let answer = in_time(client.answer()).await;
    assert_eq!(answer.text(), "12345");
    assert_eq!(
        answer.field("cache-status"),
        Some("aegis; fwd=uri-miss; detail=too-large")
    );
    let mut again = asking(&node).await;
    origin
        .next()
        .await
        .answer("Cache-Control: max-age=60\r\n", "1234")
        .await;
    in_time(again.answer()).await;
    let mut hit = asking(&node).await;
    assert!(
        in_time(hit.answer())
            .await
            .field("cache-status")
            .is_some_and(|s| s.contains("hit; ttl"))
    );
}
