//! Every stage of the Core Rule Set's regression suite, natively and in the sandbox: the same events with the same rules.
//!
//! `cargo xtask modules` runs the native side: `target/modules/cases/suite.jsonl`.

use crate::support::*;
use aegis_plugins::{Body, Inspect, Plugin, Properties, RequestHead, ResponseHead, Verdict};
use bytes::Bytes;
use serde_json::Value;
use std::sync::Arc;
use std::time::SystemTime;

fn unhex(value: &Value) -> Bytes {
    let digit = |c: &u8| char::from(*c).to_digit(16).expect("a digit") as u8;
    let pairs = value
        .as_str()
        .expect("hexadecimal")
        .as_bytes()
        .as_chunks::<2>()
        .0;
    pairs
        .iter()
        .map(|[a, b]| digit(a) << 4 | digit(b))
        .collect()
}

fn fields(value: &Value) -> Vec<(Bytes, Bytes)> {
    let fields = value.as_array().expect("fields").iter();
    fields
        .map(|field| (unhex(&field[0]), unhex(&field[1])))
        .collect()
}

/// What must be the same: which rules matched, when, and what that came to. The order in which Coraza looks at the
/// arguments of a request is not, nor which of several values an event shows.
fn essence(event: &Value) -> (String, Vec<i64>) {
    let mut rules: Vec<i64> = event["rules"]
        .as_array()
        .expect("rules")
        .iter()
        .map(|rule| rule["id"].as_i64().expect("an id"))
        .collect();
    rules.sort_unstable();
    let of = |key: &str| event[key].to_string();
    let rest = [
        "action",
        "phase",
        "status",
        "enforced",
        "score",
        "threshold",
        "message",
    ];
    (rest.map(of).join(" "), rules)
}

fn add(events: &mut Vec<Value>, verdict: &Verdict) {
    let said = verdict.events.iter();
    events.extend(said.map(|e| serde_json::from_slice::<Value>(&e.data).expect("JSON")));
}

async fn judge(plugin: Arc<Plugin>, stage: Value, site: Arc<Properties>) -> Result<(), String> {
    let head = RequestHead {
        method: unhex(&stage["method"]),
        target: unhex(&stage["target"]),
        scheme: bytes("http"),
        authority: Bytes::new(),
        version: unhex(&stage["protocol"]),
        headers: fields(&stage["headers"]),
        source: "127.0.0.1:12345".parse().expect("an address"),
        destination: "127.0.0.1:80".parse().expect("an address"),
        request_id: Bytes::from(stage["name"].as_str().expect("a name").to_owned()),
        received: SystemTime::now(),
        tls_version: None,
        sni: None,
        ..head("GET", "/")
    };
    let body = Some(unhex(&stage["body"])).filter(|body| !body.is_empty());
    let body = body.map_or(Body::None, |body| Body::Whole(vec![body]));
    let mut events = Vec::new();
    let mut verdict = plugin.request(Arc::new(head), body, site).await;
    add(&mut events, &verdict);
    if let Some(mut open) = verdict.open.take() {
        let body = unhex(&stage["response_body"]);
        let head = ResponseHead {
            status: u16::try_from(stage["status"].as_u64().expect("a status")).expect("a status"),
            headers: fields(&stage["response_headers"]),
            end: body.is_empty(),
        };
        verdict = open.response_headers(head).await;
        add(&mut events, &verdict);
        if !body.is_empty() {
            let judged = move || (open.response_body_blocking(vec![body], true), open);
            let (last, _open) = tokio::task::block_in_place(judged);
            verdict = last;
            add(&mut events, &verdict);
        }
    }
    let sandboxed: Vec<_> = events.iter().map(essence).collect();
    let native: Vec<_> = stage["events"]
        .as_array()
        .expect("events")
        .iter()
        .map(essence)
        .collect();
    if sandboxed == native {
        return Ok(());
    }
    let decision = verdict.decision;
    Err(format!(
        "{}: {sandboxed:?} {decision:?}, natively {native:?}",
        stage["name"]
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sandboxed_module_matches_the_same_rules_as_native_coraza_on_the_whole_suite() {
    let text = std::fs::read_to_string(module("cases/suite.jsonl")).expect("the cases");
    let mut lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let setup = lines.next().expect("the setup");
    let bench = bench_with(2);
    let mut spec = spec("waf", "coraza.wasm", "");
    spec.config = setup["config"].to_string().into();
    spec.inspect = Inspect::Body;
    let plugin = bench.prepare(spec).expect("the WAF starts");
    let site = Arc::new(Properties {
        site: "suite".into(),
        waf_policy: Some((1, setup["policy"].to_string().into())),
        extra: vec![],
    });
    let mut stages = 0;
    let mut differ: Vec<String> = Vec::new();
    let mut running: tokio::task::JoinSet<Result<(), String>> = tokio::task::JoinSet::new();
    for stage in lines {
        stages += 1;
        if running.len() >= 4
            && let Some(done) = running.join_next().await
        {
            differ.extend(done.expect("judged").err());
        }
        running.spawn(judge(plugin.clone(), stage, site.clone()));
    }
    for done in running.join_all().await {
        differ.extend(done.err());
    }
    println!("RESULT waf differential_stages {stages} stages");
    println!(
        "RESULT waf differential_differences {} stages",
        differ.len()
    );
    assert!(
        differ.is_empty(),
        "{} of {stages} differ:\n{}",
        differ.len(),
        differ.join("\n")
    );
    assert!(stages > 4_600, "only {stages} stages");
}
