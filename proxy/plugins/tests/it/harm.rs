//! Harm in every callback: a loop without end, a memory bomb, a recursion without end, a trap, an exit, a lying allocator.
//! The instance ends, the fault has its name, and neither the next request nor another plugin notices.

use crate::probe::*;
use crate::support::*;
use aegis_plugins::{Decision, FaultKind, Plugin};
use std::sync::Arc;
use std::time::Duration;

const HARMS: [(&str, FaultKind, &str); 6] = [
    (
        "loop",
        FaultKind::Deadline,
        "(loop $l (br $l)) (i32.const 0)",
    ),
    (
        "bomb",
        FaultKind::Memory,
        "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)",
    ),
    (
        "recursion",
        FaultKind::Stack,
        "(call $tried_again (local.get $at))",
    ),
    ("trap", FaultKind::Trap, "(unreachable)"),
    (
        "exit",
        FaultKind::Exit,
        "(call $exit (i32.const 2)) (unreachable)",
    ),
    (
        "lie",
        FaultKind::Abi,
        "(global.set $heap (i32.const -8)) (call $get_property (i32.const 64) (i32.const 11) (i32.const 1024) (i32.const 1028))",
    ),
];

/// Harms in the callback of this letter, and in no other.
fn harmful(letter: char, harm: &str) -> String {
    let tried = format!(
        r#"
        (local $code i32)
        (if (i32.ne (local.get $at) (i32.const {letter})) (then (return (i32.const 0))))
        (local.set $code (call $harm (local.get $at)))
        (local.get $code))
      (func $tried_again (param $at i32) (result i32)
        (i32.add (i32.const 1) (call $tried_again (local.get $at))))
      (func $harm (param $at i32) (result i32)
        {harm}"#,
        letter = u32::from(letter)
    );
    everywhere("", &tried).replace(
        "(data (i32.const 0) \"\")",
        "(data (i32.const 64) \"plugin_name\")",
    )
}

fn faults(plugin: &Plugin, kind: FaultKind) -> u64 {
    metric(&format!(
        "aegis_plugin_faults_total{{kind=\"{kind}\",plugin=\"{}\"}}",
        plugin.name()
    ))
}

/// The fault that a stream of its own sees, if it sees one.
async fn seen(plugin: &Arc<Plugin>) -> Option<FaultKind> {
    let verdicts = through(plugin).await;
    match verdicts.last().map(|verdict| &verdict.decision) {
        Some(Decision::Fault(kind)) => Some(*kind),
        _ => None,
    }
}

/// Each harm in this callback; `told`: a stream that causes it is told.
async fn harm_in(letter: char, told: bool) {
    for (name, kind, harm) in HARMS {
        let bench = answering(2);
        let mut spec = bench.spec(
            &format!("harm-{letter}-{name}"),
            &wat(&harmful(letter, harm)),
        );
        spec.inspect = aegis_plugins::Inspect::Body;
        spec.deadline = Duration::from_millis(30);
        let plugin = bench.prepare(spec).expect("it starts");
        let other = bench.plugin("other", "");
        for n in 1..=2 {
            let seen = seen(&plugin).await;
            assert_eq!(seen, told.then_some(kind), "{name} in {letter}");
            until(&format!("{name} in {letter} is counted"), || {
                faults(&plugin, kind) >= n
            })
            .await;
            assert_eq!(ask(&other, "/").await.decision, Decision::Continue);
        }
        let all = metric(&format!(
            "aegis_plugin_instances_ended_total{{plugin=\"{}\",reason=\"fault\"}}",
            plugin.name()
        ));
        assert!(all >= 2, "{name} in {letter}: {all} instances ended");
        assert_eq!(
            metric("aegis_plugin_faults_total{kind=\"trap\",plugin=\"other\"}"),
            0
        );
    }
}

macro_rules! harms {
    ($($test:ident: $letter:literal, $told:literal;)+) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            harm_in($letter, $told).await;
        })+
    };
}

harms! {
    harm_in_a_tick_is_the_root_instances_alone: 'c', false;
    harm_in_a_queues_callback_is_the_root_instances_alone: 'd', false;
    harm_in_the_answer_of_a_call_is_told_to_who_waits_for_it: 'f', true;
    harm_in_request_headers_is_told: 'g', true;
    harm_in_request_body_is_told: 'h', true;
    harm_in_response_headers_is_told: 'i', true;
    harm_in_response_body_is_told: 'j', true;
    harm_in_done_comes_after_the_verdict: 'k', false;
    harm_in_log_comes_after_the_verdict: 'l', false;
    harm_in_delete_comes_after_the_verdict: 'm', false;
}
