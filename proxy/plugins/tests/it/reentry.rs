//! Allocators that call the host while the host hands something over: whatever they do there, the call ends in its answer
//! or in the end of the instance.

use crate::probe::others_are_fine;
use crate::support::*;
use aegis_plugins::{Body, Decision, FaultKind, Verdict};

/// Asks for a field, its list and the body with this allocator, which runs `does` first.
async fn with(does: &str) -> Verdict {
    let bench = bench();
    let own = r#"
        (data (i32.const 0) "x-onex-new")
        (global $depth (mut i32) (i32.const 0))
        (func (export "proxy_on_request_body") (param $id i32) (param i32 i32) (result i32)
          (global.set $depth (i32.const 0))
          (i32.store (i32.const 2048) (local.get $id))
          (drop (call $get_pairs (i32.const 0) (i32.const 1024) (i32.const 1028)))
          (drop (call $get_buffer (i32.const 0) (i32.const 0) (i32.const 99) (i32.const 1024) (i32.const 1028)))
          (drop (call $get_property (i32.const 0) (i32.const 5) (i32.const 1024) (i32.const 1028)))
          (call $say_result (call $get (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 1024) (i32.const 1028)))
          (i32.const 0))"#;
    let mut spec = bench.spec(
        "reenters",
        &wat_with(&format!("{does} (call $bump (local.get $n))"), own),
    );
    // An allocator may say anything: its plugin alone is hurt.
    spec.deadline = std::time::Duration::from_millis(100);
    let plugin = bench.prepare(spec).expect("a plugin");
    let verdict = ask_with_body(&plugin, Body::Whole(vec![bytes("body")])).await;
    others_are_fine(&bench, &plugin).await;
    verdict
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allocator_may_log() {
    let verdict = with("(drop (call $log (i32.const 2) (i32.const 0) (i32.const 5)))").await;
    assert_eq!(said(verdict), (200, "1,2".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allocator_that_asks_for_memory_again_and_again_ends_at_the_call_stack() {
    let asks = "(drop (call $get (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 1024) (i32.const 1028)))";
    assert_eq!(with(asks).await.decision, Decision::Fault(FaultKind::Stack));
    // As often as it likes while it ends.
    let ten = format!(
        "(global.set $depth (i32.add (global.get $depth) (i32.const 1))) (if (i32.lt_u (global.get $depth) (i32.const 10)) (then {asks}))"
    );
    assert_eq!(said(with(&ten).await), (200, "1,2".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_allocator_changes_meanwhile_is_not_handed_over_half() {
    // The list grows while it is handed over: the call fails, and so does reading a body that is replaced.
    let grows =
        "(drop (call $add (i32.const 0) (i32.const 5) (i32.const 5) (i32.const 0) (i32.const 5)))";
    assert_eq!(said(with(grows).await), (200, "1,2".into()));
    let replaces = "(drop (call $set_buffer (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 2)))";
    assert_eq!(said(with(replaces).await), (200, "1,2".into()));
    let empties = "(drop (call $set_pairs (i32.const 0) (i32.const 0) (i32.const 0)))";
    let (status, _) = said(with(empties).await);
    assert_eq!(status, 201, "it is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allocator_may_grow_memory_act_for_another_context_answer_and_close() {
    assert_eq!(
        said(with("(drop (memory.grow (i32.const 1)))").await),
        (200, "1,2".into())
    );
    let elsewhere = "(drop (call $effective (i32.const 1)))";
    // The root context has no stream: nothing is answered there.
    assert_eq!(with(elsewhere).await.decision, Decision::Continue);
    let answers = "(call $say (i32.const 418) (i32.const 0) (i32.const 0))";
    assert_eq!(said(with(answers).await).0, 418);
    let closes = "(drop (call $close (i32.const 0)))";
    // An answer goes before the end of the stream.
    assert_eq!(said(with(closes).await).0, 200);
    assert_eq!(
        with("(call $exit (i32.const 0))").await.decision,
        Decision::Fault(FaultKind::Exit)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_that_is_given_out_twice_hurts_nobody_but_the_module() {
    let bench = bench();
    let own = r#"
        (data (i32.const 0) "x-one")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (drop (call $get_pairs (i32.const 0) (i32.const 1024) (i32.const 1028)))
          (drop (call $get (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 1024) (i32.const 1028)))
          ;; The name lies where the value was written.
          (drop (call $get (i32.const 0) (i32.const 4096) (i32.const 5) (i32.const 1024) (i32.const 1028)))
          (call $say_result (call $get (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 1024) (i32.const 1028)))
          (i32.const 1))"#;
    for (place, expected) in [("4096", 200), ("0", 210), ("1", 200), ("65535", 200)] {
        let plugin = bench
            .prepare(bench.spec(
                &format!("twice-{place}"),
                &wat_with(&format!("(i32.const {place})"), own),
            ))
            .expect("a plugin");
        let verdict = ask(&plugin, "/").await;
        let status = match verdict.decision {
            Decision::Respond(answer) => answer.status,
            // The list reaches over the words it was to be told of by.
            Decision::Fault(FaultKind::Abi) => 200,
            other => panic!("{place}: {other:?}"),
        };
        assert!([expected, 201].contains(&status), "{place}: {status}");
        let other = bench.plugin("other", "");
        assert_eq!(ask(&other, "/").await.decision, Decision::Continue);
    }
}
