//! A call tried in every callback of a stream, and what came of it.

use crate::support::*;
use aegis_plugins::{
    Body, Decision, HttpCallError, HttpCallRequest, HttpCallResponse, HttpCalls, Plugin,
    ResponseHead, Verdict,
};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Callbacks, by the letter that stands for them.
pub(crate) const CALLBACKS: [(char, &str); 13] = [
    ('a', "proxy_on_vm_start"),
    ('b', "proxy_on_configure"),
    ('c', "proxy_on_tick"),
    ('d', "proxy_on_queue_ready"),
    ('e', "proxy_on_http_call_response"),
    ('f', "proxy_on_http_call_response for its stream"),
    ('g', "proxy_on_request_headers"),
    ('h', "proxy_on_request_body"),
    ('i', "proxy_on_response_headers"),
    ('j', "proxy_on_response_body"),
    ('k', "proxy_on_done"),
    ('l', "proxy_on_log"),
    ('m', "proxy_on_delete"),
];

/// Runs `$tried` in each of them with the letter, and keeps what it returns, and 1000 more, as the gauge of that letter.
///
/// Bytes 0 to 799 are for `$tried`, from 800 on they are taken. A stream asks pool `allowed` and is continued by the answer.
const EVERYWHERE: &str = r#"
  (data (i32.const 800) "queueallowed")
  (data (i32.const 820) "{head}")
  (global $stream (mut i32) (i32.const 0))
  (global $token (mut i32) (i32.const 0))
  (func $probe (param $at i32)
    (local $code i32)
    (local.set $code (call $tried (local.get $at)))
    (i32.store8 (i32.const 940) (local.get $at))
    (drop (call $define_metric (i32.const 1) (i32.const 940) (i32.const 1) (i32.const 944)))
    (drop (call $record_metric (i32.load (i32.const 944)) (i64.extend_i32_u (i32.add (i32.const 1000) (local.get $code))))))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (call $probe (i32.const 97)) (i32.const 1))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (call $probe (i32.const 98))
    (drop (call $register_queue (i32.const 800) (i32.const 5) (i32.const 944)))
    (drop (call $set_tick (i32.const 10)))
    (i32.const 1))
  (func (export "proxy_on_tick") (param i32)
    (drop (call $set_tick (i32.const 0)))
    (call $probe (i32.const 99)))
  (func (export "proxy_on_queue_ready") (param i32) (param $queue i32)
    (drop (call $dequeue (local.get $queue) (i32.const 948) (i32.const 952)))
    (call $probe (i32.const 100)))
  (func (export "proxy_on_http_call_response") (param i32) (param $token i32) (param i32 i32 i32)
    (if (i32.ne (local.get $token) (global.get $token)) (then (return)))
    (global.set $token (i32.const 0))
    (call $probe (i32.const 101))
    (drop (call $effective (global.get $stream)))
    (call $probe (i32.const 102))
    (drop (call $continue (i32.const 0))))
  (func (export "proxy_on_request_headers") (param $id i32) (param i32 i32) (result i32)
    (global.set $stream (local.get $id))
    (call $probe (i32.const 103))
    (drop (call $resolve_queue (i32.const 0) (i32.const 0) (i32.const 800) (i32.const 5) (i32.const 944)))
    (drop (call $enqueue (i32.load (i32.const 944)) (i32.const 800) (i32.const 5)))
    (if (call $http_call (i32.const 805) (i32.const 7) (i32.const 820) (i32.const {head_len})
          (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 5000) (i32.const 944))
      (then (unreachable)))
    (global.set $token (i32.load (i32.const 944)))
    (i32.const 1))
  (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (call $probe (i32.const 104)) (i32.const 0))
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (call $probe (i32.const 105)) (i32.const 0))
  (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) (call $probe (i32.const 106)) (i32.const 0))
  (func (export "proxy_on_done") (param i32) (result i32) (call $probe (i32.const 107)) (i32.const 1))
  (func (export "proxy_on_log") (param i32) (call $probe (i32.const 108)))
  (func (export "proxy_on_delete") (param i32) (call $probe (i32.const 109)))
"#;

/// The module's own part: `data` is put at 0, `tried` is the body of a function of `$at` with a status as its result.
pub(crate) fn everywhere(data: &str, tried: &str) -> String {
    let (head, len) = pairs(&[(":method", "GET"), (":path", "/"), (":authority", "a")]);
    let all = EVERYWHERE
        .replace("{head}", &head)
        .replace("{head_len}", &len.to_string());
    format!(
        "(data (i32.const 0) \"{data}\")\n(func $tried (param $at i32) (result i32) {tried})\n{all}"
    )
}

/// A list of fields as a string of WAT, and its length.
pub(crate) fn pairs(fields: &[(&str, &str)]) -> (String, usize) {
    let word = |n: usize| u32::try_from(n).expect("short").to_le_bytes();
    let mut bytes = word(fields.len()).to_vec();
    for (name, value) in fields {
        bytes.extend(word(name.len()));
        bytes.extend(word(value.len()));
    }
    for text in fields.iter().flat_map(|(name, value)| [name, value]) {
        bytes.extend(text.bytes());
        bytes.push(0);
    }
    (escaped(&bytes), bytes.len())
}

/// Bytes as a string of WAT.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}

/// Answers every call at once.
pub(crate) struct Answers;

impl HttpCalls for Answers {
    fn call(
        &self,
        _: HttpCallRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpCallResponse, HttpCallError>> + Send>> {
        Box::pin(async {
            Ok(HttpCallResponse {
                status: 200,
                headers: vec![(bytes("x-one"), bytes("1"))],
                body: bytes("answer"),
                trailers: vec![(bytes("x-one"), bytes("2"))],
            })
        })
    }
}

pub(crate) fn answering(threads: usize) -> Bench {
    bench_with(Options {
        threads,
        http: Arc::new(Answers),
        ..Options::default()
    })
}

pub(crate) fn response_head() -> ResponseHead {
    ResponseHead {
        status: 200,
        headers: vec![(bytes("X-One"), bytes("1"))],
        end: false,
    }
}

/// Verdicts of a stream in the order they are given, until one that ends it.
pub(crate) async fn through(plugin: &Arc<Plugin>) -> Vec<Verdict> {
    let mut first = ask_with_body(plugin, Body::Whole(vec![bytes("body")])).await;
    let open = first.open.take();
    let mut verdicts = vec![first];
    let Some(mut open) = open else {
        return verdicts;
    };
    verdicts.push(open.response_headers(response_head()).await);
    if verdicts[1].decision == Decision::Continue {
        verdicts.push(response_body(&mut open, "text", true));
    }
    verdicts
}

/// What the call returned in a callback, once it was tried there.
pub(crate) fn code(plugin: &Plugin, at: char) -> Option<u64> {
    let series = format!(
        "aegis_plugin_metric{{name=\"{at}\",plugin=\"{}\"}}",
        plugin.name()
    );
    metric(&series).checked_sub(1000)
}

/// That nothing suffered: the next streams of this plugin, and those of another on the same host.
pub(crate) async fn others_are_fine(bench: &Bench, plugin: &Arc<Plugin>) {
    let other = bench.plugin("other", "");
    for plugin in [plugin, &other, plugin] {
        let verdict = ask(plugin, "/").await;
        assert_eq!(verdict.decision, Decision::Continue, "{}", plugin.name());
    }
}
