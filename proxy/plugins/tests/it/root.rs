//! The root context: its configuration and its ticks.

use crate::probe::others_are_fine;
use crate::support::*;
use aegis_plugins::Plugin;
use std::sync::Arc;

/// Counts its ticks (metric `ticks`), and does something more in each.
fn ticking(period: i64, more: &str) -> String {
    format!(
        r#"
        (data (i32.const 0) "ticks")
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
          (drop (call $set_tick (i32.const {period}))) (i32.const 1))
        (func (export "proxy_on_tick") (param $root i32)
          (if (i32.ne (local.get $root) (i32.const 1)) (then (unreachable)))
          (drop (call $define_metric (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 1032)))
          (drop (call $increment_metric (i32.load (i32.const 1032)) (i64.const 1)))
          {more})"#
    )
}

fn ticks(name: &str) -> u64 {
    metric(&format!(
        "aegis_plugin_metric{{name=\"ticks\",plugin=\"{name}\"}}"
    ))
}

/// Another plugin's ticks, until there were this many more: time that passes for all.
async fn meanwhile(clock: &Arc<Plugin>, more: u64) {
    let (name, begin) = (clock.name(), ticks(clock.name()));
    until("time passes", || ticks(name) >= begin + more).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_period_of_zero_and_a_long_one_bring_no_tick() {
    let bench = bench();
    let clock = bench.plugin("clock-1", &ticking(10, ""));
    let none = bench.plugin("zero", &ticking(0, ""));
    let long = bench.plugin("long", &ticking(50_000, ""));
    let longest = bench.plugin("longest", &ticking(4_294_967_295, ""));
    meanwhile(&clock, 20).await;
    for plugin in [&none, &long, &longest] {
        assert_eq!(ticks(plugin.name()), 0, "{}", plugin.name());
        others_are_fine(&bench, plugin).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_may_end_the_ticks() {
    let bench = bench();
    let clock = bench.plugin("clock-2", &ticking(10, ""));
    let once = bench.plugin(
        "once",
        &ticking(10, "(drop (call $set_tick (i32.const 0)))"),
    );
    until("it ticked", || ticks("once") == 1).await;
    meanwhile(&clock, 20).await;
    assert_eq!(ticks("once"), 1);
    drop(once);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_period_takes_the_place_of_the_old_one() {
    let bench = bench();
    let own = ticking(50_000, "").replace(
        "(i32.const 50000)))",
        "(i32.const 50000))) (drop (call $set_tick (i32.const 10)))",
    );
    let plugin = bench.plugin("sooner", &own);
    until("it ticks", || ticks("sooner") >= 2).await;
    drop(plugin);
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_tick_each_for_itself_and_a_period_below_the_least_is_the_least() {
    let bench = bench();
    let plugins =
        [("one", 1), ("two", 20)].map(|(name, period)| bench.plugin(name, &ticking(period, "")));
    until("both tick", || ticks("one") >= 5 && ticks("two") >= 5).await;
    drop(plugins);
}

#[tokio::test(flavor = "multi_thread")]
async fn ticks_that_use_up_their_time_leave_the_thread_to_others() {
    let bench = bench_with(Options {
        threads: 1,
        ..Options::default()
    });
    let plugin = bench.plugin("long-ticks", &ticking(10, "(loop $l (br $l))"));
    until("it ticked", || ticks("long-ticks") >= 2).await;
    for _ in 0..5 {
        others_are_fine(&bench, &plugin).await;
    }
    let faults = "aegis_plugin_faults_total{kind=\"deadline\",plugin=\"long-ticks\"}";
    until("each is a fault", || metric(faults) >= 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_of_no_bytes_is_empty_and_one_is_read_in_pieces() {
    let bench = bench();
    let own = |size: u32, check: &str| {
        format!(
            r#"
            (func (export "proxy_on_vm_start") (param i32) (param $size i32) (result i32)
              (if (local.get $size) (then (unreachable)))
              (if (call $get_buffer (i32.const 6) (i32.const 0) (i32.const 99) (i32.const 1024) (i32.const 1028)) (then (unreachable)))
              (i32.eqz (i32.load (i32.const 1028))))
            (func (export "proxy_on_configure") (param $root i32) (param $size i32) (result i32)
              (if (i32.ne (local.get $root) (i32.const 1)) (then (unreachable)))
              (if (i32.ne (local.get $size) (i32.const {size})) (then (unreachable)))
              {check})"#
        )
    };
    let piece = |start: u32, max: u32| {
        format!(
            "(drop (call $get_buffer (i32.const 7) (i32.const {start}) (i32.const {max}) (i32.const 1024) (i32.const 1028)))"
        )
    };
    let nothing = format!(
        "{} (i32.eqz (i32.or (i32.load (i32.const 1024)) (i32.load (i32.const 1028))))",
        piece(0, 9)
    );
    let mut spec = bench.spec("no-config", &wat(&own(0, &nothing)));
    spec.config = bytes("");
    bench.prepare(spec).expect("an empty configuration");
    // "config of the plugin": from 7 on there is "of".
    let of = format!(
        "{} (i32.eq (i32.load16_u (i32.load (i32.const 1024))) (i32.const 0x666f))",
        piece(7, 2)
    );
    bench
        .prepare(bench.spec("config", &wat(&own(20, &of))))
        .expect("a configuration");
    let all = format!(
        "{} (i32.eq (i32.load (i32.const 1028)) (i32.const 20))",
        piece(0, 1000)
    );
    bench
        .prepare(bench.spec("config-all", &wat(&own(20, &all))))
        .expect("a configuration");
}
