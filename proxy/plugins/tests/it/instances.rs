//! How many instances there may be: copies that serve, copies on their way out, and those of one request each.

use crate::support::*;
use aegis_plugins::{Body, Decision, FaultKind, Inspect, OpenContext, Plugin, ResponseHead};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// A module that has nothing to say.
const SILENT: &str =
    r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))"#;

impl Bench {
    /// Copies of [`SILENT`] that stay open for their responses.
    fn held(&self, name: &str, requests: u32) -> Arc<Plugin> {
        let mut spec = self.copied(name, SILENT, requests);
        spec.inspect = Inspect::Body;
        self.prepare(spec).expect("a plugin")
    }
}

/// So many requests whose responses are not there yet.
async fn hold(plugin: &Arc<Plugin>, n: usize) -> Vec<OpenContext> {
    let mut open = Vec::new();
    for at in 0..n {
        let verdict = ask(plugin, "/").await;
        let decision = verdict.decision;
        let held = verdict.open;
        open.push(held.unwrap_or_else(|| panic!("request {at}: {decision:?}")));
    }
    open
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_of_one_request_stays_for_its_response_and_their_number_has_a_bound() {
    const MAX: usize = 256;
    let bench = bench_with(Options {
        wait_max: Duration::from_millis(300),
        ..Options::default()
    });
    let own = r#"
        (global $seen (mut i32) (i32.const 48))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (global.set $seen (i32.add (global.get $seen) (i32.const 1))) (i32.const 0))
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
          (i32.store8 (i32.const 204) (global.get $seen))
          (call $say (i32.const 200) (i32.const 204) (i32.const 1)) (i32.const 1))"#;
    let mut spec = bench.copied("open", own, 1);
    spec.inspect = Inspect::Body;
    let plugin = bench.prepare(spec).expect("a plugin");
    let mut open = Vec::new();
    for _ in 0..MAX {
        open.push(
            ask(&plugin, "/")
                .await
                .open
                .expect("it waits for the response"),
        );
    }
    assert_eq!(plugin.instances(), MAX);
    let one_more = ask(&plugin, "/").await;
    assert_eq!(one_more.decision, Decision::Fault(FaultKind::QueueWait));
    let head = ResponseHead {
        status: 200,
        headers: vec![],
        end: true,
    };
    let mut last = open.pop().expect("many");
    assert_eq!(said(last.response_headers(head).await).1, "1");
    drop(last);
    until("its instance is gone", || plugin.instances() < MAX).await;
    assert!(ask(&plugin, "/").await.open.is_some());
    drop(open);
    until("all are gone", || plugin.instances() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_on_their_way_out_leave_room_for_those_that_serve() {
    const THREADS: usize = 8;
    const RETIRING: usize = 2 * THREADS;
    const LIVE: usize = THREADS + 7;
    const CONTEXTS: usize = aegis_plugins::limits::CONTEXTS_MAX;
    let bench = bench_with(Options {
        threads: THREADS,
        wait_max: Duration::from_millis(500),
        ..Options::default()
    });
    let plugin = bench.held("wide", 2);
    let mut open = Vec::new();
    let refused = loop {
        let verdict = ask(&plugin, "/").await;
        match verdict.open {
            Some(one) => open.push(one),
            None => break verdict.decision,
        }
    };
    assert_eq!(refused, Decision::Fault(FaultKind::QueueWait));
    // Threads that look at the same time may each send one on its way.
    let instances = plugin.instances();
    assert!(
        (RETIRING + LIVE..RETIRING + LIVE + THREADS).contains(&instances),
        "{instances} with {} requests",
        open.len()
    );
    assert!(open.len() >= CONTEXTS * LIVE, "{}", open.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_of_one_request_have_a_bound_for_all_plugins_together() {
    const EACH: usize = 256;
    let bench = bench_with(Options {
        wait_max: Duration::from_millis(500),
        ..Options::default()
    });
    let [first, second, third] = ["first", "second", "third"].map(|name| bench.held(name, 1));
    let mut open = hold(&first, EACH).await;
    open.extend(hold(&second, EACH - 1).await);
    // One is left, and after it everybody has two.
    let mut of_third = hold(&third, 2).await;
    assert_eq!(
        [&first, &second, &third].map(|plugin| plugin.instances()),
        [EACH, EACH - 1, 2]
    );
    let hits = || metric("aegis_limit_hits_total{limit=\"plugin_instances_alone\"}");
    let before = hits();
    for plugin in [&second, &third] {
        let one_more = ask(plugin, "/").await;
        assert_eq!(one_more.decision, Decision::Fault(FaultKind::QueueWait));
    }
    assert!(hits() >= before + 2);
    // Modules whose instances serve others too are not asked to wait.
    let shared = bench.held("shared-beside", 64);
    let _shared = hold(&shared, 1).await;
    // Two must end: with the third plugin there was one too many.
    drop(open.drain(..2));
    until("two have ended", || first.instances() == EACH - 2).await;
    of_third.extend(hold(&third, 1).await);
    assert_eq!(third.instances(), 3);
    drop((open, of_third));
    until("all are gone", || {
        [&first, &second, &third]
            .iter()
            .all(|plugin| plugin.instances() == 0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_request_that_waits_for_an_instance_of_its_own_gets_the_first_that_is_free() {
    const MAX: usize = 256;
    let bench = bench();
    let plugin = bench.held("long-waits", 1);
    let mut open = hold(&plugin, MAX).await;
    let hits = || metric("aegis_limit_hits_total{limit=\"plugin_instances\"}");
    let before = hits();
    let long = tokio::spawn({
        let plugin = plugin.clone();
        async move {
            let body = Body::Whole(vec![vec![b'x'; 300 << 10].into()]);
            ask_with_body(&plugin, body).await
        }
    });
    until("it waits", || hits() > before).await;
    // All instances that are left have served their request: none of them is live.
    drop(open.pop());
    let verdict = tokio::time::timeout(Duration::from_secs(30), long).await;
    let verdict = verdict.expect("it is let through").expect("judged");
    assert!(verdict.open.is_some(), "{:?}", verdict.decision);
}

#[test]
fn plugins_run_where_the_process_may_have_few_addresses() {
    let program = std::env::current_exe().expect("a path");
    let of_another = "snapshot::an_instance_serves_its_requests_and_a_fresh_copy_takes_over";
    // In KiB; the places of one engine alone want some 4 TiB.
    let out = Command::new("sh")
        .args([
            "-c",
            "ulimit -v 16000000 && exec \"$0\" --exact \"$1\" --nocapture",
        ])
        .arg(program)
        .arg(of_another)
        .env("AEGIS_TEST_LOG", "1")
        .output()
        .expect("runs");
    let said = [out.stdout, out.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(out.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
    assert!(said.contains("ulimit -v unlimited"), "it says so: {said}");
}
