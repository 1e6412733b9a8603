//! HTTP/2 from clients, by ALPN.

use aegis_testkit::{Aegis, Origin, Reply};
use std::process::Command;

#[test]
fn alpn_chooses_http2_or_http1() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let aegis = Aegis::before(&origin).start();
    let two = aegis.curl_tls("shop.test", "/").http2().send();
    assert_eq!((two.status, two.version.as_str()), (200, "2"));
    let one = aegis.curl_tls("shop.test", "/").http1().send();
    assert_eq!((one.status, one.version.as_str()), (200, "1.1"));
    assert_eq!(origin.last().header("host"), "shop.test");
}

#[test]
fn a_listener_may_leave_http2_out() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let aegis = Aegis::before(&origin)
        .set("listeners[1].tls.http2", false)
        .start();
    assert_eq!(
        aegis.curl_tls("shop.test", "/").http2().send().version,
        "1.1"
    );
}

#[test]
fn many_streams_on_few_connections_all_get_their_answer() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let aegis = Aegis::before(&origin)
        .set("sites[0].cache.enabled", false)
        .start();
    let url = format!("https://{}/", aegis.tls());
    let output = Command::new("h2load")
        .args(["-n", "2000", "-c", "4", "-m", "32", &url])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("2000 succeeded, 0 failed, 0 errored"),
        "{text}"
    );
    assert_eq!(origin.hits("/"), 2000);
}

#[test]
fn a_large_body_goes_up_and_comes_down_unchanged() {
    let origin =
        Origin::start(|request| Reply::new("application/octet-stream", request.body.clone()));
    let aegis = Aegis::before(&origin).start();
    let sent: Vec<u8> = (0..=255).cycle().take(3_000_000).collect();
    let answer = aegis
        .curl_tls("shop.test", "/echo")
        .http2()
        .body(sent.clone())
        .send();
    assert_eq!(answer.status, 200, "{}", answer.error);
    assert!(answer.body == sent);
}
