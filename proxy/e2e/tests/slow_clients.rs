//! Clients that keep the node waiting: what they get, and what the log says of them.

use aegis_testkit::{Aegis, Origin, Reply, eventually};
use serde_json::{Value, json};
use std::thread;
use std::time::Duration;

fn origin() -> Origin {
    Origin::start(|request| match request.path() {
        "/large" => Reply::text(vec![b'x'; 64 << 20]),
        _ => Reply::text("hello"),
    })
}

/// Little patience.
fn hasty(origin: &Origin) -> Aegis {
    Aegis::before(origin)
        .set(
            "node.client",
            json!({
                "read_timeout": "500ms",
                "write_timeout": "500ms",
                "receive_rate_min": "1MiB",
                "send_rate_min": "1GiB",
            }),
        )
        .start()
}

/// The one line of a target.
fn line(aegis: &Aegis, target: &str) -> Value {
    aegis.access_log_of(|line| line["target"] == target)
}

#[test]
fn a_slow_body_gets_408_with_its_request_id_and_the_origin_never_sees_it_whole() {
    let origin = origin();
    let aegis = hasty(&origin);
    let mut slow = aegis.raw();
    slow.send("POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
    let mut drips = 0;
    while drips < 900 && !slow.answers_or_closes_within(Duration::from_millis(20)) {
        slow.try_send("x");
        drips += 1;
        assert_eq!(aegis.get("/").status, 200, "others are served meanwhile");
    }
    assert!(drips < 900);
    let line = line(&aegis, "/slow");
    assert_eq!(
        (&line["status"], &line["error"]),
        (&json!(408), &json!("body_rate"))
    );
    assert!(
        line["id"]
            .as_str()
            .or(line["request_id"].as_str())
            .is_some_and(|id| id.len() == 26),
        "{line}"
    );
    let refused = aegis
        .metrics()
        .sum("aegis_requests_refused_total", &["reason=\"body_rate\""]);
    assert!(refused > 0.0);
}

#[test]
fn a_slow_body_over_http2_is_reset_and_logged() {
    let origin = origin();
    let aegis = hasty(&origin);
    let curl = aegis.curl_tls("a.test", "/upload").http2().arg(&[
        "-T",
        "-",
        "--limit-rate",
        "2000",
        "--max-time",
        "10",
    ]);
    let upload = thread::spawn(move || curl.stdin(vec![b'x'; 1 << 20]).send().status);
    let line = line(&aegis, "/upload");
    assert_eq!(line["error"], "body_rate", "{line}");
    assert_ne!(upload.join().expect("curl"), 200);
    assert_eq!(aegis.curl_tls("a.test", "/").http2().send().status, 200);
}

#[test]
fn a_client_that_takes_its_answer_in_drips_is_cut_and_logged() {
    let origin = origin();
    let aegis = hasty(&origin);
    let mut slow = aegis.raw();
    slow.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it is cut", || {
        slow.take(50_000);
        let cut = aegis
            .metrics()
            .sum("aegis_connections_cut_total", &["reason=\"slow_reader\""]);
        (cut > 0.0).then_some(())
    });
    assert_eq!(line(&aegis, "/large")["error"], "slow_reader");
}
