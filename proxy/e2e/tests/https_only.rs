//! From plain HTTP to TLS, and browsers told to stay there.
#![allow(clippy::unwrap_used, reason = "helpers of tests end them")]

use aegis_testkit::{Aegis, Origin, Reply};
use serde_json::json;

#[test]
fn plain_http_is_redirected_by_site_with_method_path_and_port() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let open = json!({ "hosts": ["*"], "origin": origin.url(), "waf": "off" });
    let aegis = Aegis::before(&origin)
        .set("sites[0].hosts", json!(["shop.test"]))
        .set("sites[0].https", "redirect")
        .set("sites[1]", open)
        .start();
    let port = aegis.tls().port();
    let ask = |method: &str| {
        let curl = aegis
            .curl("/a%20b?c=d")
            .header("Host: Shop.test:80")
            .arg(&["-X", method]);
        let curl = if method == "HEAD" {
            curl.arg(&["--head"])
        } else {
            curl
        };
        let answer = curl.send();
        (answer.status, answer.header("location").to_owned())
    };
    let to = format!("https://shop.test:{port}/a%20b?c=d");
    assert_eq!(ask("GET"), (301, to.clone()));
    assert_eq!(ask("HEAD"), (301, to.clone()));
    assert_eq!(ask("POST"), (308, to.clone()));
    assert_eq!(ask("DELETE"), (308, to));
    assert_eq!(origin.requests().len(), 0);
    assert_eq!(aegis.get("/").status, 200, "other sites are as they were");
    assert_eq!(aegis.curl_tls("shop.test", "/").send().status, 200);
}

#[test]
fn browsers_are_told_on_every_answer_over_tls_and_never_without() {
    let origin = Origin::start(|request| match request.path() {
        "/stored" => Reply::cacheable("stored", 60),
        "/own" => Reply::text("own").header("strict-transport-security", "max-age=1"),
        _ => Reply::text("hello"),
    });
    let gone = json!([
        { "match": { "path": "/gone" }, "respond": { "status": 410 } },
        { "match": { "path": "/dead" }, "origin": "http://127.0.0.1:1" },
    ]);
    let aegis = Aegis::before(&origin)
        .set("sites[0].hosts", json!(["shop.test"]))
        .set("sites[0].routes", gone)
        .set(
            "sites[0].hsts",
            json!({ "max_age": "30d", "include_subdomains": true }),
        )
        .start();
    let told = |target: &str| {
        let answer = aegis.curl_tls("shop.test", target).send();
        (
            answer.status,
            answer.header("strict-transport-security").to_owned(),
        )
    };
    let policy = "max-age=2592000; includeSubDomains".to_owned();
    for (target, status) in [
        ("/", 200),
        ("/stored", 200),
        ("/stored", 200),
        ("/own", 200),
        ("/gone", 410),
        ("/dead", 502),
    ] {
        assert_eq!(told(target), (status, policy.clone()), "{target}");
    }
    for target in ["/", "/stored", "/own", "/gone", "/dead"] {
        let answer = aegis.curl(target).header("Host: shop.test").send();
        assert_eq!(answer.header("strict-transport-security"), "", "{target}");
    }
    let nobody = aegis.curl_tls("other.test", "/").send();
    assert_eq!(
        (nobody.status, nobody.header("strict-transport-security")),
        (404, "")
    );
}
