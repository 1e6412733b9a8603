//! Threads, queue, instances.

use crate::support::*;
use aegis_plugins::{Body, Decision, FaultKind, Inspect, Plugin, ResponseHead, Verdict};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Says that it spins (metric `spins`) and spins until its CPU time is up; answers at once for `/`.
const SPINS: &str = r#"
    (data (i32.const 0) ":pathspins")
    (global $spins (mut i32) (i32.const 0))
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
      (drop (call $define_metric (i32.const 0) (i32.const 5) (i32.const 5) (i32.const 1032)))
      (global.set $spins (i32.load (i32.const 1032)))
      (i32.const 1))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (drop (call $get (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 1024) (i32.const 1028)))
      (if (i32.gt_u (i32.load (i32.const 1028)) (i32.const 1))
        (then (drop (call $increment_metric (global.get $spins) (i64.const 1))) (loop $l (br $l))))
      (i32.const 0))"#;

fn spinning(bench: &Bench, name: &str, deadline: Duration) -> Arc<Plugin> {
    let mut spec = bench.spec(name, &wat(SPINS));
    spec.deadline = deadline;
    bench.prepare(spec).expect("a plugin")
}

fn spawn(
    plugin: &Arc<Plugin>,
    target: &'static str,
    site: &'static str,
) -> tokio::task::JoinHandle<Verdict> {
    let plugin = plugin.clone();
    tokio::spawn(async move { ask_for(&plugin, target, site).await })
}

/// A request that keeps a thread busy, from when it does.
async fn busy(plugin: &Arc<Plugin>, site: &'static str) -> tokio::task::JoinHandle<Verdict> {
    let busy = spawn(plugin, "/spin", site);
    let spins = format!(
        "aegis_plugin_metric{{name=\"spins\",plugin=\"{}\"}}",
        plugin.name()
    );
    until("it spins", || metric(&spins) == 1).await;
    busy
}

fn faults(plugin: &Plugin, kind: FaultKind) -> u64 {
    metric(&format!(
        "aegis_plugin_faults_total{{kind=\"{kind}\",plugin=\"{}\"}}",
        plugin.name()
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_finds_no_thread_within_the_wait_budget_is_a_fault() {
    let bench = bench_with(Options {
        threads: 1,
        wait_max: Duration::from_millis(30),
        ..Options::default()
    });
    let plugin = spinning(&bench, "waits", Duration::from_secs(1));
    let busy = busy(&plugin, "a").await;
    assert_eq!(
        ask_for(&plugin, "/", "b").await.decision,
        Decision::Fault(FaultKind::QueueWait)
    );
    assert_eq!(faults(&plugin, FaultKind::QueueWait), 1);
    assert_eq!(
        busy.await.expect("ends").decision,
        Decision::Fault(FaultKind::Deadline)
    );
    assert_eq!(ask(&plugin, "/").await.decision, Decision::Continue);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_may_wait_longer_while_its_plugin_has_no_instance() {
    let bench = bench_with(Options {
        threads: 1,
        wait_max: Duration::from_millis(200),
        ..Options::default()
    });
    // Configuring takes a second, which is longer than the wait budget.
    let own = format!(
        r#"{SPINS}
        (func (export "proxy_on_vm_start") (param i32 i32) (result i32)
          (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 512)))
          (loop $l
            (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 520)))
            (br_if $l (i64.lt_u
              (i64.sub (i64.load (i32.const 520)) (i64.load (i32.const 512)))
              (i64.const 1000000000))))
          (i32.const 1))"#
    );
    let plugin = bench.plugin("rebuilds", &own);
    let busy = busy(&plugin, "a").await;
    assert_eq!(
        busy.await.expect("ends").decision,
        Decision::Fault(FaultKind::Deadline)
    );
    assert_eq!(ask(&plugin, "/").await.decision, Decision::Continue);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_the_site_that_fills_it_and_not_another() {
    let bench = bench_with(Options {
        threads: 1,
        queue_max: 4,
        ..Options::default()
    });
    let plugin = spinning(&bench, "full", Duration::from_millis(300));
    let busy = busy(&plugin, "greedy").await;
    let greedy: Vec<_> = (0..8).map(|_| spawn(&plugin, "/", "greedy")).collect();
    until("four are refused", || {
        faults(&plugin, FaultKind::QueueFull) == 4
    })
    .await;
    let modest = spawn(&plugin, "/", "modest");
    until("a fifth made room", || {
        faults(&plugin, FaultKind::QueueFull) == 5
    })
    .await;
    assert_eq!(
        busy.await.expect("ends").decision,
        Decision::Fault(FaultKind::Deadline)
    );
    assert_eq!(modest.await.expect("ends").decision, Decision::Continue);
    let mut served = 0;
    for task in greedy {
        match task.await.expect("ends").decision {
            Decision::Continue => served += 1,
            decision => assert_eq!(decision, Decision::Fault(FaultKind::QueueFull)),
        }
    }
    assert_eq!(served, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_holds_64_streams_and_further_ones_get_another() {
    let bench = bench_with(Options {
        threads: 1,
        ..Options::default()
    });
    let plugin = bench.inspecting("many-open", "");
    let mut open = Vec::new();
    for _ in 0..64 {
        open.push(ask(&plugin, "/").await.open.expect("open"));
    }
    assert_eq!(plugin.instances(), 1);
    for _ in 0..64 {
        open.push(ask(&plugin, "/").await.open.expect("open"));
    }
    assert_eq!(plugin.instances(), 2);
    for mut open in open {
        let head = ResponseHead {
            status: 200,
            headers: vec![],
            end: true,
        };
        assert_eq!(
            open.response_headers(head).await.decision,
            Decision::Continue
        );
    }
    // 8 instances are the most; then the wait budget decides, here the queue's length.
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_grew_is_replaced_before_it_goes() {
    let bench = bench_with(Options {
        threads: 1,
        ..Options::default()
    });
    // Takes 13 of 16 MiB at the first request, and answers with its size in pages.
    let mut spec = bench.spec(
        "grows",
        &wat(
            r#"
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
              (if (i32.lt_u (memory.size) (i32.const 200)) (then (drop (memory.grow (i32.const 200)))))
              (i32.const 0))
            (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
              (i32.store (i32.const 1032) (memory.size)) (call $say_word (i32.const 0)) (i32.const 0))"#,
        ),
    );
    spec.inspect = Inspect::Headers;
    let plugin = bench.prepare(spec).expect("a plugin");
    let mut first = ask(&plugin, "/").await.open.expect("open");
    until("its successor is there", || plugin.instances() == 2).await;
    assert_eq!(plugin.memory(), (204 + 4) * 65536);
    // What is open in it goes on.
    let head = || ResponseHead {
        status: 200,
        headers: vec![],
        end: true,
    };
    assert_eq!(
        first.response_headers(head()).await.decision,
        Decision::Respond(aegis_plugins::LocalResponse {
            status: 200,
            headers: vec![],
            body: bytes::Bytes::copy_from_slice(&204_u32.to_le_bytes()),
            details: String::new(),
        })
    );
    drop(first);
    until("it is gone", || {
        metric("aegis_plugin_instances_ended_total{plugin=\"grows\",reason=\"memory\"}") >= 1
    })
    .await;
    assert_eq!(
        metric("aegis_plugin_faults_total{kind=\"lost\",plugin=\"grows\"}"),
        0
    );
    assert_eq!(ask(&plugin, "/").await.decision, Decision::Continue);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_on_many_threads_each_get_their_own_answer() {
    let bench = bench_with(Options {
        threads: 4,
        ..Options::default()
    });
    let plugin = bench.plugin(
        "echo",
        r#"
        (data (i32.const 0) ":path")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (call $say_result (call $get (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 1024) (i32.const 1028)))
          (i32.const 1))"#,
    );
    let targets = ["/a", "/bb", "/ccc", "/dddd"];
    let tasks: Vec<_> = (0..2000)
        .map(|n| {
            (
                targets[n % 4],
                spawn(&plugin, targets[n % 4], targets[n % 3]),
            )
        })
        .collect();
    let mut answers = 0;
    for (target, task) in tasks {
        let verdict = task.await.expect("ends");
        if verdict.decision == Decision::Fault(FaultKind::QueueFull) {
            continue;
        }
        assert_eq!(said(verdict), (200, target.into()));
        answers += 1;
    }
    assert!(answers >= 1000, "{answers}");
    assert!(plugin.instances() <= 4 + 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_gives_more_time_by_its_size() {
    let bench = bench();
    // Half a second of work for a body of any size.
    let mut spec = bench.spec(
        "per-kib",
        &wat(r#"
            (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
              (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 512)))
              (loop $l
                (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 520)))
                (br_if $l (i64.lt_u
                  (i64.sub (i64.load (i32.const 520)) (i64.load (i32.const 512)))
                  (i64.const 500000000))))
              (i32.const 0))"#),
    );
    spec.deadline = Duration::from_millis(10);
    spec.deadline_per_kib = Duration::from_millis(10);
    let plugin = bench.prepare(spec).expect("a plugin");
    let body = |kib: usize| Body::Whole(vec![bytes::Bytes::from(vec![b'x'; kib << 10])]);
    assert_eq!(
        ask_with_body(&plugin, body(0)).await.decision,
        Decision::Fault(FaultKind::Deadline)
    );
    assert_eq!(
        ask_with_body(&plugin, body(100)).await.decision,
        Decision::Continue
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_goes_ends_a_guest_that_would_loop_for_long() {
    let bench = bench_with(Options {
        threads: 1,
        ..Options::default()
    });
    let plugin = spinning(&bench, "stops", Duration::from_secs(60));
    let busy = busy(&plugin, "a").await;
    let waits = spawn(&plugin, "/", "b");
    let Bench { host, dir: _dir } = bench;
    let begun = Instant::now();
    tokio::task::block_in_place(|| drop(host));
    let refused = Decision::Fault(FaultKind::Refused);
    assert_eq!(busy.await.expect("ends").decision, refused);
    assert_eq!(waits.await.expect("ends").decision, refused);
    assert_eq!(ask(&plugin, "/").await.decision, refused);
    // The guest had a minute of CPU time left.
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_goes_ends_an_instance_that_is_being_configured() {
    let bench = bench_with(Options {
        threads: 1,
        ..Options::default()
    });
    // The second instance never ends its configuration, once the first has trapped.
    let plugin = bench.plugin(
        "stops-building",
        r#"
        (data (i32.const 0) "startedkey")
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
          (drop (call $define_metric (i32.const 0) (i32.const 0) (i32.const 7) (i32.const 1032)))
          (drop (call $increment_metric (i32.load (i32.const 1032)) (i64.const 1)))
          (drop (call $get_metric (i32.load (i32.const 1032)) (i32.const 1040)))
          (if (i64.gt_u (i64.load (i32.const 1040)) (i64.const 1)) (then (loop $l (br $l))))
          (i32.const 1))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (unreachable))"#,
    );
    assert_eq!(
        ask(&plugin, "/").await.decision,
        Decision::Fault(FaultKind::Trap)
    );
    until("another one is being configured", || {
        metric("aegis_plugin_metric{name=\"started\",plugin=\"stops-building\"}") == 2
    })
    .await;
    let waits = spawn(&plugin, "/", "a");
    let begun = Instant::now();
    tokio::task::block_in_place(|| drop(bench.host));
    assert_eq!(
        waits.await.expect("ends").decision,
        Decision::Fault(FaultKind::Refused)
    );
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_jobs_of_one_client_leave_a_thread_to_others() {
    let bench = bench_with(Options {
        threads: 2,
        wait_max: Duration::from_secs(30),
        ..Options::default()
    });
    let plugin = spinning(&bench, "one-client", Duration::from_secs(60));
    let slow: Vec<_> = (0..3).map(|_| spawn(&plugin, "/spin", "a")).collect();
    let spins = "aegis_plugin_metric{name=\"spins\",plugin=\"one-client\"}";
    until("one spins", || metric(spins) == 1).await;
    for _ in 0..20 {
        let verdict = ask_from(&plugin, "/", [192, 0, 2, 2]).await;
        assert_eq!(verdict.decision, Decision::Continue);
    }
    assert_eq!(metric(spins), 1);
    drop(bench);
    for one in slow {
        assert_eq!(
            one.await.expect("ends").decision,
            Decision::Fault(FaultKind::Refused)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_body_does_not_buy_time_without_end() {
    let bench = bench();
    let own = "(func (export \"proxy_on_request_body\") (param i32 i32 i32) (result i32) (loop $l (br $l)) (i32.const 0))";
    let mut spec = bench.spec("long-body", &wat(own));
    spec.deadline_per_kib = Duration::from_secs(60);
    spec.deadline_max = Duration::from_millis(100);
    let plugin = bench.prepare(spec).expect("a plugin");
    let body = Body::Whole(vec![vec![b'a'; 64 << 10].into()]);
    let begun = Instant::now();
    let verdict = ask_with_body(&plugin, body).await;
    assert_eq!(verdict.decision, Decision::Fault(FaultKind::Deadline));
    // The body alone would have been given more than an hour.
    assert!(begun.elapsed() < Duration::from_secs(30));
}
