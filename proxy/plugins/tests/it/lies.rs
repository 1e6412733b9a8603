//! Modules that lie about pointers, lengths and amounts: the host checks all of them.

use crate::support::*;
use aegis_plugins::{Body, Decision, FaultKind};

/// Asks for a header value with this allocator.
async fn allocates(name: &str, allocate: &str) -> Decision {
    let bench = bench();
    let own = r#"
        (data (i32.const 0) "x-one")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (call $say_result (call $get (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 1024) (i32.const 1028)))
          (i32.const 0))"#;
    let plugin = bench
        .prepare(bench.spec(name, &wat_with(allocate, own)))
        .expect("a plugin");
    let decision = ask(&plugin, "/").await.decision;
    // Whatever happened, the pool serves on.
    ask(&plugin, "/").await;
    decision
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allocator_that_has_nothing_fails_the_call_and_one_that_lies_ends_the_instance() {
    let Decision::Respond(answer) = allocates("none", "(i32.const 0)").await else {
        panic!("the module sees the status");
    };
    assert_eq!(answer.status, 210, "InternalFailure");
    let abi = Decision::Fault(FaultKind::Abi);
    assert_eq!(allocates("outside", "(i32.const -4)").await, abi);
    assert_eq!(
        allocates(
            "at-the-end",
            "(i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 1))"
        )
        .await,
        abi
    );
    assert_eq!(allocates("over-words", "(i32.const 1024)").await, abi);
    assert_eq!(
        allocates("traps", "(unreachable)").await,
        Decision::Fault(FaultKind::Trap)
    );
    assert_eq!(
        allocates("loops", "(loop $l (br $l)) (i32.const 0)").await,
        Decision::Fault(FaultKind::Deadline)
    );
    let Decision::Respond(answer) = allocates("honest", "(call $bump (local.get $n))").await else {
        panic!("an answer");
    };
    assert_eq!((answer.status, answer.body), (200, bytes("1,2")));
    // One that calls back into the host while the host hands something over.
    let reenters = "(drop (call $remove (i32.const 0) (i32.const 0) (i32.const 5))) (call $bump (local.get $n))";
    let Decision::Respond(answer) = allocates("reenters", reenters).await else {
        panic!("an answer");
    };
    assert_eq!((answer.status, answer.body), (200, bytes("1,2")));
}

/// Every host function with every parameter at its worst: none panics, none reaches outside of the guest's memory.
#[tokio::test(flavor = "multi_thread")]
async fn no_host_function_trusts_a_pointer_or_a_length() {
    let bench = bench();
    let functions = [
        ("log", 3),
        ("get_log_level", 1),
        ("now", 1),
        ("get_buffer", 5),
        ("buffer_status", 3),
        ("set_buffer", 5),
        ("map_size", 2),
        ("get_pairs", 3),
        ("set_pairs", 3),
        ("get", 5),
        ("add", 5),
        ("replace", 5),
        ("remove", 3),
        ("continue", 1),
        ("close", 1),
        ("get_status", 3),
        ("effective", 1),
        ("http_call", 10),
        ("get_data", 5),
        ("set_data", 5),
        ("register_queue", 3),
        ("resolve_queue", 5),
        ("enqueue", 3),
        ("dequeue", 3),
        ("define_metric", 4),
        ("get_metric", 2),
        ("get_property", 4),
        ("set_property", 4),
        ("foreign", 6),
        ("grpc_call", 12),
        ("fd_write", 4),
        ("fd_read", 4),
        ("random", 2),
        ("poll", 4),
        ("environ_sizes", 2),
        ("respond", 8),
    ];
    // Values for all parameters but the first, which selects a kind and takes small values, too.
    let values = [
        "-1",
        "0x7fffffff",
        "0x3fffe",
        "0x3ffff",
        "0x40000",
        "0",
        "1",
    ];
    let mut calls = String::new();
    for (name, parameters) in functions {
        for first in ["0", "2", "7", "-1", "0x3ffff"] {
            for value in values {
                let rest = format!("(i32.const {value}) ").repeat(parameters - 1);
                calls.push_str(&format!(
                    "(drop (call ${name} (i32.const {first}) {rest}))\n"
                ));
            }
        }
    }
    let plugin = bench.plugin(
        "pointers",
        &format!(
            r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {calls} (i32.const 0))
               (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) {calls} (i32.const 0))"#
        ),
    );
    let verdict = ask_with_body(&plugin, Body::Whole(vec![bytes("body")])).await;
    assert!(
        !matches!(verdict.decision, Decision::Fault(FaultKind::Lost)),
        "a verdict of the module, or an ABI fault because words and heap overlap: {:?}",
        verdict.decision
    );
    assert_eq!(
        ask(&bench.plugin("fine", ""), "/").await.decision,
        Decision::Continue
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pointer_outside_of_memory_is_refused_with_its_status() {
    let bench = bench();
    let plugin = bench.plugin(
        "outside-status",
        r#"
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (call $say_word (call $get (i32.const 0) (i32.const 0x3fffc) (i32.const 5) (i32.const 1024) (i32.const 1028)))
          (i32.const 0))
        (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
          (i32.const 0))"#,
    );
    assert_eq!(said(ask(&plugin, "/").await).0, 206, "InvalidMemoryAccess");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_cannot_add_header_fields_without_end() {
    let bench = bench();
    let plugin = bench.plugin(
        "many-fields",
        r#"
        (data (i32.const 0) "x")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (local $code i32)
          (loop $l
            (local.set $code (call $add (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1)))
            (br_if $l (i32.eqz (local.get $code))))
          (call $say_word (local.get $code))
          (i32.const 0))"#,
    );
    assert_eq!(said(ask(&plugin, "/").await).0, 202, "BadArgument");
    assert!(metric("aegis_limit_hits_total{limit=\"plugin_header_fields\"}") > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_cannot_make_a_body_without_end() {
    let bench = bench();
    let plugin = bench.plugin(
        "big-body",
        r#"
        (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
          (local $code i32)
          (loop $l
            (local.set $code (call $set_buffer (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 65536) (i32.const 100000)))
            (br_if $l (i32.eqz (local.get $code))))
          (call $say_word (local.get $code))
          (i32.const 0))"#,
    );
    assert_eq!(
        said(ask_with_body(&plugin, Body::Whole(vec![])).await).0,
        202,
        "BadArgument"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_log_lines_is_cut_and_counted() {
    let bench = bench();
    let plugin = bench.plugin(
        "flood",
        r#"
        (data (i32.const 0) "line")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (local $n i32)
          (loop $l
            (drop (call $log (i32.const 5) (i32.const 0) (i32.const 4)))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $n) (i32.const 1000))))
          (i32.const 0))"#,
    );
    assert_eq!(ask(&plugin, "/").await.decision, Decision::Continue);
    assert!(metric("aegis_plugin_log_dropped_total{plugin=\"flood\"}") >= 600);
}
