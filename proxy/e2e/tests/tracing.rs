//! Traces: W3C trace context in and out, and spans in a collector that speaks OTLP.
#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

use aegis_testkit::aegis::Builder;
use aegis_testkit::{Aegis, Origin, Reply, eventually, ports, wait};
use serde_json::{Value, json};
use std::time::Duration;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn origin() -> Origin {
    Origin::start(|request| match request.path() {
        "/kept" => Reply::cacheable("kept", 60),
        _ => Reply::text("hello"),
    })
}

fn collector() -> Origin {
    Origin::start(|_| Reply::text("{}"))
}

fn traced(origin: &Origin, collector: &Origin, sample: f64) -> Builder {
    let tracing = json!({ "otlp": collector.url(), "sample": sample });
    Aegis::before(origin).set("node.tracing", tracing)
}

/// `traceparent` that the origin got for this path, in its four parts.
fn told(origin: &Origin, path: &str) -> [String; 4] {
    let request = origin
        .requests()
        .into_iter()
        .rev()
        .find(|request| request.path() == path)
        .unwrap();
    let parts: Vec<String> = request
        .header("traceparent")
        .split('-')
        .map(str::to_owned)
        .collect();
    parts.try_into().unwrap()
}

/// All spans of the trace with a request for this path, once they are there.
fn spans(collector: &Origin, path: &str) -> Vec<Value> {
    let all = || -> Vec<Value> {
        let bodies = collector.requests();
        bodies
            .iter()
            .filter_map(|request| serde_json::from_slice::<Value>(&request.body).ok())
            .flat_map(|body| {
                let spans = &body["resourceSpans"][0]["scopeSpans"][0]["spans"];
                spans.as_array().cloned().unwrap_or_default()
            })
            .collect()
    };
    eventually("the spans are in the collector", || {
        let all = all();
        let root = all.iter().find(|span| value(span, "url.path") == path)?;
        let trace = root["traceId"].clone();
        let of = all.iter().filter(|span| span["traceId"] == trace);
        Some(of.cloned().collect::<Vec<_>>())
    })
}

fn value(span: &Value, key: &str) -> Value {
    let attributes = span["attributes"].as_array().unwrap();
    let found = attributes.iter().find(|attribute| attribute["key"] == key);
    found.map_or(Value::Null, |attribute| {
        let value = attribute["value"].as_object().unwrap();
        value.values().next().unwrap().clone()
    })
}

fn named<'a>(spans: &'a [Value], name: &str, kind: u8) -> &'a Value {
    spans
        .iter()
        .find(|span| span["name"] == name && span["kind"] == kind)
        .unwrap_or_else(|| panic!("no {name}: {spans:#?}"))
}

fn nanos(span: &Value, key: &str) -> u64 {
    span[key].as_str().unwrap().parse().unwrap()
}

#[test]
fn a_request_has_a_span_for_each_stage_and_the_origin_hangs_below_ours() {
    let (origin, collector) = (origin(), collector());
    let aegis = traced(&origin, &collector, 1.0).start();
    assert_eq!(aegis.get("/kept?q=1").status, 200);
    let spans = spans(&collector, "/kept");
    let root = named(&spans, "GET /*", 2);
    assert_eq!(root["parentSpanId"], Value::Null);
    for (key, expected) in [
        ("http.request.method", json!("GET")),
        ("url.scheme", json!("http")),
        ("http.route", json!("/*")),
        ("http.response.status_code", json!("200")),
        ("client.address", json!("127.0.0.1")),
        ("network.protocol.version", json!("1.1")),
        ("aegis.cache", json!("miss")),
        ("url.query", Value::Null),
    ] {
        assert_eq!(value(root, key), expected, "{key}");
    }
    assert_eq!(
        value(root, "aegis.request_id"),
        aegis.logged("/kept?q=1")["id"]
    );
    assert!(root["status"].is_null());
    for stage in ["before_cache", "cache", "before_origin"] {
        let span = named(&spans, stage, 1);
        assert_eq!(span["parentSpanId"], root["spanId"]);
        assert!(nanos(span, "startTimeUnixNano") >= nanos(root, "startTimeUnixNano"));
        assert!(nanos(span, "endTimeUnixNano") <= nanos(root, "endTimeUnixNano"));
    }
    let asked = named(&spans, "GET", 3);
    assert_eq!(asked["parentSpanId"], root["spanId"]);
    assert_eq!(
        value(asked, "network.peer.port"),
        origin.address().port().to_string()
    );
    let [version, trace, parent, flags] = told(&origin, "/kept");
    assert_eq!([version.as_str(), flags.as_str()], ["00", "01"]);
    assert_eq!(
        [&root["traceId"], &asked["spanId"]],
        [trace.as_str(), parent.as_str()]
    );
    let ids: std::collections::BTreeSet<_> =
        spans.iter().map(|s| s["spanId"].to_string()).collect();
    assert_eq!(ids.len(), spans.len());

    // From the cache: nobody is asked.
    assert_eq!(aegis.get("/kept?q=1").status, 200);
    eventually("a hit is recorded", || {
        let bodies = collector.requests();
        bodies
            .iter()
            .find(|request| String::from_utf8_lossy(&request.body).contains("\"hit\""))
            .map(|_| ())
    });
    assert_eq!(origin.hits("/kept"), 1);
}

#[test]
fn a_trace_of_a_trusted_proxy_goes_on_and_a_strangers_ends_here() {
    let (origin, collector) = (origin(), collector());
    let ask = |aegis: &Aegis, path: &str, flags: &str| {
        let curl = aegis
            .curl(path)
            .header(&format!("traceparent: 00-{TRACE}-{PARENT}-{flags}"));
        assert_eq!(
            curl.header("tracestate: rojo=1, congo=2").send().status,
            200
        );
    };
    let state = |path: &str| {
        let requests = origin.requests();
        requests
            .iter()
            .find(|request| request.path() == path)
            .unwrap()
            .header("tracestate")
    };
    let mut aegis = traced(&origin, &collector, 0.0)
        .set("node.client.trusted_proxies", json!(["127.0.0.1"]))
        .start();
    // The proxy says whether it is recorded, whatever our own share is.
    ask(&aegis, "/recorded", "01");
    let found = spans(&collector, "/recorded");
    let root = named(&found, "GET /*", 2);
    assert_eq!([&root["traceId"], &root["parentSpanId"]], [TRACE, PARENT]);
    let [_, trace, parent, flags] = told(&origin, "/recorded");
    assert_eq!([trace.as_str(), flags.as_str()], [TRACE, "01"]);
    assert_eq!(named(&found, "GET", 3)["spanId"], parent);
    assert_eq!(state("/recorded"), "rojo=1,congo=2");
    // One that is not recorded passes as it came.
    ask(&aegis, "/passed", "00");
    assert_eq!(told(&origin, "/passed")[1..], [TRACE, PARENT, "00"]);
    assert_eq!(state("/passed"), "rojo=1,congo=2");
    // What is no traceparent begins a new trace.
    aegis.curl("/broken").header("traceparent: 00-xyz").send();
    assert_ne!(told(&origin, "/broken")[1], TRACE);

    aegis.rewrite(|config| {
        config.set("node.client.trusted_proxies", json!([]));
    });
    let mut n = 0;
    let path = eventually("nobody is trusted any more", || {
        n += 1;
        let path = format!("/stranger/{n}");
        ask(&aegis, &path, "01");
        (told(&origin, &path)[1] != TRACE).then_some(path)
    });
    assert_eq!(told(&origin, &path)[3], "00");
    assert_eq!(state(&path), "");
    let exported = collector.requests();
    let exported: String = exported
        .iter()
        .map(|r| String::from_utf8_lossy(&r.body).into_owned())
        .collect();
    assert!(!exported.contains(&path) && !exported.contains("/passed"));
}

#[test]
fn without_a_collector_an_origin_still_gets_a_trace_that_is_found_by_the_request_id() {
    let origin = origin();
    let aegis = Aegis::before(&origin).start();
    let id = aegis.get("/plain").header("x-request-id").to_owned();
    let [version, trace, parent, flags] = told(&origin, "/plain");
    assert_eq!([version.as_str(), flags.as_str()], ["00", "00"]);
    const ALPHABET: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let bits = id.chars().fold(0_u128, |bits, c| {
        bits << 5 | ALPHABET.find(c).unwrap() as u128
    });
    assert_eq!(trace, format!("{bits:032x}"));
    assert_ne!(parent, "0".repeat(16));
}

#[test]
fn what_goes_wrong_is_marked_and_a_collector_that_is_gone_harms_nobody() {
    let collector = collector();
    let nobody = ports::free_address();
    let tracing = json!({ "otlp": collector.url(), "sample": 1 });
    let aegis = Aegis::before_url(&format!("http://{nobody}"))
        .set("node.tracing", tracing)
        .start();
    assert_eq!(aegis.get("/gone").status, 502);
    let spans = spans(&collector, "/gone");
    let root = named(&spans, "GET /*", 2);
    assert_eq!(root["status"]["code"], 2);
    assert!(value(root, "error.type").is_string());
    assert_eq!(named(&spans, "GET", 3)["status"]["code"], 2);

    drop(collector);
    let dropped = |aegis: &Aegis| aegis.metrics().sum("aegis_spans_dropped_total", &[]);
    assert_eq!(aegis.get("/again").status, 502);
    let lost = wait::try_within(Duration::from_secs(30), || {
        (dropped(&aegis) > 0.0).then_some(())
    });
    assert!(lost.is_some(), "what is lost is counted");
    assert_eq!(aegis.get("/still").status, 502);
}
