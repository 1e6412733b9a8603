//! How connections begin, wait and end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where it is surprised"
)]

mod support;

use aegis_front::{DoorConfig, Drained};
use aegis_settings::model::TlsPreset::Intermediate;
use aegis_testkit::h2::code::NO_ERROR;
use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::{
    client, config, connect, ec_key, get, is_closed, metric, plain, receive, refused, send, shake,
    start, store, tls, try_start, until,
};

const SHORT: Duration = Duration::from_millis(100);

fn none() -> aegis_certs::CertStore {
    aegis_certs::CertStore::default()
}

#[test]
fn a_connection_serves_many_requests() {
    let door = start(config(), &[plain()], none());
    let mut tcp = door.connect();
    let peer = tcp.local_addr().unwrap();
    for _ in 0..3 {
        assert_eq!(get(&mut tcp, "/"), format!("plain peer={peer}\n"));
    }
}

#[test]
fn a_client_that_never_shakes_hands_is_closed() {
    let door = start(
        DoorConfig {
            handshake_timeout: SHORT,
            ..config()
        },
        &[tls(Intermediate, true)],
        store(&[("a", ec_key())]),
    );
    let before = refused("handshake_timeout");
    assert!(is_closed(&mut door.connect()));
    until("it is counted", || refused("handshake_timeout") > before);
    until("it is told", || door.told() == ["handshake_timeout"]);
    // One that goes on and on is closed as well.
    let mut dripping = door.connect();
    dripping.write_all(b"\x16\x03\x01").unwrap();
    assert!(is_closed(&mut dripping));
}

#[test]
fn a_client_that_never_asks_is_closed() {
    let door = start(
        DoorConfig {
            idle_timeout: SHORT,
            ..config()
        },
        &[plain(), tls(Intermediate, true)],
        store(&[("a", ec_key())]),
    );
    let before = refused("silent");
    assert!(is_closed(&mut door.connect()));
    until("it is counted", || refused("silent") > before);
    let mut shaken = shake(client(), "a", door.addresses[1]).unwrap();
    assert!(is_closed(&mut shaken));
    until("both are told", || door.told() == ["silent", "silent"]);
}

#[test]
fn half_a_preface_of_http2_is_not_waited_for_without_end() {
    let door = start(
        DoorConfig {
            idle_timeout: SHORT,
            ..config()
        },
        &[tls(Intermediate, true)],
        store(&[("a", ec_key())]),
    );
    let mut h2 = client();
    h2.set_alpn_protos(b"\x02h2").unwrap();
    let mut stream = shake(h2, "a", door.address()).unwrap();
    stream.write_all(b"PRI * HTTP/2").unwrap();
    assert!(is_closed(&mut stream));
}

#[test]
fn at_a_stop_idle_connections_close_at_once_and_requests_in_flight_finish() {
    let door = start(config(), &[plain()], none());
    let address = door.address();
    let (mut fresh, mut idle, mut busy) = (door.connect(), door.connect(), door.connect());
    get(&mut idle, "/");
    send(&mut busy, "/hold");
    until("the request is in flight", || {
        door.app.held.load(Ordering::SeqCst) == 1
    });
    door.say_stop();
    assert!(is_closed(&mut idle), "between two requests");
    assert!(is_closed(&mut fresh), "before the first");
    until("nobody is let in any more", || {
        std::net::TcpStream::connect(address).is_err()
    });
    door.go();
    assert!(receive(&mut busy).starts_with("plain"));
    assert!(is_closed(&mut busy), "it has served its last");
    let drained = door.drained();
    assert_eq!(drained.cut, 0);
    assert!(drained.finished >= 1, "{drained:?}");
}

#[test]
fn at_a_stop_a_request_in_flight_over_http2_finishes_and_its_connection_ends() {
    let door = start(
        config(),
        &[tls(Intermediate, true)],
        store(&[("a", ec_key())]),
    );
    let curl = std::process::Command::new("curl")
        .args(["-sk", "--http2", "--max-time", "30"])
        .arg(format!("https://{}/hold", door.address()))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    until("the request is in flight", || {
        door.app.held.load(Ordering::SeqCst) == 1
    });
    door.say_stop();
    door.go();
    let answer = curl.wait_with_output().unwrap();
    assert!(answer.status.success());
    let answer = String::from_utf8(answer.stdout).unwrap();
    assert!(answer.contains("alpn=h2 "), "{answer}");
    assert_eq!(door.drained().cut, 0);
}

#[test]
fn at_a_stop_an_idle_connection_of_http2_is_told_and_closed() {
    let door = start(
        DoorConfig {
            idle_timeout: 10 * support::DEADLINE,
            grace: 10 * support::DEADLINE,
            ..config()
        },
        &[tls(Intermediate, true)],
        store(&[("a", ec_key())]),
    );
    let mut h2 = support::h2(door.address(), None);
    h2.get(1, "/");
    door.say_stop();
    assert_eq!(h2.closes(|_| {}), Some(NO_ERROR));
    assert_eq!(door.drained().cut, 0);
}

#[test]
fn after_the_grace_the_rest_is_cut_and_counted() {
    let door = start(
        DoorConfig {
            grace: SHORT,
            ..config()
        },
        &[plain(), tls(Intermediate, true)],
        store(&[("a", ec_key())]),
    );
    let mut busy = door.connect();
    send(&mut busy, "/hold");
    let mut encrypted = shake(client(), "a", door.addresses[1]).unwrap();
    send(&mut encrypted, "/hold");
    until("the requests are in flight", || {
        door.app.held.load(Ordering::SeqCst) == 2
    });
    assert_eq!(
        door.drained(),
        Drained {
            finished: 0,
            cut: 2
        }
    );
    assert!(is_closed(&mut busy));
}

#[test]
fn open_connections_are_shown() {
    let door = start(config(), &[plain()], none());
    let accepted = metric("aegis_connections_accepted_total");
    let mut tcp = door.connect();
    get(&mut tcp, "/");
    assert!(metric("aegis_connections_open") >= 1);
    assert!(metric("aegis_connections_accepted_total") > accepted);
}

#[test]
fn a_listener_for_all_addresses_tells_ipv4_clients_by_their_address() {
    let mut all = plain();
    all.address = "[::]:0".parse().unwrap();
    let door = start(config(), &[all], none());
    let port = door.address().port();
    for address in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        let mut tcp = connect(address.parse().unwrap());
        let peer = tcp.local_addr().unwrap();
        assert_eq!(get(&mut tcp, "/"), format!("plain peer={peer}\n"));
    }
}

#[test]
fn if_one_address_cannot_be_had_none_is() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut second = plain();
    second.address = taken.local_addr().unwrap();
    let error = try_start(config(), &[plain(), second], none())
        .err()
        .unwrap();
    assert!(error.to_string().contains("already in use"), "{error}");
}
