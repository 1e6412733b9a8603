//! When clients take all they may, everything else still has its files.

use aegis_testkit::process::Signal;
use aegis_testkit::{Aegis, Origin, Reply, eventually};
use serde_json::json;
use std::time::Duration;

#[test]
fn with_all_places_taken_requests_reloads_logs_and_the_admin_socket_go_on() {
    let origin = Origin::start(|request| match request.path() {
        "/held" => Reply::text("late").after(Duration::from_secs(60)),
        _ => Reply::text("hello"),
    });
    let fixed = json!({ "match": { "path": "/fixed" }, "respond": { "body": "fixed" } });
    // 256 of them are nobody's, 33 are for origins, 16 of these for connections that are kept.
    let mut aegis = Aegis::before(&origin)
        .open_files(390)
        .set("sites[0].cache", "off")
        .set("sites[0].routes", json!([fixed]))
        .start();
    let (max, at_origins) = (101, 33 - 16);
    // Clients that hold what they may at origins, and one request more.
    let mut held: Vec<_> = (0..at_origins).map(|_| aegis.raw()).collect();
    for client in &mut held {
        client.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    eventually("the origin has them", || {
        (origin.hits("/held") == at_origins).then_some(())
    });
    assert_eq!(aegis.raw().get("a", "/").status(), 503);
    assert_eq!(aegis.logged("/")["error"], "origin_connections");
    // And idle ones for the rest of the places, and then some: each is served.
    let mut idle = Vec::new();
    for _ in 0..max {
        let mut client = aegis.raw();
        assert_eq!(client.get("a", "/fixed").text(), "fixed");
        idle.push(client);
    }
    let open = aegis.metrics().sum("aegis_connections_open", &[]);
    assert!(
        open <= f64::from(max) && open > f64::from(max) - 3.0,
        "{open}"
    );
    // A reload reads files, the admin socket and the log open some.
    aegis.rewrite(|c| {
        c.set(
            "sites[0].routes[1]",
            json!({ "match": { "path": "/new" }, "respond": { "body": "new" } }),
        );
    });
    eventually("the edit is live", || {
        (aegis.raw().get("a", "/new").text() == "new").then_some(())
    });
    assert_eq!(aegis.admin("/status")["config"]["live"]["from"], "file");
    let log = aegis.dir().join("access.log");
    std::fs::rename(&log, aegis.dir().join("access.log.1")).expect("a rename");
    aegis.process().signal(Signal::HUP);
    eventually("the log is opened anew", || {
        aegis.raw().get("a", "/new");
        std::fs::metadata(&log).ok().filter(|m| m.len() > 0)
    });
    let refused = aegis
        .metrics()
        .sum("aegis_connections_refused_total", &["reason=\"accept\""]);
    assert!(refused < 1.0, "the process never ran out of files");
}
