//! Limits: who is refused and who is not, what a refused client is told, and what is written down of it.
//!
//! Windows are an hour long where a test counts, so that none ends while it runs.
#![allow(clippy::unwrap_used, reason = "helpers of tests end them")]

use aegis_testkit::aegis::{Builder, command};
use aegis_testkit::{Aegis, Answer, Curl, Origin, Reply, eventually};
use serde_json::{Value, json};
use std::time::Duration;

const HOUR: u64 = 3600;

fn origin() -> Origin {
    Origin::start(|request| match request.path() {
        "/slow" => Reply::text("slow").after(Duration::from_secs(30)),
        "/missing" => Reply::status(404),
        "/page" => Reply::text("page").header("cache-control", "max-age=60"),
        _ => Reply::text(vec![b'x'; 8000]),
    })
}

/// One site with these limits.
fn limited(origin: &Origin, policies: &Value) -> Builder {
    Aegis::before(origin).set("sites[0].limits", json!({ "policies": policies }))
}

/// As a policy: `limit` requests in an hour by `key`.
fn hourly(limit: u64, key: &[&str]) -> Value {
    json!({ "limit": limit, "window": "1h", "key": key })
}

fn from(curl: Curl, address: &str) -> Answer {
    curl.arg(&["--interface", address]).send()
}

fn statuses(times: usize, mut ask: impl FnMut() -> u16) -> Vec<u16> {
    (0..times).map(|_| ask()).collect()
}

/// Splits `"client";r=2;t=3599` into what is before the seconds, and the seconds.
fn left(answer: &Answer) -> (String, u64) {
    let field = answer.header("ratelimit");
    let (before, seconds) = field.rsplit_once(";t=").unwrap_or((field, "0"));
    (before.to_owned(), seconds.parse().unwrap())
}

#[test]
fn a_client_past_its_limit_is_told_what_the_limit_is_and_when_to_come_again() {
    let origin = origin();
    let aegis = limited(&origin, &json!({ "client": hourly(2, &["address"]) })).start();
    for remaining in [1, 0] {
        let answer = aegis.get("/");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("ratelimit-policy"), "\"client\";q=2;w=3600");
        let (field, seconds) = left(&answer);
        assert_eq!(field, format!("\"client\";r={remaining}"));
        assert!((1..=HOUR).contains(&seconds), "{seconds}");
        assert_eq!(answer.header("retry-after"), "");
    }
    let refused = aegis
        .curl("/refused?q=1")
        .header("Accept: application/json")
        .send();
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("ratelimit-policy"), "\"client\";q=2;w=3600");
    let (field, seconds) = left(&refused);
    assert_eq!(field, "\"client\";r=0");
    assert!((1..=2 * HOUR).contains(&seconds), "{seconds}");
    assert_eq!(refused.header("retry-after"), seconds.to_string());
    assert_eq!(refused.header("cache-control"), "no-store");
    let page = refused.json();
    assert_eq!(page["title"], "Too Many Requests");
    let detail = format!(
        "More was asked of this site than one client may ask. It can be asked again in {seconds} seconds."
    );
    assert_eq!(page["detail"], detail.as_str());
    assert_eq!(origin.hits("/refused"), 0);

    // Somebody else is not.
    assert_eq!(from(aegis.curl("/"), "127.0.0.2").status, 200);

    let line = aegis.logged("/refused?q=1");
    assert_eq!(
        (&line["error"], &line["limit"]),
        (&json!("limited"), &json!("client"))
    );
    assert_eq!(line["status"], 429);
    assert!(aegis.logged("/").get("limit").is_none());

    let id = refused.header("x-request-id");
    let event = aegis.admin(&format!("/events?request={id}"));
    assert_eq!(event["plugin"], "limits");
    assert_eq!(
        event["rules"][0]["message"],
        "client: 2 requests in 1h by address"
    );
    let explained = command(&[
        "explain",
        id,
        "-c",
        &aegis.config_path().display().to_string(),
    ]);
    let explained = String::from_utf8_lossy(&explained.stdout).into_owned();
    assert!(explained.starts_with("429 Refused (limit)"), "{explained}");

    assert_eq!(aegis.get("/").status, 429);
    let metrics = aegis.metrics();
    let refused = ["site=\"*\"", "limit=\"client\""];
    assert_eq!(metrics.sum("aegis_limits_refused_total", &refused), 2.0);
    let status = aegis.admin("/status");
    let limits = &status["node"]["limits"];
    assert_eq!(
        (&limits["refused"], &limits["used"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(limits["entries"], 131_072);
    eventually("the table's use is published", || {
        (aegis.metrics().sum("aegis_limits_entries", &[]) == 2.0).then_some(())
    });
}

#[test]
fn a_connection_goes_on_after_a_refusal_and_http2_is_told_the_same() {
    let origin = origin();
    let aegis = limited(&origin, &json!({ "path": hourly(1, &["address", "path"]) })).start();
    let mut raw = aegis.raw();
    for (target, status) in [
        ("/a", 200),
        ("/a", 429),
        ("/b", 200),
        ("/b", 429),
        ("/a", 429),
    ] {
        assert_eq!(raw.get("a.test", target).status(), status, "{target}");
    }
    // A body that is refused before it was read does not become the next request.
    raw.send("POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 33\r\n\r\nGET /c HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(raw.answer().status(), 429);
    aegis.access_log_of(|line| line["method"] == "POST");
    assert_eq!(origin.hits("/c"), 0);

    let h2 = || aegis.curl_tls("a.test", "/h2").http2().send();
    let (first, second) = (h2(), h2());
    assert_eq!((first.status, second.status), (200, 429));
    for (answer, remaining) in [(&first, 0), (&second, 0)] {
        assert_eq!(answer.version, "2");
        assert_eq!(answer.header("ratelimit-policy"), "\"path\";q=1;w=3600");
        assert_eq!(left(answer).0, format!("\"path\";r={remaining}"));
    }
    assert_ne!(second.header("retry-after"), "");
}

#[test]
fn every_kind_of_key_has_counts_of_its_own() {
    let origin = origin();
    let site = |host: &str, policy: Value| json!({ "hosts": [host], "origin": origin.url(), "waf": "off", "limits": { "policies": { "p": policy } } });
    let network = json!({ "limit": 1, "window": "1h", "v4_prefix": 24 });
    let aegis = Aegis::before(&origin)
        .set(
            "sites",
            json!([
                site("header.test", hourly(1, &["header:X-Api-Key"])),
                site("cookie.test", hourly(1, &["cookie:session"])),
                site("path.test", hourly(1, &["path"])),
                site("site.test", hourly(1, &["site"])),
                site("both.test", hourly(1, &["address", "cookie:a"])),
                site("network.test", network),
            ]),
        )
        .start();
    let ask = |host: &str, target: &str, lines: &[&str], address: &str| {
        let mut curl = aegis.curl(target).header(&format!("Host: {host}"));
        for line in lines {
            curl = curl.header(line);
        }
        from(curl, address).status
    };
    let (one, two) = ("127.0.0.1", "127.0.0.2");
    let long = format!("X-Api-Key: {}", "k".repeat(20_000));
    for (host, target, lines, address, status) in [
        ("header.test", "/", &["X-Api-Key: a"][..], one, 200),
        ("header.test", "/x", &["x-api-key: a"], two, 429),
        ("header.test", "/", &["X-Api-Key: b"], two, 200),
        ("header.test", "/", &[&long], one, 200),
        ("header.test", "/", &[&long], one, 429),
        // Without it, or with it twice, by address: nobody escapes, and nobody spends what others have.
        ("header.test", "/", &[], one, 200),
        (
            "header.test",
            "/",
            &["X-Api-Key: c", "X-Api-Key: d"],
            one,
            429,
        ),
        ("header.test", "/", &[], two, 200),
        (
            "cookie.test",
            "/",
            &["Cookie: session=a; theme=dark"],
            one,
            200,
        ),
        (
            "cookie.test",
            "/",
            &["Cookie: theme=light; session=a"],
            two,
            429,
        ),
        ("cookie.test", "/", &["Cookie: session=b"], one, 200),
        ("cookie.test", "/", &[], one, 200),
        ("cookie.test", "/", &[], one, 429),
        ("path.test", "/a?1", &[], one, 200),
        ("path.test", "/a?2", &[], two, 429),
        ("path.test", "/%61", &[], one, 429),
        ("path.test", "/b", &[], one, 200),
        ("site.test", "/a", &[], one, 200),
        ("site.test", "/b", &[], two, 429),
        ("both.test", "/", &["Cookie: a=1"], one, 200),
        ("both.test", "/", &["Cookie: a=1"], two, 200),
        ("both.test", "/", &["Cookie: a=2"], one, 200),
        ("both.test", "/", &["Cookie: a=2"], one, 429),
        ("network.test", "/", &[], one, 200),
        ("network.test", "/", &[], two, 429),
        ("network.test", "/", &[], "127.0.1.1", 200),
    ] {
        let shown: Vec<_> = lines
            .iter()
            .map(|line| &line[..line.len().min(40)])
            .collect();
        assert_eq!(
            ask(host, target, lines, address),
            status,
            "{host}{target} {shown:?} {address}"
        );
    }
}

#[test]
fn behind_a_trusted_proxy_its_clients_are_limited_and_those_of_ipv6_by_their_network() {
    let origin = origin();
    let aegis = limited(&origin, &json!({ "p": hourly(1, &["address"]) }))
        .set("node.client.trusted_proxies", json!(["127.0.0.1/32"]))
        .start();
    for (client, status) in [
        ("192.0.2.1", 200),
        ("192.0.2.1", 429),
        ("192.0.2.2", 200),
        ("2001:db8:1:1::1", 200),
        ("2001:db8:1:1:ffff::2", 429),
        ("2001:db8:1:2::1", 200),
        ("::ffff:192.0.2.1", 429),
    ] {
        let line = format!("X-Forwarded-For: {client}");
        let answer = aegis.curl("/").header(&line).send();
        assert_eq!(answer.status, status, "{client}");
    }
    // Who is not trusted cannot name himself.
    let claim = |client: &str| {
        let line = format!("X-Forwarded-For: {client}");
        from(aegis.curl("/").header(&line), "127.0.0.2").status
    };
    assert_eq!((claim("192.0.2.8"), claim("192.0.2.9")), (200, 429));
}

#[test]
fn a_fingerprint_of_tls_has_a_count_of_its_own_whatever_the_address() {
    let origin = origin();
    let aegis = limited(&origin, &json!({ "p": hourly(1, &["ja4"]) })).start();
    let ask = |version: &str, address: &str| {
        let curl = aegis.curl_tls("a.test", "/").arg(&["--tls-max", version]);
        from(curl, address).status
    };
    let (one, two) = ("127.0.0.1", "127.0.0.2");
    assert_eq!((ask("1.3", one), ask("1.3", two)), (200, 429));
    assert_eq!((ask("1.2", one), ask("1.2", two)), (200, 429));
    // Without TLS there is none, and the address counts.
    assert_eq!(from(aegis.curl("/"), one).status, 200);
    assert_eq!(from(aegis.curl("/"), two).status, 200);
    assert_eq!(from(aegis.curl("/"), two).status, 429);
}

#[test]
fn bytes_and_errors_are_charged_when_the_answer_has_ended() {
    let origin = origin();
    let bytes = json!({ "of": "bytes", "limit": "10KiB", "window": "1h" });
    let errors =
        json!({ "of": "errors", "limit": 2, "window": "1h", "statuses": [404], "penalty": "30m" });
    let aegis = limited(&origin, &json!({ "bytes": bytes })).set(
        "sites[0].routes",
        json!([
            { "match": { "path": "/e/*" }, "limits": { "policies": { "bytes": "off", "errors": errors } } },
            { "match": { "path": "/missing" }, "limits": { "policies": { "bytes": "off", "errors": errors } } },
        ]),
    ).start();
    // The line of a request is written after it was charged.
    let ask = |target: &str| {
        let answer = aegis.get(target);
        aegis.logged(target);
        answer
    };
    assert_eq!(statuses(3, || ask("/e/fine").status), [200; 3]);
    // One count for both routes: it is the same limit of the same site.
    let first = ask("/missing?1");
    assert_eq!(first.status, 404);
    assert_eq!(
        first.header("ratelimit-policy"),
        "\"errors\";q=2;qu=\"errors\";w=3600"
    );
    assert_eq!(left(&first).0, "\"errors\";r=2");
    assert_eq!(left(&ask("/missing?2")).0, "\"errors\";r=1");
    let refused = ask("/e/refused");
    assert_eq!(refused.status, 429);
    assert_eq!(aegis.get("/missing?4").status, 429);

    assert_eq!(ask("/8000?1").status, 200);
    let second = ask("/8000?2");
    assert_eq!(second.status, 200);
    assert_eq!(left(&second).0, "\"bytes\";r=2240");
    assert_eq!(ask("/8000?3").status, 429);
}

#[test]
fn a_request_is_in_flight_until_it_ends_or_its_client_leaves() {
    let origin = origin();
    let open = json!({ "of": "in_flight", "limit": 1 });
    // With a cache the origin's answer would be fetched to its end, and be in flight until then.
    let mut aegis = limited(&origin, &json!({ "open": open }))
        .set("sites[0].cache", "off")
        .start();
    // One after the other there is always one place.
    assert_eq!(statuses(5, || aegis.get("/").status), [200; 5]);
    let slow = |aegis: &Aegis, n: usize| {
        let mut client = aegis.raw();
        client.send("GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n");
        eventually("the origin was asked", || {
            (origin.hits("/slow") == n).then_some(())
        });
        client
    };
    let first = slow(&aegis, 1);
    let refused = aegis.get("/");
    assert_eq!(refused.status, 429);
    assert_eq!(
        refused.header("ratelimit-policy"),
        "\"open\";q=1;qu=\"concurrent-requests\""
    );
    assert_eq!(refused.header("ratelimit"), "\"open\";r=0");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(from(aegis.curl("/"), "127.0.0.2").status, 200);
    drop(first);
    eventually("the place of a client that left is free", || {
        (aegis.get("/").status == 200).then_some(())
    });
    // An edit of the settings neither frees nor doubles what is in flight.
    let _second = slow(&aegis, 2);
    let before = aegis.admin("/status")["config"]["live"]["id"].clone();
    aegis.rewrite(|config| {
        config.set("node.shutdown.grace", "9s");
    });
    eventually("the edit is live", || {
        (aegis.admin("/status")["config"]["live"]["id"] != before).then_some(())
    });
    assert_eq!(aegis.get("/").status, 429);
}

#[test]
fn what_the_waf_computes_is_counted() {
    let origin = origin();
    let cpu = json!({ "of": "waf_ms", "limit": 1, "window": "1h" });
    let aegis = limited(&origin, &json!({ "cpu": cpu }))
        .set("sites[0].waf", json!({ "mode": "block" }))
        .start();
    let ask = |n: usize| {
        let target = format!("/?q={n}&{}", "a=b&".repeat(200));
        let curl = aegis
            .curl(&target)
            .header("User-Agent: Mozilla/5.0")
            .header("Accept: */*");
        let answer = curl.send();
        aegis.logged(&target);
        answer
    };
    let first = ask(0);
    assert_eq!(first.status, 200);
    assert_eq!(
        first.header("ratelimit-policy"),
        "\"cpu\";q=1000;qu=\"waf-microseconds\";w=3600"
    );
    let refused = (1..50).map(ask).find(|answer| answer.status != 200);
    assert_eq!(refused.map(|answer| answer.status), Some(429));
}

#[test]
fn a_burst_is_let_through_once() {
    let origin = origin();
    let policy = json!({ "limit": 2, "window": "1h", "burst": 3 });
    let aegis = limited(&origin, &json!({ "p": policy })).start();
    assert_eq!(
        statuses(7, || aegis.get("/").status),
        [200, 200, 200, 200, 200, 429, 429]
    );
}

#[test]
fn a_penalty_outlasts_the_window() {
    let origin = origin();
    let policy = json!({ "limit": 1, "window": "100ms", "penalty": "1h" });
    let aegis = limited(&origin, &json!({ "p": policy })).start();
    let mut raw = aegis.raw();
    eventually("one comes too soon after another", || {
        (raw.get("a.test", "/").status() == 429).then_some(())
    });
    let refused = aegis.get("/");
    assert_eq!(refused.status, 429);
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    assert!((HOUR - 60..=HOUR).contains(&seconds), "{seconds}");
}

#[test]
fn a_dry_run_refuses_nobody_and_says_whom_it_would_have() {
    let origin = origin();
    let watch = json!({ "limit": 1, "window": "1h", "dry_run": true });
    let real = hourly(10, &["site"]);
    let aegis = limited(&origin, &json!({ "watch": watch, "real": real })).start();
    for target in ["/1", "/2", "/3"] {
        let answer = aegis.get(target);
        assert_eq!(answer.status, 200);
        // Clients are not told of what does not hold.
        assert_eq!(answer.header("ratelimit-policy"), "\"real\";q=10;w=3600");
    }
    assert!(aegis.logged("/1").get("would_limit").is_none());
    let line = aegis.logged("/3");
    assert_eq!(line["would_limit"], "watch");
    assert!(line.get("limit").is_none() && line.get("error").is_none());
    let would = ["site=\"*\"", "limit=\"watch\""];
    let metrics = aegis.metrics();
    assert_eq!(metrics.sum("aegis_limits_would_refuse_total", &would), 2.0);
    assert_eq!(metrics.sum("aegis_limits_refused_total", &[]), 0.0);
    let id = aegis.logged("/2")["id"].as_str().unwrap().to_owned();
    let event = aegis.admin(&format!("/events?request={id}"));
    assert_eq!(
        (&event["action"], &event["mode"]),
        (&json!("detect"), &json!("dry_run"))
    );
}

#[test]
fn a_client_that_goes_on_waits_longer_where_refused_requests_count() {
    let origin = origin();
    let policy =
        |count_refused| json!({ "limit": 2, "window": "1h", "count_refused": count_refused });
    let aegis = limited(&origin, &json!({ "p": policy(false) }))
        .set("sites[0].routes", json!([{ "match": { "path": "/strict" }, "limits": { "policies": { "p": "off", "strict": policy(true) } } }]))
        .start();
    let waits = |target: &str| {
        let answers: Vec<_> = (0..22).map(|_| aegis.get(target)).collect();
        assert_eq!(answers[2].status, 429);
        left(&answers[21]).1
    };
    let (lenient, strict) = (waits("/"), waits("/strict"));
    assert!(strict > lenient + HOUR / 4, "{strict} {lenient}");
}

#[test]
fn counts_survive_a_reload_and_a_higher_limit_holds_at_once() {
    let origin = origin();
    let mut aegis = limited(&origin, &json!({ "p": hourly(3, &["address"]) })).start();
    assert_eq!(statuses(4, || aegis.get("/").status), [200, 200, 200, 429]);
    let before = aegis.admin("/status")["config"]["live"]["id"].clone();
    aegis.rewrite(|config| {
        config.set("sites[0].limits.policies.p.limit", 5);
    });
    eventually("the edit is live", || {
        (aegis.admin("/status")["config"]["live"]["id"] != before).then_some(())
    });
    assert_eq!(statuses(3, || aegis.get("/").status), [200, 200, 429]);
}

#[test]
fn what_is_stored_has_no_fields_of_limits_and_is_limited_too() {
    let origin = origin();
    let aegis = limited(&origin, &json!({ "p": hourly(3, &["address"]) })).start();
    for (remaining, cache) in [(2, "fwd"), (1, "hit"), (0, "hit")] {
        let answer = aegis.get("/page");
        assert!(answer.header("cache-status").contains(cache));
        let fields = answer.headers.iter();
        let fields: Vec<_> = fields
            .filter(|(name, _)| name.eq_ignore_ascii_case("ratelimit"))
            .collect();
        assert_eq!(fields.len(), 1, "{fields:?}");
        assert_eq!(left(&answer).0, format!("\"p\";r={remaining}"));
    }
    let refused = aegis.get("/page");
    assert_eq!(refused.status, 429, "what is stored is limited too");
    assert_eq!(refused.header("cache-status"), "");
}

#[test]
fn redirects_and_fixed_answers_are_limited_and_a_route_may_be_free() {
    let origin = origin();
    let aegis = limited(&origin, &json!({ "p": hourly(2, &["address"]) }))
        .set(
            "sites[0].routes",
            json!([
                { "match": { "path": "/old" }, "redirect": { "to": "/new" } },
                { "match": { "path": "/fixed" }, "respond": { "body": "fixed" } },
                { "match": { "path": "/free" }, "limits": "off" },
                { "match": { "path": "/silent" }, "limits": { "headers": false } },
            ]),
        )
        .start();
    assert_eq!(aegis.get("/free").header("ratelimit"), "");
    let redirect = aegis.get("/old");
    assert_eq!(
        (redirect.status, left(&redirect).0.as_str()),
        (302, "\"p\";r=1")
    );
    assert_eq!(aegis.get("/fixed").status, 200);
    assert_eq!(aegis.get("/old").status, 429);
    assert_eq!(aegis.get("/free").status, 200);
    let silent = aegis.get("/silent");
    assert_eq!((silent.status, silent.header("ratelimit")), (429, ""));
    assert_ne!(silent.header("retry-after"), "");
}

#[test]
fn more_clients_than_there_is_room_for_are_served_and_counted_as_forgotten() {
    let origin = origin();
    let policy = hourly(100, &["header:x-key"]);
    let aegis = limited(&origin, &json!({ "p": policy }))
        .set("node.limits.entries", 1024)
        .set(
            "sites[0].routes",
            json!([{ "match": { "path": "/*" }, "respond": { "body": "x" } }]),
        )
        .start();
    let mut raw = aegis.raw();
    for key in 0..3000 {
        raw.send(format!(
            "GET / HTTP/1.1\r\nHost: a.test\r\nX-Key: {key}\r\n\r\n"
        ));
        assert_eq!(raw.answer().status(), 200);
    }
    eventually("the forgotten are counted", || {
        let metrics = aegis.metrics();
        let of = |state: &str| metrics.sum("aegis_limits_evicted_total", &[state]);
        (of("state=\"counting\"") > 1000.0 && of("state=\"refused\"") == 0.0).then_some(())
    });
    let limits = aegis.admin("/status")["node"]["limits"].clone();
    assert_eq!(limits["entries"], 1024);
    assert!(limits["used"].as_u64().unwrap() > 900, "{limits}");
}

#[test]
fn a_url_is_explained_with_its_limits_and_where_each_came_from() {
    let origin = origin();
    let builder = Aegis::before(&origin)
        .set("profiles.limits.fair.policies", json!({ "client": { "limit": 500, "window": "10s" } }))
        .set("sites[0].limits", "fair")
        .set("sites[0].routes", json!([{ "match": { "path": "/login" }, "limits": { "policies": { "login": { "of": "errors", "limit": 5, "window": "1m" } } } }]))
        .written();
    let config = builder.config_path().display().to_string();
    let explain = |more: &[&str]| {
        let args = [&["explain", "http://a.test/login", "-c", &config], more].concat();
        String::from_utf8_lossy(&command(&args).stdout).into_owned()
    };
    let text = explain(&[]);
    for part in [
        "  limits   client: 500 requests in 10s by address\n           login: 5 errors in 1m by address\n",
        "limits.policies.client",
        "profiles.limits.fair (aegis.yaml:",
        "sites[0].routes[0].limits (aegis.yaml:",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    let json: Value = serde_json::from_str(&explain(&["-o", "json"])).unwrap();
    assert_eq!(json["limits"][1], "login: 5 errors in 1m by address");
    assert_eq!(json["values"]["limits.headers"]["value"], true);
}
