//! Queues: what is one, what fits into one, and who else notices.

use crate::probe::others_are_fine;
use crate::stores::{returning, returns};
use crate::support::*;
use aegis_plugins::Decision;

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_gives_what_was_put_in_and_what_is_no_queue_gives_nothing() {
    let (put, take) = (
        "(call $enqueue (i32.load (i32.const 1032))",
        "(call $dequeue (i32.load (i32.const 1032)) (i32.const 1024) (i32.const 1028))",
    );
    let length_is_not = |n: i32| format!("(i32.ne (i32.load (i32.const 1028)) (i32.const {n}))");
    let mut calls = vec![
        ("(i32.eq (memory.grow (i32.const 40)) (i32.const -1))".to_owned(), 0),
        // By its name, by its own plugin's name, not by another's.
        ("(call $resolve_queue (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1036))".into(), 1),
        ("(call $register_queue (i32.const 0) (i32.const 1) (i32.const 1032))".into(), 0),
        ("(call $register_queue (i32.const 0) (i32.const 1) (i32.const 1036))".into(), 0),
        ("(i32.ne (i32.load (i32.const 1032)) (i32.load (i32.const 1036)))".into(), 0),
        ("(call $resolve_queue (i32.const 1) (i32.const 6) (i32.const 0) (i32.const 1) (i32.const 1036))".into(), 0),
        ("(call $resolve_queue (i32.const 2) (i32.const 5) (i32.const 0) (i32.const 1) (i32.const 1036))".into(), 1),
        (take.into(), 7),
        (format!("{put} (i32.const 0) (i32.const 0))"), 0),
        (take.into(), 0),
        (length_is_not(0), 0),
        (take.into(), 7),
        // A mebibyte is all that fits.
        (format!("{put} (i32.const 65536) (i32.const 1048576))"), 0),
        (format!("{put} (i32.const 0) (i32.const 1))"), 10),
        (take.into(), 0),
        (length_is_not(1 << 20), 0),
        (format!("{put} (i32.const 65536) (i32.const 1048575))"), 0),
        (format!("{put} (i32.const 0) (i32.const 1))"), 0),
        (take.into(), 0),
        (take.into(), 0),
        (format!("{put} (i32.const 65536) (i32.const 1048577))"), 2),
    ];
    for id in ["0", "2", "257", "-1", "0x7fffffff"] {
        calls.push((
            format!("(call $enqueue (i32.const {id}) (i32.const 0) (i32.const 1))"),
            1,
        ));
        calls.push((
            format!("(call $dequeue (i32.const {id}) (i32.const 1024) (i32.const 1028))"),
            1,
        ));
    }
    let calls: Vec<_> = calls
        .iter()
        .map(|(call, code)| (call.as_str(), *code))
        .collect();
    returns("qstores", &calls).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_could_not_be_handed_over_is_still_in_its_queue() {
    let bench = bench();
    // The allocator has nothing until the word at 2048 says so.
    let own = returning(
        "qitem",
        &[
            (
                "(call $register_queue (i32.const 0) (i32.const 1) (i32.const 1032))",
                0,
            ),
            (
                "(call $enqueue (i32.load (i32.const 1032)) (i32.const 1) (i32.const 4))",
                0,
            ),
            (
                "(call $dequeue (i32.load (i32.const 1032)) (i32.const 1024) (i32.const 1028))",
                10,
            ),
            (
                "(block (result i32) (i32.store (i32.const 2048) (i32.const 1)) (i32.const 0))",
                0,
            ),
            (
                "(call $dequeue (i32.load (i32.const 1032)) (i32.const 1024) (i32.const 1028))",
                0,
            ),
            (
                "(i32.ne (i32.load (i32.load (i32.const 1024))) (i32.load (i32.const 1)))",
                0,
            ),
            (
                "(call $dequeue (i32.load (i32.const 1032)) (i32.const 1024) (i32.const 1028))",
                7,
            ),
        ],
    );
    let allocate = "(if (result i32) (i32.load (i32.const 2048)) (then (call $bump (local.get $n))) (else (i32.const 0)))";
    let plugin = bench
        .prepare(bench.spec("kept", &wat_with(allocate, &own)))
        .expect("a plugin");
    assert_eq!(ask(&plugin, "/").await.decision, Decision::Continue);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_feeds_itself_leaves_the_thread_to_others() {
    let bench = bench_with(Options {
        threads: 1,
        ..Options::default()
    });
    let plugin = bench.plugin(
        "feeds-itself",
        r#"
        (data (i32.const 0) "qfed")
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
          (drop (call $register_queue (i32.const 0) (i32.const 1) (i32.const 1032)))
          (drop (call $enqueue (i32.load (i32.const 1032)) (i32.const 0) (i32.const 1)))
          (i32.const 1))
        (func (export "proxy_on_queue_ready") (param i32) (param $queue i32)
          (drop (call $enqueue (local.get $queue) (i32.const 0) (i32.const 1)))
          (drop (call $enqueue (local.get $queue) (i32.const 0) (i32.const 1)))
          (drop (call $dequeue (local.get $queue) (i32.const 1024) (i32.const 1028)))
          (drop (call $define_metric (i32.const 0) (i32.const 1) (i32.const 3) (i32.const 1036)))
          (drop (call $increment_metric (i32.load (i32.const 1036)) (i64.const 1))))"#,
    );
    until("it feeds itself", || {
        metric("aegis_plugin_metric{name=\"fed\",plugin=\"feeds-itself\"}") > 0
    })
    .await;
    for _ in 0..20 {
        others_are_fine(&bench, &plugin).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn items_put_in_by_many_instances_come_out_once() {
    let bench = bench_with(Options {
        threads: 4,
        ..Options::default()
    });
    let plugin = bench.plugin(
        "once",
        r#"
        (data (i32.const 0) "qtakenempty")
        (func $count (param $at i32) (param $len i32)
          (drop (call $define_metric (i32.const 0) (local.get $at) (local.get $len) (i32.const 1036)))
          (drop (call $increment_metric (i32.load (i32.const 1036)) (i64.const 1))))
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
          (drop (call $register_queue (i32.const 0) (i32.const 1) (i32.const 1032))) (i32.const 1))
        (func (export "proxy_on_queue_ready") (param i32) (param $queue i32)
          (if (call $dequeue (local.get $queue) (i32.const 1024) (i32.const 1028))
            (then (call $count (i32.const 6) (i32.const 5)))
            (else (call $count (i32.const 1) (i32.const 5)))))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (drop (call $resolve_queue (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1032)))
          (if (call $enqueue (i32.load (i32.const 1032)) (i32.const 1) (i32.const 5)) (then (unreachable)))
          (i32.const 0))"#,
    );
    let asks: Vec<_> = (0..400)
        .map(|_| {
            let plugin = plugin.clone();
            tokio::spawn(async move { ask(&plugin, "/").await.decision })
        })
        .collect();
    for one in asks {
        assert_eq!(one.await.expect("ends"), Decision::Continue);
    }
    until("all are taken", || {
        metric("aegis_plugin_metric{name=\"taken\",plugin=\"once\"}") == 400
    })
    .await;
    assert_eq!(
        metric("aegis_plugin_metric{name=\"empty\",plugin=\"once\"}"),
        0,
        "it was called for nothing"
    );
}
