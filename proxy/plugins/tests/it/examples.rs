//! The host against modules built with the real SDKs: the example `hostcalls`, which is the same program in Rust and Go.

use crate::support::*;
use aegis_plugins::{
    Body, Decision, Fields, HttpCallError, HttpCallRequest, HttpCallResponse, HttpCalls, Inspect,
    Plugin, PluginSpec, RequestHead, ResponseHead, Verdict,
};
use bytes::Bytes;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

const LANGUAGES: [&str; 2] = ["rust", "go"];

/// `target/modules` beside the folder this test runs from.
fn module(name: &str) -> PathBuf {
    let exe = std::env::current_exe().expect("a path");
    let target = exe.ancestors().nth(3).expect("target");
    let path = target.join("modules").join(name);
    assert!(
        path.is_file(),
        "{} is missing: run `cargo xtask modules`",
        path.display()
    );
    path
}

fn spec(bench: &Bench, language: &str) -> PluginSpec {
    PluginSpec {
        name: format!("hostcalls-{language}"),
        module: module(&format!("examples/hostcalls-{language}.wasm")),
        config: bytes("of the plugin"),
        memory_max: 64 << 20,
        deadline: Duration::from_secs(1),
        inspect: Inspect::Body,
        ..bench.spec("unused", "(module)")
    }
}

/// Answers every call of `allowed` with what it was asked.
struct Echo;

impl HttpCalls for Echo {
    fn call(
        &self,
        request: HttpCallRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpCallResponse, HttpCallError>> + Send>> {
        Box::pin(async move {
            let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
            let headers: Vec<_> = request
                .headers
                .iter()
                .map(|(n, v)| format!("{}={}", text(n), text(v)))
                .collect();
            let trailers: Vec<_> = request
                .trailers
                .iter()
                .map(|(n, v)| format!("{}={}", text(n), text(v)))
                .collect();
            Ok(HttpCallResponse {
                status: 207,
                headers: vec![(bytes("x-answer"), bytes("yes"))],
                body: Bytes::from(format!(
                    "{} {} {} {} {} {}",
                    text(&request.method),
                    text(&request.authority),
                    text(&request.path),
                    text(&request.body),
                    headers.join(","),
                    trailers.join(","),
                )),
                trailers: vec![(bytes("x-sum"), bytes("42"))],
            })
        })
    }
}

/// Compiling these modules takes seconds: once is enough for all tests.
fn bench_for(threads: usize) -> Bench {
    bench_with(Options {
        threads,
        http: Arc::new(Echo),
        cache: Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiled")),
        ..Options::default()
    })
}

async fn each(test: impl AsyncFn(&Bench, Arc<Plugin>)) {
    for language in LANGUAGES {
        let bench = bench_for(2);
        let plugin = bench
            .prepare(spec(&bench, language))
            .unwrap_or_else(|error| panic!("{error}"));
        test(&bench, plugin).await;
    }
}

fn probe_head(target: &'static str) -> RequestHead {
    let mut head = head(target);
    head.headers.push((bytes("X-Probe"), bytes("mine")));
    head.headers.push((bytes("x-gone"), bytes("1")));
    head
}

async fn probe(plugin: &Arc<Plugin>, target: &'static str) -> Verdict {
    plugin
        .request(Arc::new(probe_head(target)), Body::None, site("a"))
        .await
}

/// The lines of a probe.
async fn lines(plugin: &Arc<Plugin>, target: &'static str) -> String {
    let (status, body) = said(probe(plugin, target).await);
    assert_eq!(status, 200, "{body}");
    body
}

macro_rules! tells {
    ($plugin:expr, $target:literal, $($line:literal),+ $(,)?) => {{
        let text = lines($plugin, $target).await;
        $(assert!(text.lines().any(|line| line == $line), "{}: no line {:?} in\n{text}", $plugin.name(), $line);)+
    }};
}

fn field(fields: &Fields, name: &str) -> Vec<String> {
    let named = fields
        .iter()
        .filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()));
    named
        .map(|(_, v)| String::from_utf8_lossy(v).into_owned())
        .collect()
}

mod harm;
mod system;

#[tokio::test(flavor = "multi_thread")]
async fn header_fields_are_read_and_changed() {
    each(async |_, plugin| {
        tells!(
            &plugin,
            "/t/fields",
            "size: 0 true",
            "field: :method=GET",
            "field: :path=/t/fields",
            "field: :authority=shop.example",
            "field: X-One=1",
            "field: x-one=2",
            "x-probe: mine",
            "missing: 1",
            "response fields in the request: 2",
        );
        let edits = probe(&plugin, "/h/edit").await.edits.expect("changed");
        assert_eq!(field(&edits, "x-added"), ["1"]);
        assert_eq!(field(&edits, "x-probe"), ["replaced"]);
        assert!(field(&edits, "x-gone").is_empty());
        let edits = probe(&plugin, "/h/set").await.edits.expect("changed");
        assert_eq!(field(&edits, ":path"), ["/h/set"]);
        assert_eq!(field(&edits, "host"), ["shop.example"]);
        assert_eq!(field(&edits, "x-only"), ["this"]);
        assert_eq!(edits.len(), 6, "{edits:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_read_in_pieces_and_changed() {
    each(async |_, plugin| {
        for (target, new) in [
            ("/b/keep", None),
            ("/b/prepend", Some("<hello world")),
            ("/b/append", Some("hello world>")),
            ("/b/replace", Some("new")),
        ] {
            let chunks = vec![bytes("hello"), bytes(" wor"), bytes("ld")];
            let verdict = plugin
                .request(Arc::new(probe_head(target)), Body::Whole(chunks), site("a"))
                .await;
            assert_eq!(verdict.decision, Decision::Continue);
            assert_eq!(
                field(&verdict.edits.expect("marked"), "x-body"),
                ["0 11 11 hello| world"]
            );
            assert_eq!(verdict.new_body, new.map(bytes), "{target}");
        }
        // The same in parts.
        let verdict = plugin
            .request(
                Arc::new(probe_head("/b/append")),
                Body::Part(vec![bytes("hello")]),
                site("a"),
            )
            .await;
        assert!(verdict.held);
        let mut open = verdict.open.expect("more follows");
        let verdict = open.request_body(vec![bytes(" world")], true).await;
        assert_eq!(verdict.new_body, Some(bytes("hello world>")));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_are_marked() {
    each(async |_, plugin| {
        let mut open = probe(&plugin, "/r/all").await.open.expect("inspected");
        let head = ResponseHead {
            status: 200,
            headers: vec![],
            end: false,
        };
        assert_eq!(
            field(
                &open.response_headers(head).await.edits.expect("marked"),
                "x-seen"
            ),
            ["200 200"]
        );
        let first = response_body(&mut open, "a", false);
        assert!(first.held && first.new_body.is_none());
        let last = response_body(&mut open, "b", true);
        assert_eq!(last.new_body, Some(bytes("<ab>")));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn properties_are_read_and_own_ones_kept() {
    each(async |_, plugin| {
        tells!(
            &plugin,
            "/t/properties?q=1",
            "request.path: /t/properties?q=1",
            "request.url_path: /t/properties",
            "request.query: q=1",
            "request.host: shop.example",
            "request.scheme: https",
            "request.method: GET",
            "request.protocol: HTTP/1.1",
            "request.id: 01JD0000000000000000000000",
            "request.headers.x-probe: mine",
            "source.address: 192.0.2.1:4711",
            "destination.address: [2001:db8::1]:443",
            "connection.tls_version: TLSv1.3",
            "connection.requested_server_name: shop.example",
            "aegis.site: a",
            "aegis.waf_policy: {\"mode\":\"block\"}",
            "no.such: (none)",
            "source.port: 4711",
            "destination.port: 443",
            "request.time: 1700000000000000001",
            "aegis.waf_policy_id: 7",
        );
        tells!(
            &plugin,
            "/t/own_property",
            "set: 0",
            "get: kept",
            "a fact: 2"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_answered_and_closed() {
    each(async |_, plugin| {
        let answer = response(probe(&plugin, "/t/answer").await);
        assert_eq!(
            (answer.status, answer.details.as_str(), answer.body),
            (418, "teapot", bytes("short and stout"))
        );
        assert_eq!(field(&answer.headers, "x-probe"), ["yes"]);
        assert_eq!(probe(&plugin, "/t/close").await.decision, Decision::Close);
        tells!(
            &plugin,
            "/t/context",
            "root: 0",
            "its request: 2",
            "own: 0",
            "own request: 0",
            "no such context: 2"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_to_allowed_pools_and_bring_their_answer() {
    each(async |_, plugin| {
        tells!(
            &plugin,
            "/t/call?pool=allowed",
            "field: :status=207",
            "field: x-answer=yes",
            "body: POST auth.example /asked question x-from=probe x-end=1",
            "trailer: x-sum=42",
        );
        let verdict = probe(&plugin, "/t/call?pool=allowed&then=continue").await;
        assert_eq!(verdict.decision, Decision::Continue);
        assert_eq!(field(&verdict.edits.expect("marked"), "x-called"), ["207"]);
        tells!(&plugin, "/t/call?pool=other", "call: 2");
    })
    .await;
}
