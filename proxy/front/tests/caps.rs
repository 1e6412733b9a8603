//! How many connections there may be, who goes for a new one, and how long one may last.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where it is surprised"
)]

mod support;

use aegis_certs::CertStore;
use aegis_front::DoorConfig;
use aegis_settings::model::TlsPreset::Intermediate;
use aegis_testkit::h2::code::NO_ERROR;
use aegis_testkit::h2::kind::GOAWAY;
use std::io::Read;
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::{
    Running, client, config, ec_key, get, is_closed, metric, plain, receive, refused, send, shake,
    start, store, tls, until,
};

fn door(config: DoorConfig) -> Running {
    start(config, &[plain()], CertStore::default())
}

/// A connection with a request that is not answered.
fn busy(door: &Running) -> TcpStream {
    let before = door.app.held.load(Ordering::SeqCst);
    let mut tcp = door.connect();
    send(&mut tcp, "/hold");
    until("the request is in flight", || {
        door.app.held.load(Ordering::SeqCst) > before
    });
    tcp
}

/// A connection that has had an answer and waits.
fn idle(door: &Running) -> TcpStream {
    let mut tcp = door.connect();
    get(&mut tcp, "/");
    tcp
}

#[test]
fn at_the_cap_the_connection_goes_that_is_idle_for_longest() {
    let door = door(DoorConfig {
        connections_max: 4,
        ..config()
    });
    let before = (
        refused("cap"),
        metric("aegis_limit_hits_total{limit=\"node.client.connections_max\"}"),
    );
    let mut first = idle(&door);
    let mut at_work = busy(&door);
    let mut second = idle(&door);
    let mut silent = door.connect();
    let mut new = idle(&door);
    assert!(is_closed(&mut first), "the one that is idle for longest");
    let mut newer = idle(&door);
    assert!(is_closed(&mut second), "then the next one");
    let mut newest = idle(&door);
    assert!(is_closed(&mut silent), "one that never asked is idle too");
    get(&mut new, "/");
    get(&mut newer, "/");
    get(&mut newest, "/");
    door.go();
    assert!(receive(&mut at_work).starts_with("plain"));
    assert_eq!(refused("cap"), before.0);
    let hits = metric("aegis_limit_hits_total{limit=\"node.client.connections_max\"}");
    assert_eq!(hits, before.1 + 3);
}

#[test]
fn at_the_cap_without_an_idle_connection_a_new_one_is_closed_and_counted() {
    let door = door(DoorConfig {
        connections_max: 2,
        ..config()
    });
    let before = refused("cap");
    let mut both = [busy(&door), busy(&door)];
    assert!(is_closed(&mut door.connect()));
    until("it is counted", || refused("cap") == before + 1);
    door.go();
    for one in &mut both {
        assert!(receive(one).starts_with("plain"));
    }
    idle(&door);
}

#[test]
fn a_connection_of_http2_goes_only_without_streams_and_is_told_so() {
    let door = start(
        DoorConfig {
            connections_max: 2,
            ..config()
        },
        &[tls(Intermediate, true)],
        store(&[("a", ec_key())]),
    );
    let mut at_work = support::h2(door.address(), None);
    at_work.ask(1, "/hold");
    until("the request is in flight", || {
        door.app.held.load(Ordering::SeqCst) == 1
    });
    let mut idle = support::h2(door.address(), None);
    idle.get(1, "/");
    let mut new = support::h2(door.address(), None);
    new.get(1, "/");
    assert_eq!(idle.closes(|_| {}), Some(NO_ERROR));
    door.go();
    at_work.end_of(1);
}

#[test]
fn an_address_has_so_many_connections_and_not_one_more() {
    let door = door(DoorConfig {
        connections_per_address: 2,
        ..config()
    });
    let before = refused("address_cap");
    let (first, mut second) = (idle(&door), idle(&door));
    assert!(is_closed(&mut door.connect()));
    until("it is counted", || refused("address_cap") == before + 1);
    get(&mut second, "/");
    drop(first);
    until("its place is free again", || {
        let mut next = door.connect();
        send(&mut next, "/");
        !is_closed(&mut next)
    });
}

#[test]
fn who_names_a_site_that_is_full_is_let_go_after_the_handshake() {
    let door = start(
        config(),
        &[tls(Intermediate, true)],
        store(&[("full", ec_key())]),
    );
    let before = refused("site_cap");
    let mut full = shake(client(), "full", door.address()).unwrap();
    assert!(is_closed(&mut full));
    until("it is counted", || refused("site_cap") == before + 1);
    let mut other = shake(client(), "other", door.address()).unwrap();
    get(&mut other, "/");
}

#[test]
fn a_connection_past_its_age_ends_with_its_next_answer() {
    let door = door(DoorConfig {
        connection_age_max: Duration::from_millis(200),
        ..config()
    });
    let mut tcp = door.connect();
    let mut answers = 0;
    until("an answer says that it is the last", || {
        answers += 1;
        let head = head_of(&mut tcp);
        get_rest(&mut tcp, &head);
        head.contains("connection: close")
    });
    assert!(answers > 1, "a young one goes on");
    assert!(is_closed(&mut tcp));
    assert!(metric("aegis_connections_aged_total") > 0);
}

/// Asks, and reads the head of the answer.
fn head_of(tcp: &mut TcpStream) -> String {
    send(tcp, "/");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tcp.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

fn get_rest(tcp: &mut TcpStream, head: &str) {
    let length = head.split("content-length: ").nth(1).unwrap();
    let length = length.split("\r\n").next().unwrap().parse().unwrap();
    tcp.read_exact(&mut vec![0; length]).unwrap();
}

#[test]
fn a_connection_of_http2_past_its_age_is_told_and_its_streams_finish() {
    let door = start(
        DoorConfig {
            connection_age_max: Duration::from_millis(200),
            ..config()
        },
        &[tls(Intermediate, true)],
        store(&[("a", ec_key())]),
    );
    let mut h2 = support::h2(door.address(), None);
    h2.ask(1, "/hold");
    let away = h2.wait("GOAWAY", |frame| frame.kind == GOAWAY, |_| {});
    assert_eq!(away.code(), NO_ERROR);
    door.go();
    h2.end_of(1);
    // It never acknowledges the PING behind the GOAWAY, and is not waited for without end.
    h2.closes(|_| {});
}
