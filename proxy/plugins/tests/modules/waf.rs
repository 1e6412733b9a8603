//! The WAF's module in the sandbox: real Coraza, the whole Core Rule Set.

use crate::support::*;
use aegis_plugins::{
    Body, Decision, FaultKind, Inspect, Plugin, Properties, RequestHead, ResponseHead, Verdict,
};
use bytes::Bytes;
use std::sync::Arc;

fn waf(bench: &Bench, inspect: Inspect) -> Arc<Plugin> {
    let mut spec = spec("waf", "coraza.wasm", "");
    spec.inspect = inspect;
    bench.prepare(spec).expect("the WAF starts")
}

pub(crate) fn policy(id: u64, json: &'static str) -> Arc<Properties> {
    Arc::new(Properties {
        site: "shop".into(),
        waf_policy: Some((id, bytes(json))),
        extra: vec![],
    })
}

pub(crate) fn request(
    method: &'static str,
    target: &str,
    fields: &[(&'static str, &'static str)],
) -> Arc<RequestHead> {
    let mut head = head(method, target);
    head.headers = [
        ("Host", "shop.example"),
        ("User-Agent", "Mozilla/5.0"),
        ("Accept", "*/*"),
    ]
    .iter()
    .chain(fields)
    .map(|(name, value)| (bytes(name), bytes(value)))
    .collect();
    Arc::new(head)
}

const SQLI: &str = "/s?q=1%27%20OR%201=1--%20";

fn event(verdict: &Verdict) -> String {
    verdict
        .events
        .iter()
        .map(|e| String::from_utf8_lossy(&e.data).into_owned())
        .collect()
}

fn blocked(verdict: Verdict, status: u16, details: &str) {
    let said = event(&verdict);
    let answer = response(verdict);
    assert_eq!(
        (answer.status, answer.details.as_str()),
        (status, details),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_judged_by_the_policy_of_their_site() {
    let bench = bench();
    let plugin = waf(&bench, Inspect::Off);
    let ask = |id, json, target: &str| {
        let (plugin, head) = (plugin.clone(), request("GET", target, &[]));
        async move { plugin.request(head, Body::None, policy(id, json)).await }
    };
    let clean = ask(1, "{}", "/products?page=2").await;
    assert_eq!(clean.decision, Decision::Continue);
    assert!(clean.events.is_empty() && clean.edits.is_none());

    let attack = ask(1, "{}", SQLI).await;
    assert!(
        event(&attack).contains("\"id\":942100") && event(&attack).contains("ARGS:q"),
        "{}",
        event(&attack)
    );
    blocked(attack, 403, "waf");

    let detected = ask(2, "{\"mode\":\"detect\"}", SQLI).await;
    assert_eq!(detected.decision, Decision::Continue);
    assert!(event(&detected).contains("\"action\":\"detect\""));
    let excluded = ask(3, "{\"remove\":[942100]}", SQLI).await;
    assert_eq!(excluded.decision, Decision::Continue);
    assert!(excluded.events.is_empty());
    blocked(ask(1, "{}", SQLI).await, 403, "waf");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_judged_whole_and_an_attack_behind_a_large_file_is_found() {
    let bench = bench();
    let plugin = waf(&bench, Inspect::Off);
    let json = [
        ("Content-Type", "application/json"),
        ("Transfer-Encoding", "chunked"),
    ];
    let body = Body::Whole(vec![bytes("{\"user\":"), bytes("\"a' or 1=1-- \"}")]);
    let verdict = plugin
        .request(request("POST", "/api", &json), body, policy(1, "{}"))
        .await;
    assert!(event(&verdict).contains("json.user"), "{}", event(&verdict));
    blocked(verdict, 403, "waf");

    let form = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Transfer-Encoding", "chunked"),
    ];
    let long = Body::Whole(vec![bytes("a="), Bytes::from(vec![b'x'; 131_072])]);
    let verdict = plugin
        .request(request("POST", "/f", &form), long, policy(1, "{}"))
        .await;
    blocked(verdict, 413, "waf_body_limit");

    let multipart = [
        ("Content-Type", "multipart/form-data; boundary=XbX"),
        ("Transfer-Encoding", "chunked"),
    ];
    let upload = |end: &'static str| {
        let mut chunks = vec![bytes(
            "--XbX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"photo.jpg\"\r\nContent-Type: image/jpeg\r\n\r\n",
        )];
        chunks.extend((0..160).map(|_| Bytes::from(vec![0xA5; 65_536])));
        chunks.push(bytes(end));
        chunks
    };
    let clean =
        "\r\n--XbX\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n--XbX--\r\n";
    let attack = "\r\n--XbX\r\nContent-Disposition: form-data; name=\"q\"\r\n\r\n1' OR 1=1-- \r\n--XbX--\r\n";
    let head = || request("POST", "/up", &multipart);
    let verdict = plugin
        .request(head(), Body::Whole(upload(clean)), policy(1, "{}"))
        .await;
    assert_eq!(verdict.decision, Decision::Continue, "{}", event(&verdict));
    assert!(verdict.events.is_empty() && verdict.new_body.is_none());
    let verdict = plugin
        .request(head(), Body::Whole(upload(attack)), policy(1, "{}"))
        .await;
    blocked(verdict, 403, "waf");

    // Longer than what is held, at a site that lets it pass: judged as it goes.
    let stream = || policy(9, "{\"over_limit\":\"stream\"}");
    for (end, attacks) in [(clean, false), (attack, true)] {
        let mut all = upload(end);
        let rest = all.split_off(100);
        let verdict = plugin.request(head(), Body::Part(all), stream()).await;
        assert_eq!(verdict.decision, Decision::Continue, "{}", event(&verdict));
        assert!(!verdict.held && event(&verdict).contains("judged as it passes"));
        let mut open = verdict.open.expect("more follows");
        let verdict = open.request_body(rest, true).await;
        if attacks {
            blocked(verdict, 403, "waf");
        } else {
            assert_eq!(verdict.decision, Decision::Continue, "{}", event(&verdict));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_are_judged_when_the_site_asks() {
    let bench = bench();
    let plugin = waf(&bench, Inspect::Body);
    let site = || policy(4, "{\"response\":\"body\"}");
    let verdict = plugin
        .request(request("GET", "/", &[]), Body::None, site())
        .await;
    let mut open = verdict.open.expect("responses are inspected");
    let head = ResponseHead {
        status: 200,
        headers: vec![(bytes("Content-Type"), bytes("text/html"))],
        end: false,
    };
    assert_eq!(
        open.response_headers(head).await.decision,
        Decision::Continue
    );
    assert!(response_body(&mut open, "<p>You have an error in your SQL ", false).held);
    let rest = "syntax; check the manual that corresponds to your MySQL server version</p>";
    blocked(response_body(&mut open, rest, true), 403, "waf");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_judged_is_a_fault_and_the_next_request_is_fine() {
    let bench = bench();
    let plugin = waf(&bench, Inspect::Off);
    let verdict = plugin
        .request(
            request("GET", "/", &[]),
            Body::None,
            policy(5, "{\"mode\":\"of\"}"),
        )
        .await;
    assert_eq!(verdict.decision, Decision::Fault(FaultKind::Trap));
    blocked(
        plugin
            .request(request("GET", SQLI, &[]), Body::None, policy(1, "{}"))
            .await,
        403,
        "waf",
    );
}

/// The module as it is elsewhere: the host has none of the functions it would rather not do without.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_native_operators_gets_the_same_verdicts() {
    let bench = bench();
    let mut spec = spec("elsewhere", "coraza.wasm", "");
    let mut wasm = std::fs::read(&spec.module).expect("the module");
    let (ours, theirs) = (b"aegis_rx_", b"other_rx_");
    let places: Vec<usize> = (0..wasm.len() - ours.len())
        .filter(|at| wasm[*at..].starts_with(ours))
        .collect();
    assert!(places.len() >= 2, "it asks for native operators");
    for at in places {
        wasm[at..at + theirs.len()].copy_from_slice(theirs);
    }
    let dir = tempfile::tempdir().expect("a folder");
    spec.module = dir.path().join("elsewhere.wasm");
    std::fs::write(&spec.module, wasm).expect("writes");
    let plugin = bench.prepare(spec).expect("the WAF starts");
    let ask =
        |target: &str| plugin.request(request("GET", target, &[]), Body::None, policy(1, "{}"));
    assert_eq!(ask("/products?page=2").await.decision, Decision::Continue);
    blocked(ask(SQLI).await, 403, "waf");
    // By a regular expression, with what it captured.
    let verdict = ask("/?q=%3Bcat%20/etc/passwd").await;
    assert!(
        event(&verdict).contains("\"id\":932160"),
        "{}",
        event(&verdict)
    );
    blocked(verdict, 403, "waf");
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_rules_refuse_the_start_and_say_where() {
    let config = r#"{"seclang":[{"name":"own.conf","text":"\nSecRule NOPE \"@rx x\" \"id:1,phase:1,deny\""}]}"#;
    let refused = bench().prepare(spec("waf", "coraza.wasm", config));
    let text = refused.expect_err("no such variable").to_string();
    assert!(text.contains("own.conf:2: SecRule NOPE"), "{text}");
}

const OWN: &str = r#"{"seclang":[{"name":"own.conf","text":"SecRule ARGS:remember \"@rx .\" \"id:1000001,phase:2,pass,nolog,setvar:tx.left=1\"\nSecRule TX:left \"@streq 1\" \"id:1000002,phase:2,pass,log,msg:'left behind'\"\nSecRule REQUEST_BODY|ARGS \"@contains my-secret\" \"id:1000003,phase:2,pass,log,msg:'seen'\"\n"}]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn verdicts_are_the_same_in_a_fresh_copy_and_in_one_that_has_served_all_its_requests() {
    let bench = bench();
    let mut spec = spec("waf", "coraza.wasm", OWN);
    spec.instances = recycled(8);
    let plugin = bench.prepare(spec).expect("the WAF starts");
    let form = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Content-Length", "9"),
    ];
    let ask = |head: Arc<RequestHead>, body: Option<&'static str>| {
        let plugin = plugin.clone();
        let body = body.map_or(Body::None, |body| Body::Whole(vec![bytes(body)]));
        async move { plugin.request(head, body, policy(1, "{}")).await }
    };
    let mut first: Option<[String; 4]> = None;
    // Three lives of an instance: each question is asked as its first request, its last one, and in between.
    for turn in 0..25 {
        let attack = ask(request("GET", SQLI, &[]), None).await;
        let sets = ask(request("GET", "/?remember=1", &[]), None).await;
        let secret = ask(request("POST", "/", &form), Some("my-secret")).await;
        let clean = ask(request("GET", "/?page=2", &[]), None).await;
        assert_ne!(attack.decision, Decision::Continue);
        let said = [&attack, &sets, &secret, &clean].map(event);
        assert!(said[0].contains("942100"), "{}", said[0]);
        assert!(said[1].contains("left behind"), "{}", said[1]);
        assert!(said[2].contains("seen"), "{}", said[2]);
        assert_eq!(said[3], "", "what others left is seen");
        let first = first.get_or_insert_with(|| said.clone());
        assert_eq!(&said, first, "turn {turn}");
        // So that the turns do not begin with the instances.
        if turn % 2 == 0 {
            ask(request("GET", "/", &[]), None).await;
        }
    }
}
