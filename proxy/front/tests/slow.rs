//! Clients that keep us waiting, in all the ways there are: each is cut and counted, and others are served meanwhile.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where it is surprised"
)]

mod support;

use aegis_front::DoorConfig;
use aegis_settings::model::TlsPreset::Intermediate;
use aegis_testkit::h2::code::{ENHANCE_YOUR_CALM, NO_ERROR};
use aegis_testkit::h2::kind::{DATA, HEADERS, PING, RST_STREAM, SETTINGS};
use aegis_testkit::h2::{END_STREAM, Frame, frame, head, window_update};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::{
    DEADLINE, Running, client, config, cut, ec_key, get, is_closed, metric, plain, receive,
    refused, requests_refused, send, shake, start, store, tls, until,
};

const SHORT: Duration = Duration::from_millis(400);
/// Between two drips.
const DRIP: Duration = Duration::from_millis(10);

/// A plain listener and one with TLS.
fn both(config: DoorConfig) -> Running {
    start(
        config,
        &[plain(), tls(Intermediate, true)],
        store(&[("a", ec_key())]),
    )
}

/// Sends byte after byte until the other side closes, while another client is served; gives what came.
fn dripped(door: &Running, tcp: &mut TcpStream, bytes: impl IntoIterator<Item = u8>) -> String {
    tcp.set_read_timeout(Some(Duration::from_millis(1)))
        .unwrap();
    let mut other = door.connect();
    let mut came = Vec::new();
    let begin = Instant::now();
    for byte in bytes {
        assert!(begin.elapsed() < DEADLINE, "it is never cut");
        // Who is cut may learn it from either.
        let mut gone = tcp.write_all(&[byte]).is_err();
        let mut buffer = [0; 1024];
        match tcp.read(&mut buffer) {
            Ok(0) => gone = true,
            Ok(read) => came.extend_from_slice(&buffer[..read]),
            Err(error) => {
                gone |= !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            }
        }
        if gone {
            return String::from_utf8(came).unwrap();
        }
        get(&mut other, "/");
        sleep(DRIP);
    }
    panic!("it was let go on to its end");
}

#[test]
fn a_client_hello_in_drips_is_cut() {
    let door = both(DoorConfig {
        hello_timeout: SHORT,
        ..config()
    });
    let before = refused("hello_timeout");
    let mut tcp = support::connect(door.addresses[1]);
    // A record of 16 KiB that begins a ClientHello.
    let hello = b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03";
    let endless = hello.iter().copied().chain(std::iter::repeat(7));
    dripped(&door, &mut tcp, endless.take(16_000));
    until("it is counted", || refused("hello_timeout") == before + 1);
    let mut silent = support::connect(door.addresses[1]);
    assert!(
        is_closed(&mut silent),
        "nor is one that never begins waited for"
    );
    until("it is counted", || refused("hello_timeout") == before + 2);
}

#[test]
fn a_handshake_that_stops_half_way_is_cut_by_its_own_time() {
    let door = both(DoorConfig {
        hello_timeout: SHORT / 4,
        handshake_timeout: SHORT,
        ..config()
    });
    let before = refused("handshake_timeout");
    let (mut ours, hello) = hello_of_a_client();
    let mut tcp = support::connect(door.addresses[1]);
    tcp.write_all(&hello).unwrap();
    let mut bytes = Vec::new();
    // The server's part comes; ours never does.
    ours.get_mut().read_only = true;
    match tcp.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    assert!(!bytes.is_empty());
    until("it is counted", || {
        refused("handshake_timeout") == before + 1
    });
}

/// Memory in the place of a socket.
#[derive(Debug, Default)]
struct Kept {
    sent: Vec<u8>,
    read_only: bool,
}

impl Read for Kept {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.sent.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn hello_of_a_client() -> (boring::ssl::MidHandshakeSslStream<Kept>, Vec<u8>) {
    let configured = client().build().configure().unwrap();
    match configured.connect("a", Kept::default()) {
        Err(boring::ssl::HandshakeError::WouldBlock(middle)) => {
            let hello = middle.get_ref().sent.clone();
            (middle, hello)
        }
        _ => panic!("a handshake without an answer"),
    }
}

#[test]
fn a_head_in_drips_gets_408_also_after_another_request() {
    let door = both(DoorConfig {
        head_timeout: SHORT,
        ..config()
    });
    for first in [false, true] {
        let before = requests_refused("head_timeout");
        let mut tcp = door.connect();
        if first {
            get(&mut tcp, "/");
        }
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nX: ";
        let endless = head.iter().copied().chain(std::iter::repeat(b'x'));
        let answer = dripped(&door, &mut tcp, endless.take(10_000));
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert_eq!(requests_refused("head_timeout"), before + 1);
    }
}

#[test]
fn a_body_in_drips_is_cut_however_it_is_framed() {
    let door = both(DoorConfig {
        read_timeout: SHORT,
        receive_rate_min: 10_000,
        ..config()
    });
    for (framing, body) in [
        ("Content-Length: 9999999", ""),
        ("Transfer-Encoding: chunked", "fffff\r\n"),
    ] {
        let before = requests_refused("body_rate");
        let mut tcp = door.connect();
        let head = format!("POST /body HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{body}");
        tcp.write_all(head.as_bytes()).unwrap();
        dripped(&door, &mut tcp, std::iter::repeat_n(b'x', 10_000));
        assert_eq!(requests_refused("body_rate"), before + 1, "{framing}");
    }
}

#[test]
fn without_a_rate_drips_are_a_body_until_its_whole_time_is_over() {
    let door = both(DoorConfig {
        read_timeout: SHORT,
        body_timeout: 3 * SHORT,
        ..config()
    });
    let before = requests_refused("body_timeout");
    let mut tcp = door.connect();
    send_post(&mut tcp, 9_999_999);
    let begin = Instant::now();
    dripped(&door, &mut tcp, std::iter::repeat_n(b'x', 10_000));
    assert!(begin.elapsed() >= 3 * SHORT);
    assert_eq!(requests_refused("body_timeout"), before + 1);
}

fn send_post(tcp: &mut TcpStream, length: usize) {
    let head = format!("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    tcp.write_all(head.as_bytes()).unwrap();
}

#[test]
fn a_slow_body_that_keeps_the_rate_arrives_whole() {
    let door = both(DoorConfig {
        read_timeout: SHORT,
        receive_rate_min: 100,
        ..config()
    });
    let mut tcp = door.connect();
    let begin = Instant::now();
    send_post(&mut tcp, 200_000);
    let mut sent = 0;
    while begin.elapsed() < 3 * SHORT {
        tcp.write_all(&[b'x'; 100]).unwrap();
        sent += 100;
        sleep(DRIP);
    }
    tcp.write_all(&vec![b'x'; 200_000 - sent]).unwrap();
    assert_eq!(receive(&mut tcp), "200000 bytes\n");
    assert_eq!(get(&mut tcp, "/").split(' ').next(), Some("plain"));
}

#[test]
fn an_answer_taken_in_drips_is_cut() {
    let door = both(DoorConfig {
        write_timeout: SHORT,
        send_rate_min: 1 << 30,
        ..config()
    });
    let before = cut("slow_reader");
    let mut tcp = door.connect();
    send(&mut tcp, "/large");
    let mut other = door.connect();
    let mut buffer = [0; 100_000];
    let begin = Instant::now();
    while cut("slow_reader") == before {
        assert!(begin.elapsed() < DEADLINE, "it is never cut");
        // Each time it takes some, so that a time-out for each wait would begin anew.
        drop(tcp.read(&mut buffer));
        get(&mut other, "/");
        sleep(DRIP);
    }
}

#[test]
fn a_stream_of_events_that_has_nothing_to_say_goes_on() {
    let door = both(DoorConfig {
        read_timeout: SHORT / 4,
        write_timeout: SHORT / 4,
        idle_timeout: SHORT / 4,
        head_timeout: SHORT / 4,
        body_timeout: SHORT / 4,
        receive_rate_min: 1000,
        send_rate_min: 1000,
        ..config()
    });
    let mut tcp = door.connect();
    send(&mut tcp, "/events");
    let mut h2 = support::h2(door.addresses[1], None);
    h2.ask(1, "/events");
    until("both have begun", || {
        door.app.held.load(Ordering::SeqCst) == 2
    });
    sleep(SHORT);
    door.go();
    assert_eq!(receive(&mut tcp), "onetwo");
    h2.end_of(1);
}

#[test]
fn half_a_list_of_fields_over_http2_is_cut() {
    let door = both(DoorConfig {
        head_timeout: SHORT,
        ..config()
    });
    let fields = head("GET", "a", "/");
    let without_end = frame(HEADERS, END_STREAM, 1, &fields);
    let in_drips = frame(HEADERS, END_STREAM | 4, 1, &fields);
    for bytes in [&without_end[..], &in_drips[..15]] {
        let before = cut("h2_head_timeout");
        let mut other = door.connect();
        let mut h2 = support::h2(door.addresses[1], None);
        h2.send(bytes);
        let code = h2.closes(|_| drop(get(&mut other, "/")));
        assert_eq!(code, Some(ENHANCE_YOUR_CALM));
        assert_eq!(cut("h2_head_timeout"), before + 1);
    }
}

fn is_reset(stream: u32) -> impl Fn(&Frame) -> bool {
    move |frame| frame.kind == RST_STREAM && frame.stream == stream
}

#[test]
fn a_stream_whose_body_comes_in_drips_is_reset_and_its_connection_goes_on() {
    let door = both(DoorConfig {
        read_timeout: SHORT,
        receive_rate_min: 10_000,
        ..config()
    });
    for drip in [&b""[..], b"x"] {
        let before = requests_refused("body_rate");
        let mut other = door.connect();
        let mut h2 = support::h2(door.addresses[1], None);
        h2.post(1, "/body");
        let reset = h2.wait("RST_STREAM", is_reset(1), |h2| {
            if !drip.is_empty() {
                h2.send(&frame(DATA, 0, 1, drip));
            }
            get(&mut other, "/");
        });
        assert_eq!(reset.code(), ENHANCE_YOUR_CALM);
        assert_eq!(requests_refused("body_rate"), before + 1);
        h2.get(3, "/");
        // What was under way when it was reset does no harm.
        h2.send(&frame(DATA, END_STREAM, 1, b"late"));
        h2.get(5, "/");
    }
}

#[test]
fn a_frame_in_drips_ends_its_connection() {
    let door = both(DoorConfig {
        read_timeout: SHORT,
        receive_rate_min: 10_000,
        ..config()
    });
    let before = cut("h2_body_rate");
    let mut other = door.connect();
    let mut h2 = support::h2(door.addresses[1], None);
    h2.post(1, "/body");
    h2.send(&frame(DATA, END_STREAM, 1, &[0; 16_000])[..20]);
    let code = h2.closes(|h2| {
        h2.send(b"x");
        get(&mut other, "/");
    });
    assert_eq!(code, Some(ENHANCE_YOUR_CALM));
    assert_eq!(cut("h2_body_rate"), before + 1);
}

#[test]
fn a_window_that_is_never_opened_ends_its_stream_alone() {
    let door = both(DoorConfig {
        write_timeout: SHORT,
        send_rate_min: 10_000,
        ..config()
    });
    let before = requests_refused("slow_reader");
    let mut h2 = support::h2(door.addresses[1], Some(0));
    h2.ask(1, "/large");
    let reset = h2.wait("RST_STREAM", is_reset(1), |_| {});
    assert_eq!(reset.code(), ENHANCE_YOUR_CALM);
    assert_eq!(requests_refused("slow_reader"), before + 1);
    h2.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]));
    h2.get(3, "/");
}

#[test]
fn a_window_that_is_opened_in_drips_ends_its_stream_alone() {
    let door = both(DoorConfig {
        write_timeout: SHORT,
        send_rate_min: 10_000,
        ..config()
    });
    // The stream's window, and the connection's.
    for dripping in [1, 0] {
        let before = requests_refused("slow_reader");
        let window = if dripping == 1 { 0 } else { 1 << 30 };
        let mut h2 = support::h2(door.addresses[1], Some(window));
        h2.ask(1, "/large");
        let reset = h2.wait("RST_STREAM", is_reset(1), |h2| {
            // Far more often than the guard looks at its streams by itself.
            h2.send(&window_update(dripping, 1));
        });
        assert_eq!(reset.code(), ENHANCE_YOUR_CALM);
        assert_eq!(requests_refused("slow_reader"), before + 1);
        h2.send(&window_update(0, 1 << 20));
        h2.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]));
        h2.get(3, "/");
    }
}

#[test]
fn a_window_that_is_used_up_harms_nobody_whose_answers_are_complete() {
    let door = both(DoorConfig {
        write_timeout: SHORT,
        send_rate_min: 10_000,
        ..config()
    });
    let before = requests_refused("slow_reader");
    let mut h2 = support::h2(door.addresses[1], None);
    h2.get(1, "/window");
    // All of the connection's window is gone, and for as long as it likes the client has no need of more.
    let begin = Instant::now();
    while begin.elapsed() < 3 * SHORT {
        assert_eq!(h2.look(), None);
    }
    assert!(!h2.is_closed());
    h2.send(&window_update(0, 1000));
    h2.get(3, "/");
    assert_eq!(requests_refused("slow_reader"), before);
}

#[test]
fn the_whole_time_of_a_body_goes_on_while_its_client_cannot_send() {
    let door = both(DoorConfig {
        body_timeout: SHORT,
        ..config()
    });
    let before = requests_refused("body_timeout");
    let mut h2 = support::h2(door.addresses[1], None);
    // Nobody reads this body, so that it has no window any more.
    h2.post(1, "/hold");
    for _ in 0..3 {
        h2.send(&frame(DATA, 0, 1, &[0; 16_384]));
    }
    h2.send(&frame(DATA, 0, 1, &[0; 16_383]));
    let reset = h2.wait("RST_STREAM", is_reset(1), |_| {});
    assert_eq!(reset.code(), ENHANCE_YOUR_CALM);
    assert_eq!(requests_refused("body_timeout"), before + 1);
}

#[test]
fn a_connection_of_http2_without_streams_is_ended_by_goaway_whatever_it_pings() {
    let door = both(DoorConfig {
        idle_timeout: SHORT,
        ..config()
    });
    for (requests, pings) in [(0, false), (1, false), (1, true)] {
        let before = metric("aegis_connections_closed_idle_total");
        let mut h2 = support::h2(door.addresses[1], None);
        for n in 0..requests {
            h2.get(2 * n + 1, "/");
        }
        let code = h2.closes(|h2| {
            if pings {
                h2.send(&frame(PING, 0, 0, &[0; 8]));
            }
        });
        assert_eq!(code, Some(NO_ERROR));
        assert_eq!(metric("aegis_connections_closed_idle_total"), before + 1);
    }
}

#[test]
fn a_preface_in_drips_is_cut() {
    let door = both(DoorConfig {
        idle_timeout: SHORT,
        ..config()
    });
    let before = refused("silent");
    let mut builder = client();
    builder.set_alpn_protos(b"\x02h2").unwrap();
    let mut stream = shake(builder, "a", door.addresses[1]).unwrap();
    for byte in b"PRI * HTTP/2.0\r\n" {
        stream.write_all(&[*byte]).ok();
        sleep(DRIP);
    }
    assert!(is_closed(&mut stream));
    until("it is counted", || refused("silent") == before + 1);
}
