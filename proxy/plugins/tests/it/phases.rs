//! The way of a stream through the callbacks.

use crate::support::*;
use aegis_plugins::{Body, Decision, FaultKind, ResponseHead};

#[tokio::test(flavor = "multi_thread")]
async fn a_module_answers_a_request_itself() {
    let bench = bench();
    let plugin = bench.plugin(
        "answers",
        r#"
        (data (i32.const 0) "no entry\00\01\00\00\00\01\00\00\00\03\00\00\00x\00yes\00because")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (drop (call $respond (i32.const 403) (i32.const 27) (i32.const 7)
            (i32.const 0) (i32.const 8) (i32.const 9) (i32.const 18) (i32.const -1)))
          ;; The first answer counts.
          (call $say (i32.const 200) (i32.const 0) (i32.const 2))
          (i32.const 1))"#,
    );
    let verdict = ask(&plugin, "/").await;
    assert!(verdict.open.is_none() && verdict.edits.is_none() && verdict.events.is_empty());
    assert!(!verdict.cpu.is_zero());
    let answer = response(verdict);
    assert_eq!(answer.status, 403);
    assert_eq!(answer.body, "no entry");
    assert_eq!(answer.headers, [(bytes("x"), bytes("yes"))]);
    assert_eq!(answer.details, "because");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_without_callbacks_lets_everything_pass() {
    let bench = bench();
    let plugin = bench.plugin("empty", "");
    let verdict = ask_with_body(&plugin, Body::Whole(vec![bytes("body")])).await;
    assert_eq!(verdict.decision, Decision::Continue);
    assert!(verdict.edits.is_none() && verdict.new_body.is_none() && verdict.open.is_none());
}

/// Answers 2xx with `end_of_stream` and the whole body, once it is there.
const READS_BODY: &str = r#"
    (global $calls (mut i32) (i32.const 0))
    (func (export "proxy_on_request_headers") (param i32 i32) (param $end i32) (result i32)
      (global.set $calls (i32.const 0))
      (if (local.get $end) (then (call $say (i32.const 299) (i32.const 0) (i32.const 0))))
      (i32.const 0))
    (func (export "proxy_on_request_body") (param i32) (param $len i32) (param $end i32) (result i32)
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (if (i32.eqz (local.get $end)) (then (return (i32.const 1))))
      (drop (call $get_buffer (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 1024) (i32.const 1028)))
      (if (i32.ne (i32.load (i32.const 1028)) (local.get $len)) (then (unreachable)))
      (call $say (i32.add (i32.const 200) (global.get $calls)) (i32.load (i32.const 1024)) (i32.load (i32.const 1028)))
      (i32.const 1))"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_body_is_shown_at_once() {
    let bench = bench();
    let plugin = bench.plugin("whole-body", READS_BODY);
    assert_eq!(said(ask(&plugin, "/").await).0, 299);
    let chunks = vec![bytes("one "), bytes(""), bytes("two")];
    assert_eq!(
        said(ask_with_body(&plugin, Body::Whole(chunks)).await),
        (201, "one two".into())
    );
    assert_eq!(
        said(ask_with_body(&plugin, Body::Whole(vec![])).await),
        (201, String::new())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_a_body_gather_while_the_module_pauses() {
    let bench = bench();
    let plugin = bench.plugin("parts", READS_BODY);
    let verdict = ask_with_body(&plugin, Body::Part(vec![bytes("one ")])).await;
    assert_eq!((verdict.decision, verdict.held), (Decision::Continue, true));
    let mut open = verdict.open.expect("more follows");
    let verdict = open.request_body(vec![bytes("two ")], false).await;
    assert_eq!((verdict.decision, verdict.held), (Decision::Continue, true));
    assert_eq!(
        said(open.request_body(vec![bytes("three")], true).await),
        (203, "one two three".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_beginning_of_a_body_is_not_shown() {
    let bench = bench();
    let plugin = bench.plugin("empty-part", READS_BODY);
    assert!(plugin.reads_request_body());
    let verdict = ask_with_body(&plugin, Body::Part(vec![])).await;
    assert_eq!(
        (verdict.decision, verdict.held),
        (Decision::Continue, false)
    );
    let mut open = verdict.open.expect("more follows");
    assert_eq!(
        said(open.request_body(vec![bytes("all")], true).await),
        (201, "all".into()),
        "the first callback has the first bytes"
    );
    let headless = bench.plugin("no-body-callback", "");
    assert!(!headless.reads_request_body());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_in_the_head_waits_for_a_body_that_has_not_begun() {
    let bench = bench();
    let plugin = bench.plugin(
        "waits-for-body",
        r#"
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 1))
        (func (export "proxy_on_request_body") (param i32) (param $len i32) (param i32) (result i32)
          (call $say (i32.add (i32.const 200) (local.get $len)) (i32.const 0) (i32.const 0))
          (i32.const 1))"#,
    );
    let verdict = ask_with_body(&plugin, Body::Part(vec![])).await;
    assert_eq!((verdict.decision, verdict.held), (Decision::Continue, true));
    let mut open = verdict.open.expect("more follows");
    assert_eq!(
        said(open.request_body(vec![bytes("four")], true).await).0,
        204
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_were_let_go_are_not_shown_again() {
    let bench = bench();
    let plugin = bench.plugin(
        "parts-go",
        r#"
        (data (i32.const 0) "[]")
        (func (export "proxy_on_request_body") (param i32) (param $len i32) (param $end i32) (result i32)
          (drop (call $set_buffer (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1)))
          (drop (call $set_buffer (i32.const 0) (i32.add (local.get $len) (i32.const 1)) (i32.const 0) (i32.const 1) (i32.const 1)))
          (i32.const 0))"#,
    );
    let verdict = ask_with_body(&plugin, Body::Part(vec![bytes("one")])).await;
    assert_eq!(verdict.new_body.as_deref(), Some(&b"[one]"[..]));
    let mut open = verdict.open.expect("more follows");
    let verdict = open.request_body(vec![bytes("two")], true).await;
    assert_eq!(verdict.new_body.as_deref(), Some(&b"[two]"[..]));
    assert!(!verdict.held);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_in_the_head_waits_for_the_body_and_may_still_change_the_head() {
    let bench = bench();
    let plugin = bench.plugin(
        "late-head",
        r#"
        (data (i32.const 0) "x-body")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 1))
        (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
          (drop (call $get_buffer (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 1024) (i32.const 1028)))
          (drop (call $add (i32.const 0) (i32.const 0) (i32.const 6) (i32.load (i32.const 1024)) (i32.load (i32.const 1028))))
          (i32.const 0))"#,
    );
    let verdict = ask_with_body(&plugin, Body::Whole(vec![bytes("seen")])).await;
    assert_eq!(verdict.decision, Decision::Continue);
    let edits = verdict.edits.expect("changed");
    assert_eq!(edits.last(), Some(&(bytes("x-body"), bytes("seen"))));
    assert_eq!(edits.first(), Some(&(bytes(":method"), bytes("GET"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_nothing_ends_is_a_fault_of_this_request_only() {
    let bench = bench();
    let plugin = bench.inspecting(
        "pauses",
        r#"(func (export "proxy_on_request_headers") (param i32 i32) (param $end i32) (result i32) (i32.const 1))"#,
    );
    let other = ask_with_body(&plugin, Body::Part(vec![])).await;
    assert_eq!(other.decision, Decision::Continue);
    assert_eq!(
        ask(&plugin, "/").await.decision,
        Decision::Fault(FaultKind::Abi)
    );
    let mut open = other.open.expect("open");
    assert_eq!(
        open.request_body(vec![], true).await.decision,
        Decision::Continue
    );
}

/// Marks the head of a response, replaces its body when all of it is there, and answers when the status is 500.
const RESPONSES: &str = r#"
    (data (i32.const 0) ":statusx-seen500(replaced)")
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
      (drop (call $get (i32.const 2) (i32.const 0) (i32.const 7) (i32.const 1024) (i32.const 1028)))
      (if (i32.eq (i32.load8_u (i32.load (i32.const 1024))) (i32.const 53)) ;; '5'
        (then (call $say (i32.const 502) (i32.const 16) (i32.const 10))))
      (drop (call $add (i32.const 2) (i32.const 7) (i32.const 6) (i32.load (i32.const 1024)) (i32.load (i32.const 1028))))
      (i32.const 0))
    (func (export "proxy_on_response_body") (param i32) (param $len i32) (param $end i32) (result i32)
      (if (i32.eqz (local.get $end)) (then (return (i32.const 1))))
      (drop (call $set_buffer (i32.const 1) (i32.const 0) (i32.const -1) (i32.const 16) (i32.const 10)))
      (i32.const 0))
    (func (export "proxy_on_response_trailers") (param i32 i32) (result i32)
      (unreachable))"#;

fn answer(status: u16) -> ResponseHead {
    ResponseHead {
        status,
        headers: vec![(bytes("Content-Type"), bytes("text/plain"))],
        end: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_are_shown_changed_and_replaced() {
    let bench = bench();
    let plugin = bench.inspecting("responses", RESPONSES);
    let mut open = ask(&plugin, "/").await.open.expect("inspected");
    let verdict = open.response_headers(answer(200)).await;
    assert_eq!(verdict.decision, Decision::Continue);
    let expected = [
        (":status", "200"),
        ("Content-Type", "text/plain"),
        ("x-seen", "200"),
    ]
    .map(|(n, v)| (bytes(n), bytes(v)));
    assert_eq!(verdict.edits.as_deref(), Some(&expected[..]));
    let verdict = response_body(&mut open, "a", false);
    assert_eq!(
        (verdict.decision, verdict.held, verdict.new_body),
        (Decision::Continue, true, None)
    );
    let verdict = response_body(&mut open, "b", true);
    assert_eq!(verdict.new_body.as_deref(), Some(&b"(replaced)"[..]));

    let mut open = ask(&plugin, "/").await.open.expect("inspected");
    assert_eq!(
        said(open.response_headers(answer(500)).await),
        (502, "(replaced)".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_of_requests_and_responses_do_not_exist() {
    let bench = bench();
    let plugin = bench.plugin(
        "trailers",
        r#"
        (data (i32.const 0) "sum")
        (func (export "proxy_on_request_trailers") (param i32 i32) (result i32) (unreachable))
        (func (export "proxy_on_request_body") (param i32 i32) (param $end i32) (result i32)
          (if (i32.eqz (local.get $end)) (then (return (i32.const 0))))
          (call $say_word (call $get (i32.const 1) (i32.const 0) (i32.const 3) (i32.const 1024) (i32.const 1028)))
          (i32.const 1))"#,
    );
    let body = Body::Whole(vec![bytes("x")]);
    // 2 = bad argument.
    assert_eq!(said(ask_with_body(&plugin, body).await).0, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_may_close_a_stream_without_an_answer() {
    let bench = bench();
    let plugin = bench.plugin(
        "closes",
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (drop (call $close (i32.const 0))) (i32.const 1))"#,
    );
    assert_eq!(ask(&plugin, "/").await.decision, Decision::Close);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_context_is_done_logged_and_deleted_once_in_this_order() {
    let bench = bench();
    // Counts contexts that exist (gauge), and traps on a wrong order.
    let plugin = bench.inspecting(
        "life",
        r#"
        (data (i32.const 0) "opendeleted")
        (global $state (mut i32) (i32.const 0))
        (global $open (mut i32) (i32.const 0))
        (global $deleted (mut i32) (i32.const 0))
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
          (drop (call $define_metric (i32.const 1) (i32.const 0) (i32.const 4) (i32.const 1032)))
          (global.set $open (i32.load (i32.const 1032)))
          (drop (call $define_metric (i32.const 0) (i32.const 4) (i32.const 7) (i32.const 1032)))
          (global.set $deleted (i32.load (i32.const 1032)))
          (i32.const 1))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (drop (call $increment_metric (global.get $open) (i64.const 1)))
          (i32.const 0))
        (func (export "proxy_on_done") (param i32) (result i32)
          (if (i32.ne (global.get $state) (i32.const 0)) (then (unreachable)))
          (global.set $state (i32.const 1)) (i32.const 1))
        (func (export "proxy_on_log") (param i32)
          (if (i32.ne (global.get $state) (i32.const 1)) (then (unreachable)))
          (global.set $state (i32.const 2)))
        (func (export "proxy_on_delete") (param i32)
          (if (i32.ne (global.get $state) (i32.const 2)) (then (unreachable)))
          (global.set $state (i32.const 0))
          (drop (call $increment_metric (global.get $open) (i64.const -1)))
          (drop (call $increment_metric (global.get $deleted) (i64.const 1))))"#,
    );
    let one = ask(&plugin, "/").await.open.expect("inspected");
    let two = ask(&plugin, "/").await.open.expect("inspected");
    let open = || metric("aegis_plugin_metric{name=\"open\",plugin=\"life\"}");
    assert_eq!(open(), 2);
    drop(one);
    until("one is closed", || open() == 1).await;
    drop(two);
    until("both are closed", || open() == 0).await;
    // A verdict that nobody took leaves nothing behind either.
    drop(ask(&plugin, "/").await);
    until("three are deleted", || {
        metric("aegis_plugin_metric{name=\"deleted\",plugin=\"life\"}") == 3
    })
    .await;
    assert_eq!(
        metric("aegis_plugin_faults_total{kind=\"trap\",plugin=\"life\"}"),
        0
    );
}
