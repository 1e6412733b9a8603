//! The cache by RFC 9111, as a client and an origin see it.

use aegis_testkit::{Aegis, Answer, Origin, Reply, eventually};
use std::sync::atomic::{AtomicUsize, Ordering};

/// An origin that numbers its answers, so that one from memory is known.
fn counting(
    reply: impl Fn(&aegis_testkit::Received, Reply) -> Reply + Send + Sync + 'static,
) -> Origin {
    let count = AtomicUsize::new(0);
    Origin::start(move |request| {
        let n = count.fetch_add(1, Ordering::Relaxed);
        reply(request, Reply::text(format!("answer {n}")))
    })
}

fn status(answer: &Answer) -> &str {
    answer.header("cache-status")
}

#[test]
fn what_may_be_kept_is_served_from_memory_and_says_so() {
    let origin = counting(|_, r| r.header("cache-control", "max-age=60"));
    let aegis = Aegis::before(&origin).start();
    let first = aegis.get("/page");
    assert!(
        status(&first).contains("fwd=uri-miss") && status(&first).contains("stored"),
        "{}",
        status(&first)
    );
    let second = aegis.get("/page");
    assert_eq!(second.text(), first.text());
    assert!(
        status(&second).contains("hit") && status(&second).contains("ttl="),
        "{}",
        status(&second)
    );
    assert!(!second.header("age").is_empty());
    assert_eq!(origin.hits("/page"), 1);
    eventually("both are counted", || {
        let now = aegis.metrics();
        (now.sum("aegis_cache_requests_total", &["hit"]) >= 1.0).then_some(())
    });
}

#[test]
fn head_and_ranges_are_answered_from_what_a_get_brought() {
    let origin = counting(|_, r| {
        r.header("cache-control", "max-age=60")
            .header("etag", "\"v1\"")
    });
    let aegis = Aegis::before(&origin).start();
    aegis.get("/page");
    let head = aegis.curl("/page").arg(&["-I"]).send();
    assert_eq!((head.status, head.header("content-length")), (200, "8"));
    let fresh = aegis.curl("/page").header("If-None-Match: \"v1\"").send();
    assert_eq!((fresh.status, fresh.body.len()), (304, 0));
    let part = aegis.curl("/page").arg(&["-r", "0-5"]).send();
    assert_eq!((part.status, part.text().as_str()), (206, "answer"));
    assert_eq!(origin.hits("/page"), 1);
}

#[test]
fn what_must_not_be_kept_is_not() {
    let origin = counting(|request, r| match request.path() {
        "/no-store" => r.header("cache-control", "no-store"),
        "/private" => r.header("cache-control", "private, max-age=60"),
        "/cookie" => r
            .header("cache-control", "no-cache")
            .header("set-cookie", "a=b"),
        _ => r,
    });
    let aegis = Aegis::before(&origin).start();
    for target in ["/no-store", "/private", "/cookie", "/silent"] {
        assert_ne!(
            aegis.get(target).text(),
            aegis.get(target).text(),
            "{target}"
        );
    }
}

#[test]
fn an_answer_to_someone_known_is_not_given_to_others() {
    let origin = counting(|_, r| r.header("cache-control", "max-age=60"));
    let aegis = Aegis::before(&origin).start();
    let known = aegis.curl("/").header("Authorization: Basic YTpi").send();
    assert_ne!(aegis.get("/").text(), known.text());
}

#[test]
fn each_variant_is_kept_for_those_who_ask_like_it() {
    let origin = counting(|_, r| {
        r.header("cache-control", "max-age=60")
            .header("vary", "accept-language")
    });
    let aegis = Aegis::before(&origin).start();
    let ask = |language: &str| {
        aegis
            .curl("/")
            .header(&format!("Accept-Language: {language}"))
            .send()
            .text()
    };
    let (german, french) = (ask("de"), ask("fr"));
    assert_ne!(german, french);
    assert_eq!((ask("de"), ask("fr")), (german, french));
}

#[test]
fn host_query_and_scheme_make_different_objects() {
    let origin = counting(|_, r| r.header("cache-control", "max-age=60"));
    let aegis = Aegis::before(&origin).start();
    let ask = |host: &str, target: &str| {
        aegis
            .curl(target)
            .header(&format!("Host: {host}"))
            .send()
            .text()
    };
    let seen = [
        ask("a.test", "/"),
        ask("b.test", "/"),
        ask("a.test", "/?x"),
        aegis.curl_tls("a.test", "/").send().text(),
    ];
    for (i, one) in seen.iter().enumerate() {
        assert!(!seen[..i].contains(one), "{seen:?}");
    }
    assert_eq!(ask("a.test", "/"), seen[0]);
}

#[test]
fn a_stale_object_is_validated_with_its_etag() {
    let origin = Origin::start(|request| match request.header("if-none-match").as_str() {
        "\"v1\"" => Reply::status(304)
            .header("etag", "\"v1\"")
            .header("cache-control", "max-age=60"),
        _ => Reply::cacheable("whole", 1).header("etag", "\"v1\""),
    });
    let aegis = Aegis::before(&origin).start();
    assert_eq!(aegis.get("/").text(), "whole");
    eventually("it is old enough to be validated", || {
        assert_eq!(aegis.get("/").text(), "whole");
        (origin.last().header("if-none-match") == "\"v1\"").then_some(())
    });
    assert_eq!(aegis.get("/").text(), "whole");
    assert_eq!(origin.hits("/"), 2, "validated, it is fresh again");
}

#[test]
fn a_post_takes_away_what_it_made_old() {
    let origin = counting(|_, r| r.header("cache-control", "max-age=60"));
    let aegis = Aegis::before(&origin).start();
    let before = aegis.get("/").text();
    assert_eq!(aegis.get("/").text(), before);
    aegis.curl("/").body("x=1").send();
    assert_ne!(aegis.get("/").text(), before);
}

#[test]
fn a_client_cannot_put_its_header_into_anothers_page() {
    let origin = counting(|request, r| {
        r.header("cache-control", "max-age=60")
            .header("x-host", &request.header("x-forwarded-host"))
    });
    let aegis = Aegis::before(&origin).start();
    aegis
        .curl("/")
        .header("Host: a.test")
        .header("X-Forwarded-Host: evil.test")
        .send();
    assert_eq!(
        aegis
            .curl("/")
            .header("Host: a.test")
            .send()
            .header("x-host"),
        "a.test"
    );
}
