//! Floods of frames and streams that HTTP/2 forbids, over TLS: cut or reset, counted, and written down.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where it is surprised"
)]

use aegis_testkit::h2::{self, END_HEADERS, END_STREAM, frame, kind};
use aegis_testkit::{Aegis, Origin, Reply, eventually};
use e2e::tls::http2;
use std::io::{Read, Write};

/// Sends the frames after a beginning, and reads until the connection ends.
fn flood(aegis: &Aegis, frames: &[u8]) {
    let mut stream = http2(aegis.tls(), "shop.test").unwrap();
    let bytes = [h2::PREFACE, &frame(kind::SETTINGS, 0, 0, &[]), frames].concat();
    // It may be cut while it still sends.
    for part in bytes.chunks(8 * 1024) {
        if stream.write_all(part).is_err() {
            break;
        }
    }
    let mut came = [0; 16 * 1024];
    while stream.read(&mut came).is_ok_and(|read| read > 0) {}
}

fn head(stream: u32, flags: u8) -> Vec<u8> {
    let get = h2::get(stream, "shop.test", "/");
    frame(kind::HEADERS, flags, stream, &get[9..])
}

#[test]
fn each_flood_of_frames_ends_its_connection_and_has_a_counter_and_a_line() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let aegis = Aegis::before(&origin).start();
    let streams = |count: u32| (0..count).map(|n| 2 * n + 1);
    let open = || head(1, END_HEADERS);
    let rapid: Vec<u8> = streams(600)
        .flat_map(|id| {
            [
                head(id, END_HEADERS | END_STREAM),
                frame(kind::RST_STREAM, 0, id, &[0, 0, 0, 8]),
            ]
            .concat()
        })
        .collect();
    // A window past 2^31-1 is an error of its stream (RFC 9113 §6.9.1), which the server then has to reset.
    let made: Vec<u8> = streams(700)
        .flat_map(|id| {
            [
                head(id, END_HEADERS),
                frame(kind::WINDOW_UPDATE, 0, id, &[0x7f, 0xff, 0xff, 0xff]),
            ]
            .concat()
        })
        .collect();
    let priority = frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 9]);
    let continued = [head(1, 0), frame(kind::CONTINUATION, 0, 1, &[]).repeat(20)].concat();
    let floods: [(&str, Vec<u8>); 9] = [
        (
            "h2_ping_flood",
            frame(kind::PING, 0, 0, &[7; 8]).repeat(2_500),
        ),
        (
            "h2_settings_flood",
            frame(kind::SETTINGS, 0, 0, &[]).repeat(200),
        ),
        ("h2_continuation_flood", continued),
        ("h2_priority_flood", priority.repeat(2_500)),
        (
            "h2_empty_data_flood",
            [open(), frame(kind::DATA, 0, 1, &[]).repeat(200)].concat(),
        ),
        (
            "h2_window_update_flood",
            frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]).repeat(2_500),
        ),
        ("h2_unknown_flood", frame(77, 0, 0, &[1]).repeat(1_500)),
        ("h2_reset_flood", rapid),
        ("h2_made_reset_flood", made),
    ];
    for (reason, frames) in floods {
        let before = aegis.metrics();
        flood(&aegis, &frames);
        // The h2 crate has bounds of its own, below ours for streams reset before anybody took them.
        let counted = eventually(format!("{reason} is counted"), || {
            let now = aegis.metrics();
            now.risen_since(&before)
                .into_iter()
                .find_map(|(series, _)| {
                    let ours = series.starts_with("aegis_connections_cut_total")
                        && series.contains(reason);
                    let calm =
                        series.contains("frame=\"goaway\"") && series.contains("enhance_your_calm");
                    (ours || (calm && reason.contains("reset"))).then_some(series)
                })
        });
        let word = if counted.contains("goaway") {
            "h2_goaway_enhance_your_calm"
        } else {
            reason
        };
        let line = aegis.access_log_of(|line| line["error"] == word);
        assert_eq!(
            (&line["kind"], &line["client"]),
            (&"connection".into(), &"127.0.0.1".into())
        );
        assert_eq!(line["tls"], "TLSv1.3", "{line}");
        let calm = aegis.curl_tls("shop.test", "/").http2().send();
        assert_eq!(calm.status, 200, "after {reason}");
    }
}

#[test]
fn a_stream_that_is_reset_for_what_it_says_is_counted_and_has_a_line() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let aegis = Aegis::before(&origin).start();
    let before = aegis.metrics();
    let fields = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "shop.test"),
        (":path", "/never"),
        ("transfer-encoding", "chunked"),
    ];
    let mut stream = http2(aegis.tls(), "shop.test").unwrap();
    let bad = frame(
        kind::HEADERS,
        END_HEADERS | END_STREAM,
        1,
        &h2::block(&fields),
    );
    let bytes = [h2::PREFACE, &frame(kind::SETTINGS, 0, 0, &[]), &bad];
    stream.write_all(&bytes.concat()).unwrap();
    let line = aegis.access_log_of(|line| line["kind"] == "connection");
    assert_eq!(line["error"], "h2_stream_protocol_error", "{line}");
    let labels = ["frame=\"rst_stream\"", "code=\"protocol_error\""];
    let count =
        |scrape: &aegis_testkit::metrics::Scrape| scrape.sum("aegis_http2_ended_total", &labels);
    assert!(count(&aegis.metrics()) > count(&before));
    // The connection goes on.
    stream.write_all(&h2::get(3, "shop.test", "/good")).unwrap();
    eventually("the next request arrives", || {
        (origin.hits("/good") == 1).then_some(())
    });
    assert_eq!(origin.hits("/never"), 0);
}

#[test]
fn a_handshake_that_fails_has_a_line_that_says_why() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let aegis = Aegis::before(&origin).start();
    let mut plain = std::net::TcpStream::connect(aegis.tls()).unwrap();
    plain
        .write_all(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n")
        .unwrap();
    let line = aegis.access_log_of(|line| line["kind"] == "connection");
    assert_eq!(line["error"], "not_tls", "{line}");
    assert_eq!(line["local"], aegis.tls().to_string().as_str());
}
