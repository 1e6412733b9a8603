//! `aegis explain URL`: what would happen, and where each value came from.
#![allow(clippy::unwrap_used, reason = "helpers of tests end them")]

use aegis_testkit::aegis::{Builder, command};
use aegis_testkit::{Aegis, Answer, Origin, Reply};
use e2e::wasm::{Guest, on_body};
use serde_json::{Value, json};

fn shop(origin: &Origin) -> Builder {
    Aegis::before(origin)
        .set("profiles.waf.strict", json!({ "paranoia": 3, "inbound_threshold": 7 }))
        .set("pools.api.servers", json!(["127.0.0.1:1"]))
        .set("sites[0].hosts", json!(["shop.test"]))
        .set("sites[0].waf", "strict")
        .set("sites[0].routes", json!([{ "match": { "path": "/api/*" }, "origin": "api", "cache": { "enabled": false }, "waf": { "paranoia": 1 } }]))
        .written()
}

fn explain(builder: &Builder, url: &str) -> Value {
    let output = command(&[
        "explain",
        url,
        "-o",
        "json",
        "-c",
        &builder.config_path().display().to_string(),
    ]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn site_route_pool_and_the_source_of_each_value_are_named() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let builder = shop(&origin);
    let api = explain(&builder, "https://shop.test/api/cart?x=1");
    assert_eq!(
        (&api["site"]["name"], &api["route"]["key"]),
        (&"shop.test".into(), &"sites[0].routes[0]".into())
    );
    let text = api.to_string();
    for part in ["\"api\"", "profiles.waf.strict", "sites[0].routes[0]"] {
        assert!(text.contains(part), "{part} is missing in {api:#}");
    }
    let page = explain(&builder, "https://shop.test/");
    assert_eq!(page["route"]["key"], "sites[0]");
}

#[test]
fn a_host_nobody_serves_is_said_so() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let builder = shop(&origin);
    let output = command(&[
        "explain",
        "https://other.test/",
        "-c",
        &builder.config_path().display().to_string(),
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("other.test"));
}

#[test]
fn the_running_node_answers_without_the_file() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let aegis = Aegis::before(&origin).start();
    let socket = aegis.dir().join("admin.sock").display().to_string();
    let output = command(&[
        "explain",
        "http://any.test/x",
        "-o",
        "json",
        "--socket",
        &socket,
    ]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["route"]["key"], "sites[0]");
}

/// What the running node says of the request with this answer.
fn explained(aegis: &Aegis, answer: &Answer) -> String {
    let socket = aegis.dir().join("admin.sock").display().to_string();
    let id = answer.header("x-request-id");
    let output = command(&["explain", id, "--socket", &socket]);
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn why_a_body_was_refused_is_explained_by_its_limit() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let aegis = Aegis::before(&origin)
        .waf()
        .set("sites[0].waf.text_max", "1KiB")
        .set("sites[0].waf.held_max", "200KiB")
        .start();
    let send = |length: usize, coding: &str| {
        let request = aegis.curl("/up").body(vec![b'a'; length]);
        request
            .header(&format!("Content-Encoding: {coding}"))
            .send()
    };
    for (length, coding, status, why) in [
        (
            300 << 10,
            "identity",
            413,
            "more than 204800 bytes, which is waf.held_max (from: sites[0].waf",
        ),
        (2_000, "identity", 413, "more than 1024 bytes of text"),
        (100, "br", 415, "br"),
    ] {
        let answer = send(length, coding);
        assert_eq!(answer.status, status, "{}", answer.text());
        let text = explained(&aegis, &answer);
        let head = format!("{status} Refused (limit)   POST");
        assert!(text.contains(&head) && text.contains("  why  "), "{text}");
        assert!(text.contains(why), "{text}");
    }
}

#[test]
fn a_request_stopped_by_a_plugins_fault_is_explained_by_it() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let more = on_body("unreachable");
    let trap = Guest {
        more: &more,
        ..Guest::default()
    };
    let aegis = Aegis::before(&origin)
        .file("trap.wasm", trap.build())
        .set(
            "plugins.trap",
            json!({ "module": "trap.wasm", "on_error": "deny" }),
        )
        .set("sites[0].plugins", json!(["trap"]))
        .start();
    let stopped = aegis.curl("/").body("x").send();
    let text = explained(&aegis, &stopped);
    assert!(text.contains("503 Refused (fault)   POST"), "{text}");
    assert!(
        text.contains("plugin trap gave no verdict (trap)"),
        "{text}"
    );
    let none = explained(&aegis, &aegis.get("/"));
    assert!(none.contains("no event of this request"), "{none}");
}
