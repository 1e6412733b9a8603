//! `aegis explain URL`: what would happen, and where each value came from.
#![allow(clippy::unwrap_used, reason = "helpers of tests end them")]

use aegis_testkit::aegis::{Builder, command};
use aegis_testkit::{Aegis, Origin, Reply};
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
