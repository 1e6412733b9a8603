//! Connections of a site: a site that is full turns away its own clients, nobody else's.

use aegis_testkit::{Aegis, Origin, Reply, eventually};
use serde_json::json;

#[test]
fn a_site_that_is_full_keeps_no_place_from_another() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let site = |host: &str| json!({ "hosts": [host], "origin": origin.url(), "waf": "off" });
    let mut full = site("full.test");
    full["connections_max"] = json!(2);
    let mut aegis = Aegis::before(&origin)
        .set("sites", json!([full, site("other.test")]))
        .start();
    let mut both = [aegis.raw(), aegis.raw()];
    for one in &mut both {
        assert_eq!(one.get("full.test", "/").status(), 200);
    }
    // One past the limit: told so over HTTP, and its connection ends.
    let mut third = aegis.raw();
    let answer = third.get("full.test", "/third");
    assert_eq!(
        (answer.status(), answer.header("retry-after")),
        (503, Some("5"))
    );
    assert!(third.is_closed());
    assert_eq!(aegis.logged("/third")["error"], "site_connections");
    // Over TLS the name of the handshake is enough.
    let refused = aegis.curl_tls("full.test", "/").send();
    assert_eq!(refused.status, 0, "{}", refused.error);
    let counted = || {
        aegis
            .metrics()
            .sum("aegis_connections_refused_total", &["reason=\"site_cap\""])
    };
    assert!(counted() >= 1.0);
    assert_eq!(aegis.curl_tls("other.test", "/").send().status, 200);
    assert_eq!(aegis.raw().get("other.test", "/").status(), 200);
    // Its own keep theirs, and a place that is given back is taken again.
    let [mut first, second] = both;
    assert_eq!(first.get("full.test", "/").status(), 200);
    drop(second);
    eventually("there is room", || {
        (aegis.curl_tls("full.test", "/").send().status == 200).then_some(())
    });
    // The bound is live, and forgets nobody.
    aegis.rewrite(|c| {
        c.set("sites[0].connections_max", 1);
    });
    eventually("the new bound holds", || {
        (aegis.raw().get("full.test", "/").status() == 503).then_some(())
    });
    assert_eq!(first.get("full.test", "/").status(), 200);
}
