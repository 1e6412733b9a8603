//! `proxy_http_call`: the stream waits in its instance, which serves others meanwhile.

use crate::support::*;
use aegis_plugins::{
    Decision, FaultKind, HttpCallError, HttpCallRequest, HttpCallResponse, HttpCalls, ResponseHead,
};
use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

pub(crate) type Answer = Result<HttpCallResponse, HttpCallError>;

/// Calls wait here until the test answers them.
#[derive(Default)]
pub(crate) struct Pools {
    calls: Mutex<Vec<(HttpCallRequest, oneshot::Sender<Answer>)>>,
}

impl HttpCalls for Pools {
    fn call(
        &self,
        request: HttpCallRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpCallResponse, HttpCallError>> + Send>> {
        let (answer, answered) = oneshot::channel();
        self.calls.lock().expect("lock").push((request, answer));
        Box::pin(async {
            answered
                .await
                .unwrap_or_else(|_| Err(HttpCallError("gone".into())))
        })
    }
}

impl Pools {
    pub(crate) fn len(&self) -> usize {
        self.calls.lock().expect("lock").len()
    }

    pub(crate) fn take(&self) -> (HttpCallRequest, oneshot::Sender<Answer>) {
        self.calls.lock().expect("lock").remove(0)
    }
}

pub(crate) fn pools() -> (Bench, Arc<Pools>) {
    let pools = Arc::new(Pools::default());
    let bench = bench_with(Options {
        threads: 1,
        http: pools.clone(),
        ..Options::default()
    });
    (bench, pools)
}

pub(crate) fn ok(body: &'static str) -> HttpCallResponse {
    HttpCallResponse {
        status: 200,
        headers: vec![(bytes("x"), bytes("y"))],
        body: bytes(body),
        trailers: vec![],
    }
}

/// Calls `allowed` in `proxy_on_request_headers` if the path is not `/free`; answers `2xx` with the call's body, where xx
/// is the number of header fields. Remembers the context by token, as SDKs do.
const CALLS: &str = r#"
    (data (i32.const 0) ":pathallowedforbidden")
    (data (i32.const 64)
      "\04\00\00\00"
      "\07\00\00\00\04\00\00\00" "\05\00\00\00\06\00\00\00" "\0a\00\00\00\04\00\00\00" "\01\00\00\00\01\00\00\00"
      ":method\00POST\00" ":path\00/check\00" ":authority\00auth\00" "h\00v\00")
    (func $dispatch (param $pool i32) (param $len i32) (result i32)
      (call $http_call (local.get $pool) (local.get $len) (i32.const 64) (i32.const 82)
        (i32.const 5) (i32.const 7) (i32.const 0) (i32.const 0) (i32.const 5000) (i32.const 1032)))
    (func (export "proxy_on_request_headers") (param $id i32) (param i32 i32) (result i32)
      (local $code i32)
      (drop (call $get (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 1024) (i32.const 1028)))
      (if (i32.eq (i32.load8_u offset=1 (i32.load (i32.const 1024))) (i32.const 102)) ;; 'f'
        (then (return (i32.const 0))))
      (if (i32.eq (i32.load8_u offset=1 (i32.load (i32.const 1024))) (i32.const 120)) ;; 'x'
        (then (call $say_word (call $dispatch (i32.const 12) (i32.const 9))) (return (i32.const 1))))
      (local.set $code (call $dispatch (i32.const 5) (i32.const 7)))
      (if (local.get $code) (then (call $say_word (local.get $code)) (return (i32.const 1))))
      (i32.store (i32.add (i32.const 2048) (i32.mul (i32.const 4) (i32.load (i32.const 1032)))) (local.get $id))
      (i32.const 1))
    (func (export "proxy_on_http_call_response") (param $root i32) (param $token i32) (param $headers i32) (param $body i32) (param i32)
      (if (i32.ne (local.get $root) (i32.const 1)) (then (unreachable)))
      (drop (call $effective (i32.load (i32.add (i32.const 2048) (i32.mul (i32.const 4) (local.get $token))))))
      (drop (call $get_buffer (i32.const 4) (i32.const 0) (local.get $body) (i32.const 1024) (i32.const 1028)))
      (if (i32.eq (local.get $headers) (i32.const 2))
        (then (if (i32.eqz (local.get $body)) (then (drop (call $continue (i32.const 0))) (return)))))
      (call $say (i32.add (i32.const 200) (local.get $headers)) (i32.load (i32.const 1024)) (i32.load (i32.const 1028))))
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (i32.const 0))"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_waits_for_its_call_while_the_instance_serves_others() {
    let (bench, pools) = pools();
    let plugin = bench.plugin("calls", CALLS);
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let plugin = plugin.clone();
            tokio::spawn(async move { ask(&plugin, "/go").await })
        })
        .collect();
    until("three calls are out", || pools.len() == 3).await;
    // One thread, one instance: it would stand still if a waiting stream held it.
    assert_eq!(ask(&plugin, "/free").await.decision, Decision::Continue);
    assert_eq!(plugin.instances(), 1);
    for _ in 0..3 {
        let (request, answer) = pools.take();
        assert_eq!(
            (request.pool.as_str(), &*request.site, &*request.plugin),
            ("allowed", "a", "calls")
        );
        assert_eq!(
            (request.method, request.path, request.authority),
            (bytes("POST"), bytes("/check"), bytes("auth"))
        );
        assert_eq!(
            (request.headers, request.body),
            (vec![(bytes("h"), bytes("v"))], bytes("allowed"))
        );
        assert_eq!(request.timeout.as_secs(), 5);
        answer.send(Ok(ok("no"))).expect("waits");
    }
    for task in waiting {
        assert_eq!(said(task.await.expect("ends")), (202, "no".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_may_let_the_request_go_on() {
    let (bench, pools) = pools();
    let plugin = bench.inspecting("resumes", CALLS);
    let asked = tokio::spawn({
        let plugin = plugin.clone();
        async move { ask(&plugin, "/go").await }
    });
    until("the call is out", || pools.len() == 1).await;
    pools.take().1.send(Ok(ok(""))).expect("waits");
    let verdict = asked.await.expect("ends");
    assert_eq!(verdict.decision, Decision::Continue);
    let head = ResponseHead {
        status: 200,
        headers: vec![],
        end: true,
    };
    let verdict = verdict
        .open
        .expect("inspected")
        .response_headers(head)
        .await;
    assert_eq!(verdict.decision, Decision::Continue);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fails_or_brings_too_much_is_a_response_without_fields() {
    let (bench, pools) = pools();
    let plugin = bench.plugin("failing", CALLS);
    let too_much = HttpCallResponse {
        body: Bytes::from(vec![0; (1 << 20) + 1]),
        ..ok("")
    };
    for answer in [Err(HttpCallError("refused".into())), Ok(too_much)] {
        let asked = tokio::spawn({
            let plugin = plugin.clone();
            async move { ask(&plugin, "/go").await }
        });
        until("the call is out", || pools.len() == 1).await;
        pools.take().1.send(answer).expect("waits");
        assert_eq!(said(asked.await.expect("ends")), (200, String::new()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_not_allowed_is_refused_and_counted() {
    let (bench, pools) = pools();
    let plugin = bench.plugin("forbidden", CALLS);
    assert_eq!(said(ask(&plugin, "/x").await).0, 202, "BadArgument");
    assert_eq!(pools.len(), 0);
    assert_eq!(
        metric("aegis_plugin_faults_total{kind=\"refused\",plugin=\"forbidden\"}"),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_has_a_bounded_number_of_calls() {
    let (bench, pools) = pools();
    let plugin = bench.plugin(
        "many-calls",
        &CALLS.replace("(local.set $code (call $dispatch (i32.const 5) (i32.const 7)))",
            "(loop $l (local.set $code (call $dispatch (i32.const 5) (i32.const 7))) (br_if $l (i32.eqz (local.get $code))))"),
    );
    assert_eq!(said(ask(&plugin, "/go").await).0, 210, "InternalFailure");
    until("the calls are out", || pools.len() == 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_nobody_waits_for_any_more_ends_when_its_call_does() {
    let (bench, pools) = pools();
    let plugin = bench.plugin("given-up", CALLS);
    let asked = tokio::spawn({
        let plugin = plugin.clone();
        async move { ask(&plugin, "/go").await }
    });
    until("the call is out", || pools.len() == 1).await;
    asked.abort();
    assert!(asked.await.is_err());
    pools.take().1.send(Ok(ok("no"))).expect("waits");
    assert_eq!(ask(&plugin, "/free").await.decision, Decision::Continue);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_streams_are_lost_with_their_instance_and_late_answers_are_dropped() {
    let (bench, pools) = pools();
    let plugin = bench.plugin(
        "trap-after-call",
        &CALLS.replace("(then (return (i32.const 0))))", "(then (unreachable)))"),
    );
    let asked = tokio::spawn({
        let plugin = plugin.clone();
        async move { ask(&plugin, "/go").await }
    });
    until("the call is out", || pools.len() == 1).await;
    assert_eq!(
        ask(&plugin, "/free").await.decision,
        Decision::Fault(FaultKind::Trap)
    );
    assert_eq!(
        asked.await.expect("ends").decision,
        Decision::Fault(FaultKind::Lost)
    );
    pools.take().1.send(Ok(ok("no"))).expect("waits");
    assert_eq!(said(ask(&plugin, "/x").await).0, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_may_linger_until_its_last_call_ends() {
    let (bench, pools) = pools();
    let plugin = bench.plugin(
        "lingers",
        &format!(
            r#"{CALLS}
            (data (i32.const 300) "deleted")
            (func (export "proxy_on_done") (param i32) (result i32)
              (if (i32.eqz (call $dispatch (i32.const 5) (i32.const 7)))
                (then (i32.store (i32.add (i32.const 2048) (i32.mul (i32.const 4) (i32.load (i32.const 1032)))) (local.get 0))))
              (i32.const 0))
            (func (export "proxy_on_delete") (param i32)
              (drop (call $define_metric (i32.const 0) (i32.const 300) (i32.const 7) (i32.const 1032)))
              (drop (call $increment_metric (i32.load (i32.const 1032)) (i64.const 1))))"#
        )
        .replace("(drop (call $continue (i32.const 0)))", "(drop (call $done))"),
    );
    let deleted = || metric("aegis_plugin_metric{name=\"deleted\",plugin=\"lingers\"}");
    assert_eq!(ask(&plugin, "/free").await.decision, Decision::Continue);
    until("the call is out", || pools.len() == 1).await;
    assert_eq!(deleted(), 0);
    pools.take().1.send(Ok(ok(""))).expect("waits");
    until("the context is deleted", || deleted() == 1).await;
    assert_eq!(
        metric("aegis_plugin_faults_total{kind=\"trap\",plugin=\"lingers\"}"),
        0
    );
}

/// Asks for a call in `proxy_on_response_headers` and in `proxy_on_response_body`, and pauses at both.
const RESPONSE_CALLS: &str = r#"
    (data (i32.const 0) "allowedx-code")
    (data (i32.const 64)
      "\04\00\00\00"
      "\07\00\00\00\04\00\00\00" "\05\00\00\00\06\00\00\00" "\0a\00\00\00\04\00\00\00" "\01\00\00\00\01\00\00\00"
      ":method\00POST\00" ":path\00/check\00" ":authority\00auth\00" "h\00v\00")
    (func $dispatch (result i32)
      (call $http_call (i32.const 0) (i32.const 7) (i32.const 64) (i32.const 82)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 5000) (i32.const 1032)))
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
      (drop (call $dispatch)) (i32.const 0))
    (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
      ;; The answer of the first call is still out; a second one is a bad argument (2).
      (if (i32.ne (call $dispatch) (i32.const 2)) (then (unreachable)))
      (i32.const 1))"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_response_body_is_judged_without_waiting_for_a_call() {
    let (bench, pools) = pools();
    let plugin = bench.inspecting("response-calls", RESPONSE_CALLS);
    let mut open = ask(&plugin, "/").await.open.expect("inspected");
    let head = ResponseHead {
        status: 200,
        headers: vec![],
        end: false,
    };
    assert_eq!(
        open.response_headers(head).await.decision,
        Decision::Continue
    );
    until("the call is out", || pools.len() == 1).await;
    assert!(response_body(&mut open, "a", false).held);
    // Nothing but the answer could resume it, and a thread that serves would stand still until then.
    assert_eq!(
        response_body(&mut open, "b", true).decision,
        Decision::Fault(FaultKind::Abi)
    );
}
