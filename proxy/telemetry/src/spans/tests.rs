use super::{BATCH_MAX, Exporter, Kind, QUEUE_MAX, Span, json};
use crate::metrics::SPANS_DROPPED;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, SystemTime};

const LONG: Duration = Duration::from_secs(60);

fn span(n: u8) -> Span {
    Span {
        trace: [n; 16],
        id: [n; 8],
        parent: (n > 1).then_some([1; 8]),
        name: "GET /a".to_owned(),
        kind: Kind::Server,
        start: SystemTime::UNIX_EPOCH + Duration::from_secs(1_764_000_000),
        took: Duration::from_micros(1_500),
        attributes: vec![
            ("url.path", "/a\"\n".into()),
            ("http.response.status_code", 200_u16.into()),
        ],
        failed: n > 1,
    }
}

#[test]
fn a_batch_is_what_otlp_has_for_it() {
    let body = json::batch(&[span(1), span(2)], "1.2.3");
    let read: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    let resource = &read["resourceSpans"][0];
    assert_eq!(
        resource["resource"]["attributes"][0]["value"]["stringValue"],
        "aegis"
    );
    let spans = &resource["scopeSpans"][0]["spans"];
    assert_eq!(spans[0]["traceId"], "01".repeat(16));
    assert_eq!(spans[0]["spanId"], "01".repeat(8));
    assert!(spans[0].get("parentSpanId").is_none() && spans[0].get("status").is_none());
    assert_eq!(spans[0]["startTimeUnixNano"], "1764000000000000000");
    assert_eq!(spans[0]["endTimeUnixNano"], "1764000000001500000");
    assert_eq!(spans[0]["attributes"][0]["value"]["stringValue"], "/a\"\n");
    assert_eq!(spans[0]["attributes"][1]["value"]["intValue"], "200");
    assert_eq!(spans[1]["parentSpanId"], "01".repeat(8));
    assert_eq!(spans[1]["status"]["code"], 2);
}

/// A collector that answers each request with the next of these statuses; gives the bodies' lengths.
fn collector(statuses: &'static [u16]) -> (String, std::thread::JoinHandle<Vec<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let thread = std::thread::spawn(move || {
        let mut lengths = Vec::new();
        for status in statuses {
            let (mut client, _) = listener.accept().expect("a connection");
            let mut read = Vec::new();
            let mut byte = [0];
            while !read.ends_with(b"\r\n\r\n") {
                client.read_exact(&mut byte).expect("a head");
                read.push(byte[0]);
            }
            let head = String::from_utf8(read).expect("text");
            assert!(
                head.starts_with("POST /base/v1/traces HTTP/1.1\r\n"),
                "{head}"
            );
            let length = head.split("content-length: ").nth(1).expect("a length");
            let length: usize = length
                .split('\r')
                .next()
                .and_then(|n| n.parse().ok())
                .expect("a number");
            client.read_exact(&mut vec![0; length]).expect("a body");
            lengths.push(length);
            write!(
                client,
                "HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
            .expect("answers");
        }
        lengths
    });
    (address, thread)
}

#[test]
fn what_a_collector_does_not_take_is_tried_again_and_what_is_lost_is_counted() {
    let dropped = || SPANS_DROPPED.with(&["collector"]).get();
    let (address, thread) = collector(&[503, 200, 400, 429, 502, 504]);
    let exporter = Exporter::start(&address, "/base/", "1").expect("starts");
    let before = dropped();
    exporter.send(vec![span(1)]);
    assert!(exporter.flush(LONG));
    assert_eq!(dropped(), before, "the second try went well");
    exporter.send(vec![span(1), span(2)]);
    assert!(exporter.flush(LONG));
    assert_eq!(dropped(), before + 2, "what is wrong is not sent again");
    exporter.send(vec![span(1)]);
    assert!(exporter.flush(LONG));
    assert_eq!(dropped(), before + 3, "three tries");
    let lengths = thread.join().expect("the collector");
    assert_eq!(lengths.len(), 6);
    assert_eq!(lengths[0], lengths[1]);

    past_the_queue_spans_are_dropped_and_nobody_waits();
}

/// Part of the test above, as both count what is dropped.
fn past_the_queue_spans_are_dropped_and_nobody_waits() {
    // Takes connections and never answers.
    let deaf = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = deaf.local_addr().expect("bound").to_string();
    let exporter = Exporter::start(&address, "", "1").expect("starts");
    let dropped = || SPANS_DROPPED.with(&["queue"]).get();
    let before = dropped();
    for _ in 0..QUEUE_MAX + BATCH_MAX + 10 {
        exporter.send(vec![span(1)]);
    }
    assert!(dropped() >= before + 10);
    drop(exporter);
}
