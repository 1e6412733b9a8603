//! A line a request.

use aegis_testkit::process::Signal;
use aegis_testkit::{Aegis, Origin, Reply, eventually};
use std::fs;

#[test]
fn a_json_line_says_who_asked_what_and_how_it_went() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let aegis = Aegis::before(&origin).start();
    let answer = aegis
        .curl_tls("shop.test", "/a?b=c")
        .http2()
        .header("User-Agent: test/1")
        .header("Cookie: secret=1")
        .header("Authorization: Basic c2VjcmV0")
        .send();
    assert_eq!(answer.status, 200);
    let line = aegis.logged("/a?b=c");
    for (field, value) in [
        ("client", "127.0.0.1"),
        ("method", "GET"),
        ("scheme", "https"),
        ("host", "shop.test"),
        ("version", "HTTP/2"),
        ("site", "*"),
        ("user_agent", "test/1"),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    assert_eq!(
        (&line["status"], &line["bytes_sent"]),
        (&200.into(), &5.into())
    );
    assert_eq!(line["origin"], origin.address().to_string());
    let text = line.to_string();
    assert!(
        !text.contains("secret") && !text.contains("c2VjcmV0"),
        "{text}"
    );
}

#[test]
fn the_combined_format_is_what_log_tools_expect() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let aegis = Aegis::before(&origin)
        .set("node.log.access", "combined")
        .start();
    aegis
        .curl("/a")
        .header("User-Agent: test/1")
        .header("Referer: https://x.test/")
        .send();
    let line = eventually("a line", || {
        fs::read_to_string(aegis.dir().join("access.log"))
            .ok()
            .filter(|t| t.ends_with('\n'))
    });
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    assert!(
        line.ends_with("] \"GET /a HTTP/1.1\" 200 5 \"https://x.test/\" \"test/1\"\n"),
        "{line}"
    );
}

#[test]
fn a_client_cannot_write_a_line_of_its_own() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let aegis = Aegis::before(&origin).start();
    aegis
        .curl("/x")
        .header("User-Agent: a\"}\u{2028}{\"status\":1")
        .send();
    assert_eq!(aegis.logged("/x")["status"], 200);
    assert_eq!(aegis.access_log().len(), 1);
}

#[test]
fn a_rotated_log_is_opened_anew_at_sighup() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let aegis = Aegis::before(&origin).start();
    aegis.get("/before");
    aegis.logged("/before");
    let log = aegis.dir().join("access.log");
    fs::rename(&log, aegis.dir().join("access.log.1")).unwrap();
    aegis.process().signal(Signal::HUP);
    eventually("the file is there again", || log.exists().then_some(()));
    aegis.get("/after");
    aegis.logged("/after");
}
