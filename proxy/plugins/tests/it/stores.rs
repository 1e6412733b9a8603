//! Shared data and metrics: misuse, floods of them and of queues, and who else notices.

use crate::support::*;
use aegis_plugins::{Decision, Plugin};
use std::sync::Arc;

/// Runs calls that must return these codes, in `proxy_on_request_headers`.
pub(crate) fn returning(data: &str, calls: &[(&str, i32)]) -> String {
    let checks: String = calls
        .iter()
        .enumerate()
        .map(|(n, (call, code))| {
            format!("(local.set $code {call}) (if (i32.ne (local.get $code) (i32.const {code})) (then (call $say (i32.add (i32.const 300) (i32.const {n})) (i32.const 1032) (i32.const 4)) (return (i32.const 1))))\n")
        })
        .collect();
    format!(
        r#"(data (i32.const 0) "{data}")
           (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local $code i32)
             {checks} (i32.const 0))"#
    )
}

/// Every call returns its code; else the answer's status is 300 and the number of the call.
pub(crate) async fn returns(data: &str, calls: &[(&str, i32)]) {
    let bench = bench();
    let plugin = bench.plugin("stores", &returning(data, calls));
    let verdict = ask(&plugin, "/").await;
    assert_eq!(verdict.decision, Decision::Continue);
}

const SET: &str =
    "(call $set_data (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 0))";
const GET: &str = "(call $get_data (i32.const 0) (i32.const 1) (i32.const 1024) (i32.const 1028) (i32.const 1032))";
const REMOVE: &str =
    "(call $set_data (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0))";

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_value_is_kept_a_null_one_removes_and_removing_nothing_is_fine() {
    let empty =
        "(call $set_data (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 0) (i32.const 0))";
    let length_is_not = |n: i32| format!("(i32.ne (i32.load (i32.const 1028)) (i32.const {n}))");
    returns(
        "kv",
        &[
            (GET, 1),
            (REMOVE, 0),
            (SET, 0),
            (GET, 0),
            (&length_is_not(1), 0),
            (empty, 0),
            (GET, 0),
            (&length_is_not(0), 0),
            (REMOVE, 0),
            (GET, 1),
            (REMOVE, 0),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_of_another_value_sets_and_removes_nothing() {
    let with = |value: &str, cas: &str| {
        format!("(call $set_data (i32.const 0) (i32.const 1) {value} {cas})")
    };
    let (v, none) = ("(i32.const 1) (i32.const 1)", "(i32.const 0) (i32.const 0)");
    let current = "(i32.load (i32.const 1032))";
    returns(
        "kv",
        &[
            // Nothing is there, so no number fits.
            (&with(v, "(i32.const 1)"), 8),
            (&with(none, "(i32.const -1)"), 8),
            (SET, 0),
            (GET, 0),
            (&with(v, "(i32.const -1)"), 8),
            (&with(none, "(i32.const 911)"), 8),
            (GET, 0),
            (&with(v, current), 0),
            // The number has changed.
            (&with(v, current), 8),
            (GET, 0),
            (&with(none, current), 0),
            (&with(none, current), 8),
            (GET, 1),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_values_have_their_bounds() {
    let set = |key: u32, value: u32| {
        format!(
            "(call $set_data (i32.const 2048) (i32.const {key}) (i32.const 2048) (i32.const {value}) (i32.const 0))"
        )
    };
    returns(
        "",
        &[
            ("(i32.eq (memory.grow (i32.const 20)) (i32.const -1))", 0),
            (&set(0, 1), 0),
            (&set(1024, 1), 0),
            (&set(1025, 1), 10),
            (&set(1, 256 << 10), 0),
            (&set(1, (256 << 10) + 1), 10),
            (&set(1, (1 << 20) + 1), 2),
        ],
    )
    .await;
    assert!(metric("aegis_limit_hits_total{limit=\"plugin_shared_data\"}") > 0);
}

/// Does `call` with the word at 2048 counting up until it fails; answers with the code and the number of calls.
fn flood(before: &str, call: &str) -> String {
    format!(
        r#"
        (data (i32.const 0) "aegis_waf_eventsite")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (local $code i32)
          {before}
          (i32.store (i32.const 2048) (i32.const 0))
          (loop $l
            (i32.store (i32.const 2048) (i32.add (i32.load (i32.const 2048)) (i32.const 1)))
            (local.set $code {call})
            (br_if $l (i32.eqz (local.get $code))))
          (call $say (i32.add (i32.const 200) (local.get $code)) (i32.const 2048) (i32.const 4))
          (i32.const 1))"#
    )
}

async fn floods(bench: &Bench, name: &str, own: &str, site: &str) -> (Arc<Plugin>, u16, u32) {
    let mut spec = bench.spec(name, &wat(own));
    spec.deadline = std::time::Duration::from_secs(5);
    let plugin = bench.prepare(spec).expect("a plugin");
    let answer = response(ask_for(&plugin, "/", site).await);
    let count = u32::from_le_bytes(answer.body[..].try_into().expect("a word"));
    (plugin, answer.status, count)
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_without_end_fill_the_share_of_their_site_only() {
    let bench = bench();
    let own = flood(
        "",
        "(call $set_data (i32.const 2048) (i32.const 4) (i32.const 0) (i32.const 4) (i32.const 0))",
    );
    let (plugin, status, count) = floods(&bench, "keys", &own, "greedy").await;
    assert_eq!(
        (status, count),
        (210, (2 << 20) / (128 + 4 + 4) + 1),
        "InternalFailure"
    );
    // Again there is no room for one more, and another site finds all of its own.
    let (_, status, again) = floods(&bench, "keys", &own, "greedy").await;
    assert_eq!((status, again), (210, count));
    let (_, status, modest) = floods(&bench, "keys", &own, "modest").await;
    assert_eq!((status, modest), (210, count));
    drop(plugin);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_without_end_stop_at_the_most_a_plugin_may_have() {
    let bench = bench();
    // Names of eight letters that count up.
    let name = r#"(i32.store (i32.const 2052) (i32.const 0x6161_6161))
        (i32.store8 (i32.const 2052) (i32.add (i32.const 97) (i32.and (i32.load (i32.const 2048)) (i32.const 15))))
        (i32.store8 (i32.const 2053) (i32.add (i32.const 97) (i32.and (i32.shr_u (i32.load (i32.const 2048)) (i32.const 4)) (i32.const 15))))
        (i32.store8 (i32.const 2054) (i32.add (i32.const 97) (i32.and (i32.shr_u (i32.load (i32.const 2048)) (i32.const 8)) (i32.const 15))))"#;
    let own = flood(
        "",
        &format!(
            "(block (result i32) {name} (call $define_metric (i32.const 0) (i32.const 2052) (i32.const 4) (i32.const 1032)))"
        ),
    );
    let (plugin, status, count) = floods(&bench, "metrics", &own, "a").await;
    assert_eq!((status, count), (210, 257), "InternalFailure");
    let (_, status, again) = floods(&bench, "metrics", &own, "b").await;
    assert_eq!(
        (status, again),
        (210, 257),
        "those that are there are found"
    );
    assert!(metric("aegis_limit_hits_total{limit=\"plugin_metrics\"}") >= 2);
    drop(plugin);
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_and_items_without_end_stop_at_their_bounds() {
    let bench = bench();
    let own = flood(
        "",
        "(call $register_queue (i32.const 2048) (i32.const 4) (i32.const 1032))",
    );
    let (_plugin, status, count) = floods(&bench, "queues", &own, "a").await;
    assert_eq!((status, count), (210, 17), "InternalFailure");
    let own = flood(
        "(drop (call $register_queue (i32.const 0) (i32.const 1) (i32.const 1032)))",
        "(call $enqueue (i32.load (i32.const 1032)) (i32.const 0) (i32.const 4))",
    );
    let (_plugin, status, count) = floods(&bench, "items", &own, "a").await;
    assert_eq!((status, count), (210, 1025), "InternalFailure");
    assert!(metric("aegis_limit_hits_total{limit=\"plugin_shared_queues\"}") > 0);
    assert!(metric("aegis_limit_hits_total{limit=\"plugin_shared_queue_items\"}") > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_do_what_their_kind_does_and_nothing_else() {
    let define = |kind: i32, at: u32, len: u32| {
        format!(
            "(call $define_metric (i32.const {kind}) (i32.const {at}) (i32.const {len}) (i32.const 1032))"
        )
    };
    let (c, g, h) = (define(0, 0, 1), define(1, 1, 1), define(2, 2, 1));
    let id = "(i32.load (i32.const 1032))";
    let increment = |by: i64| format!("(call $increment_metric {id} (i64.const {by}))");
    let record = |value: i64| format!("(call $record_metric {id} (i64.const {value}))");
    let get = format!("(call $get_metric {id} (i32.const 1040))");
    let is_not = |value: i64| format!("(i64.ne (i64.load (i32.const 1040)) (i64.const {value}))");
    let mut calls = vec![
        (c.clone(), 0),
        (increment(5_000_000_000), 0),
        (record(2), 0),
        (increment(-1), 2),
        (get.clone(), 0),
        (is_not(5_000_000_002), 0),
        (increment(i64::MAX), 0),
        (increment(i64::MAX), 0),
        (increment(i64::MAX), 0),
        (get.clone(), 0),
        (is_not(-1), 0),
        (g.clone(), 0),
        (record(7), 0),
        (increment(-2), 0),
        (get.clone(), 0),
        (is_not(5), 0),
        (increment(i64::MIN), 0),
        (get.clone(), 0),
        (is_not(0), 0),
        (h.clone(), 0),
        (record(9), 0),
        (increment(1), 2),
        (get.clone(), 2),
        // The same name is the same metric, as long as the kind is the same.
        (c, 0),
        (get.clone(), 0),
        (is_not(-1), 0),
        (define(1, 0, 1), 2),
        (define(2, 1, 1), 2),
        (define(0, 2, 1), 2),
        (define(3, 0, 1), 2),
        (define(-1, 0, 1), 2),
        (define(0, 0, 0), 2),
        (define(0, 3, 1), 2),
        (define(0, 2048, 256), 0),
        (define(0, 2048, 257), 2),
        (define(0, 2048, 2000), 2),
    ];
    for id in ["0", "99", "-1", "0x7fffffff"] {
        calls.push((
            format!("(call $increment_metric (i32.const {id}) (i64.const 1))"),
            1,
        ));
        calls.push((
            format!("(call $record_metric (i32.const {id}) (i64.const 1))"),
            1,
        ));
        calls.push((
            format!("(call $get_metric (i32.const {id}) (i32.const 1040))"),
            1,
        ));
    }
    let calls: Vec<_> = calls
        .iter()
        .map(|(call, code)| (call.as_str(), *code))
        .collect();
    returns("cgh\\ff", &calls).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metrics_name_cannot_forge_a_line_of_the_page() {
    let bench = bench();
    let data = "x\\22} 1\\0aaegis_forged 1\\0a#\\\\";
    let plugin = bench.plugin(
        "forger",
        &returning(
            data,
            &[(
                "(call $define_metric (i32.const 0) (i32.const 0) (i32.const 22) (i32.const 1032))",
                0,
            )],
        ),
    );
    assert_eq!(ask(&plugin, "/").await.decision, Decision::Continue);
    let page = aegis_telemetry::metrics::render();
    assert!(page.contains("aegis_forged 1"), "the name is there");
    assert!(
        !page.lines().any(|line| line.starts_with("aegis_forged")),
        "{page}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_counted_up_by_many_instances_without_losing_one() {
    let bench = bench_with(Options {
        threads: 4,
        ..Options::default()
    });
    // Reads, adds one, and tries again while another was faster.
    let plugin = bench.plugin(
        "counts",
        r#"
        (data (i32.const 0) "k")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (local $code i32)
          (loop $l
            (i32.store (i32.const 1032) (i32.const 0))
            (if (call $get_data (i32.const 0) (i32.const 1) (i32.const 1024) (i32.const 1028) (i32.const 1032))
              (then (unreachable)))
            (i32.store (i32.const 8) (i32.add (i32.const 1) (i32.load (i32.load (i32.const 1024)))))
            (local.set $code (call $set_data (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 4) (i32.load (i32.const 1032))))
            (br_if $l (i32.eq (local.get $code) (i32.const 8))))
          (if (local.get $code) (then (unreachable)))
          (call $say (i32.const 200) (i32.const 8) (i32.const 4))
          (i32.const 1))
        (func (export "proxy_on_vm_start") (param i32 i32) (result i32)
          ;; A zero that every site reads, if there is none yet.
          (if (call $get_data (i32.const 0) (i32.const 1) (i32.const 1024) (i32.const 1028) (i32.const 1032))
            (then (drop (call $set_data (i32.const 0) (i32.const 1) (i32.const 16) (i32.const 4) (i32.const 0)))))
          (i32.const 1))"#,
    );
    let asks: Vec<_> = (0..400)
        .map(|_| {
            let plugin = plugin.clone();
            tokio::spawn(async move { response(ask(&plugin, "/").await).body })
        })
        .collect();
    let mut seen = std::collections::HashSet::new();
    for one in asks {
        let body = one.await.expect("ends");
        seen.insert(u32::from_le_bytes(body[..].try_into().expect("a word")));
    }
    assert_eq!(
        (seen.len(), seen.iter().max()),
        (400, Some(&400)),
        "a number came twice"
    );
}
