//! Modules that do harm: each ends its own instance, is named by its kind, and the next request is fine.

use crate::support::*;
use aegis_plugins::{Body, Decision, FaultKind, Plugin, ResponseHead};
use std::sync::Arc;

/// Does `harm` if the path begins with `/x`.
fn on_request(harm: &str) -> String {
    format!(
        r#"
        (data (i32.const 0) ":path")
        (func $deep (param $n i64) (result i64)
          (i64.add (local.get $n) (call $deep (i64.add (local.get $n) (i64.const 1)))))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (drop (call $get (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 1024) (i32.const 1028)))
          (if (i32.eq (i32.load8_u offset=1 (i32.load (i32.const 1024))) (i32.const 120))
            (then {harm}))
          (i32.const 0))"#
    )
}

async fn harms(name: &'static str, harm: &str, kind: FaultKind) {
    let bench = bench();
    let plugin = bench.plugin(name, &on_request(harm));
    for _ in 0..3 {
        assert_eq!(
            ask(&plugin, "/x").await.decision,
            Decision::Fault(kind),
            "{name}"
        );
        assert_eq!(
            ask(&plugin, "/").await.decision,
            Decision::Continue,
            "{name}"
        );
    }
    assert_eq!(
        metric(&format!(
            "aegis_plugin_faults_total{{kind=\"{kind}\",plugin=\"{name}\"}}"
        )),
        3
    );
    assert_eq!(
        metric(&format!(
            "aegis_plugin_instances_ended_total{{plugin=\"{name}\",reason=\"fault\"}}"
        )),
        3
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_faults_gets_a_spare_instance() {
    let bench = bench_with(Options {
        threads: 1,
        ..Options::default()
    });
    let plugin = bench.plugin("spare", &on_request("(unreachable)"));
    assert_eq!(ask(&plugin, "/").await.decision, Decision::Continue);
    assert_eq!(plugin.instances(), 1);
    assert_eq!(
        ask(&plugin, "/x").await.decision,
        Decision::Fault(FaultKind::Trap)
    );
    until("there is a spare", || plugin.instances() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_loop_ends_at_the_deadline() {
    harms("loop", "(loop $l (br $l))", FaultKind::Deadline).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_loop_of_host_calls_ends_at_the_deadline() {
    harms(
        "loop-host",
        "(loop $l (drop (call $now (i32.const 1032))) (br $l))",
        FaultKind::Deadline,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sleep_of_the_module_is_its_own_time() {
    harms(
        "sleep",
        "(loop $l (drop (call $poll (i32.const 0) (i32.const 2048) (i32.const 1) (i32.const 1032))) (br $l))",
        FaultKind::Deadline,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_bomb_ends_at_its_cap() {
    harms(
        "bomb",
        "(loop $l (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (unreachable))) (br $l))",
        FaultKind::Memory,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_that_panics_because_memory_was_refused_is_a_memory_fault() {
    harms(
        "bomb-exit",
        "(drop (memory.grow (i32.const 65000))) (call $exit (i32.const 2))",
        FaultKind::Memory,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_recursion_ends_at_the_stack_cap() {
    harms(
        "deep",
        "(drop (call $deep (i64.const 0)))",
        FaultKind::Stack,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_is_a_trap() {
    harms("trap", "(unreachable)", FaultKind::Trap).await;
    harms(
        "trap-div",
        "(drop (i32.div_u (i32.const 1) (i32.const 0)))",
        FaultKind::Trap,
    )
    .await;
    harms(
        "trap-oob",
        "(drop (i32.load (i32.const -4)))",
        FaultKind::Trap,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exit_is_an_exit_whatever_its_code() {
    harms("exit-0", "(call $exit (i32.const 0))", FaultKind::Exit).await;
    harms("exit-2", "(call $exit (i32.const 2))", FaultKind::Exit).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_in_any_callback_ends_the_instance_and_no_more() {
    let bench = bench();
    let callback = |name: &str, parameters: &str, results: &str| {
        format!("(func (export \"{name}\") {parameters} {results} (unreachable))")
    };
    let (ids, action) = ("(param i32 i32 i32)", "(result i32)");
    let asks = async |plugin: &Arc<Plugin>| {
        let verdict = ask_with_body(plugin, Body::Part(vec![bytes("x")])).await;
        let Some(mut open) = verdict.open else {
            return verdict.decision;
        };
        for step in 0.. {
            let head = ResponseHead {
                status: 200,
                headers: vec![],
                end: false,
            };
            let verdict = match step {
                0 => open.request_body(vec![], true).await,
                1 => open.response_headers(head).await,
                2 => response_body(&mut open, "", true),
                _ => break,
            };
            if verdict.decision != Decision::Continue {
                // The context is gone: everything else about it is lost.
                let next = response_body(&mut open, "", true);
                assert_eq!(next.decision, Decision::Fault(FaultKind::Lost));
                return verdict.decision;
            }
        }
        Decision::Continue
    };
    for (name, own) in [
        (
            "request_headers",
            callback("proxy_on_request_headers", ids, action),
        ),
        (
            "request_body",
            callback("proxy_on_request_body", ids, action),
        ),
        (
            "response_headers",
            callback("proxy_on_response_headers", ids, action),
        ),
        (
            "response_body",
            callback("proxy_on_response_body", ids, action),
        ),
    ] {
        let plugin = bench.inspecting(name, &own);
        for _ in 0..2 {
            assert_eq!(
                asks(&plugin).await,
                Decision::Fault(FaultKind::Trap),
                "{name}"
            );
        }
    }
    // After the verdict there is nobody to tell but the metrics.
    for (name, own) in [
        ("done", callback("proxy_on_done", "(param i32)", action)),
        ("log", callback("proxy_on_log", "(param i32)", "")),
        ("delete", callback("proxy_on_delete", "(param i32)", "")),
    ] {
        let plugin = bench.plugin(name, &own);
        for n in 1..3 {
            assert_eq!(
                ask(&plugin, "/").await.decision,
                Decision::Continue,
                "{name}"
            );
            let faults = format!("aegis_plugin_faults_total{{kind=\"trap\",plugin=\"{name}\"}}");
            until("the fault is counted", || metric(&faults) == n).await;
        }
    }
    let plugin = bench
        .prepare(bench.spec(
            "create",
            &wat("").replace(
                "(global.set $heap (i32.const 65536)))",
                "(if (i32.ne (i32.const 0) (local.get 1)) (then (unreachable))))",
            ),
        ))
        .expect("a root context is fine");
    assert_eq!(
        ask(&plugin, "/").await.decision,
        Decision::Fault(FaultKind::Trap)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_open_in_an_instance_that_faults_are_lost_and_counted() {
    let bench = bench_with(Options {
        threads: 1,
        ..Options::default()
    });
    let mut spec = bench.spec("lost", &wat(&on_request("(unreachable)")));
    spec.inspect = aegis_plugins::Inspect::Headers;
    let plugin = bench.prepare(spec).expect("a plugin");
    let mut one = ask(&plugin, "/").await.open.expect("open");
    let two = ask(&plugin, "/").await.open.expect("open");
    assert_eq!(
        ask(&plugin, "/x").await.decision,
        Decision::Fault(FaultKind::Trap)
    );
    assert_eq!(
        metric("aegis_plugin_contexts_lost_total{plugin=\"lost\"}"),
        2
    );
    let head = ResponseHead {
        status: 200,
        headers: vec![],
        end: true,
    };
    assert_eq!(
        one.response_headers(head).await.decision,
        Decision::Fault(FaultKind::Lost)
    );
    drop(two);
    assert_eq!(ask(&plugin, "/").await.decision, Decision::Continue);
}
