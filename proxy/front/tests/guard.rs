//! What the guard does with whole connections.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where it is surprised"
)]

mod support;

use aegis_front::DoorConfig;
use aegis_settings::model::TlsPreset::Intermediate;
use aegis_testkit::h2::{PREFACE, frame, kind};
use boring::ssl::SslStream;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;
use support::{
    Running, client, config, ec_key, get, metric, plain, receive, shake, start, store, tls, until,
};

fn counted(reason: &str) -> u64 {
    metric(&format!(
        "aegis_requests_refused_total{{reason=\"{reason}\"}}"
    ))
}

fn cut(reason: &str) -> u64 {
    metric(&format!(
        "aegis_connections_cut_total{{reason=\"{reason}\"}}"
    ))
}

fn both() -> Running {
    start(
        config(),
        &[plain(), tls(Intermediate, true)],
        store(&[("a", ec_key())]),
    )
}

/// All that comes until the end.
fn rest(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_refusal_is_answered_by_the_app_counted_and_the_last_thing_said() {
    let door = both();
    let before = counted("host_missing");
    let mut tcp = door.connect();
    get(&mut tcp, "/");
    tcp.write_all(b"GET / HTTP/1.1\r\n\r\nGET /never HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    tcp.shutdown(Shutdown::Write).unwrap();
    let answer = rest(&mut tcp);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.ends_with("host_missing 50"), "{answer}");
    assert_eq!(counted("host_missing"), before + 1);
    let mut over_tls = shake(client(), "a", door.addresses[1]).unwrap();
    get(&mut over_tls, "/");
    over_tls
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n")
        .unwrap();
    let answer = rest(&mut over_tls);
    assert!(answer.contains("field_space"), "{answer}");
}

#[test]
fn a_client_that_goes_on_sending_still_reads_the_refusal() {
    let door = both();
    let mut tcp = door.connect();
    let mut writing = tcp.try_clone().unwrap();
    writing
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n")
        .unwrap();
    let more = std::thread::spawn(move || {
        for _ in 0..100 {
            if writing.write_all(&[b'x'; 65_536]).is_err() {
                return;
            }
        }
        writing.shutdown(Shutdown::Write).unwrap();
    });
    let answer = rest(&mut tcp);
    assert!(answer.starts_with("HTTP/1.1 501 "), "{answer}");
    more.join().unwrap();
}

#[test]
fn a_head_that_drips_is_answered_and_cut() {
    let door = start(
        DoorConfig {
            head_timeout: Duration::from_millis(200),
            ..config()
        },
        &[plain()],
        store(&[]),
    );
    let mut tcp = door.connect();
    // Never more than a tenth of the time between two bytes.
    let mut writing = tcp.try_clone().unwrap();
    let dripping = std::thread::spawn(move || {
        let drops = b"GET / HTTP/1.1\r\nHost: a\r\nX: "
            .iter()
            .chain(std::iter::repeat(&b'y'));
        for drop in drops {
            if writing.write_all(&[*drop]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let mut begin = [0; 12];
    tcp.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"HTTP/1.1 408");
    tcp.shutdown(Shutdown::Both).unwrap();
    dripping.join().unwrap();
}

#[test]
fn a_request_in_pieces_and_one_behind_another_are_served() {
    let door = both();
    let mut tcp = door.connect();
    tcp.write_all(b"\r\nGET / HTTP/1.1\r\nHo").unwrap();
    std::thread::yield_now();
    tcp.write_all(b"st: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n")
        .unwrap();
    receive(&mut tcp);
    receive(&mut tcp);
    tcp.write_all(b"Host: a\r\n\r\n").unwrap();
    receive(&mut tcp);
    assert!(get(&mut tcp, "/").starts_with("plain"));
}

fn http2(door: &Running) -> SslStream<TcpStream> {
    let mut builder = client();
    builder.set_alpn_protos(b"\x02h2").unwrap();
    let mut stream = shake(builder, "a", door.addresses[1]).unwrap();
    stream.write_all(PREFACE).unwrap();
    stream.write_all(&frame(kind::SETTINGS, 0, 0, b"")).unwrap();
    stream
}

#[test]
fn a_flood_of_frames_cuts_the_connection_and_is_counted() {
    let door = both();
    let before = cut("h2_settings_flood");
    let mut stream = http2(&door);
    let flood = frame(kind::SETTINGS, 0, 0, b"").repeat(200);
    // It may be cut while it still sends.
    stream.write_all(&flood).ok();
    until("it is cut", || cut("h2_settings_flood") == before + 1);
    assert_eq!(door.told(), ["h2_settings_flood"]);
    let mut came = [0; 4096];
    while stream.read(&mut came).is_ok_and(|read| read > 0) {}
}

#[test]
fn pings_of_a_calm_client_are_answered() {
    let door = both();
    let mut stream = http2(&door);
    let mut came = Vec::new();
    for round in 0..50_u8 {
        stream
            .write_all(&frame(kind::PING, 0, 0, &[round; 8]))
            .unwrap();
        let pong = frame(kind::PING, 1, 0, &[round; 8]);
        while !came.windows(17).any(|part| part == pong) {
            let mut part = [0; 256];
            let read = stream.read(&mut part).unwrap();
            assert!(read > 0);
            came.extend_from_slice(&part[..read]);
        }
    }
}
