//! What scrapers, probes and people can ask.

use aegis_testkit::{Aegis, Curl, Origin, Reply, eventually};

#[test]
fn requests_are_counted_by_site_and_class() {
    let origin =
        Origin::start(|request| Reply::status(if request.path() == "/no" { 404 } else { 200 }));
    let aegis = Aegis::before(&origin).start();
    for target in ["/a", "/b", "/no"] {
        aegis.get(target);
    }
    eventually("three requests are counted", || {
        let now = aegis.metrics();
        let of = |class: &str| now.sum("aegis_requests_total", &["site=\"*\"", class]);
        (of("class=\"2xx\"") == 2.0 && of("class=\"4xx\"") == 1.0).then_some(())
    });
}

#[test]
fn probes_answer_and_only_on_loopback_names() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let aegis = Aegis::before(&origin).start();
    assert_eq!(
        (
            aegis.probe("/livez").status(),
            aegis.probe("/readyz").status()
        ),
        (200, 200)
    );
    let url = format!("http://{}/metrics", aegis.metrics_address());
    assert_eq!(Curl::get(&url).send().status, 200);
    assert_eq!(Curl::get(&url).header("Host: evil.test").send().status, 421);
    assert_eq!(aegis.probe("/status").status(), 404);
}

#[test]
fn the_admin_socket_tells_the_status() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let aegis = Aegis::before(&origin).start();
    let status = aegis.admin("/status");
    assert_eq!(status["state"], "ready");
    assert_eq!(status["config"]["live"]["from"], "file");
    assert_eq!(status["config"]["last_try"]["result"], "ok");
}
