//! What instances share: data, queues, ticks, metrics; and what tells sites apart.

use crate::support::*;
use aegis_plugins::Decision;
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_of_the_root_instance_feeds_all_sites_and_sites_do_not_see_each_other() {
    let bench = bench();
    // The root's tick stores "root" under "k"; requests to /set store their own; all answer with what they read.
    let plugin = bench.plugin(
        "ticks",
        r#"
        (data (i32.const 0) "krootsite:path")
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
          (drop (call $set_tick (i32.const 10))) (i32.const 1))
        (func (export "proxy_on_tick") (param i32)
          (drop (call $set_data (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 4) (i32.const 0))))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (drop (call $get (i32.const 0) (i32.const 9) (i32.const 5) (i32.const 1024) (i32.const 1028)))
          (if (i32.eq (i32.load8_u offset=1 (i32.load (i32.const 1024))) (i32.const 115)) ;; 's'
            (then (drop (call $set_data (i32.const 0) (i32.const 1) (i32.const 5) (i32.const 4) (i32.const 0)))))
          (call $say_result (call $get_data (i32.const 0) (i32.const 1) (i32.const 1024) (i32.const 1028) (i32.const 1032)))
          (i32.const 1))"#,
    );
    for _ in 0..1000 {
        if said(ask(&plugin, "/get").await).0 == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(said(ask(&plugin, "/get").await), (200, "root".into()));
    assert_eq!(
        said(ask_for(&plugin, "/set", "a").await),
        (200, "site".into())
    );
    assert_eq!(
        said(ask_for(&plugin, "/get", "a").await),
        (200, "site".into())
    );
    assert_eq!(
        said(ask_for(&plugin, "/get", "b").await),
        (200, "root".into())
    );
    assert!(plugin.instances() >= 2, "the root has its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_swapped_only_by_who_read_the_last_one() {
    let bench = bench();
    let plugin = bench.plugin(
        "cas",
        r#"
        (data (i32.const 0) "kv")
        (func $set (param $cas i32) (result i32)
          (call $set_data (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 1) (local.get $cas)))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (drop (call $set (i32.const 0)))
          (drop (call $get_data (i32.const 0) (i32.const 1) (i32.const 1024) (i32.const 1028) (i32.const 1032)))
          (if (call $set (i32.load (i32.const 1032))) (then (unreachable)))
          (call $say_word (call $set (i32.load (i32.const 1032))))
          (i32.const 1))"#,
    );
    assert_eq!(said(ask(&plugin, "/").await).0, 208, "CasMismatch");
}

#[tokio::test(flavor = "multi_thread")]
async fn items_of_a_queue_reach_the_root_instance_one_by_one() {
    let bench = bench();
    let plugin = bench.plugin(
        "queues",
        r#"
        (data (i32.const 0) "qitemsgot")
        (global $got (mut i32) (i32.const 0))
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
          (drop (call $register_queue (i32.const 0) (i32.const 1) (i32.const 1032)))
          (drop (call $define_metric (i32.const 0) (i32.const 6) (i32.const 3) (i32.const 1032)))
          (global.set $got (i32.load (i32.const 1032)))
          (i32.const 1))
        (func (export "proxy_on_queue_ready") (param i32) (param $queue i32)
          (if (i32.eqz (call $dequeue (local.get $queue) (i32.const 1024) (i32.const 1028)))
            (then (drop (call $increment_metric (global.get $got) (i64.extend_i32_u (i32.load (i32.const 1028))))))))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (local $n i32)
          (drop (call $resolve_queue (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1032)))
          (loop $l
            (drop (call $enqueue (i32.load (i32.const 1032)) (i32.const 1) (i32.const 5)))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $n) (i32.const 100))))
          (i32.const 0))"#,
    );
    assert_eq!(ask(&plugin, "/").await.decision, Decision::Continue);
    let got = || metric("aegis_plugin_metric{name=\"got\",plugin=\"queues\"}");
    until("all bytes arrived", || got() == 500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_instance_that_traps_is_replaced_and_ticks_go_on() {
    let bench = bench();
    let plugin = bench.plugin(
        "tick-traps",
        r#"
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
          (drop (call $set_tick (i32.const 10))) (i32.const 1))
        (func (export "proxy_on_tick") (param i32) (unreachable))"#,
    );
    until("it trapped twice", || {
        metric("aegis_plugin_faults_total{kind=\"trap\",plugin=\"tick-traps\"}") >= 2
    })
    .await;
    assert_eq!(ask(&plugin, "/").await.decision, Decision::Continue);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_module_come_with_the_verdict_and_other_functions_are_unknown() {
    let bench = bench();
    let plugin = bench.plugin(
        "events",
        r#"
        (data (i32.const 0) "aegis_waf_event{}other")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (drop (call $foreign (i32.const 0) (i32.const 15) (i32.const 15) (i32.const 2) (i32.const 1024) (i32.const 1028)))
          (if (i32.load (i32.const 1028)) (then (unreachable)))
          (drop (call $foreign (i32.const 0) (i32.const 15) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
          (call $say_word (call $foreign (i32.const 17) (i32.const 5) (i32.const 0) (i32.const 0) (i32.const 1024) (i32.const 1028)))
          (i32.const 1))"#,
    );
    let verdict = ask(&plugin, "/").await;
    let events: Vec<_> = verdict
        .events
        .iter()
        .map(|event| (event.name, event.data.clone()))
        .collect();
    assert_eq!(
        events,
        [
            ("aegis_waf_event", bytes("{}")),
            ("aegis_waf_event", bytes(""))
        ]
    );
    assert_eq!(said(verdict).0, 201, "NotFound");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_after_the_verdict_reach_the_host() {
    let (sender, late) = std::sync::mpsc::channel();
    let bench = bench_with(Options {
        late: Some(Arc::new(move |event| drop(sender.send(event)))),
        ..Options::default()
    });
    let plugin = bench.plugin(
        "late",
        r#"
        (data (i32.const 0) "aegis_waf_event{}")
        (func (export "proxy_on_log") (param i32)
          (drop (call $foreign (i32.const 0) (i32.const 15) (i32.const 15) (i32.const 2) (i32.const 1024) (i32.const 1028))))"#,
    );
    assert!(ask_for(&plugin, "/late", "a").await.events.is_empty());
    let event = tokio::task::block_in_place(|| late.recv()).expect("an event");
    assert_eq!((&*event.plugin, &*event.properties.site), ("late", "a"));
    assert_eq!(event.head.target, bytes("/late"));
    assert_eq!(event.event.data, bytes("{}"));
}
