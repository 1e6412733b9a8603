//! `proxy_http_call` at its edges: what is no request, how many there may be, and answers that come late, twice asked for,
//! too large or never.

use crate::calls::{Pools, ok, pools};
use crate::probe::*;
use crate::support::*;
use aegis_plugins::{
    Body, Decision, FaultKind, HttpCallError, HttpCallRequest, HttpCallResponse, HttpCalls, Plugin,
};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

const HEAD: [(&str, &str); 3] = [(":method", "GET"), (":path", "/"), (":authority", "a")];

/// A call to `pool` with a body of `body` bytes, trailers and time; the status is told and the request goes on.
fn calling(
    pool: &str,
    fields: &str,
    body: u32,
    trailers: &[(&str, &str)],
    timeout_ms: i64,
) -> String {
    let ((trailers, trailers_len), pool_len) = (pairs(trailers), pool.len());
    let fields_len = fields.matches('\\').count();
    format!(
        r#"(data (i32.const 0) "aegis_waf_event") (data (i32.const 2048) "{pool}")
           (data (i32.const 8192) "{fields}") (data (i32.const 16384) "{trailers}")
           (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
             (drop (memory.grow (i32.const 20)))
             (i32.store8 (i32.const 20) (call $http_call (i32.const 2048) (i32.const {pool_len})
               (i32.const 8192) (i32.const {fields_len}) (i32.const 131072) (i32.const {body})
               (i32.const 16384) (i32.const {trailers_len}) (i32.const {timeout_ms}) (i32.const 1032)))
             (drop (call $foreign (i32.const 0) (i32.const 15) (i32.const 20) (i32.const 1) (i32.const 0) (i32.const 0)))
             (i32.const 0))"#
    )
}

/// The status, and the request if one was sent.
async fn sent(own: &str) -> (u8, Option<HttpCallRequest>) {
    let (bench, pools) = pools();
    let plugin = bench.plugin("calling", own);
    let verdict = ask(&plugin, "/").await;
    assert_eq!(verdict.decision, Decision::Continue);
    let code = verdict.events[0].data[0];
    if code == 0 {
        until("the call is out", || pools.len() == 1).await;
    }
    others_are_fine(&bench, &plugin).await;
    (code, (code == 0).then(|| pools.take().0))
}

async fn with_fields(fields: &[(&str, &str)]) -> (u8, Option<HttpCallRequest>) {
    sent(&calling("allowed", &pairs(fields).0, 0, &[], 1000)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_method_path_or_authority_is_refused_and_so_is_one_that_has_them_twice() {
    for left_out in 0..3 {
        let mut fields = HEAD.to_vec();
        let (name, value) = fields.remove(left_out);
        assert_eq!(with_fields(&fields).await.0, 2, "without {name}");
        // Neither a name that only begins like it will do, nor one in another case.
        let longer = format!("{name}-x");
        fields.push((&longer, value));
        assert_eq!(with_fields(&fields).await.0, 2, "{longer}");
        let (_, all) = (fields.pop(), HEAD);
        assert_eq!(
            with_fields(&[&all[..], &[(name, value)]].concat()).await.0,
            2,
            "{name} twice"
        );
    }
    assert_eq!(with_fields(&[]).await.0, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_head_could_be_read_as_another_is_refused() {
    for bad in [
        (":method", ""),
        (":method", "GET /x"),
        (":method", "G\r\nET"),
        (":path", ""),
        (":path", "x"),
        (":path", "/a b"),
        (":path", "/\r\nx: y"),
        (":path", "/\u{7f}"),
        (":authority", ""),
        (":authority", "a\r\nx: y"),
        (":scheme", "ht tp"),
        ("a b", "1"),
        ("", "1"),
        ("x", "a\r\nb: c"),
        ("x", "a\0"),
        (":status", "200"),
    ] {
        let mut fields: Vec<_> = HEAD
            .into_iter()
            .filter(|(name, _)| *name != bad.0)
            .collect();
        fields.push(bad);
        assert_eq!(with_fields(&fields).await.0, 2, "{bad:?}");
    }
    assert_eq!(
        sent(&calling("allowed", &pairs(&HEAD).0, 0, &[("x", "a\nb")], 0))
            .await
            .0,
        2
    );
    assert_eq!(
        sent(&calling(
            "allowed",
            &pairs(&HEAD).0,
            0,
            &[(":path", "/")],
            0
        ))
        .await
        .0,
        2
    );
    assert_eq!(
        sent(&calling("allowed", "\\ff\\00", 0, &[], 0)).await.0,
        4,
        "ParseFailure"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_sent_as_the_module_made_it() {
    let mut fields = vec![
        (":path", "/a?b=c%20d&e"),
        (":scheme", "https"),
        (":authority", "auth.example:8080"),
        (":method", "PUT"),
    ];
    fields.extend([
        ("X-A", "1"),
        ("x-a", "2"),
        ("content-length", "7"),
        ("x-empty", ""),
    ]);
    let (code, request) = sent(&calling(
        "allowed",
        &pairs(&fields).0,
        3,
        &[("sum", "9")],
        250,
    ))
    .await;
    let request = request.expect("sent");
    assert_eq!(code, 0);
    assert_eq!(
        (
            &request.method[..],
            &request.path[..],
            &request.authority[..]
        ),
        (&b"PUT"[..], &b"/a?b=c%20d&e"[..], &b"auth.example:8080"[..])
    );
    assert_eq!(request.scheme, Some(bytes("https")));
    assert_eq!(request.headers.len(), 4);
    assert_eq!(
        (request.body.len(), request.trailers),
        (3, vec![(bytes("sum"), bytes("9"))])
    );
    assert_eq!(
        (request.timeout, request.response_max),
        (Duration::from_millis(250), 1 << 20)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_calls_time_and_body_are_bounded() {
    for timeout in [0, 20_001, 4_294_967_295] {
        let (_, request) = sent(&calling("allowed", &pairs(&HEAD).0, 0, &[], timeout)).await;
        assert_eq!(
            request.expect("sent").timeout,
            Duration::from_secs(20),
            "{timeout}"
        );
    }
    assert_eq!(
        sent(&calling("allowed", &pairs(&HEAD).0, 1 << 20, &[], 0))
            .await
            .0,
        0
    );
    assert_eq!(
        sent(&calling("allowed", &pairs(&HEAD).0, (1 << 20) + 1, &[], 0))
            .await
            .0,
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_is_allowed_by_its_whole_name_only() {
    let long = "allowed".repeat(1000);
    for pool in [
        "",
        "allowe",
        "allowed2",
        "ALLOWED",
        "allowed\\00",
        "127.0.0.1:80",
        "unix:/tmp/x",
        &long[..6000],
    ] {
        let own = calling(pool, &pairs(&HEAD).0, 0, &[], 0);
        let own = if pool.contains('\\') {
            own.replace("(i32.const 10)\n", "(i32.const 8)\n")
        } else {
            own
        };
        assert_eq!(sent(&own).await.0, 2, "{pool:.20}");
    }
}

/// Calls `n` times in `proxy_on_request_headers`, as often again in `proxy_on_request_body`, and answers with the number of
/// answers and failures when all are there.
fn many(n: u32) -> String {
    let (head, len) = pairs(&HEAD);
    format!(
        r#"
        (data (i32.const 0) "allowed") (data (i32.const 64) "{head}")
        (global $stream (mut i32) (i32.const 0)) (global $out (mut i32) (i32.const 0))
        (global $answers (mut i32) (i32.const 0)) (global $failures (mut i32) (i32.const 0))
        (func $ask (param $n i32) (result i32)
          (loop $l
            (if (call $http_call (i32.const 0) (i32.const 7) (i32.const 64) (i32.const {len})
                  (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 30) (i32.const 1032)) (then (unreachable)))
            (global.set $out (i32.add (global.get $out) (i32.const 1)))
            (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
          (i32.const 1))
        (func (export "proxy_on_request_headers") (param $id i32) (param i32 i32) (result i32)
          (global.set $stream (local.get $id)) (global.set $answers (i32.const 0)) (global.set $failures (i32.const 0))
          (call $ask (i32.const {n})))
        (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (call $ask (i32.const {n})))
        (func (export "proxy_on_http_call_response") (param i32 i32) (param $fields i32) (param i32 i32)
          (global.set $out (i32.sub (global.get $out) (i32.const 1)))
          (if (local.get $fields)
            (then (global.set $answers (i32.add (global.get $answers) (i32.const 1))))
            (else (global.set $failures (i32.add (global.get $failures) (i32.const 1)))))
          (if (global.get $out) (then (return)))
          (drop (call $effective (global.get $stream)))
          (if (i32.lt_u (i32.add (global.get $answers) (global.get $failures)) (i32.const {all})) (then (drop (call $continue (i32.const 0))) (return)))
          (i32.store8 (i32.const 1032) (i32.add (i32.const 48) (global.get $answers)))
          (i32.store8 (i32.const 1033) (i32.add (i32.const 48) (global.get $failures)))
          (call $say (i32.const 200) (i32.const 1032) (i32.const 2)))"#,
        all = 2 * n
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_run_side_by_side_in_one_callback_and_in_the_next() {
    for n in [1, 2, 4] {
        let bench = answering(1);
        let plugin = bench.plugin("side-by-side", &many(n));
        for _ in 0..2 {
            let verdict = ask_with_body(&plugin, Body::Whole(vec![bytes("body")])).await;
            assert_eq!(said(verdict), (200, format!("{}0", 2 * n)));
        }
    }
}

/// Never answers.
struct Silence;

impl HttpCalls for Silence {
    fn call(
        &self,
        _: HttpCallRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpCallResponse, HttpCallError>> + Send>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_never_answered_end_by_their_own_time() {
    let bench = bench_with(Options {
        threads: 1,
        http: Arc::new(Silence),
        ..Options::default()
    });
    let plugin = bench.plugin("silence", &many(3));
    let verdict = ask_with_body(&plugin, Body::Whole(vec![bytes("body")])).await;
    assert_eq!(said(verdict), (200, "06".into()));
}

/// Calls again for each answer, and answers the stream after `{n}` of them.
fn chain(n: u32) -> String {
    let (head, len) = pairs(&HEAD);
    format!(
        r#"
        (data (i32.const 0) "allowed") (data (i32.const 64) "{head}") (data (i32.const 300) ":path")
        (global $stream (mut i32) (i32.const 0)) (global $n (mut i32) (i32.const 0))
        (func $ask
          (if (call $http_call (i32.const 0) (i32.const 7) (i32.const 64) (i32.const {len})
                (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 1032)) (then (unreachable))))
        (func (export "proxy_on_request_headers") (param $id i32) (param i32 i32) (result i32)
          (drop (call $get (i32.const 0) (i32.const 300) (i32.const 5) (i32.const 1024) (i32.const 1028)))
          (if (i32.eq (i32.load (i32.const 1028)) (i32.const 1)) (then (return (i32.const 0))))
          (global.set $stream (local.get $id)) (global.set $n (i32.const 0))
          (call $ask) (i32.const 1))
        (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
          (global.set $n (i32.add (global.get $n) (i32.const 1)))
          (if (i32.lt_u (global.get $n) (i32.const {n})) (then (call $ask) (return)))
          (drop (call $effective (global.get $stream)))
          (i32.store (i32.const 1032) (global.get $n))
          (call $say_word (i32.const 0)))"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_may_be_followed_by_another_call() {
    let bench = answering(1);
    let plugin = bench.plugin("chain", &chain(3));
    let answer = response(ask(&plugin, "/go").await);
    assert_eq!(answer.body[..], 3_u32.to_le_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_calls_without_end_leaves_the_thread_and_the_instance_to_others() {
    let bench = answering(1);
    let plugin = bench.plugin("endless-chain", &chain(u32::MAX));
    let endless = tokio::spawn({
        let plugin = plugin.clone();
        async move { ask(&plugin, "/go").await }
    });
    let other = bench.plugin("other", "");
    for _ in 0..50 {
        assert_eq!(ask(&plugin, "/").await.decision, Decision::Continue);
        assert_eq!(ask(&other, "/").await.decision, Decision::Continue);
    }
    assert!(!endless.is_finished());
    endless.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_answered_does_not_wait_for_its_calls() {
    let (bench, pools) = pools();
    let own = many(1).replace("(call $ask (i32.const 1)))\n        (func (export \"proxy_on_request_body\")",
        "(drop (call $ask (i32.const 1))) (call $say (i32.const 403) (i32.const 0) (i32.const 0)) (i32.const 1))\n        (func (export \"proxy_on_request_body\")");
    let plugin = bench.plugin("answered-anyway", &own);
    assert_eq!(said(ask(&plugin, "/").await).0, 403);
    until("the call is out", || pools.len() == 1).await;
    // Its answer finds nobody, and harms nobody.
    pools.take().1.send(Ok(ok("late"))).expect("waits");
    assert_eq!(said(ask(&plugin, "/").await).0, 403);
    assert_eq!(faults(&plugin, FaultKind::Trap), 0);
}

fn faults(plugin: &Plugin, kind: FaultKind) -> u64 {
    metric(&format!(
        "aegis_plugin_faults_total{{kind=\"{kind}\",plugin=\"{}\"}}",
        plugin.name()
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_may_call_and_is_answered_in_its_root_instance() {
    let (head, len) = pairs(&HEAD);
    let bench = answering(1);
    let plugin = bench.plugin(
        "tick-calls",
        &format!(
            r#"
            (data (i32.const 0) "allowedanswered") (data (i32.const 64) "{head}")
            (func (export "proxy_on_configure") (param i32 i32) (result i32) (drop (call $set_tick (i32.const 10))) (i32.const 1))
            (func (export "proxy_on_tick") (param i32)
              (if (call $http_call (i32.const 0) (i32.const 7) (i32.const 64) (i32.const {len})
                    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 1032)) (then (unreachable))))
            (func (export "proxy_on_http_call_response") (param $root i32) (param i32) (param $fields i32) (param $body i32) (param $trailers i32)
              (if (i32.ne (local.get $root) (i32.const 1)) (then (unreachable)))
              ;; `:status` and one more field, `answer`, one trailer field.
              (if (i32.ne (local.get $fields) (i32.const 2)) (then (unreachable)))
              (if (i32.ne (local.get $body) (i32.const 6)) (then (unreachable)))
              (if (i32.ne (local.get $trailers) (i32.const 1)) (then (unreachable)))
              (drop (call $define_metric (i32.const 0) (i32.const 7) (i32.const 8) (i32.const 1032)))
              (drop (call $increment_metric (i32.load (i32.const 1032)) (i64.const 1))))"#
        ),
    );
    until("ten were answered", || {
        metric("aegis_plugin_metric{name=\"answered\",plugin=\"tick-calls\"}") >= 10
    })
    .await;
    assert_eq!(faults(&plugin, FaultKind::Trap), 0);
    others_are_fine(&bench, &plugin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_a_mebibyte_is_read_in_pieces_and_whole() {
    let (head, len) = pairs(&HEAD);
    let (bench, pools): (Bench, Arc<Pools>) = pools();
    let plugin = bench.plugin(
        "large-answer",
        &format!(
            r#"
            (data (i32.const 0) "allowed") (data (i32.const 64) "{head}")
            (global $stream (mut i32) (i32.const 0))
            (func (export "proxy_on_request_headers") (param $id i32) (param i32 i32) (result i32)
              (drop (memory.grow (i32.const 40)))
              (global.set $stream (local.get $id))
              (if (call $http_call (i32.const 0) (i32.const 7) (i32.const 64) (i32.const {len})
                    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 9000) (i32.const 1032)) (then (unreachable)))
              (i32.const 1))
            (func (export "proxy_on_http_call_response") (param i32 i32 i32) (param $body i32) (param i32)
              (if (i32.ne (local.get $body) (i32.const 1048576)) (then (unreachable)))
              (drop (call $get_buffer (i32.const 4) (i32.const 1048575) (i32.const 99) (i32.const 1024) (i32.const 1028)))
              (if (i32.ne (i32.load (i32.const 1028)) (i32.const 1)) (then (unreachable)))
              (drop (call $get_buffer (i32.const 4) (i32.const 0) (i32.const -1) (i32.const 1024) (i32.const 1028)))
              (if (i32.ne (i32.load (i32.const 1028)) (i32.const 1048576)) (then (unreachable)))
              (drop (call $effective (global.get $stream)))
              (call $say (i32.const 200) (i32.load (i32.const 1024)) (i32.const 4)))"#
        ),
    );
    let asked = tokio::spawn({
        let plugin = plugin.clone();
        async move { ask(&plugin, "/").await }
    });
    until("the call is out", || pools.len() == 1).await;
    let large = HttpCallResponse {
        body: vec![b'x'; 1 << 20].into(),
        ..ok("")
    };
    pools.take().1.send(Ok(large)).expect("waits");
    assert_eq!(said(asked.await.expect("ends")), (200, "xxxx".into()));
}
