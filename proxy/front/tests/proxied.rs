//! Listeners of load balancers: each connection begins with a header of the PROXY protocol.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where it is surprised"
)]

mod support;

use aegis_front::DoorConfig;
use aegis_settings::model::{Listener, ProxyProtocol, TlsPreset::Intermediate};
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;
use support::{
    client, config, connect, ec_key, get, is_closed, plain, refused, send, start, store, tls, until,
};

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n";
const UNKNOWN: &[u8] = b"PROXY UNKNOWN\r\n";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn v2() -> Vec<u8> {
    let address = [
        &[0x20, 1, 0xd, 0xb8][..],
        &[0; 11],
        &[7],
        &[0; 16],
        &[0x12, 0x67, 1, 187],
    ]
    .concat();
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24"[..], &address].concat()
}

fn proxied(listener: Listener) -> Listener {
    Listener {
        proxy_protocol: ProxyProtocol::Required,
        ..listener
    }
}

fn door(listener: Listener) -> support::Running {
    let door = start(config(), &[proxied(listener)], store(&[("a", ec_key())]));
    door.trust(true);
    door
}

#[test]
fn a_trusted_peer_names_the_client_in_either_version_before_plain_http() {
    let door = door(plain());
    for (header, client) in [
        (V1.to_vec(), "192.0.2.7:4711"),
        (v2(), "[2001:db8::7]:4711"),
    ] {
        let mut tcp = door.connect();
        let peer = tcp.local_addr().unwrap();
        tcp.write_all(&header).unwrap();
        for _ in 0..2 {
            assert_eq!(
                get(&mut tcp, "/"),
                format!("plain peer={peer} client={client}\n")
            );
        }
    }
}

#[test]
fn header_and_request_may_come_in_one_piece_or_byte_by_byte() {
    let door = door(plain());
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for piece in [1, 7, 1000] {
        let mut tcp = door.connect();
        tcp.set_nodelay(true).unwrap();
        for part in [V1, request].concat().chunks(piece) {
            tcp.write_all(part).unwrap();
        }
        assert!(support::receive(&mut tcp).ends_with(" client=192.0.2.7:4711\n"));
    }
}

#[test]
fn the_handshake_of_tls_follows_the_header() {
    let door = door(tls(Intermediate, true));
    for (header, client_address) in [
        (V1.to_vec(), " client=192.0.2.7:4711"),
        (LOCAL.to_vec(), ""),
        (UNKNOWN.to_vec(), ""),
    ] {
        let mut tcp = door.connect();
        let peer = tcp.local_addr().unwrap();
        tcp.write_all(&header).unwrap();
        let mut configured = client().build().configure().unwrap();
        configured.set_verify_hostname(false);
        let mut stream = configured.connect("a", tcp).expect("a handshake");
        let body = get(&mut stream, "/");
        assert!(body.starts_with("TLSv1.3 "), "{body}");
        assert!(
            body.ends_with(&format!(" peer={peer}{client_address}\n")),
            "{body}"
        );
    }
}

/// Sends bytes, which must end the connection and be counted.
fn refuses(door: &support::Running, bytes: &[u8], reason: &str) {
    let before = refused(reason);
    let mut tcp = door.connect();
    tcp.write_all(bytes).unwrap();
    assert!(is_closed(&mut tcp), "{reason}");
    until(reason, || refused(reason) > before);
}

#[test]
fn what_is_no_header_ends_the_connection_and_is_counted() {
    let door = door(plain());
    refuses(&door, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "proxy_absent");
    refuses(
        &door,
        b"PROXY TCP4 1.2.3.4 nonsense 1 2\r\n",
        "proxy_malformed",
    );
    refuses(
        &door,
        &[&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat(),
        "proxy_too_long",
    );
    refuses(
        &door,
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        "proxy_too_long",
    );
    let before = refused("proxy_closed");
    drop(door.connect());
    until("a health check is counted", || {
        refused("proxy_closed") > before
    });
}

#[test]
fn a_peer_that_is_not_trusted_is_not_let_in_however_good_its_header_is() {
    let door = door(plain());
    door.trust(false);
    refuses(&door, V1, "proxy_untrusted");
    door.trust(true);
    let mut tcp = door.connect();
    tcp.write_all(V1).unwrap();
    assert!(get(&mut tcp, "/").contains("client=192.0.2.7"));
}

#[test]
fn a_header_that_does_not_come_in_time_is_given_up() {
    let config = DoorConfig {
        hello_timeout: Duration::from_millis(50),
        ..config()
    };
    let door = start(config, &[proxied(plain())], store(&[("a", ec_key())]));
    door.trust(true);
    for half in [&b""[..], &V1[..20], &LOCAL[..14]] {
        refuses(&door, half, "proxy_timeout");
    }
}

#[test]
fn without_the_key_a_header_is_a_bad_request() {
    let door = start(config(), &[plain()], store(&[("a", ec_key())]));
    door.trust(true);
    let mut tcp: TcpStream = connect(door.address());
    tcp.write_all(V1).unwrap();
    send(&mut tcp, "/");
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut tcp, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("\r\n\r\nversion "), "{answer}");
}
