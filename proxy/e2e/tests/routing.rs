//! Host and path decide who is asked.

use aegis_testkit::nginx::Nginx;
use aegis_testkit::{Aegis, Origin, Reply};
use serde_json::json;

fn named(name: &'static str) -> Origin {
    Origin::start(move |_| Reply::text(name))
}

#[test]
fn the_host_chooses_the_site_exact_before_wildcard_before_any() {
    let [exact, wildcard, any] = ["exact", "wildcard", "any"].map(named);
    let off = json!({ "mode": "off" });
    let aegis = Aegis::before(&exact)
        .set(
            "sites",
            json!([
                { "hosts": ["*"], "origin": any.url(), "waf": off },
                { "hosts": ["*.shop.test"], "origin": wildcard.url(), "waf": off },
                { "hosts": ["www.shop.test"], "origin": exact.url(), "waf": off },
            ]),
        )
        .start();
    let body = |host: &str| {
        aegis
            .curl("/")
            .header(&format!("Host: {host}"))
            .send()
            .text()
    };
    assert_eq!(body("www.shop.test"), "exact");
    assert_eq!(body("WWW.Shop.test:8080"), "exact");
    assert_eq!(body("img.shop.test"), "wildcard");
    assert_eq!(body("a.b.shop.test"), "any");
    assert_eq!(body("shop.test"), "any");
}

#[test]
fn a_host_nobody_serves_is_404() {
    let origin = named("shop");
    let aegis = Aegis::before(&origin)
        .set("sites[0].hosts", json!(["shop.test"]))
        .start();
    assert_eq!(
        aegis.curl("/").header("Host: other.test").send().status,
        404
    );
    assert!(origin.requests().is_empty());
}

#[test]
fn the_first_route_that_matches_wins_and_the_site_is_the_last() {
    let [site, api, health] = ["site", "api", "health"].map(named);
    let aegis = Aegis::before(&site)
        .set("sites[0].routes", json!([
            { "match": { "path": "/api/health" }, "origin": health.url() },
            { "match": { "path": "/api/*" }, "origin": api.url() },
            { "match": { "path": "/write", "methods": ["POST"] }, "respond": { "status": 202, "body": "written" } },
        ]))
        .start();
    for (target, body) in [
        ("/api/health", "health"),
        ("/api/health/x", "api"),
        ("/api/v1?x=1", "api"),
        ("/apix", "site"),
        ("/write", "site"),
    ] {
        assert_eq!(aegis.get(target).text(), body, "{target}");
    }
    let written = aegis.curl("/write").body("x").send();
    assert_eq!((written.status, written.text().as_str()), (202, "written"));
}

#[test]
fn a_route_may_redirect_or_answer_itself() {
    let origin = named("site");
    let aegis = Aegis::before(&origin)
        .set("sites[0].routes", json!([
            { "match": { "path": "/old/*" }, "redirect": { "status": 301, "to": "https://{host}/new{path}" } },
            { "match": { "path": "/robots.txt" }, "respond": { "status": 200, "content_type": "text/plain", "body": "User-agent: *\n" } },
        ]))
        .start();
    let old = aegis.curl("/old/a?b=c").header("Host: shop.test").send();
    assert_eq!(
        (old.status, old.header("location")),
        (301, "https://shop.test/new/old/a?b=c")
    );
    let robots = aegis.get("/robots.txt");
    assert_eq!(
        (robots.text().as_str(), robots.header("content-type")),
        ("User-agent: *\n", "text/plain")
    );
    assert!(origin.requests().is_empty());
}

#[test]
fn a_pool_is_asked_in_turn_over_connections_that_stay() {
    let [one, two] = ["one", "two"].map(named);
    let aegis = Aegis::before(&one)
        .set(
            "pools.both",
            json!({ "servers": [one.address().to_string(), two.address().to_string()] }),
        )
        .set("sites[0].origin", "both")
        .start();
    for _ in 0..10 {
        assert_eq!(aegis.get("/").status, 200);
    }
    assert_eq!((one.hits("/"), two.hits("/")), (5, 5));
    assert!(
        one.connections() < 5,
        "{} connections for 5 requests",
        one.connections()
    );
}

#[test]
fn the_origin_is_told_who_asks_and_strangers_cannot_say_it_for_us() {
    let origin = named("site");
    let aegis = Aegis::before(&origin).start();
    let answer = aegis
        .curl("/")
        .header("Host: shop.test")
        .header("X-Forwarded-For: 1.2.3.4")
        .header("X-Forwarded-Proto: https")
        .send();
    assert_eq!(answer.status, 200);
    let got = origin.last();
    assert_eq!(got.header("host"), "shop.test");
    assert_eq!(got.header("x-forwarded-for"), "127.0.0.1");
    assert_eq!(got.header("x-forwarded-proto"), "http");
    assert_eq!(got.header("x-request-id").len(), 26);
}

#[test]
fn a_real_nginx_is_served_byte_for_byte() {
    let picture: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let nginx = Nginx::serving(&[("index.html", b"<h1>hello</h1>"), ("picture.bin", &picture)]);
    let aegis = Aegis::before_url(&format!("http://{}", nginx.address())).start();
    assert_eq!(aegis.get("/").text(), "<h1>hello</h1>");
    assert!(aegis.get("/picture.bin").body == picture);
    let part = aegis.curl("/picture.bin").arg(&["-r", "10-19"]).send();
    assert_eq!((part.status, part.body.as_slice()), (206, &picture[10..20]));
}
