//! The order of callbacks and what their return values do.

use crate::probe::*;
use crate::support::*;
use aegis_plugins::{Body, Decision, FaultKind, ResponseHead};
use std::sync::Arc;

/// Notes a letter for each callback and a figure for `end_of_stream`, and tells them when the context ends.
const NOTES: &str = r#"
    (data (i32.const 0) "aegis_waf_event")
    (global $at (mut i32) (i32.const 2048))
    (func $note (param $c i32)
      (i32.store8 (global.get $at) (local.get $c))
      (global.set $at (i32.add (global.get $at) (i32.const 1))))
    (func $step (param $c i32) (param $end i32) (result i32)
      (call $note (local.get $c))
      (call $note (i32.add (i32.const 48) (local.get $end)))
      (i32.const 0))
    (func (export "proxy_on_request_headers") (param i32 i32) (param $end i32) (result i32)
      (global.set $at (i32.const 2048))
      (call $step (i32.const 72) (local.get $end)))
    (func (export "proxy_on_request_body") (param i32 i32) (param $end i32) (result i32) (call $step (i32.const 66) (local.get $end)))
    (func (export "proxy_on_response_headers") (param i32 i32) (param $end i32) (result i32) (call $step (i32.const 104) (local.get $end)))
    (func (export "proxy_on_response_body") (param i32 i32) (param $end i32) (result i32) (call $step (i32.const 98) (local.get $end)))
    (func (export "proxy_on_done") (param i32) (result i32) (call $note (i32.const 100)) (i32.const 1))
    (func (export "proxy_on_log") (param i32) (call $note (i32.const 108)))
    (func (export "proxy_on_delete") (param i32)
      (call $note (i32.const 120))
      (drop (call $foreign (i32.const 0) (i32.const 15) (i32.const 2048)
        (i32.sub (global.get $at) (i32.const 2048)) (i32.const 0) (i32.const 0))))"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_callbacks_of_a_stream_come_in_the_order_of_the_abi() {
    let (sender, late) = std::sync::mpsc::channel();
    let bench = bench_with(Options {
        late: Some(Arc::new(move |event| drop(sender.send(event)))),
        ..Options::default()
    });
    let plugin = bench.inspecting("order", NOTES);
    let told = || {
        let event = tokio::task::block_in_place(|| late.recv()).expect("an event");
        String::from_utf8(event.event.data.to_vec()).expect("letters")
    };
    let head = |end| ResponseHead {
        end,
        ..response_head()
    };
    // No body either way.
    let mut open = ask(&plugin, "/").await.open.expect("inspected");
    open.response_headers(head(true)).await;
    drop(open);
    assert_eq!(told(), "H1h1dlx");
    // A whole body, and a response in one piece.
    let mut open = ask_with_body(&plugin, Body::Whole(vec![bytes("a"), bytes("b")]))
        .await
        .open
        .expect("inspected");
    open.response_headers(head(false)).await;
    response_body(&mut open, "all", true);
    drop(open);
    assert_eq!(told(), "H0B1h0b1dlx");
    // Parts both ways.
    let mut open = ask_with_body(&plugin, Body::Part(vec![bytes("a")]))
        .await
        .open
        .expect("more follows");
    open.request_body(vec![bytes("b")], false).await;
    open.request_body(vec![], true).await;
    open.response_headers(head(false)).await;
    response_body(&mut open, "a", false);
    response_body(&mut open, "", true);
    drop(open);
    assert_eq!(told(), "H0B0B0B1h0b0b1dlx");
    // No response ever came.
    drop(ask(&plugin, "/").await);
    assert_eq!(told(), "H1dlx");
}

/// Returns `action` in the callback of this letter.
fn returns(letter: char, before: &str, action: i32) -> String {
    let callbacks = CALLBACKS
        .into_iter()
        .filter(|(l, _)| ('g'..='j').contains(l));
    callbacks
        .map(|(l, name)| {
            let does = if l == letter {
                format!("{before} (i32.const {action})")
            } else {
                "(i32.const 0)".to_owned()
            };
            format!("(func (export \"{name}\") (param i32 i32 i32) (result i32) {does})\n")
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_nothing_ends_is_a_fault_in_each_callback_and_the_next_stream_is_fine() {
    for (letter, verdicts) in [('h', 1), ('i', 2), ('j', 3)] {
        // 1 is Pause; whatever no version of the ABI knows stops as well.
        for action in [1, 3, 4, -1, 99] {
            let bench = bench();
            let plugin = bench.inspecting(
                &format!("pause-{letter}-{action}"),
                &returns(letter, "", action),
            );
            let all = through(&plugin).await;
            assert_eq!(all.len(), verdicts, "{letter} {action}: {all:?}");
            let last = all.last().map(|verdict| verdict.decision.clone());
            assert_eq!(
                last,
                Some(Decision::Fault(FaultKind::Abi)),
                "{letter} {action}"
            );
            others_are_fine(&bench, &plugin).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_continued_before_its_callback_paused_goes_on() {
    for (letter, direction) in [('h', 0), ('i', 1), ('j', 1)] {
        let bench = bench();
        let before = format!("(if (call $continue (i32.const {direction})) (then (unreachable)))");
        let plugin = bench.inspecting(&format!("resumed-{letter}"), &returns(letter, &before, 1));
        let all = through(&plugin).await;
        assert_eq!(all.len(), 3, "{letter}: {all:?}");
        assert!(
            all.iter()
                .all(|verdict| verdict.decision == Decision::Continue),
            "{letter}: {all:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn continuing_the_other_half_of_a_stream_or_no_half_changes_nothing() {
    for (direction, code) in [(1, 0), (2, 2), (3, 2), (-1, 2), (i32::MAX, 2)] {
        let bench = bench();
        let before = format!(
            "(if (i32.ne (call $continue (i32.const {direction})) (i32.const {code})) (then (unreachable)))"
        );
        let plugin = bench.inspecting(
            &format!("other-half-{direction}"),
            &returns('h', &before, 1),
        );
        let all = through(&plugin).await;
        assert_eq!(
            all[0].decision,
            Decision::Fault(FaultKind::Abi),
            "{direction}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_body_gathers_while_the_module_pauses_and_it_may_ask_for_more_again() {
    let bench = bench();
    // Holds until four bytes are there, lets them go in brackets, and begins again.
    let plugin = bench.inspecting(
        "gathers",
        r#"
        (data (i32.const 0) "<>")
        (func (export "proxy_on_response_body") (param i32) (param $len i32) (param $end i32) (result i32)
          (if (i32.and (i32.lt_u (local.get $len) (i32.const 4)) (i32.eqz (local.get $end))) (then (return (i32.const 1))))
          (drop (call $set_buffer (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1)))
          (drop (call $set_buffer (i32.const 1) (i32.add (local.get $len) (i32.const 1)) (i32.const 0) (i32.const 1) (i32.const 1)))
          (i32.const 0))"#,
    );
    let mut open = ask(&plugin, "/").await.open.expect("inspected");
    open.response_headers(response_head()).await;
    let mut step = |part, end| {
        let verdict = response_body(&mut open, part, end);
        assert_eq!(verdict.decision, Decision::Continue);
        (verdict.held, verdict.new_body)
    };
    assert_eq!(step("a", false), (true, None));
    assert_eq!(step("bc", false), (true, None));
    assert_eq!(step("d", false), (false, Some(bytes("<abcd>"))));
    assert_eq!(step("e", false), (true, None));
    assert_eq!(step("fghij", false), (false, Some(bytes("<efghij>"))));
    assert_eq!(step("k", false), (true, None));
    assert_eq!(step("", true), (false, Some(bytes("<k>"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_is_known_by_its_own_id_and_its_parent_is_the_root() {
    let bench = bench();
    let wat = wat(r#"
        (global $created (mut i32) (i32.const 0))
        (func (export "proxy_on_request_headers") (param $id i32) (param i32 i32) (result i32)
          (if (i32.ne (local.get $id) (global.get $created)) (then (unreachable)))
          (i32.store (i32.const 1032) (local.get $id))
          (call $say_word (i32.const 0)) (i32.const 1))"#)
    .replace(
        "(global.set $heap (i32.const 65536)))",
        "(if (local.get 1) (then
           (if (i32.ne (local.get 1) (i32.const 1)) (then (unreachable)))
           (if (i32.le_u (local.get 0) (global.get $created)) (then (unreachable)))
           (global.set $created (local.get 0)))))",
    );
    let mut spec = bench.spec("ids", &wat);
    spec.deadline = std::time::Duration::from_secs(1);
    let plugin = bench.prepare(spec).expect("a plugin");
    let mut ids = std::collections::HashSet::new();
    for _ in 0..100 {
        assert!(
            ids.insert(response(ask(&plugin, "/").await).body),
            "an id was given twice"
        );
    }
}
