//! What a person sees when something is broken, and how the breaks are told apart.

use aegis_testkit::{Aegis, Origin, Reply, eventually, ports};
use serde_json::json;
use std::time::Duration;

#[test]
fn an_origin_that_is_down_is_502_and_one_that_is_slow_is_504() {
    let slow = Origin::start(|_| Reply::text("late").after(Duration::from_secs(30)));
    let aegis = Aegis::before_url(&format!("http://{}", ports::free_address()))
        .set(
            "pools.slow",
            json!({ "servers": [slow.address().to_string()], "read_timeout": "200ms" }),
        )
        .set(
            "sites[0].routes",
            json!([{ "match": { "path": "/slow" }, "origin": "slow" }]),
        )
        .start();
    assert_eq!(aegis.get("/down").status, 502);
    assert_eq!(aegis.get("/slow").status, 504);
    assert_eq!(aegis.logged("/down")["error"], "origin_refused");
    assert_eq!(aegis.logged("/slow")["error"], "origin_read_timeout");
    assert_eq!(slow.hits("/slow"), 1, "what timed out is not repeated");
}

#[test]
fn the_page_is_html_json_or_text_as_the_client_likes() {
    let aegis = Aegis::before_url(&format!("http://{}", ports::free_address())).start();
    for (accept, content_type) in [
        (
            "text/html,application/xhtml+xml,*/*;q=0.8",
            "text/html; charset=utf-8",
        ),
        ("application/json", "application/problem+json"),
        ("text/plain", "text/plain; charset=utf-8"),
    ] {
        let page = aegis.curl("/").header(&format!("Accept: {accept}")).send();
        assert_eq!(
            (page.status, page.header("content-type")),
            (502, content_type)
        );
        let id = page.header("x-request-id");
        assert_eq!(id.len(), 26);
        assert!(page.text().contains(id), "{}", page.text());
        assert_eq!(page.header("cache-control"), "no-store");
    }
}

#[test]
fn the_request_id_of_a_page_is_that_of_the_log() {
    let aegis = Aegis::before_url(&format!("http://{}", ports::free_address())).start();
    let page = aegis.curl("/x").header("Accept: application/json").send();
    let line = aegis.logged("/x");
    assert_eq!(page.json()["request_id"], line["id"]);
    assert_eq!(line["status"], 502);
}

#[test]
fn what_is_no_http_is_400_and_the_origin_is_not_asked() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let aegis = Aegis::before(&origin).start();
    for bytes in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET /\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: \u{7f}\r\n\r\n",
        "GARBAGE\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        assert_eq!(aegis.raw().send(bytes).answer().status(), 400, "{bytes:?}");
    }
    assert!(origin.requests().is_empty());
    eventually("each is in the log", || {
        (aegis.access_log().len() == 6).then_some(())
    });
    assert!(
        aegis
            .access_log()
            .iter()
            .all(|line| line["status"] == 400 && line["kind"] == "refused")
    );
    for reason in [
        "host_missing",
        "version",
        "control_byte",
        "length_and_coding",
    ] {
        let label = format!("reason=\"{reason}\"");
        let refused = aegis
            .metrics()
            .sum("aegis_requests_refused_total", &[&label]);
        assert!((refused - 1.0).abs() < f64::EPSILON, "{reason}: {refused}");
    }
}

#[test]
fn an_origin_that_breaks_off_is_not_made_to_look_whole() {
    let origin = Origin::start(|_| Reply::broken(["first part".into()]));
    let aegis = Aegis::before(&origin).start();
    let answer = aegis.get("/");
    assert_eq!(answer.text(), "first part");
    assert_ne!(answer.exit, 0, "a cut body must not end like a whole one");
}
