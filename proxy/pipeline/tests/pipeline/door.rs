//! The guard of the door before the whole proxy: what the client gets, and which requests the origin can find in the bytes
//! it gets.

use crate::support::door::connect;
use crate::support::origin::{Origin, Reply, ok};
use crate::support::settings::Sites;
use crate::support::{Client, Node};
use aegis_testkit::cases::{self, Case, NEXT};
use aegis_testkit::play::{self, Patience, Second};
use aegis_testkit::tape::{self, Tape};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

const LONG: Duration = Duration::from_secs(60);
/// What a test waits for comes within this, or the test has failed.
const DEADLINE: Duration = Duration::from_secs(60);

async fn guarded(origin: &Origin) -> (Node, SocketAddr) {
    let node = Node::serving(Sites::one(origin.address)).await;
    let address = node.also_behind_door(LONG);
    (node, address)
}

async fn closes(client: &mut Client) -> bool {
    // Without it the door would listen on for a while.
    client.0.shutdown().await.ok();
    let mut rest = Vec::new();
    let read = tokio::time::timeout(DEADLINE, client.0.read_to_end(&mut rest)).await;
    read.expect("the connection ends").is_ok()
}

/// Proxies that the rows are played to at once; each has an origin of its own and one client at a time.
const PROXIES: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn the_origin_gets_the_good_requests_of_every_row_and_never_another_one() {
    let rows = Arc::new(cases::all());
    assert!(rows.len() >= 200);
    let mut players = Vec::new();
    for player in 0..PROXIES {
        let tape = Tape::start();
        let node = Node::serving(Sites::one(tape.address())).await;
        let address = node.also_behind_door(LONG);
        let rows = Arc::clone(&rows);
        players.push(tokio::task::spawn_blocking(move || {
            let _node = node;
            let mine = rows.iter().skip(player).step_by(PROXIES);
            let (played, breaking): (Vec<_>, Vec<_>) = mine
                .map(|row| (wrong(row, address, &tape), row.breaks_off))
                .unzip();
            // Those that were broken off come when they come, but each once.
            let broken = |bytes: &Vec<u8>| tape::read(bytes).rest > 0;
            let broken_off = tape.bytes().iter().filter(|bytes| broken(bytes)).count();
            let breaking = breaking.iter().filter(|breaks| **breaks).count();
            assert!(
                broken_off <= breaking,
                "{broken_off} of {breaking} broken off"
            );
            played
        }));
    }
    let (mut all_wrong, mut on_used) = (Vec::new(), 0);
    for player in players {
        for (wrong, second) in player.await.expect("it ends") {
            all_wrong.extend(wrong);
            on_used += usize::from(second == Second::SameConnection);
        }
    }
    assert!(all_wrong.is_empty(), "{}", all_wrong.join("\n"));
    // One that was answered just now may not be back among those that wait; so not all of them.
    assert!(on_used * 2 > rows.len(), "{on_used} of {}", rows.len());
}

/// What is not as the row says, and how the second client's request came to the origin.
fn wrong(row: &Case, address: SocketAddr, tape: &Tape) -> (Option<String>, Second) {
    let outcome = play::play(address, tape, row, Patience::Sure);
    let mut wrong = Vec::new();
    let mut held = |what: &str, holds: bool| {
        if !holds {
            wrong.push(what.to_owned());
        }
    };
    held("answers", outcome.answers == row.answers);
    held("the connection's fate", outcome.closed == row.closes);
    held("what the origin saw", outcome.origin == row.origin);
    held("something unclear", outcome.unclear.is_empty());
    let id =
        |status: u16| status == 200 || outcome.text.to_ascii_lowercase().contains("x-request-id: ");
    held("an id", outcome.answers.iter().all(|status| id(*status)));
    let allowed = !row.answers.contains(&405) || outcome.text.contains("llow: ");
    held("`Allow`", allowed);
    held("the second client", outcome.second != Second::Harmed);
    let wrong = wrong.join(", ");
    let told = (!wrong.is_empty()).then(|| format!("{}: {wrong}: {outcome:?}", row.name));
    (told, outcome.second)
}

#[tokio::test]
async fn a_refusal_comes_after_the_answers_before_it() {
    let gate = Arc::new(Notify::new());
    let open = Arc::clone(&gate);
    let origin = Origin::start(move |_, _| {
        Reply::Gated(
            b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf".to_vec(),
            Arc::clone(&open),
            b"half".to_vec(),
        )
    })
    .await;
    let (_node, address) = guarded(&origin).await;
    let mut client = connect(address).await;
    client.send(NEXT).await;
    origin.request(1).await;
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    gate.notify_one();
    let first = client.answer().await;
    assert_eq!((first.status, first.text().as_str()), (200, "halfhalf"));
    let second = client.answer().await;
    assert_eq!((second.status, second.whole), (400, true));
    assert!(
        second.text().contains("which site it is for"),
        "{}",
        second.text()
    );
    assert!(closes(&mut client).await);
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test]
async fn a_body_that_breaks_off_being_one_never_looks_finished_to_the_origin() {
    let origin = Origin::ok("fine").await;
    let (_node, address) = guarded(&origin).await;
    for (number, bad) in ["x\r\n", "0\r\nX: \u{1}\r\n\r\n", "0\r\n\n", "3\r\nabcd"]
        .iter()
        .enumerate()
    {
        let mut client = connect(address).await;
        client
            .send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            .await;
        origin
            .until(|seen| seen.iter().filter(|one| one.body == b"hello").count() > number)
            .await;
        client.send(bad).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 400, "{bad:?}");
        assert!(answer.text().contains("Request id"), "{}", answer.text());
        assert!(closes(&mut client).await);
    }
    let mut client = connect(address).await;
    client.send(NEXT).await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(origin.seen().iter().filter(|one| one.whole).count(), 1);
}

#[tokio::test]
async fn bytes_that_are_no_http_pass_only_after_the_protocol_was_switched() {
    const ASK: &str =
        "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let accepted =
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi";
    let origin = Origin::start(|_, _| Reply::Early(accepted.to_vec())).await;
    let (_node, address) = guarded(&origin).await;
    for early in [false, true] {
        let mut client = connect(address).await;
        client.send(ASK).await;
        if early {
            client.send(b"\x81\x00\x00frames").await;
        }
        assert_eq!(client.answer().await.status, 101);
        if !early {
            client.send(b"\x81\x00\x00frames").await;
        }
        assert_eq!(client.bytes(2).await, b"hi", "early: {early}");
    }
    // Refused: what follows must be a request, even if the answer's body looks like an acceptance.
    let lies =
        "HTTP/1.1 200 OK\r\nContent-Length: 36\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n";
    let origin = Origin::start(move |_, _| Reply::Bytes(lies.as_bytes().to_vec())).await;
    let (_node, address) = guarded(&origin).await;
    for early in [false, true] {
        let mut client = connect(address).await;
        client.send(ASK).await;
        if early {
            client.send(b"\x81\x00\x00frames").await;
        }
        assert_eq!(client.answer().await.status, 200);
        if !early {
            client.send(b"\x81\x00\x00frames").await;
        }
        assert_eq!(client.answer().await.status, 400, "early: {early}");
        assert!(closes(&mut client).await);
    }
    let mut client = connect(address).await;
    client.send(ASK).await;
    client.send(NEXT).await;
    assert_eq!(
        (client.answer().await.status, client.answer().await.status),
        (200, 200)
    );
}

#[tokio::test]
async fn what_an_upgraded_client_sends_reaches_the_origin() {
    let origin = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let (_node, address) = {
        let node = Node::serving(Sites::one(origin.local_addr().expect("bound"))).await;
        let address = node.also_behind_door(LONG);
        (node, address)
    };
    let mut client = connect(address).await;
    client
        .send(
            "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly",
        )
        .await;
    let (mut socket, _) = origin.accept().await.expect("a connection");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert!(socket.read_buf(&mut head).await.expect("reads") > 0);
    }
    let switch =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    socket.write_all(switch.as_bytes()).await.expect("sends");
    assert_eq!(client.answer().await.status, 101);
    client.send(b"\r\n\0late").await;
    let mut came = Vec::new();
    while came.len() < 12 {
        assert!(socket.read_buf(&mut came).await.expect("reads") > 0);
    }
    assert_eq!(came, b"early\r\n\0late");
}

#[tokio::test]
async fn a_head_that_drips_is_cut_with_a_page() {
    let origin = Origin::ok("fine").await;
    let node = Node::serving(Sites::one(origin.address)).await;
    let address = node.also_behind_door(Duration::from_millis(150));
    let mut client = connect(address).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX: ").await;
    let (mut reading, mut writing) = client.0.into_split();
    let dripping = tokio::spawn(async move {
        // Each byte comes well within the time; all of them do not.
        while writing.write_all(b"y").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut came = Vec::new();
    while !came.ends_with(b"\n") || !came.windows(10).any(|part| part == b"Request id") {
        let read = tokio::time::timeout(DEADLINE, reading.read_buf(&mut came)).await;
        assert!(read.expect("in time").expect("an answer") > 0);
    }
    assert!(
        came.starts_with(b"HTTP/1.1 408 "),
        "{}",
        came.escape_ascii()
    );
    dripping.abort();
    assert!(origin.seen().is_empty());
    // One that is slow in its second request is cut as well, after its first answer.
    let mut client = connect(address).await;
    client.send(NEXT).await;
    assert_eq!(client.answer().await.status, 200);
    client.send("GET /").await;
    assert_eq!(client.answer().await.status, 408);
}

#[tokio::test]
async fn requests_in_pieces_and_many_at_once_are_served_in_order() {
    let origin = Origin::start(|seen, _| ok(seen.line())).await;
    let (_node, address) = guarded(&origin).await;
    let mut client = connect(address).await;
    let body = "z".repeat(70_000);
    let request = format!(
        "\r\nPOST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n11170\r\n{body}\r\n0\r\nT: u\r\n\r\n\
         POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /c HTTP/1.1\r\nHost: a\r\n\r\n"
    );
    client.send(request.repeat(3)).await;
    for _ in 0..3 {
        for expected in ["POST /a", "POST /b", "GET /c"] {
            let answer = client.answer().await;
            assert_eq!(
                (answer.status, answer.text()),
                (200, format!("{expected} HTTP/1.1"))
            );
        }
    }
    let seen = origin.seen();
    assert!(seen[0].body == format!("hello{body}").into_bytes() && seen[1].body == b"abc");
    assert!(
        seen.iter().all(|one| one.field("t").is_none()),
        "trailers end here"
    );
    for byte in NEXT.bytes() {
        client.send([byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.answer().await.text(), "GET /next HTTP/1.1");
}
