//! Copies of a configured instance: what is in them, how long they serve, and what is kept of them on disk.

use crate::support::*;
use aegis_plugins::{Body, Decision, FaultKind, Inspect, Made, Plugin, Running, Standing};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

/// Answers with how many requests this instance has seen, after a word that it was configured with.
const COUNTS: &str = r#"
    (global $seen (mut i32) (i32.const 48))
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
      (i32.store (i32.const 200) (i32.const 0x2d796e61)) ;; "any-"
      (i32.const 1))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (global.set $seen (i32.add (global.get $seen) (i32.const 1)))
      (i32.store8 (i32.const 204) (global.get $seen))
      (call $say (i32.const 200) (i32.const 200) (i32.const 5))
      (i32.const 1))"#;

impl Bench {
    /// How a plugin came to run.
    fn running(&self, name: &str) -> Running {
        let reports = self.host.reports();
        let of = reports.iter().find(|report| report.plugin == name);
        match of.map(|report| &report.standing) {
            Some(Standing::Ready(running)) => (**running).clone(),
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// A bench whose folder of compiled modules lives as long as the returned one of another.
fn again(bench: &Bench) -> Bench {
    bench_with(Options {
        cache: Some(bench.dir.path().join("cache")),
        ..Options::default()
    })
}

async fn answers(plugin: &Arc<Plugin>, n: usize) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..n {
        all.push(said(ask(plugin, "/").await).1);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_serves_its_requests_and_a_fresh_copy_takes_over() {
    let bench = bench_with(Options {
        threads: 1,
        ..Options::default()
    });
    let plugin = bench.copies("three", COUNTS, 3);
    let ended = |reason: &str| {
        metric(&format!(
            "aegis_plugin_instances_ended_total{{plugin=\"three\",reason=\"{reason}\"}}"
        ))
    };
    let expected = [
        "any-1", "any-2", "any-3", "any-1", "any-2", "any-3", "any-1",
    ];
    assert_eq!(answers(&plugin, 7).await, expected);
    until("two have served their requests", || ended("requests") == 2).await;
    assert!(
        bench
            .running("three")
            .image
            .is_some_and(|bytes| bytes == 4 << 16)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_request_an_instance_nothing_of_one_is_there_for_the_next() {
    let bench = bench();
    let plugin = bench.copies("one", COUNTS, 1);
    assert_eq!(answers(&plugin, 20).await, ["any-1"; 20]);
    // A long job as well, and many at a time.
    fn body() -> Body {
        Body::Whole(vec![vec![b'x'; 300 << 10].into()])
    }
    let ask = |plugin: Arc<Plugin>| async move { ask_with_body(&plugin, body()).await };
    let all = (0..40).map(|_| ask(plugin.clone()));
    let mut all: tokio::task::JoinSet<_> = all.collect();
    while let Some(done) = all.join_next().await {
        assert_eq!(said(done.expect("judged")).1, "any-1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_that_share_go_on_as_before() {
    let bench = bench_with(Options {
        threads: 1,
        ..Options::default()
    });
    let plugin = bench.plugin("shared", COUNTS);
    assert_eq!(answers(&plugin, 3).await, ["any-1", "any-2", "any-3"]);
    let running = bench.running("shared");
    assert_eq!((running.image, running.no_image), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_ends_one_copy_and_the_next_request_finds_a_fresh_one() {
    let bench = bench_with(Options {
        threads: 1,
        ..Options::default()
    });
    let traps = COUNTS.replace(
        "(call $say",
        "(if (i32.eq (global.get $seen) (i32.const 51)) (then (unreachable))) (call $say",
    );
    let plugin = bench.copies("traps", &traps, 64);
    for _ in 0..3 {
        assert_eq!(answers(&plugin, 2).await, ["any-1", "any-2"]);
        let third = ask(&plugin, "/").await;
        assert_eq!(third.decision, Decision::Fault(FaultKind::Trap));
    }
}

/// Asks the host for everything that has a number or a value while it is configured, and uses it at requests: answers with
/// the value of shared data, the codes of a search that matches and of a metric, and a digit of random bytes.
const HOST_SIDE: &str = r#"
    (data (i32.const 0) "aegis_rx_compile") (data (i32.const 32) "aegis_rx_search")
    (data (i32.const 64) "b(x)?c") (data (i32.const 96) "abc") (data (i32.const 100) "unused")
    (data (i32.const 110) "key") (data (i32.const 120) "kept") (data (i32.const 130) "host_side_requests")
    (data (i32.const 150) "first") (data (i32.const 160) "queue")
    (func $compile (param $at i32) (param $len i32) (result i32)
      (drop (call $foreign (i32.const 0) (i32.const 16) (local.get $at) (local.get $len) (i32.const 1024) (i32.const 1028)))
      (i32.load (i32.load (i32.const 1024))))
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
      (drop (call $compile (i32.const 100) (i32.const 6)))
      (i32.store (i32.const 200) (call $compile (i32.const 64) (i32.const 6)))
      (drop (call $define_metric (i32.const 1) (i32.const 150) (i32.const 5) (i32.const 1032)))
      (drop (call $record_metric (i32.load (i32.const 1032)) (i64.const 7)))
      (drop (call $define_metric (i32.const 0) (i32.const 130) (i32.const 18) (i32.const 1032)))
      (i32.store (i32.const 204) (i32.load (i32.const 1032)))
      (drop (call $register_queue (i32.const 160) (i32.const 5) (i32.const 1032)))
      (i32.store (i32.const 208) (i32.load (i32.const 1032)))
      (drop (call $set_data (i32.const 110) (i32.const 3) (i32.const 120) (i32.const 4) (i32.const 0)))
      (i32.const 1))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (i32.store (i32.const 512) (i32.load (i32.const 200))) (i32.store (i32.const 516) (i32.const 96))
      (i32.store (i32.const 520) (i32.const 3)) (i32.store (i32.const 524) (i32.const 0)) (i32.store (i32.const 528) (i32.const 0))
      (i32.store8 (i32.const 304) (i32.add (i32.const 48)
        (call $foreign (i32.const 32) (i32.const 15) (i32.const 512) (i32.const 20) (i32.const 0) (i32.const 0))))
      (i32.store8 (i32.const 305) (i32.add (i32.const 48) (call $increment_metric (i32.load (i32.const 204)) (i64.const 1))))
      (i32.store8 (i32.const 306) (i32.add (i32.const 48)
        (call $enqueue (i32.load (i32.const 208)) (i32.const 110) (i32.const 3))))
      (drop (call $get_data (i32.const 110) (i32.const 3) (i32.const 1024) (i32.const 1028) (i32.const 1032)))
      (i32.store (i32.const 300) (i32.load (i32.load (i32.const 1024))))
      (call $say (i32.const 200) (i32.const 300) (i32.const 7))
      (i32.const 1))"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_the_host_keeps_of_configuring_is_there_for_every_copy_and_after_a_restart() {
    let first = bench();
    let plugin = first.copies("host-side", HOST_SIDE, 2);
    assert_eq!(answers(&plugin, 5).await, ["kept000"; 5]);
    assert_eq!(first.running("host-side").made, Made::Built);
    let series = |name: &str| {
        metric(&format!(
            "aegis_plugin_metric{{name=\"{name}\",plugin=\"host-side\"}}"
        ))
    };
    assert_eq!((series("first"), series("host_side_requests")), (7, 5));
    drop(plugin);

    let second = again(&first);
    let plugin = second.copies("host-side", HOST_SIDE, 2);
    assert_eq!(second.running("host-side").made, Made::Cached);
    assert_eq!(answers(&plugin, 5).await, ["kept000"; 5]);
    // Counting begins anew, as the process did.
    assert_eq!((series("first"), series("host_side_requests")), (7, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_get_random_bytes_of_their_own() {
    let bench = bench();
    let own = r#"
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (drop (call $random (i32.const 200) (i32.const 2)))
          (i32.store16 (i32.const 200) (i32.or (i32.and (i32.load16_u (i32.const 200)) (i32.const 0x0f0f)) (i32.const 0x4040)))
          (call $say (i32.const 200) (i32.const 200) (i32.const 2)) (i32.const 1))"#;
    let plugin = bench.copies("random", own, 1);
    let mut all = answers(&plugin, 30).await;
    all.sort();
    all.dedup();
    assert!(all.len() > 10, "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_cannot_be_copied_is_configured_for_each_instance_and_says_why() {
    let tables = format!(
        "{COUNTS} (table 1 funcref) (func (export \"mutates\") (table.set 0 (i32.const 0) (ref.null func)))"
    );
    let calls = r#"
        (data (i32.const 0) "allowed") (data (i32.const 16) "\00\00\00\00")
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
          (drop (call $http_call (i32.const 0) (i32.const 7) (i32.const 300) (i32.const 67) (i32.const 0) (i32.const 0)
            (i32.const 16) (i32.const 4) (i32.const 1000) (i32.const 1032)))
          (i32.const 1))
        (data (i32.const 300) "\03\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\01\00\00\00\0a\00\00\00\07\00\00\00:method\00GET\00:path\00/\00:authority\00allowed\00")"#;
    let queues = r#"
        (data (i32.const 0) "q")
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
          (drop (call $register_queue (i32.const 0) (i32.const 1) (i32.const 1032)))
          (drop (call $enqueue (i32.load (i32.const 1032)) (i32.const 0) (i32.const 1)))
          (i32.const 1))"#;
    let bench = bench();
    for (name, own, why) in [
        ("tables", tables.as_str(), "table.set"),
        ("calls", calls, "HTTP calls"),
        ("queues", queues, "queue"),
    ] {
        let plugin = bench.copies(name, own, 1);
        let running = bench.running(name);
        let said = running.no_image.expect(name);
        assert!(said.contains(why), "{name}: {said}");
        assert_eq!(running.image, None);
        if name == "tables" {
            assert_eq!(answers(&plugin, 3).await, ["any-1"; 3]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_fails_while_it_is_configured_is_refused_with_what_it_said() {
    let bench = bench();
    let own = r#"(data (i32.const 0) "no such rule")
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
          (drop (call $log (i32.const 4) (i32.const 0) (i32.const 12))) (i32.const 0))"#;
    let error = bench.prepare(bench.copied("refuses", own, 64));
    let said = error.expect_err("refused").to_string();
    assert!(
        said.contains("no such rule") && said.contains("proxy_on_configure"),
        "{said}"
    );
    let reports = bench.host.reports();
    let standing = reports.iter().find(|report| report.plugin == "refuses");
    match standing.map(|report| &report.standing) {
        Some(Standing::Failed { reason, .. }) => assert_eq!(*reason, said),
        other => panic!("{other:?}"),
    }
    // Mended, it is no failure any more.
    let _plugin = bench.copies("refuses", COUNTS, 64);
    assert!(bench.running("refuses").image.is_some());
    assert_eq!(bench.host.reports().len(), 1);
}

fn files(bench: &Bench) -> Vec<PathBuf> {
    let dir = fs::read_dir(bench.dir.path().join("cache")).expect("a folder");
    let all = dir.map(|entry| entry.expect("an entry").path());
    all.filter(|path| path.extension().is_some_and(|e| e == "cwasm"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_was_cut_or_changed_is_made_anew() {
    type Harm = fn(&mut Vec<u8>);
    let harms: [(&str, Harm); 4] = [
        ("cut", |file| file.truncate(file.len() / 2)),
        ("empty", Vec::clear),
        ("code", |file| file[70] ^= 1),
        ("note", |file| {
            let at = file.len() - 60;
            file[at] ^= 1;
        }),
    ];
    let first = bench();
    drop(first.copies("harmed", COUNTS, 2));
    let rejected = || metric("aegis_plugin_modules_total{result=\"rejected\"}");
    for (name, harm) in harms {
        let before = rejected();
        for path in files(&first) {
            let mut bytes = fs::read(&path).expect("reads");
            harm(&mut bytes);
            fs::remove_file(&path).expect("removes");
            fs::write(&path, bytes).expect("writes");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
        }
        let next = again(&first);
        let plugin = next.copies("harmed", COUNTS, 2);
        assert_eq!(next.running("harmed").made, Made::Built, "{name}");
        assert_eq!(
            answers(&plugin, 3).await,
            ["any-1", "any-2", "any-1"],
            "{name}"
        );
        assert!(rejected() > before, "{name}");
        drop(plugin);
        let next = again(&first);
        let _plugin = next.copies("harmed", COUNTS, 2);
        assert_eq!(next.running("harmed").made, Made::Cached, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_configuration_is_another_snapshot() {
    let first = bench();
    drop(first.copies("configs", COUNTS, 2));
    let next = again(&first);
    let mut spec = next.copied("configs", COUNTS, 2);
    spec.config = bytes("another one");
    let _plugin = next.prepare(spec).expect("a plugin");
    assert_eq!(next.running("configs").made, Made::Built);
}

/// Pages of this process that nobody shares and that were written to, in KiB.
fn private_dirty_kib() -> usize {
    let text = fs::read_to_string("/proc/self/smaps_rollup").expect("procfs");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Private_Dirty:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_of_a_snapshot_is_mapped_and_not_copied() {
    const COPIES: usize = 24;
    const MIB: usize = 12;
    let bench = bench();
    // 12 MiB that are not zeros.
    let own = format!(
        r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
          (drop (memory.grow (i32.const {})))
          (memory.fill (i32.const 262144) (i32.const 7) (i32.const {}))
          (i32.const 1))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (i32.load8_u (i32.const 300000)) (i32.const -7) (i32.add))"#,
        MIB * 16,
        MIB << 20
    );
    let mut spec = bench.copied("mapped", &own, 1);
    spec.inspect = Inspect::Body;
    let plugin = bench.prepare(spec).expect("a plugin");
    let before = private_dirty_kib();
    let mut open = Vec::new();
    for _ in 0..COPIES {
        open.push(ask(&plugin, "/").await.open.expect("it saw the sevens"));
    }
    let grown = private_dirty_kib().saturating_sub(before);
    assert!(
        grown < COPIES * (MIB << 10) / 4,
        "{COPIES} copies of {MIB} MiB took {grown} KiB"
    );
    println!(
        "RESULT plugins copies_of_{MIB}_mib_dirty_kib {}",
        grown / COPIES
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn configurations_that_come_and_go_leave_no_memory_behind() {
    const CHANGES: usize = 60;
    let bench = bench();
    let own = r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
          (memory.fill (i32.const 65536) (i32.const 7) (i32.const 190000)) (i32.const 1))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))"#;
    let mappings = || {
        let text = fs::read_to_string("/proc/self/maps").expect("procfs");
        text.lines().filter(|line| line.contains("cwasm")).count()
    };
    let mut most = 0;
    for n in 0..CHANGES {
        let mut spec = bench.copied("changes", own, 2);
        spec.config = n.to_string().into();
        let plugin = bench.prepare(spec).expect("a plugin");
        for _ in 0..3 {
            assert_eq!(ask(&plugin, "/").await.decision, Decision::Continue);
        }
        most = most.max(mappings());
        drop(plugin);
    }
    // Other tests map files too; sixty snapshots with two instances each would be hundreds.
    assert!(most < CHANGES, "{most} mappings");
    assert!(files(&bench).len() <= 32);
    assert_eq!(bench.host.reports().len(), 0);
}
